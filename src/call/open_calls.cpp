#include "call/open_calls.h"

#include "loop/event.h"

namespace shunt::call {

// Somebody who waits in drain(); on the frame of that task, so it may vanish while it waits.
struct OpenCalls::Drain {
  Drain(OpenCalls& in, loop::Loop& loop) : calls(in), event(loop), next(in.drains_) { calls.drains_ = this; }
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;
  ~Drain() {
    Drain** at = &calls.drains_;
    while (*at != this) at = &(*at)->next;
    *at = next;
  }
  OpenCalls& calls;
  loop::Event event;
  Drain* next;
};

void OpenCalls::wake_drains() {
  for (Drain* drain = drains_; drain != nullptr; drain = drain->next) drain->event.set();
}

loop::Task<void> OpenCalls::drain(Deadline deadline) {
  draining = true;
  Drain waiting(*this, loop_);
  while (stats.calls_open > 0) {
    if (!co_await waiting.event.wait(deadline)) break;
  }
  end_all(cancel_status(Cancel::shutdown), Cancel::shutdown);
}

}  // namespace shunt::call
