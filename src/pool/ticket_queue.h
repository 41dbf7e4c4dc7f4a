#pragma once
// TicketQueue: who may call next. Callers that find no room leave a ticket (never their payload); a slot that comes free goes
// to the first. Up to a limit; beyond it the answer is resource_exhausted at once. First come, first served, strictly: a
// later ticket never passes an earlier one, whatever it asks for; only a place that is not the pool's own (another node's)
// goes to the first that may take it.

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "call/instance.h"
#include "pool/worker_instance.h"

namespace shunt::pool {

struct QueueCounts {
  std::size_t workers = 0;  ///< That are open, or refused and are asked for a slot.
  std::size_t busy = 0;
  std::size_t queued = 0;
  std::size_t limit = 0;
  std::uint64_t refused = 0;  ///< Calls answered resource_exhausted since the start.
};

/// What the queue tells the pool, on the control loop.
class QueueEvents {
 public:
  /// That instance refused: ask it for a slot.
  virtual void on_slot_wanted(WorkerInstance& instance) = 0;
  /// A call or a wait has ended while the pool asked to be told (tell_ends).
  virtual void on_call_ended() = 0;

 protected:
  ~QueueEvents() = default;
};

/// Threads:  wait, abandon, freed, refused, has_waiters from any loop; the rest from the control loop. One mutex, held for
///           a few steps and never while anything of others runs; freed() takes it only when a ticket waits.
/// Owners:   the pool, routing snapshots, and closures on their way to a loop.
class TicketQueue final : public call::Admission, public std::enable_shared_from_this<TicketQueue> {
 public:
  TicketQueue(loop::Loop& control, std::string service, std::size_t limit, QueueEvents& events);
  ~TicketQueue() override;

  std::uint64_t wait(loop::Loop& loop, bool blocking, Deadline deadline, Granted granted) override {
    return wait(loop, blocking, deadline, std::move(granted), Reach::own);
  }
  std::uint64_t wait_anywhere(loop::Loop& loop, bool blocking, Deadline deadline, Granted granted) override {
    return wait(loop, blocking, deadline, std::move(granted), Reach::anywhere);
  }
  void room_at(const std::shared_ptr<call::Instance>& instance) override;
  void abandon(std::uint64_t ticket) override;
  void refused(call::Instance& instance) override;
  void freed(call::Instance& instance) override;
  [[nodiscard]] bool has_waiters() const override { return waiting_count_.load(std::memory_order_seq_cst) > 0; }

  /// Opens the instance for calls.
  void add(std::shared_ptr<WorkerInstance> instance);
  /// It takes no new calls; those that run go on.
  void close(WorkerInstance& instance);
  void remove(WorkerInstance& instance);
  /// A worker that had refused gave a slot: 0 when it only has room again.
  void granted(WorkerInstance& instance, std::uint64_t grant);
  /// While set, and no instance is open, calls are answered with it instead of waiting; those that wait are, now.
  void set_absent(std::optional<Status> why);
  /// Nothing is taken any more, what waits is answered; calls that run go on.
  void pass_on(Status why);
  /// Nothing is taken any more; what waits is answered. The events are not told any more.
  void end(Status why);
  /// Whether on_call_ended() is told of each end.
  void tell_ends(bool on) { tell_ends_.store(on, std::memory_order_seq_cst); }
  [[nodiscard]] QueueCounts counts() const;

 private:
  enum class Reach : std::uint8_t { own, anywhere };
  struct Ticket {
    std::uint64_t number;
    loop::Loop* loop;
    bool blocking;
    Deadline deadline;
    Granted granted;
    Reach reach;
  };
  /// A ticket that has its answer, on its way to its loop.
  struct Delivery {
    Ticket ticket;
    Result<std::shared_ptr<call::Instance>> result;
  };
  struct Entry {
    std::shared_ptr<WorkerInstance> instance;
    bool paused = false;  ///< It refused, and has not granted since.
    bool closing = false;
  };
  struct Expiry;
  using Ready = std::vector<std::pair<std::uint64_t, loop::Loop*>>;

  std::uint64_t wait(loop::Loop& loop, bool blocking, Deadline deadline, Granted granted, Reach reach);

  // With the mutex held:
  std::shared_ptr<WorkerInstance> enter(bool blocking);
  void match(Ready& ready);
  void settle(std::list<Ticket>::iterator ticket, Result<std::shared_ptr<call::Instance>> result, Ready& ready);
  Entry* entry_of(const call::Instance& instance);
  void apply(Entry& entry);
  [[nodiscard]] QueueCounts count() const;
  [[nodiscard]] std::string describe(const QueueCounts& counts) const;
  Status full();

  // Without it:
  void hand_over(const Ready& ready);
  void tell_end();
  void deliver(std::uint64_t number);
  void expire();
  void arm_expiry();

  loop::Loop& control_;
  const std::string service_;
  const std::size_t limit_;
  QueueEvents* events_;  ///< The control loop's; nullptr after end().
  Own<Expiry> expiry_;   ///< The control loop's; gone after end().
  std::atomic<std::size_t> waiting_count_{0};
  std::atomic<bool> tell_ends_{false};

  mutable std::mutex mutex_;
  // GUARDED_BY(mutex_) from here on:
  std::vector<Entry> entries_;
  std::list<Ticket> waiting_;
  std::unordered_map<std::uint64_t, std::list<Ticket>::iterator> by_number_;
  std::unordered_map<std::uint64_t, Delivery> deliveries_;
  std::uint64_t next_number_ = 1;
  std::uint64_t refusals_ = 0;
  std::optional<Status> absent_;
  std::optional<Status> ended_;
  Deadline armed_;  ///< For when the expiry is, or is about to be, armed.
};

}  // namespace shunt::pool
