#pragma once
// SimLoop: a Loop without threads or a system: time moves only when a test moves it. Several SimLoops may share one
// SimClock; SimClock::settle() then turns them all until none has anything to do.

#include <vector>

#include "loop/loop.h"

namespace shunt::loop {

class SimLoop;

/// Virtual time, and the loops that live in it. Threads: one.
class SimClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  /// Turns every loop until nothing is posted, ready or due. Returns the number of turns that did something;
  /// asserts after a million (a test that spins).
  std::size_t settle();
  /// Moves time on by `by`, stopping at every timer on the way to fire it and settle.
  void advance(Duration by);
  /// Moves to the next timer, if there is one before `limit`; false when there is none.
  bool advance_to_next(Deadline limit = Deadline::never());

 private:
  friend class SimLoop;
  Instant now_{1'000'000'000};
  std::vector<SimLoop*> loops_;
};

class SimLoop final : public Loop {
 public:
  explicit SimLoop(SimClock& clock);
  ~SimLoop() override;
  Instant refresh_now() override;
  void post(Closure closure) override;
  bool is_here() const override { return true; }
  /// settle() of its clock.
  void run() override;
  void stop() override {}

  /// One turn; false when there was nothing to do.
  bool turn();

 private:
  friend class SimClock;
  SimClock& clock_;
  std::vector<Closure> posted_;
};

}  // namespace shunt::loop
