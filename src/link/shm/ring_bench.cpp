// What a shared-memory link costs: the bare ring, the carrier on two loops, whole unary calls over it, awake and asleep,
// one and many in flight; a bare ping-pong over pipes and the same calls over a unix socket beside it.
//
//   ring_bench [--ms N] [NAME...]     which lines to measure, by the beginning of their name; default: all, 300 ms each
//
// Two threads: apart means one core each, together means that both share core 0. Ratios of one run count.

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "call/link.h"
#include "link/mux_link.h"
#include "link/shm/ring_carrier.h"
#include "link/unix/socket_carrier.h"
#include "loop/epoll_loop.h"
#include "os/socket.h"

namespace shunt::link {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

Instant now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return {std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec};
}

double thread_cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

enum class Cores : bool { together, apart };

void pin(Cores cores, int side) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cores == Cores::apart ? side : 0, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/// Times of round trips, and how much of a core each side used.
struct Result {
  std::vector<std::uint32_t> round_trips;  // ns
  std::uint64_t done = 0;
  double seconds = 0;
  double cpu_ns[2] = {0, 0};

  [[nodiscard]] double quantile(double q) {
    if (round_trips.empty()) return 0;
    auto at = round_trips.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(round_trips.size() - 1));
    std::ranges::nth_element(round_trips, at);
    return *at / 1000.0;
  }
  void print(std::string_view name) {
    fmt::print("{:36} p50 {:8.3f} us  p99 {:8.3f} us  {:10.0f}/s  cpu {:7.3f} + {:7.3f} us\n", name, quantile(0.5),
               quantile(0.99), static_cast<double>(done) / seconds, cpu_ns[0] / static_cast<double>(done) / 1000,
               cpu_ns[1] / static_cast<double>(done) / 1000);
    std::fflush(stdout);
  }
};

constexpr std::size_t samples_max = 4'000'000;

// --- Bare things -----------------------------------------------------------------------------------------------------

Result raw_ring(Duration span, std::size_t bytes) {
  auto ends = make_ring_pair();
  SHUNT_ASSERT(ends.has_value());
  auto near = RingMemory::map((*ends)[0].memory);
  auto far = RingMemory::map((*ends)[1].memory);
  SHUNT_ASSERT(near && far);
  std::atomic<bool> stop{false};
  auto echo = [&](RingMemory& memory, RingSide side, auto&& each) {
    auto writer = memory.writer(side);
    auto reader = memory.reader(side);
    std::string text(bytes, 'x');
    iovec vector{text.data(), text.size()};
    each(writer, reader, vector);
  };
  auto receive = [&](auto& reader, iovec vector) {
    while (!reader.peek() || reader.look() < bytes) {
      if (stop.load(std::memory_order_relaxed)) return false;
    }
    reader.read(static_cast<char*>(vector.iov_base), bytes);
    reader.release();
    return true;
  };
  std::thread other([&] {
    pin(Cores::apart, 1);
    echo(*far, RingSide::second, [&](auto& writer, auto& reader, iovec vector) {
      while (receive(reader, vector)) {
        writer.write(&vector, 1);
        writer.publish();
      }
    });
  });
  pin(Cores::apart, 0);
  Result result;
  Instant began = now();
  echo(*near, RingSide::first, [&](auto& writer, auto& reader, iovec vector) {
    Instant last = began;
    while (last - began < span && result.round_trips.size() < samples_max) {
      writer.write(&vector, 1);
      writer.publish();
      receive(reader, vector);
      Instant at = now();
      result.round_trips.push_back(static_cast<std::uint32_t>((at - last).count()));
      last = at;
    }
  });
  result.done = result.round_trips.size();
  result.seconds = static_cast<double>((now() - began).count()) / 1e9;
  stop = true;
  other.join();
  return result;
}

