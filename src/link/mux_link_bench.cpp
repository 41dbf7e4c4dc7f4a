// A unary call through two MuxLinks: over memory on one thread, which is what protocol and link cost by themselves; and over a
// unix socket between two threads, beside a ping-pong of the socket alone. 1, 64 and 256 calls in flight.

#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "link/mux_link.h"
#include "link/sim/memory_wire.h"
#include "link/unix/socket_carrier.h"
#include "loop/epoll_loop.h"
#include "loop/sim_loop.h"
#include "os/socket.h"

namespace shunt::link {
namespace {

struct Quiet final : LinkOwner {};

struct EchoService final : call::Service {
  void begin(call::IncomingHandle call, const call::Open&, call::Opening opening) override {
    call->finish_with(std::move(opening.message));
  }
};

/// Calls again whenever it was answered, `wanted` times in all.
struct Caller final : call::CallerEvents {
  call::Link* link = nullptr;
  loop::Loop* loop = nullptr;
  const Bytes* message = nullptr;
  std::int64_t* left = nullptr;
  std::int64_t* unanswered = nullptr;
  call::OutgoingHandle handle;

  void start() {
    (*left)--;
    call::Open open;
    open.service = "shop.cart";
    open.command = "total";
    open.deadline = Deadline::after(loop->now(), std::chrono::seconds(60));
    handle = link->open(open, *this, call::Opening::unary(call::Message(*message)));
  }
  void on_message(call::Message got) override { benchmark::DoNotOptimize(got.bytes().data()); }
  [[nodiscard]] bool wants_answer() const override { return true; }
  void on_answer(call::Message got) override {
    benchmark::DoNotOptimize(got.bytes().data());
    next();
  }
  void on_end(Status status, call::Metadata) override {
    if (!status.is_ok()) std::abort();
    next();
  }
  void next() {
    (*unanswered)--;
    handle.reset();
    if (*left > 0) start();
  }
};

MuxLinkOptions options(wire::Side side) {
  MuxLinkOptions options;
  options.side = side;
  options.hello.clock = "one";
  options.trust_principal = side == wire::Side::acceptor;
  return options;
}

void memory(benchmark::State& state) {
  loop::SimClock clock;
  loop::SimLoop loop(clock);
  MemoryWire wire;
  EchoService service;
  Quiet owner;
  auto near = MuxLink::create(loop, wire.end(0), service, owner, options(wire::Side::dialler));
  auto far = MuxLink::create(loop, wire.end(1), service, owner, options(wire::Side::acceptor));
  while (loop.turn() || wire.move()) {
  }
  auto in_flight = state.range(0);
  Bytes message = Bytes::adopt(std::string(static_cast<std::size_t>(state.range(1)), 'x'));
  std::int64_t left = 0;
  std::int64_t unanswered = 0;
  std::vector<Caller> callers(static_cast<std::size_t>(in_flight));
  for (auto& caller : callers) {
    caller.link = near.get();
    caller.loop = &loop;
    caller.message = &message;
    caller.left = &left;
    caller.unanswered = &unanswered;
  }
  for (auto _ : state) {
    left = unanswered = in_flight;
    for (auto& caller : callers) caller.start();
    while (unanswered > 0) {
      loop.turn();
      wire.move();
    }
  }
  state.SetItemsProcessed(state.iterations() * in_flight);
  state.SetBytesProcessed(state.iterations() * in_flight * state.range(1) * 2);
  for (auto& caller : callers) caller.handle.reset();
  near.reset(), far.reset();
}
BENCHMARK(memory)
    ->ArgNames({"in_flight", "bytes"})
    ->Args({1, 64})
    ->Args({64, 64})
    ->Args({256, 64})
    ->Args({64, 4096})
    ->Args({1, 1 << 20});
// 64,000 calls: as many as a profiler bears. callgrind --toggle-collect='*memory*' counts instructions.
BENCHMARK(memory)->Name("counted")->ArgNames({"in_flight", "bytes"})->Args({64, 64})->Iterations(1000);

std::array<os::Fd, 2> sockets() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  return {os::Fd(fds[0]), os::Fd(fds[1])};
}

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core % static_cast<int>(std::thread::hardware_concurrency()), &set);
  sched_setaffinity(0, sizeof set, &set);
}

