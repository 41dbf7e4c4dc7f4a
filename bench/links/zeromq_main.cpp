// bench_links_zeromq: an echo over ZeroMQ, DEALER to ROUTER. Variants: ipc, tcp, inproc (two threads of one process).
// Messages only: no ids, deadlines, status or schema.
#include <zmq.h>

#include <thread>

#include "measure.h"

namespace bench {
namespace {

void must(bool good) {
  if (!good) give_up(zmq_strerror(zmq_errno()));
}

void* make_socket(void* context, int type) {
  void* socket = zmq_socket(context, type);
  must(socket != nullptr);
  int unlimited = 0;
  zmq_setsockopt(socket, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
  zmq_setsockopt(socket, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
  return socket;
}

/// The ROUTER's side: who asked, then the message; both go back as they came.
void serve(void* socket) {
  zmq_msg_t part;
  for (;;) {
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket, 0) < 0) return;
    int more = zmq_msg_more(&part) != 0 ? ZMQ_SNDMORE : 0;
    if (zmq_msg_send(&part, socket, more) < 0) return;
  }
}

void drive(const Ask& ask, void* socket, CpuClocks clocks) {
  std::vector<char> message(ask.bytes, 'x');
  Window window(ask.in_flight);
  Meter meter(ask.seconds, std::move(clocks));
  zmq_msg_t answer;
  while (!meter.over()) {
    while (window.has_room()) {
      window.begin(ticks());
      must(zmq_send(socket, message.data(), message.size(), 0) >= 0);
    }
    zmq_msg_init(&answer);
    must(zmq_msg_recv(&answer, socket, 0) >= 0);
    meter.answered(window.end());
    zmq_msg_close(&answer);
  }
  meter.print();
}

void in_process(const Ask& ask) {
  void* context = zmq_ctx_new();
  void* socket = make_socket(context, ZMQ_ROUTER);
  must(zmq_bind(socket, "inproc://echo") == 0);
  std::thread callee([&] {
    pin(ask.is_one_core ? 0 : 1);
    serve(socket);
  });
  pin(0);
  void* caller = make_socket(context, ZMQ_DEALER);
  must(zmq_connect(caller, "inproc://echo") == 0);
  clockid_t clock = CLOCK_MONOTONIC;
  pthread_getcpuclockid(callee.native_handle(), &clock);
  drive(ask, caller, {.caller = CLOCK_THREAD_CPUTIME_ID, .callee = {clock}});
  std::_Exit(0);
}

void between_processes(const Ask& ask) {
  std::string address = "tcp://127.0.0.1:*";
  if (ask.variant == "ipc") address = "ipc:///tmp/shunt-bench-" + std::to_string(getpid()) + ".zmq";
  Callee callee(ask, [&](auto ready) {
    void* socket = make_socket(zmq_ctx_new(), ZMQ_ROUTER);
    must(zmq_bind(socket, address.c_str()) == 0);
    char bound[256];
    std::size_t size = sizeof bound;
    must(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &size) == 0);
    ready(bound);
    serve(socket);
  });
  void* socket = make_socket(zmq_ctx_new(), ZMQ_DEALER);
  must(zmq_connect(socket, callee.said().c_str()) == 0);
  drive(ask, socket, callee.clocks());
  if (ask.variant == "ipc") unlink(address.c_str() + 6);
  callee.end(SIGKILL);
  std::_Exit(0);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto ask = bench::ask_of(argc, argv);
  if (ask.variant == "inproc") {
    bench::in_process(ask);
  } else {
    bench::between_processes(ask);
  }
}
