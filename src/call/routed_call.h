#pragma once
// RoutedCall: one call on its way through the router. It picks the instance, waits for a slot where there is none, moves
// a call that was REFUSED, retries where the effect permits, and counts how it ended. What it adds to a call that goes
// straight to a module is one object from the pool of frames and two virtual calls.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "call/caller.h"
#include "call/chooser.h"
#include "call/path_stats.h"
#include "call/router.h"
#include "loop/loop.h"
#include "loop/task.h"

namespace shunt::call {

/// Threads: its loop. Lifetime: until the caller releases it and nothing of it is on the stack.
class RoutedCall final : public Outgoing, private CallerEvents, private loop::Timer, private loop::Runnable {
 public:
  /// What all calls of a router share.
  struct Context {
    loop::Loop& loop;
    std::size_t loop_index;
    Random& random;
    /// What is in force: a call that must move goes by it, not by the one that it began with.
    std::shared_ptr<const Routing> routing = std::make_shared<Routing>();
    /// What is measured of paths. Owners: this, the house and routing snapshots.
    std::shared_ptr<PathStats> paths = std::make_shared<PathStats>();
    PathCache path_cache{};
    double retry_budget = 10;  ///< Each call adds a tenth, each retry takes one: at most a tenth of the load again.
  };

  /// `caller`: PathStats::caller() of who asks.
  RoutedCall(Context& context, std::shared_ptr<const Route> route, const CommandDefinition& command,
             CommandStats& stats, const std::string* caller, CallerEvents& events);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void begin(const CallStart& start, Opening opening);

  Sent send(Message message, Last last) override;
  void half_close() override;
  void consumed(std::size_t cost) override;
  void cancel(Cancel reason) override;
  void release() override;

 private:
  // What is needed to begin again elsewhere; made when a call waits, or goes to an instance that may refuse or die.
  struct Saved {
    std::string service;
    std::string command;
    Metadata metadata;
    Principal principal;
    std::vector<Message> messages;  // What the caller sent so far; empty once nothing can be moved any more.
    std::size_t bytes = 0;
    std::size_t given = 0;  // How many of them the current link has taken.
    bool last = false;
    bool half_close_given = false;
    std::vector<std::shared_ptr<const Route>>
        left;  // Routes that it has moved on from: links of theirs may be on the stack.
  };
  struct Keep {
    explicit Keep(RoutedCall& call) : kept(call) { kept.refs_++; }
    ~Keep() { kept.unref(); }
    Keep(const Keep&) = delete;
    Keep& operator=(const Keep&) = delete;
    RoutedCall& kept;
  };

  void on_metadata(Metadata metadata) override;
  void on_message(Message message) override;
  void on_credit() override;
  void on_end(Status status, Metadata trailers) override;
  bool wants_answer() const override { return events_ != nullptr && events_->wants_answer(); }
  void on_answer(Message message) override;
  void fire() override;  // The deadline passed while the call waited for a slot.
  void run() override;   // Opens outside a stack that was too deep.

  void dispatch(std::optional<Status> otherwise = std::nullopt);
  void save();
  void open_entered(std::size_t index);
  Ask ask() const;
  std::shared_ptr<const Route> newer_route() const;
  void move_on(Status why);
  void wait_for_slot();
  void granted(std::shared_ptr<Instance> instance);
  void open_at(std::shared_ptr<Instance> instance, std::uint64_t grant);
  void pump();
  void accepted();
  bool may_move(const Status& status) const;
  void leave();
  void end(Status status, Metadata trailers);
  void count_end(Code code);
  void record_path(Instant now, bool ok) {
    if (auto* path = std::exchange(path_, nullptr)) path->record(now - opened_, ok);
  }
  Status explain(Status status) const;
  void unref() {
    if (--refs_ == 0) delete this;
  }
  ~RoutedCall();

  Context& context_;
  std::shared_ptr<const Route> route_;
  const CommandDefinition& command_;
  CommandStats& stats_;
  const std::string* caller_;
  PathShard* path_ = nullptr;  // Where the instance's calls are measured, from open_at() to its end.
  CallerEvents* events_;
  Own<Saved> saved_;
  std::shared_ptr<Instance> instance_;
  OutgoingHandle call_;
  Opening opening_;  // Until it is opened.
  Deadline deadline_;
  Instant began_;
  Instant opened_;
  const Instance* refused_by_ = nullptr;  // Only compared.
  std::uint64_t ticket_ = 0;
  std::size_t owed_ = 0;  // Credit for the callee, while there is no handle to give it by.
  Duration waited_{0};
  const CallStart* start_ = nullptr;  // During begin() only.
  int refs_ = 1;
  int attempts_ = 0;
  std::uint8_t hops_ = 0;
  Distance farthest_ = Distance::grpc;
  bool waiting_ = false;
  bool ended_ = false;
  bool answered_ = false;  // Something of an answer has reached the caller.
  bool accepted_ = false;  // The instance has taken the call up: it can't be refused any more.
  bool entered_ = false;
  bool held_ = false;  // The caller waits for on_credit().
};

}  // namespace shunt::call
