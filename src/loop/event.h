#pragma once
// What a Task waits for: a time, an Event. All of them bear being destroyed while they wait. Resumption comes from the
// loop's ready list, never from inside the stack of whoever sets the event.

#include <coroutine>

#include "loop/loop.h"
#include "loop/task.h"

namespace shunt::loop {

/// co_await SleepUntil(loop, at);  Ready at once when `at` has passed.
class SleepUntil final : private Timer {
 public:
  SleepUntil(Loop& loop, Instant at) : loop_(loop), at_(at) {}
  bool await_ready() const { return loop_.now() >= at_; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    loop_.arm(*this, at_);
  }
  void await_resume() {}

 private:
  void fire() override { waiting_.resume(); }
  Loop& loop_;
  Instant at_;
  std::coroutine_handle<> waiting_;
};

inline SleepUntil sleep_for(Loop& loop, Duration span) { return {loop, loop.now() + span}; }

/// A flag that one task waits for. set() wakes the waiter; wait() clears it again. Threads: the loop's.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop) {}

  void set() {
    set_ = true;
    if (waiter_ != nullptr) loop_.ready(*waiter_);
  }
  [[nodiscard]] bool is_set() const { return set_; }

  class Awaiter final : private Runnable, private Timer {
   public:
    Awaiter(Event& event, Deadline deadline) : event_(event), deadline_(deadline) {}
    ~Awaiter() {
      if (event_.waiter_ == this) event_.waiter_ = nullptr;
    }
    bool await_ready() const { return event_.set_ || deadline_.passed(event_.loop_.now()); }
    void await_suspend(std::coroutine_handle<> waiting) {
      SHUNT_ASSERT(event_.waiter_ == nullptr);
      waiting_ = waiting;
      event_.waiter_ = this;
      if (!deadline_.is_never()) event_.loop_.arm(*this, deadline_.at());
    }
    /// True when the event was set, false when the deadline passed first.
    bool await_resume() {
      event_.waiter_ = nullptr;
      return std::exchange(event_.set_, false);
    }

   private:
    friend class Event;
    void run() override { resume(); }
    void fire() override { resume(); }
    void resume() {
      Timer::disarm();
      Runnable::unlink();
      waiting_.resume();
    }
    Event& event_;
    Deadline deadline_;
    std::coroutine_handle<> waiting_;
  };

  /// co_await event.wait(deadline): true when set, false when the deadline passed first. Clears the event.
  Awaiter wait(Deadline deadline = Deadline::never()) { return {*this, deadline}; }

 private:
  Loop& loop_;
  bool set_ = false;
  Awaiter* waiter_ = nullptr;
};

}  // namespace shunt::loop
