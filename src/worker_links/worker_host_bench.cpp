// A unary call from a node's link to a worker's host and back over a unix socket, all on one loop: what the host adds to the
// link. The service answers at once.

#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "link/mux_link.h"
#include "link/unix/socket_carrier.h"
#include "loop/epoll_loop.h"
#include "worker/host.h"
#include "worker_links/mux_node_link.h"

namespace shunt::worker_links {
namespace {

struct Echo final : call::Service {
  void begin(call::IncomingHandle call, const call::Open&, call::Opening opening) override {
    call->finish_with(std::move(opening.message));
  }
};
struct Quiet final : worker::HostEvents, link::LinkOwner {
  void on_drain() override {}
  void on_drained() override {}
  void on_lost() override {}
};
struct Caller final : call::CallerEvents {
  std::int64_t* unanswered = nullptr;
  call::OutgoingHandle handle;
  void on_message(call::Message) override {}
  [[nodiscard]] bool wants_answer() const override { return true; }
  void on_answer(call::Message) override {
    (*unanswered)--;
    handle.reset();
  }
  void on_end(Status, call::Metadata) override { std::abort(); }
};

void worker_call(benchmark::State& state) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  auto loop = std::move(*loop::EpollLoop::create({.name = "bench", .slow_turn = Duration(0)}));
  Echo echo;
  Quiet quiet;
  MuxNodeLinkMaker maker(*loop);
  worker::Environment environment;
  environment.links.emplace_back(fds[1]);
  environment.service = "shop.cart";
  auto host = std::move(*worker::WorkerHost::create(*loop, maker, echo, quiet, std::move(environment), {}));
  link::MuxLinkOptions options;
  options.hello.role = "node";
  auto link = link::MuxLink::create(*loop, link::make_socket_carrier(*loop, os::Fd(fds[0])), echo, quiet, options);
  for (int i = 0; i < 10; i++) loop->turn(Duration(0));

  Bytes message = Bytes::adopt(std::string(64, 'x'));
  std::int64_t unanswered = 0;
  std::vector<Caller> callers(static_cast<std::size_t>(state.range(0)));
  for (auto& caller : callers) caller.unanswered = &unanswered;
  call::Open open;
  open.service = "shop.cart";
  open.command = "total";
  open.deadline = Deadline::after(loop->now(), std::chrono::hours(1));
  for (auto _ : state) {
    unanswered = state.range(0);
    for (auto& caller : callers) caller.handle = link->open(open, caller, call::Opening::unary(call::Message(message)));
    while (unanswered > 0) loop->turn(Duration(-1));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(worker_call)->ArgName("in_flight")->Arg(1)->Arg(64);
// As many as a profiler bears.
BENCHMARK(worker_call)->Name("counted")->Arg(64)->Iterations(1000);

}  // namespace
}  // namespace shunt::worker_links

BENCHMARK_MAIN();
