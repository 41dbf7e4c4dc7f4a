#pragma once
// Worker: keeps one place of a pool filled. It starts a process, shakes hands, feels its pulse, and when it ends says why,
// waits, and starts it again; told to stop, it lets what runs finish, asks it to end, and at the limit ends it.
//
//   starting --HELLO--> ready --end, or no pulse--> backing-off --time--> starting
//                         |
//                         +--stop()--> draining --> stopped        (ending: on the way to backing-off)

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/own.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "pool/options.h"
#include "pool/ticket_queue.h"
#include "pool/wiring.h"
#include "pool/worker_instance.h"

namespace shunt::pool {

enum class WorkerState : std::uint8_t { starting, ready, busy, draining, ending, backing_off, stopped };
/// "starting", "backing-off", …
std::string_view state_name(WorkerState state);

/// For `shunt ps` and /metrics.
struct WorkerStatus {
  std::string name;  ///< "cart#2"
  WorkerState state = WorkerState::starting;
  pid_t pid = 0;                ///< 0 while there is no process.
  std::uint32_t in_flight = 0;  ///< As the worker tells it: those too that came to it directly.
  std::uint32_t placed = 0;     ///< Of them, those that this node placed there.
  std::uint32_t capacity = 0;   ///< 0: without limit.
  std::uint64_t served = 0;     ///< Over all its lives.
  std::uint64_t restarts = 0;
  std::string software;                ///< "python 0.1.0"
  Instant since;                       ///< Of the state.
  std::optional<Instant> next_start;   ///< While backing off.
  std::string last_error;              ///< How it ended last, when it should not have; stays after the restart.
  std::vector<std::string> crash_log;  ///< The last lines that it wrote before that.
  long memory_peak_kib = 0;            ///< Of the last process that ended.
  call::Distance distance = call::Distance::unix_;
  std::string distance_why;
};

/// What a worker tells its pool, on the control loop. It may not be destroyed from inside.
class WorkerEvents {
 public:
  virtual void on_worker_change() = 0;

 protected:
  ~WorkerEvents() = default;
};

/// Threads: the control loop's. Lifetime: destruction kills what still runs.
class Worker final : private InstanceEvents {
 public:
  Worker(PoolWiring& wiring, const PoolOptions& options, std::size_t number, TicketQueue& queue, WorkerEvents& events);
  ~Worker();

  /// Starts; with a process that lives on from an earlier node if there is one.
  void start(std::optional<call::SpawnedWorker> living);
  /// Lets calls that run end until `drain`, then ends the process. stopped() is true when it is gone.
  void stop(Deadline drain);
  [[nodiscard]] bool is_stopped() const { return state_ == WorkerState::stopped; }
  [[nodiscard]] bool is_ready() const { return state_ == WorkerState::ready; }
  /// Ends in a row without ever having been steady.
  [[nodiscard]] std::size_t failures() const { return failures_; }
  [[nodiscard]] WorkerStatus status() const;
  /// nullptr unless it can be called.
  [[nodiscard]] std::shared_ptr<WorkerInstance> instance() const { return is_ready() ? instance_ : nullptr; }
  [[nodiscard]] bool is(const WorkerInstance& instance) const { return instance_.get() == &instance; }
  /// It refused: asks it for a slot.
  void want_slot();
  /// A call of it has ended while it drains.
  void on_call_ended() { changed_.set(); }

 private:
  struct GrantTimeout;
  struct WhyTimeout;
  struct LostTimeout;

  loop::Task<void> live();
  loop::Task<void> live_once();
  loop::Task<bool> begin();
  loop::Task<bool> shake_hands();
  loop::Task<void> serve();
  loop::Task<void> drain();
  loop::Task<void> end_process(int signal);
  loop::Task<void> clean_up();
  loop::Task<void> back_off();

  bool feel_pulse();
  void read_output(os::Fd pipe, OutputStream stream);
  void on_end(const os::ProcessEnd& end);
  [[nodiscard]] std::string end_text() const;
  void set_state(WorkerState state);
  void fail(std::string why);

  void on_link_opened(std::size_t loop_index, const WorkerHello& hello) override;
  void on_link_closed(std::size_t loop_index, const Status& why) override;
  void on_crossing(std::size_t loop_index, bool made) override;
  void on_link_pong(std::uint64_t number) override;
  void on_link_grant(const Status& status, std::uint64_t grant) override;
  void on_link_goaway(std::string_view reason) override;
  void on_why_asked() override;

  PoolWiring& wiring_;
  const PoolOptions& options_;
  TicketQueue& queue_;
  WorkerEvents& events_;
  WorkerIdentity identity_;

  WorkerState state_ = WorkerState::starting;
  Instant since_;
  std::uint64_t restarts_ = 0;
  std::size_t failures_ = 0;
  Duration backoff_;
  std::optional<Instant> next_start_;
  std::string last_error_;
  std::vector<std::string> crash_log_;
  std::uint64_t served_before_ = 0;
  long memory_peak_kib_ = 0;
  bool stopping_ = false;
  Deadline drain_until_;

  // Of this life.
  std::optional<call::SpawnedWorker> living_;
  std::shared_ptr<WorkerInstance> instance_;
  std::optional<os::ProcessEnd> end_;
  std::string broken_;  ///< Why it must be ended; empty: nothing is wrong.
  std::optional<Instant> ready_at_;
  std::vector<bool> settled_;  ///< By loop index: its link is open, or replaced.
  std::vector<bool> closed_;   ///< By loop index.
  std::string lost_;           ///< Why a link ended, while the news of the process's end may be on its way.
  std::string software_;
  std::uint64_t pings_ = 0;
  std::uint64_t pongs_ = 0;
  unsigned missed_ = 0;
  std::deque<std::string> lines_;

  loop::Event changed_;
  Own<GrantTimeout> grant_timeout_;
  Own<WhyTimeout> why_timeout_;
  Own<LostTimeout> lost_timeout_;
  Own<Output> out_;
  Own<Output> err_;
  loop::Scope scope_;
};

}  // namespace shunt::pool
