#pragma once
// WorkerInstance: one life of one worker, as routing sees it: a link from every loop to the same process. A worker that is
// started again is a new instance.
//
// Each link belongs to its loop and is touched there only. What the links tell is handed on to the worker's keeper (Worker)
// on the control loop; the keeper may be gone before the last loop lets go of the instance.

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "call/instance.h"
#include "pool/options.h"
#include "pool/wiring.h"

namespace shunt::pool {

/// What a keeper hears, on the control loop.
class InstanceEvents {
 public:
  virtual void on_link_opened(std::size_t loop_index, const WorkerHello& hello) = 0;
  virtual void on_link_closed(std::size_t loop_index, const Status& why) = 0;
  /// A crossing was made for a link that was closed at once (true), or can't be.
  virtual void on_crossing(std::size_t loop_index, bool made) = 0;
  virtual void on_link_pong(std::uint64_t number) = 0;
  virtual void on_link_grant(const Status& status, std::uint64_t grant) = 0;
  virtual void on_link_goaway(std::string_view reason) = 0;
  /// A link wants to know why it broke: answer_why() within a short time.
  virtual void on_why_asked() = 0;

 protected:
  ~InstanceEvents() = default;
};

/// Owners: its Worker, routing snapshots, the pool's queue, and closures on their way to a loop.
class WorkerInstance final : public call::Instance, public std::enable_shared_from_this<WorkerInstance> {
 public:
  WorkerInstance(const PoolWiring& wiring, WorkerIdentity identity, InstanceEvents& events);
  ~WorkerInstance() override;

  call::Link* link(std::size_t loop_index) override;
  [[nodiscard]] call::Distance distance() const override { return call::Distance::unix_; }
  [[nodiscard]] std::string name() const override { return name_; }
  std::uint64_t take_grant() override;

  // --- For the keeper, on the control loop ---
  /// Makes the links: the first descriptor's is the control loop's, the others follow the loops in their order.
  void make_links(std::vector<os::Fd> sockets);
  /// Replaces the closed link of that loop by a way over the control loop.
  void make_crossing(std::size_t loop_index);
  /// The control loop's link; nullptr when it has ended.
  WorkerLink* control_link();
  /// What the worker's end was: what asks why is told, from now on at once.
  void answer_why(Status why);
  /// Tells whoever asks so far; the next one asks anew.
  void answer_why_for_now(const Status& why);
  /// Ends all links, each on its loop. Nobody is told any more.
  void retire(Status why);
  [[nodiscard]] const WorkerIdentity& identity() const { return identity_; }

  // --- For the queue, from any loop ---
  void add_grant(std::uint64_t grant);
  /// Takes a slot that the worker reserved beyond our count.
  void force_enter(bool blocking);

 private:
  class LoopLink;
  friend class LoopLink;
  /// Runs on the control loop with the keeper, if there still is one.
  void tell(std::move_only_function<void(InstanceEvents&)> what);
  void ask_why(std::size_t loop_index, WorkerLinkEvents::Told told);

  struct Asker {
    std::size_t loop_index;
    WorkerLinkEvents::Told told;
  };
  static void answer(const std::vector<loop::Loop*>& loops, Asker asker, const Status& why);

  std::vector<loop::Loop*> loops_;
  LinkFactory& factory_;
  WorkerIdentity identity_;
  std::string name_;
  InstanceEvents* events_;  ///< The control loop's; nullptr after retire().
  std::vector<std::shared_ptr<LoopLink>>
      links_;  ///< By loop index. Owners: this, and closures on their way to its loop.

  std::mutex mutex_;
  std::optional<Status> why_;         // GUARDED_BY(mutex_)
  std::vector<Asker> askers_;         // GUARDED_BY(mutex_)
  std::deque<std::uint64_t> grants_;  // GUARDED_BY(mutex_)
  std::atomic<std::size_t> grants_count_{0};
};

}  // namespace shunt::pool