/// `cores`: 1, both threads on one; 2, each on its own.
void unix_socket(benchmark::State& state) {
  auto pair = sockets();
  auto core = static_cast<int>(state.range(2)) - 1;
  std::thread far_thread([&, socket = std::move(pair[1])]() mutable {
    pin(core);
    auto loop = std::move(*loop::EpollLoop::create({.name = "far", .slow_turn = Duration(0)}));
    EchoService service;
    struct Ends final : LinkOwner {
      loop::Loop* loop = nullptr;
      void on_closed(const Status&) override { loop->stop(); }
    } owner;
    owner.loop = loop.get();
    auto link = MuxLink::create(*loop, make_socket_carrier(*loop, std::move(socket)), service, owner,
                                options(wire::Side::acceptor));
    loop->run();
  });
  pin(0);
  {
    auto loop = std::move(*loop::EpollLoop::create({.name = "near", .slow_turn = Duration(0)}));
    EchoService service;
    Quiet owner;
    auto link = MuxLink::create(*loop, make_socket_carrier(*loop, std::move(pair[0])), service, owner,
                                options(wire::Side::dialler));
    auto in_flight = state.range(0);
    Bytes message = Bytes::adopt(std::string(static_cast<std::size_t>(state.range(1)), 'x'));
    std::int64_t left = 0;
    std::int64_t unanswered = 0;
    std::vector<Caller> callers(static_cast<std::size_t>(in_flight));
    for (auto& caller : callers) {
      caller.link = link.get();
      caller.loop = loop.get();
      caller.message = &message;
      caller.left = &left;
      caller.unanswered = &unanswered;
    }
    std::int64_t batch = 64 * in_flight;
    if (state.range(1) > 65536) batch = 4 * in_flight;
    for (auto _ : state) {
      left = unanswered = batch;
      for (auto& caller : callers) caller.start();
      while (unanswered > 0) loop->turn(Duration(-1));
    }
    state.SetItemsProcessed(state.iterations() * batch);
    state.SetBytesProcessed(state.iterations() * batch * state.range(1) * 2);
    for (auto& caller : callers) caller.handle.reset();
  }
  far_thread.join();
}
BENCHMARK(unix_socket)
    ->ArgNames({"in_flight", "bytes", "cores"})
    ->ArgsProduct({{1, 64, 256}, {64}, {1, 2}})
    ->ArgsProduct({{64}, {4096}, {2}})
    ->ArgsProduct({{1}, {1 << 20}, {1, 2}})
    ->UseRealTime();

/// The socket alone, waited for by poll: `bytes` there and back.
void raw_unix_socket(benchmark::State& state) {
  auto pair = sockets();
  auto core = static_cast<int>(state.range(1)) - 1;
  auto size = static_cast<std::size_t>(state.range(0));
  auto move = [size](int fd, std::string& buffer, bool sends) {
    for (std::size_t done = 0; done < size;) {
      ssize_t got = sends ? send(fd, buffer.data() + done, size - done, MSG_NOSIGNAL)
                          : recv(fd, buffer.data() + done, size - done, 0);
      if (got == 0) return false;
      if (got < 0) {
        if (errno != EAGAIN) return false;
        pollfd wait{fd, static_cast<short>(sends ? POLLOUT : POLLIN), 0};
        poll(&wait, 1, -1);
        continue;
      }
      done += static_cast<std::size_t>(got);
    }
    return true;
  };
  std::thread far_thread([&, socket = std::move(pair[1])] {
    pin(core);
    std::string buffer(size, 'x');
    while (move(socket.get(), buffer, false) && move(socket.get(), buffer, true)) {
    }
  });
  pin(0);
  std::string buffer(size, 'x');
  for (auto _ : state) {
    move(pair[0].get(), buffer, true);
    move(pair[0].get(), buffer, false);
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0) * 2);
  pair[0].close();
  far_thread.join();
}
BENCHMARK(raw_unix_socket)->ArgNames({"bytes", "cores"})->ArgsProduct({{64, 1 << 20}, {1, 2}})->UseRealTime();

}  // namespace
}  // namespace shunt::link

BENCHMARK_MAIN();
