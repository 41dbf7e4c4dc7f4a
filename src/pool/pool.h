#pragma once
// Pool: the workers of one service on one node. All of engine.pool-limit are started at once and each is kept running;
// calls that find no room wait in its queue (TicketQueue). A pool does not know manifests, links or routing tables.

#include <memory>
#include <string>
#include <vector>

#include "call/instance.h"
#include "loop/event.h"
#include "loop/task.h"
#include "pool/options.h"
#include "pool/ticket_queue.h"
#include "pool/wiring.h"
#include "pool/worker.h"

namespace shunt::pool {

/// Threads:  the control loop's; the admission is for all loops.
/// Lifetime: destruction kills what still runs; drain() first. The admission may live on in routing snapshots: it then
///           answers that the pool is gone.
class Pool final : private WorkerEvents, private QueueEvents {
 public:
  Pool(PoolWiring wiring, PoolOptions options);
  ~Pool();

  /// Starts all workers. Takes those of its key out of `living`, as many as it has places for; the rest is the caller's
  /// to kill.
  void start(std::vector<call::SpawnedWorker>& living);

  /// For the route of its service: instances that can be called now, and why there are none.
  [[nodiscard]] std::vector<std::shared_ptr<call::Instance>> instances() const;
  [[nodiscard]] std::shared_ptr<call::Admission> admission() const { return queue_; }
  [[nodiscard]] std::string why_absent() const;

  [[nodiscard]] bool is_ready() const;     ///< At least one worker can be called.
  [[nodiscard]] bool is_complete() const;  ///< Every one can.
  [[nodiscard]] bool is_failing() const;   ///< Every worker keeps ending: S1009.
  [[nodiscard]] std::vector<WorkerStatus> status() const;
  [[nodiscard]] QueueCounts queue() const { return queue_->counts(); }
  [[nodiscard]] const PoolOptions& options() const { return options_; }

  /// Another pool, or a module, or nobody has taken its place, and every loop's routing says so: who waits in the queue is
  /// answered `elsewhere`, and goes where the routing leads now.
  void pass_on();
  /// Lets calls that wait or run end, until the deadline; then ends every worker (SIGTERM, at the termination-timeout
  /// SIGKILL). Ends when all are gone. The caller has stopped new calls before. Once.
  loop::Task<void> drain(Deadline deadline);
  /// Gives a drain that is under way an earlier deadline.
  void hurry(Deadline deadline);

 private:
  void on_worker_change() override;
  void on_slot_wanted(WorkerInstance& instance) override;
  void on_call_ended() override;
  [[nodiscard]] bool is_idle() const;

  PoolWiring wiring_;
  const PoolOptions options_;
  std::shared_ptr<TicketQueue> queue_;  ///< Owners: this, routing snapshots, closures on their way to a loop.
  bool draining_ = false;
  bool stopping_ = false;  ///< The workers were told to.
  Deadline drain_until_;
  loop::Event changed_;
  std::vector<Own<Worker>> workers_;
};

}  // namespace shunt::pool
