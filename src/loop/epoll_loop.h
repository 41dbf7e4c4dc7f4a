#pragma once
// EpollLoop: the Loop of a thread, on epoll(7) and an eventfd. Readiness is edge-triggered: who watches reads and writes
// until the system says EAGAIN.

#include <string>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "loop/loop.h"

namespace shunt::loop {

/// A descriptor to watch. Embed or derive; it does not own the descriptor.
class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  /// Told once for each edge; both may be true. An error or a hang-up is told as readable and writable.
  virtual void on_ready(bool readable, bool writable) = 0;
  [[nodiscard]] bool is_watching() const { return loop_ != nullptr; }
  /// The peer has closed its end, or the descriptor is broken: as the last event had it. While it is false, a read that
  /// returned less than there was room for has emptied the descriptor, and needs no second one that says EAGAIN.
  [[nodiscard]] bool is_hung_up() const { return is_hung_up_; }
  /// Stops watching; safe inside on_ready and when not watching.
  void unwatch();

 protected:
  ~Watch() { unwatch(); }

 private:
  friend class EpollLoop;
  class EpollLoop* loop_ = nullptr;
  int fd_ = -1;
  bool is_hung_up_ = false;
};

class EpollLoop final : public Loop, public Clock {
 public:
  struct Options {
    std::string name = "loop";                           ///< The thread's name in logs, at most 15 bytes.
    Duration slow_turn = std::chrono::milliseconds(50);  ///< A longer turn is logged. Zero: never.
  };
  /// Errors: resource_exhausted when the system gives no descriptor.
  static Result<Own<EpollLoop>> create(Options options);
  ~EpollLoop() override;

  Instant now() const override { return Loop::now(); }
  Instant refresh_now() override;
  void post(Closure closure) override;
  bool is_here() const override;
  void run() override;
  void stop() override;

  /// Begins to watch `fd` for reading and writing. The descriptor stays the caller's and must stay open while watched.
  Result<void> watch(Watch& watch, int fd);

  /// One turn that waits at most `wait` (negative: as long as it takes). For an owner that has its own loop: it
  /// polls fd() and calls turn(0). Returns false after stop().
  bool turn(Duration wait);
  /// The end of a turn alone: runs what is ready and writes what has gathered, without asking the system for more.
  void finish_turn() { run_ready(); }
  /// Readable when turn(0) would do something.
  [[nodiscard]] int fd() const;
  /// How long fd() may be slept on before a timer is due.
  [[nodiscard]] Duration idle_for();

  /// What the loop is doing, for the log of a slow turn; a literal or a name that outlives the turn.
  void set_activity(std::string_view activity);

 private:
  struct State;
  explicit EpollLoop(Own<State> state);
  std::vector<Watch*>& pending();
  friend class Watch;
  Own<State> state_;
};

}  // namespace shunt::loop