Result raw_pipes(Duration span, Cores cores) {
  auto there = os::make_pipe(os::Blocking::yes, os::Blocking::yes);
  auto back = os::make_pipe(os::Blocking::yes, os::Blocking::yes);
  SHUNT_ASSERT(there && back);
  Result result;
  std::thread other([&, reads = there->read.get(), writes = back->write.get()] {
    pin(cores, 1);
    char one = 0;
    double began = thread_cpu_ns();
    while (::read(reads, &one, 1) == 1) SHUNT_ASSERT(::write(writes, &one, 1) == 1);
    result.cpu_ns[1] = thread_cpu_ns() - began;
  });
  pin(cores, 0);
  char one = 1;
  Instant began = now();
  double cpu = thread_cpu_ns();
  Instant last = began;
  while (last - began < span) {
    SHUNT_ASSERT(::write(there->write.get(), &one, 1) == 1);
    SHUNT_ASSERT(::read(back->read.get(), &one, 1) == 1);
    Instant at = now();
    result.round_trips.push_back(static_cast<std::uint32_t>((at - last).count()));
    last = at;
  }
  result.cpu_ns[0] = thread_cpu_ns() - cpu;
  result.done = result.round_trips.size();
  result.seconds = static_cast<double>((now() - began).count()) / 1e9;
  there->write.close();
  other.join();
  return result;
}

// --- Over loops ------------------------------------------------------------------------------------------------------

enum class Way : std::uint8_t { shm, unix_socket };

struct Setting {
  Way way = Way::shm;
  Cores cores = Cores::apart;
  Duration spin = microseconds(20);
  std::size_t bytes = 64;
  int in_flight = 1;
};

class SilentOwner final : public LinkOwner {};

class Echo final : public call::Service {
 public:
  void begin(call::IncomingHandle call, const call::Open&, call::Opening opening) override {
    call->finish_with(std::move(opening.message));
  }
};

class Client {
 public:
  Client(loop::EpollLoop& loop, call::Link& link, const Setting& setting, Duration span, Result& result)
      : loop_(loop), link_(link), text_(setting.bytes, 'x'), span_(span), result_(result) {
    calls_.reserve(static_cast<std::size_t>(setting.in_flight));
    for (int i = 0; i < setting.in_flight; i++) calls_.push_back(make_own<Call>(*this));
    began_ = now();
    cpu_ = thread_cpu_ns();
    for (auto& call : calls_) call->open();
  }

 private:
  struct Call final : call::CallerEvents, loop::Runnable {
    explicit Call(Client& owner) : client(owner) {}
    void open() {
      began = now();
      call::Open with;
      with.service = "echo";
      with.command = "say";
      with.deadline = Deadline::after(began, std::chrono::seconds(60));
      handle = client.link_.open(with, *this, call::Opening::unary(call::Message(Bytes::copy_of(client.text_))));
    }
    void on_message(call::Message) override {}
    [[nodiscard]] bool wants_answer() const override { return true; }
    void on_answer(call::Message) override { ended(); }
    void on_end(Status status, call::Metadata) override {
      if (!status.is_ok() && !client.over_) fmt::print("{} {}\n", status.id(), status.message()), std::fflush(stdout);
      SHUNT_ASSERT(status.is_ok() || client.over_);
      ended();
    }
    void ended() {
      client.ended(*this);
      if (!client.over_) client.loop_.ready(*this);
    }
    void run() override {
      handle.reset();
      open();
    }
    Client& client;
    call::OutgoingHandle handle;
    Instant began;
  };

  void ended(Call& call) {
    Instant at = now();
    result_.done++;
    if (result_.round_trips.size() < samples_max) {
      result_.round_trips.push_back(static_cast<std::uint32_t>((at - call.began).count()));
    }
    if (at - began_ >= span_ && !over_) {
      over_ = true;
      result_.seconds = static_cast<double>((at - began_).count()) / 1e9;
      result_.cpu_ns[0] = thread_cpu_ns() - cpu_;
      loop_.stop();
    }
  }

  loop::EpollLoop& loop_;
  call::Link& link_;
  std::string text_;
  Duration span_;
  Result& result_;
  std::vector<Own<Call>> calls_;
  Instant began_;
  double cpu_ = 0;
  bool over_ = false;
};

