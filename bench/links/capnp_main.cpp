// bench_links_capnp: an echo over Cap'n Proto's RPC. Variants: unix, tcp, local (a capability of the same thread).
#include <capnp/ez-rpc.h>

#include "echo.capnp.h"
#include "measure.h"

namespace bench {
namespace {

class EchoServer final : public Echo::Server {
 public:
  kj::Promise<void> say(SayContext context) override {
    context.getResults().setData(context.getParams().getData());
    return kj::READY_NOW;
  }
};

/// One of those in flight: asks again as soon as it was answered.
class Asking {
 public:
  Asking(const Ask& ask, Echo::Client& echo, Meter& meter, kj::Own<kj::PromiseFulfiller<void>>& over)
      : block_(ask.bytes, 'x'), echo_(echo), meter_(meter), over_(over) {}

  kj::Promise<void> again() {
    auto began = ticks();
    auto request = echo_.sayRequest();
    request.setData(kj::ArrayPtr<const kj::byte>(reinterpret_cast<const kj::byte*>(block_.data()), block_.size()));
    return request.send().then([this, began](auto&& answer) -> kj::Promise<void> {
      if (answer.getData().size() != block_.size()) give_up("a wrong answer");
      meter_.answered(began);
      if (meter_.over()) {
        over_->fulfill();
        return kj::READY_NOW;
      }
      return again();
    });
  }

 private:
  std::string block_;
  Echo::Client& echo_;
  Meter& meter_;
  kj::Own<kj::PromiseFulfiller<void>>& over_;
};

void drive(const Ask& ask, Echo::Client echo, kj::WaitScope& wait, CpuClocks clocks) {
  Meter meter(ask.seconds, std::move(clocks));
  auto over = kj::newPromiseAndFulfiller<void>();
  std::vector<std::unique_ptr<Asking>> all;
  std::vector<kj::Promise<void>> running;
  for (std::size_t i = 0; i < ask.in_flight; ++i) {
    all.push_back(std::make_unique<Asking>(ask, echo, meter, over.fulfiller));
    running.push_back(
        all.back()->again().eagerlyEvaluate([](kj::Exception&& why) { give_up(why.getDescription().cStr()); }));
  }
  over.promise.wait(wait);
  meter.print();
  std::_Exit(0);
}

void in_process(const Ask& ask) {
  pin(0);
  kj::EventLoop loop;
  kj::WaitScope wait(loop);
  drive(ask, kj::heap<EchoServer>(), wait, {.caller = CLOCK_THREAD_CPUTIME_ID, .callee = {}});
}

void between_processes(const Ask& ask) {
  std::string path = "/tmp/shunt-bench-" + std::to_string(getpid()) + ".capnp";
  std::string address = ask.variant == "unix" ? "unix:" + path : "127.0.0.1:0";
  Callee callee(ask, [&](auto ready) {
    capnp::EzRpcServer server(kj::heap<EchoServer>(), address);
    auto& wait = server.getWaitScope();
    auto port = server.getPort().wait(wait);
    ready(ask.variant == "unix" ? address : "127.0.0.1:" + std::to_string(port));
    kj::NEVER_DONE.wait(wait);
  });
  capnp::EzRpcClient client(callee.said());
  // The socket is there: whoever connected needs its name no more.
  auto echo = client.getMain<Echo>();
  auto& wait = client.getWaitScope();
  auto first = echo.sayRequest();
  first.send().wait(wait);
  unlink(path.c_str());
  drive(ask, echo, wait, callee.clocks());
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto ask = bench::ask_of(argc, argv);
  if (ask.variant == "local") {
    bench::in_process(ask);
  } else {
    bench::between_processes(ask);
  }
}
