#pragma once
// Instance: one place where a service can be called, as routing sees it, and Admission: who says when there is room.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "base/time.h"
#include "call/distance.h"
#include "call/link.h"
#include "loop/loop.h"

namespace shunt::call {

/// Threads: the counters are for any loop; link() answers for the loop that it is asked on.
/// Owners: routing snapshots, and whoever hosts it (a pool, a library host).
class Instance {
 public:
  virtual ~Instance() = default;

  /// The link to it from the serving loop of that index; nullptr when there is none now (starting, dead).
  virtual Link* link(std::size_t loop_index) = 0;
  /// Its Place changes only together with a new routing.
  [[nodiscard]] virtual Distance distance() const = 0;
  /// For people: why it is at that distance and no nearer; empty where there is nothing to say.
  [[nodiscard]] virtual std::string why() const { return {}; }
  /// For people: "prices/0", "cart#3 (pid 812)".
  [[nodiscard]] virtual std::string name() const = 0;
  /// The number under which the instance reserved a slot, for Open::grant; 0: none. Asked once for each granted ticket.
  virtual std::uint64_t take_grant() { return 0; }
  /// Whether calls that find no room here wait for it in the route's Admission. What is elsewhere has a queue of its own.
  [[nodiscard]] virtual bool is_pooled() const { return distance() != Distance::grpc; }

  /// Whether a call there may be refused, or lost with its link: what it said is then kept, so that it can move.
  [[nodiscard]] virtual bool may_be_lost() const { return distance() != Distance::local; }

  /// Calls that run there now, from all loops of this node.
  std::atomic<std::uint32_t> in_flight{0};
  /// Those of them that are of blocking commands.
  std::atomic<std::uint32_t> blocking_in_flight{0};
  /// Calls at once; 0: without limit (a module on the serving loops).
  std::atomic<std::uint32_t> capacity{0};
  /// Takes no new calls: starting, draining or gone.
  std::atomic<bool> closed{false};
  std::atomic<std::uint64_t> served{0};

  /// Takes a slot if there is room for such a call. Pair with leave().
  bool try_enter(bool blocking);
  void leave(bool blocking);
};

/// The pool's queue of tickets: whoever found no room waits here, never its payload.
class Admission {
 public:
  /// What a ticket comes to. Called once, on the loop that asked.
  using Granted = std::move_only_function<void(Result<std::shared_ptr<Instance>>)>;

  virtual ~Admission() = default;
  /// Queues a ticket, or answers resource_exhausted at once when the queue is full. A granted instance has a slot taken
  /// (try_enter) for this call. Returns the ticket's number, for abandon(); 0 when `granted` was called before it returned.
  /// From any serving loop.
  virtual std::uint64_t wait(loop::Loop& loop, bool blocking, Deadline deadline, Granted granted) = 0;
  /// The same for a call that goes as well to an instance which is not the queue's own: room_at().
  virtual std::uint64_t wait_anywhere(loop::Loop& loop, bool blocking, Deadline deadline, Granted granted) {
    return wait(loop, blocking, deadline, std::move(granted));
  }
  /// An instance which is not the queue's own may have room: those who wait longest, and may, go there. From any loop.
  virtual void room_at(const std::shared_ptr<Instance>& instance) { (void)instance; }
  /// The caller gave up; `granted` is not called any more. On the loop that asked.
  virtual void abandon(std::uint64_t ticket) = 0;
  /// The instance refused a call although our count said that there was room: it gets no more calls until it says that
  /// it has a slot. From any loop, before leave().
  virtual void refused(Instance& instance) { (void)instance; }
  /// A slot came free: from any loop, after leave().
  virtual void freed(Instance& instance) = 0;
  /// True while tickets wait: newcomers must queue behind them.
  [[nodiscard]] virtual bool has_waiters() const = 0;
};

}  // namespace shunt::call
