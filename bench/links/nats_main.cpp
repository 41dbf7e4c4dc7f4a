// bench_links_nats: an echo over NATS, request and reply through a server. The variant is the server's URL; the server and
// the service both count as the callee: the server's process id is in SHUNT_BENCH_SERVER.
#include <nats/nats.h>

#include "measure.h"

namespace bench {
namespace {

void must(natsStatus status) {
  if (status != NATS_OK) give_up(natsStatus_GetText(status));
}

natsConnection* dial(const Ask& ask) {
  natsOptions* options = nullptr;
  must(natsOptions_Create(&options));
  must(natsOptions_SetURL(options, ask.variant.c_str()));
  // Else each waits up to a millisecond for others.
  must(natsOptions_SetSendAsap(options, true));
  natsConnection* connection = nullptr;
  must(natsConnection_Connect(&connection, options));
  return connection;
}

void on_asked(natsConnection* connection, natsSubscription*, natsMsg* message, void*) {
  natsConnection_Publish(connection, natsMsg_GetReply(message), natsMsg_GetData(message),
                         natsMsg_GetDataLength(message));
  natsMsg_Destroy(message);
}

void measure(const Ask& ask) {
  Callee callee(ask, [&](auto ready) {
    auto* connection = dial(ask);
    natsSubscription* subscription = nullptr;
    must(natsConnection_Subscribe(&subscription, connection, "echo", on_asked, nullptr));
    must(natsSubscription_SetPendingLimits(subscription, -1, -1));
    must(natsConnection_Flush(connection));
    ready("");
    for (;;) pause();
  });
  auto clocks = callee.clocks();
  if (const char* server = std::getenv("SHUNT_BENCH_SERVER"); server != nullptr) {
    clocks.callee.push_back(cpu_clock_of(std::atoi(server)));
  }
  auto* connection = dial(ask);
  natsInbox* inbox = nullptr;
  must(natsInbox_Create(&inbox));
  natsSubscription* answers = nullptr;
  must(natsConnection_SubscribeSync(&answers, connection, inbox));
  must(natsSubscription_SetPendingLimits(answers, -1, -1));
  std::string message(ask.bytes, 'x');
  Window window(ask.in_flight);
  Meter meter(ask.seconds, std::move(clocks));
  while (!meter.over()) {
    while (window.has_room()) {
      window.begin(ticks());
      must(natsConnection_PublishRequest(connection, "echo", inbox, message.data(), static_cast<int>(message.size())));
    }
    natsMsg* answer = nullptr;
    must(natsSubscription_NextMsg(&answer, answers, 10'000));
    meter.answered(window.end());
    natsMsg_Destroy(answer);
  }
  meter.print();
  callee.end(SIGKILL);
  std::_Exit(0);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { bench::measure(bench::ask_of(argc, argv)); }
