#pragma once
// EpollLoop: the Loop of a thread, on epoll(7) and an eventfd. Readiness is edge-triggered: who watches reads and writes
// until the system says EAGAIN.
//
// Beside descriptors it looks at Pollers: memory where something may appear that no descriptor tells of, such as a ring
// that another process fills. Those that had something lately are looked at in each turn and, before the loop sleeps, again
// and again for a short time (spin.h). When it sleeps all the same, each of them is armed, so that its peer rings a
// descriptor, and is forgotten until then: a thousand idle ones cost nothing. While pollers keep the loop busy it asks the
// system for descriptors only every 20 us.

#include <string>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "loop/loop.h"
#include "loop/spin.h"

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
  /// Whether to be told that it has become writable, for one that is watched for reading: an edge is told for what is so now.
  void want_writable(bool wanted);
  [[nodiscard]] bool wants_writable() const { return wants_writable_; }
  /// Stops watching; safe inside on_ready and when not watching.
  void unwatch();

 protected:
  ~Watch() { unwatch(); }

 private:
  friend class EpollLoop;
  class EpollLoop* loop_ = nullptr;
  int fd_ = -1;
  bool is_hung_up_ = false;
  bool wants_writable_ = false;
};

/// Something to look at that has no descriptor. Embed or derive. Threads: the loop's.
class Poller {
 public:
  Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  /// True when poll() has something to do. A load and a comparison: it is called in a tight loop.
  [[nodiscard]] virtual bool peek() const = 0;
  /// Does what there is to do, bounded; once a turn. True when there was something.
  virtual bool poll() = 0;
  /// The loop means to forget it: from now on whoever brings something must ring. A fence of the loop follows, for all of
  /// them, then rest().
  virtual void arm() = 0;
  /// After the fence. False: something came meanwhile, it stays polled and disarms itself. True: it rests until its owner
  /// gives it to EpollLoop::poll_more() again.
  virtual bool rest() = 0;
  [[nodiscard]] bool is_polled() const { return loop_ != nullptr; }
  /// Stops polling; safe inside poll() and when not polled.
  void stop_polling();

 protected:
  ~Poller() { stop_polling(); }

 private:
  friend class EpollLoop;
  class EpollLoop* loop_ = nullptr;
  std::size_t slot_ = 0;
  bool was_busy_ = false;
};

enum class Interest : std::uint8_t { both, reading };

class EpollLoop final : public Loop, public Clock {
 public:
  struct Options {
    std::string name = "loop";                           ///< The thread's name in logs, at most 15 bytes.
    Duration slow_turn = std::chrono::milliseconds(50);  ///< A longer turn is logged. Zero: never.
    SpinOptions spin = {};
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
  /// Interest::reading: for writing only while want_writable() says so. A unix socket tells that it is writable whenever its
  /// peer has read something: a wake for nothing for whoever is not waiting for that, and it costs the peer its time too.
  Result<void> watch(Watch& watch, int fd, Interest interest = Interest::both);

  /// Looks at `poller` in each turn from now on, until it rests. Twice is once.
  void poll_more(Poller& poller);
  /// Whom we wake may have to run where we do: better to wake it when there is nothing left to do here. As last seen.
  [[nodiscard]] bool shares_core() const;
  /// How many pollers are looked at now.
  [[nodiscard]] std::size_t polled() const;

  /// One turn that waits at most `wait` (negative: as long as it takes). For an owner that has its own loop: it
  /// polls fd() and calls turn(0). Returns false after stop().
  bool turn(Duration wait);
  /// The end of a turn alone: runs what is ready and writes what has gathered, without asking the system for more.
  void finish_turn() { run_ready(); }
  /// Readable when turn(0) would do something, if idle_for() was asked since the last turn and was not zero.
  [[nodiscard]] int fd() const;
  /// How long fd() may be slept on before a timer is due. Sees to it that fd() tells of everything else.
  [[nodiscard]] Duration idle_for();

  /// Memory to read into, one for all who read on this loop: take it, lend out what was read, give it back. Who takes it
  /// while it is taken gets another.
  static constexpr std::size_t scratch_bytes = 64 << 10;
  std::string take_scratch();
  void give_scratch(std::string scratch);

  /// What the loop is doing, for the log of a slow turn; a literal or a name that outlives the turn.
  void set_activity(std::string_view activity);

 private:
  struct State;
  explicit EpollLoop(Own<State> state);
  std::vector<Watch*>& pending();
  /// Looks at the pollers, until `wake_at` at the latest (0: once) and for as long as that pays; then lets them rest. True
  /// when one has something, or somebody posted: the turn does not sleep.
  bool spin(Instant wake_at);
  /// Arms pollers, and lets those rest that have nothing; quiet_ones: that had nothing since the last time either. True
  /// when none has anything.
  enum class Rest : bool { quiet_ones, all };
  bool rest_pollers(Rest which);
  void drop(Poller& poller);
  friend class Watch;
  friend class Poller;
  Own<State> state_;
};

}  // namespace shunt::loop