Result calls(Duration span, const Setting& setting) {
  Result result;
  result.round_trips.reserve(samples_max);
  std::array<RingEnds, 2> rings;
  std::pair<os::Fd, os::Fd> sockets;
  if (setting.way == Way::shm) {
    rings = make_ring_pair().value();
  } else {
    sockets = os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::no).value();
  }
  auto carrier = [&](loop::EpollLoop& loop, int side) {
    if (setting.way == Way::unix_socket) {
      return make_socket_carrier(loop, std::move(side == 0 ? sockets.first : sockets.second));
    }
    return make_ring_carrier(loop, std::move(rings[static_cast<std::size_t>(side)]), static_cast<RingSide>(side))
        .value();
  };
  auto options = [](wire::Side side) {
    MuxLinkOptions options;
    options.side = side;
    options.hello.clock = "one";
    return options;
  };
  auto make_loop = [&] {
    return loop::EpollLoop::create({.slow_turn = Duration(0), .spin = {.spin_max = setting.spin}}).value();
  };
  std::atomic<loop::EpollLoop*> callee_loop{nullptr};
  std::thread callee([&] {
    pin(setting.cores, 1);
    auto loop = make_loop();
    Echo echo;
    SilentOwner owner;
    auto link = MuxLink::create(*loop, carrier(*loop, 1), echo, owner, options(wire::Side::acceptor));
    callee_loop = loop.get();
    callee_loop.notify_one();
    double cpu = thread_cpu_ns();
    loop->run();
    result.cpu_ns[1] = thread_cpu_ns() - cpu;
    link.reset();
    loop->turn(Duration(0));
  });
  callee_loop.wait(nullptr);
  pin(setting.cores, 0);
  auto loop = make_loop();
  Echo nobody;
  SilentOwner owner;
  auto link = MuxLink::create(*loop, carrier(*loop, 0), nobody, owner, options(wire::Side::dialler));
  {
    Client client(*loop, *link, setting, span, result);
    loop->run();
    callee_loop.load()->stop();
    callee.join();
    link.reset();
    loop->turn(Duration(0));
  }
  return result;
}

}  // namespace
}  // namespace shunt::link

int main(int argc, char** argv) {
  using namespace shunt::link;
  shunt::Duration span = milliseconds(300);
  std::vector<std::string_view> wanted;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--ms") == 0 && i + 1 < argc) {
      span = milliseconds(std::atoi(argv[++i]));
    } else {
      wanted.emplace_back(argv[i]);
    }
  }
  auto measure = [&](std::string_view name, auto&& how) {
    bool is_wanted = wanted.empty() || std::ranges::any_of(wanted, [&](auto begin) { return name.starts_with(begin); });
    if (is_wanted) how().print(name);
  };
  constexpr auto none = shunt::Duration(0);
  measure("ring, spinning, apart, 64 B", [&] { return raw_ring(span, 64); });
  measure("ring, spinning, apart, 4 KiB", [&] { return raw_ring(span, 4096); });
  measure("pipes, together", [&] { return raw_pipes(span, Cores::together); });
  measure("pipes, apart", [&] { return raw_pipes(span, Cores::apart); });
  measure("call shm, awake, apart", [&] { return calls(span, {}); });
  measure("call shm, asleep, together", [&] { return calls(span, {.cores = Cores::together, .spin = none}); });
  measure("call shm, asleep, apart", [&] { return calls(span, {.spin = none}); });
  measure("call shm, default, together", [&] { return calls(span, {.cores = Cores::together}); });
  measure("call unix, together", [&] { return calls(span, {.way = Way::unix_socket, .cores = Cores::together}); });
  measure("call unix, apart", [&] { return calls(span, {.way = Way::unix_socket}); });
  for (int in_flight : {8, 64, 256}) {
    measure(fmt::format("calls shm, {} in flight, apart", in_flight),
            [&] { return calls(span, {.in_flight = in_flight}); });
    measure(fmt::format("calls shm, {}, together", in_flight),
            [&] { return calls(span, {.cores = Cores::together, .in_flight = in_flight}); });
    measure(fmt::format("calls unix, {} in flight, apart", in_flight),
            [&] { return calls(span, {.way = Way::unix_socket, .in_flight = in_flight}); });
  }
  measure("calls shm, 4 KiB, 1 in flight, apart", [&] { return calls(span, {.bytes = 4096}); });
  measure("calls shm, 4 KiB, 64 in flight, apart", [&] { return calls(span, {.bytes = 4096, .in_flight = 64}); });
  measure("calls shm, 1 MiB, 1 in flight, apart", [&] { return calls(span, {.bytes = 1u << 20}); });
  measure("calls unix, 1 MiB, 1 in flight, apart",
          [&] { return calls(span, {.way = Way::unix_socket, .bytes = 1u << 20}); });
  return 0;
}
