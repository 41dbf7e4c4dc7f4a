#pragma once
// Loop: one thread's world. It runs closures, timers and end-of-turn work, and owns nothing that it runs.
//
// Two implementations: EpollLoop (epoll_loop.h) on the system, SimLoop (sim_loop.h) with a virtual clock and no threads.
// A loop knows nothing of calls.
//
// A turn is: closures posted from other threads, timers that are due, ready descriptors (EpollLoop), then, until
// there is none left, the ready list and the flush list. What happens inside one turn is batched into one write.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/own.h"
#include "base/time.h"

namespace shunt::loop {

using Closure = std::move_only_function<void()>;

/// A node of an intrusive list of things to run once. Embed it; it unlinks itself when destroyed.
/// Threads: the loop's only.
class Runnable {
 public:
  Runnable() = default;
  Runnable(const Runnable&) = delete;
  Runnable& operator=(const Runnable&) = delete;
  virtual void run() = 0;
  [[nodiscard]] bool is_queued() const { return next_ != nullptr; }
  void unlink();

 protected:
  ~Runnable() { unlink(); }

 private:
  friend class RunList;
  Runnable* next_ = nullptr;
  Runnable* previous_ = nullptr;
};

/// A circular list of Runnables. push and pop are O(1).
class RunList {
 public:
  RunList();
  ~RunList();
  void push(Runnable& runnable);
  Runnable* pop();
  [[nodiscard]] bool empty() const;

 private:
  struct Anchor final : Runnable {
    void run() override {}
  };
  Anchor anchor_;
};

/// Something that fires once at an Instant. Embed it or derive; arm and disarm through its Loop; disarms itself when
/// destroyed. Threads: the loop's only.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual void fire() = 0;
  [[nodiscard]] bool is_armed() const { return loop_ != nullptr; }
  void disarm();

 protected:
  ~Timer() { disarm(); }

 private:
  friend class Loop;
  class Loop* loop_ = nullptr;
  std::size_t slot_ = 0;
  Instant at_;
};

/// Threads:  only post() may be called from another thread.
/// Lifetime: outlives everything that is armed, queued or posted on it; what is still posted is destroyed with it,
///           not run.
class Loop {
 public:
  Loop();
  virtual ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// The time at which this turn began. Costs nothing; a long turn makes it old.
  [[nodiscard]] Instant now() const { return now_; }
  /// Reads the clock, and moves now() on to it.
  virtual Instant refresh_now() = 0;

  /// Runs the closure on this loop, in a later turn. From any thread; closures of one thread keep their order.
  virtual void post(Closure closure) = 0;
  /// True on the thread that runs this loop.
  [[nodiscard]] virtual bool is_here() const = 0;

  /// Runs it once, later in this turn, not inside the caller's stack. Queued twice is run once.
  void ready(Runnable& runnable);
  /// Runs it once at the end of this turn, after everything that is ready: the place to write what has gathered.
  void flush(Runnable& runnable);

  /// Fires at `at` or as soon after as the loop gets to it. Arming again moves it.
  void arm(Timer& timer, Instant at);
  void disarm(Timer& timer);
  /// The first timer's time, or never.
  [[nodiscard]] Deadline next_timer() const;

  /// Runs until stop(). A stopped loop can run again.
  virtual void run() = 0;
  /// Ends run() after the turn. From any thread.
  virtual void stop() = 0;

  /// How deep calls have nested inside one another in this turn's stack; call/ bounds it.
  int depth = 0;

 protected:
  /// Fires what is due at now(). Bounded: what a timer arms for a passed time fires in the next turn.
  void run_timers();
  /// Runs the ready list and the flush list until both are empty.
  void run_ready();
  [[nodiscard]] bool has_ready() const;
  void set_now(Instant now) { now_ = now; }

 private:
  struct Heap;
  Own<Heap> heap_;
  RunList ready_;
  RunList flush_;
  Instant now_;
};

}  // namespace shunt::loop
