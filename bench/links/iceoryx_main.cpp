// bench_links_iceoryx: an echo over iceoryx's client and server. Needs a running iox-roudi. Variants: copy (both sides write
// the message into the block that they send), handover (blocks are loaned and sent as they are: nobody touches the bytes).
#include <iceoryx_hoofs/posix_wrapper/signal_watcher.hpp>
#include <iceoryx_posh/popo/untyped_client.hpp>
#include <iceoryx_posh/popo/untyped_server.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include <cstring>

#include "measure.h"

namespace bench {
namespace {

constexpr std::uint32_t alignment = 64;

/// Spins, or sleeps on iceoryx's wait set.
template <typename End, typename State>
class Waiting {
 public:
  Waiting(End& end, State state, bool is_awake) {
    if (is_awake) return;
    set_ = std::make_unique<iox::popo::WaitSet<>>();
    set_->attachState(end, state).or_else([](auto) { give_up("iceoryx: no wait set"); });
  }
  void wait() {
    if (set_) {
      (void)set_->timedWait(iox::units::Duration::fromMilliseconds(100));  // A signal ends the process, not the wait.
    } else {
      relax();
    }
  }

 private:
  std::unique_ptr<iox::popo::WaitSet<>> set_;
};

iox::RuntimeName_t name_of(const char* side) {
  auto name = "bench-" + std::string(side) + "-" + std::to_string(getpid());
  return {iox::cxx::TruncateToCapacity, name.c_str()};
}

/// Of one run alone: what a run that was killed left behind is in nobody's way.
iox::capro::ServiceDescription service_of(pid_t caller) {
  auto instance = std::to_string(caller);
  return {"Bench", {iox::cxx::TruncateToCapacity, instance.c_str()}, "Say"};
}

void serve(const Ask& ask, auto ready) {
  iox::runtime::PoshRuntime::initRuntime(name_of("callee"));
  iox::popo::ServerOptions options;
  options.requestQueueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
  options.clientTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
  iox::popo::UntypedServer server(service_of(getppid()), options);
  Waiting waiting(server, iox::popo::ServerState::HAS_REQUEST, ask.is_awake);
  auto size = static_cast<std::uint32_t>(ask.bytes);
  bool is_copied = ask.variant == "copy";
  ready("");
  while (!iox::posix::hasTerminationRequested()) {
    bool has_asked = false;
    server.take().and_then([&](const void* request) {
      has_asked = true;
      server.loan(iox::popo::RequestHeader::fromPayload(request), size, alignment)
          .and_then([&](void* answer) {
            if (is_copied) std::memcpy(answer, request, size);
            server.send(answer).or_else([](auto) { std::_Exit(0); });  // The caller has gone.
          })
          .or_else([](auto) { give_up("iceoryx: no block for an answer"); });
      server.releaseRequest(request);
    });
    if (!has_asked) waiting.wait();
  }
}

void drive(const Ask& ask, const Callee& callee) {
  iox::runtime::PoshRuntime::initRuntime(name_of("caller"));
  iox::popo::ClientOptions options;
  options.serverTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
  // Its queue of answers holds 16: with more in flight the callee waits at it, the rest among the requests.
  options.responseQueueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
  iox::popo::UntypedClient client(service_of(getpid()), options);
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (client.getConnectionState() != iox::ConnectionState::CONNECTED) {
    if (std::chrono::steady_clock::now() > until) give_up("iceoryx: no connection");
  }
  Waiting waiting(client, iox::popo::ClientState::HAS_RESPONSE, ask.is_awake);
  auto size = static_cast<std::uint32_t>(ask.bytes);
  bool is_copied = ask.variant == "copy";
  std::vector<char> message(ask.bytes, 'x');
  Window window(ask.in_flight);
  Meter meter(ask.seconds, callee.clocks());
  while (!meter.over()) {
    while (window.has_room()) {
      window.begin(ticks());
      client.loan(size, alignment)
          .and_then([&](void* request) {
            if (is_copied) std::memcpy(request, message.data(), size);
            client.send(request).or_else([](auto) { give_up("iceoryx: a request was not sent"); });
          })
          .or_else([](auto) { give_up("iceoryx: no block for a request"); });
    }
    bool has_answered = false;
    client.take().and_then([&](const void* answer) {
      has_answered = true;
      client.releaseResponse(answer);
    });
    if (has_answered) {
      meter.answered(window.end());
    } else {
      waiting.wait();
    }
  }
  meter.print();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto ask = bench::ask_of(argc, argv);
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kFatal,
                                                           iox::log::LogLevelOutput::kHideLogLevel);
  {
    bench::Callee callee(ask, [&](auto ready) { bench::serve(ask, ready); });
    bench::drive(ask, callee);
    callee.end(SIGTERM);  // It says farewell, so that its blocks are free for the next.
  }
}
