#include "loop/sim_loop.h"

#include <algorithm>

#include "base/check.h"

namespace shunt::loop {

std::size_t SimClock::settle() {
  std::size_t turns = 0;
  for (bool busy = true; busy;) {
    busy = false;
    // By index: a turn may make or destroy loops.
    for (std::size_t i = 0; i < loops_.size(); i++) {
      if (loops_[i]->turn()) {
        busy = true;
        turns++;
      }
    }
    SHUNT_ASSERT(turns < 1'000'000);
  }
  return turns;
}

bool SimClock::advance_to_next(Deadline limit) {
  Deadline next = Deadline::never();
  for (auto* loop : loops_) next = earlier(next, loop->next_timer());
  if (next.is_never() || next > limit) return false;
  now_ = std::max(now_, next.at());
  settle();
  return true;
}

void SimClock::advance(Duration by) {
  settle();
  Instant until = now_ + by;
  while (advance_to_next(Deadline(until))) {
  }
  now_ = std::max(now_, until);
  settle();
}

SimLoop::SimLoop(SimClock& clock) : clock_(clock) {
  clock_.loops_.push_back(this);
  set_now(clock_.now());
}

SimLoop::~SimLoop() { std::erase(clock_.loops_, this); }

Instant SimLoop::refresh_now() {
  set_now(clock_.now());
  return now();
}

void SimLoop::post(Closure closure) { posted_.push_back(std::move(closure)); }

bool SimLoop::turn() {
  refresh_now();
  bool due = next_timer().passed(now());
  if (posted_.empty() && !due && !has_ready()) return false;
  std::vector<Closure> closures;
  std::swap(closures, posted_);
  for (auto& closure : closures) closure();
  run_timers();
  run_ready();
  return true;
}

void SimLoop::run() { clock_.settle(); }

}  // namespace shunt::loop
