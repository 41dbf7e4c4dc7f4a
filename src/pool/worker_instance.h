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
#include "call/load_page.h"
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

/// Makes a direct link on its loop; nullptr when it can't.
using MakeDirect = std::move_only_function<Own<WorkerLink>(WorkerLinkEvents& events)>;
using DirectEnded = std::move_only_function<void(Status why)>;

/// Owners: its Worker, routing snapshots, the pool's queue, and closures on their way to a loop.
class WorkerInstance final : public call::Instance, public std::enable_shared_from_this<WorkerInstance> {
 public:
  WorkerInstance(const PoolWiring& wiring, WorkerIdentity identity, InstanceEvents& events);
  ~WorkerInstance() override;

  call::Link* link(std::size_t loop_index) override;
  [[nodiscard]] call::Distance distance() const override {
    return nearer_.load(std::memory_order_relaxed) > 0 ? call::Distance::shm : call::Distance::unix_;
  }
  [[nodiscard]] std::string why() const override;
  [[nodiscard]] std::string name() const override { return name_; }
  std::uint64_t take_grant() override;

  // --- For the keeper, on the control loop ---
  /// Makes the links: the first descriptor's is the control loop's, the others follow the loops in their order.
  void make_links(std::vector<os::Fd> sockets);
  /// Replaces the closed link of that loop by a way over the control loop.
  void make_crossing(std::size_t loop_index);
  /// Opens another way from that loop, which link() answers while it is open; `nearer`: it is shared memory. `make` is
  /// called on the loop; `ended` on the control loop, once, when it has closed or could not be made.
  void make_direct(std::size_t loop_index, bool nearer, MakeDirect make, DirectEnded ended);
  /// Closes it; `ended` is told. Calls on it end as `why`.
  void close_direct(std::size_t loop_index, Status why);
  /// What why() says from now on.
  void set_why(std::string why);
  /// Where the worker tells its load by itself.
  void set_load(std::shared_ptr<const call::LoadView> load) { load_ = std::move(load); }
  /// nullptr: it tells none.
  [[nodiscard]] const call::LoadView* load() const { return load_.get(); }
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
  class DirectLink;
  friend class LoopLink;
  friend class DirectLink;
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

  std::atomic<int> nearer_{0};                  ///< Loops whose calls go over shared memory now.
  std::shared_ptr<const call::LoadView> load_;  ///< Owners: this and the broker. The control loop's.

  mutable std::mutex mutex_;
  std::string distance_why_;          // GUARDED_BY(mutex_)
  std::optional<Status> why_;         // GUARDED_BY(mutex_)
  std::vector<Asker> askers_;         // GUARDED_BY(mutex_)
  std::deque<std::uint64_t> grants_;  // GUARDED_BY(mutex_)
  std::atomic<std::size_t> grants_count_{0};
};

}  // namespace shunt::pool
