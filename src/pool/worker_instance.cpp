#include "pool/worker_instance.h"

#include <utility>

namespace shunt::pool {

/// One loop's link, and its ear. Touched on that loop only, except for its making.
class WorkerInstance::LoopLink final : public WorkerLinkEvents {
 public:
  LoopLink(std::weak_ptr<WorkerInstance> instance, std::size_t index) : instance_(std::move(instance)), index_(index) {}

  void on_opened(const WorkerHello& hello) override {
    open_ = true;
    if (auto instance = instance_.lock()) {
      instance->tell([index = index_, hello](InstanceEvents& events) { events.on_link_opened(index, hello); });
    }
  }
  void on_closed(const Status& why) override {
    open_ = false;
    if (auto instance = instance_.lock()) {
      // Not from inside its own event, so it goes in a later turn.
      instance->loops_[index_]->post([self = instance->links_[index_]] { self->link_ = nullptr; });
      instance->tell([index = index_, why](InstanceEvents& events) { events.on_link_closed(index, why); });
    }
  }
  void on_pong(std::uint64_t number) override {
    if (auto instance = instance_.lock()) {
      instance->tell([number](InstanceEvents& events) { events.on_link_pong(number); });
    }
  }
  void on_grant(std::uint64_t, const Status& status, std::uint64_t grant) override {
    if (auto instance = instance_.lock()) {
      instance->tell([status, grant](InstanceEvents& events) { events.on_link_grant(status, grant); });
    }
  }
  void on_goaway(std::string_view reason) override {
    if (auto instance = instance_.lock()) {
      instance->tell([text = std::string(reason)](InstanceEvents& events) { events.on_link_goaway(text); });
    }
  }
  void ask_why(Told told) override {
    if (auto instance = instance_.lock()) {
      instance->ask_why(index_, std::move(told));
    } else {
      told(Status(Code::unavailable, "S1008", "its worker is gone").with_retry(Retry::reconnect));
    }
  }

  call::Link* link() {
    if (direct_) [[likely]] {
      if (call::Link* nearer = direct_link()) return nearer;
    }
    if (crossing_) return crossing_.get();
    return open_ && link_ ? &link_->link() : nullptr;
  }

  std::weak_ptr<WorkerInstance> instance_;
  std::size_t index_;
  bool open_ = false;
  bool retired_ = false;
  Own<WorkerLink> link_;
  Own<call::Link> crossing_;
  std::shared_ptr<DirectLink> direct_;  ///< Owners: this, and closures on their way to its loop.

 private:
  call::Link* direct_link();
};

/// A loop's second way, and its ear.
class WorkerInstance::DirectLink final : public WorkerLinkEvents {
 public:
  DirectLink(std::weak_ptr<WorkerInstance> instance, std::size_t index, bool nearer, DirectEnded ended)
      : instance_(std::move(instance)), index_(index), nearer_(nearer), ended_(std::move(ended)) {}

  void on_opened(const WorkerHello&) override {
    auto instance = instance_.lock();
    if (instance == nullptr || std::exchange(open_, true)) return;
    if (nearer_) instance->nearer_.fetch_add(1, std::memory_order_relaxed);
  }
  void on_closed(const Status& why) override { end(why); }
  void on_pong(std::uint64_t) override {}
  void on_grant(std::uint64_t, const Status&, std::uint64_t) override {}
  void on_goaway(std::string_view) override {}
  void ask_why(Told told) override {
    if (auto instance = instance_.lock()) {
      instance->ask_why(index_, std::move(told));
    } else {
      told(Status(Code::unavailable, "S1008", "its worker is gone").with_retry(Retry::reconnect));
    }
  }
  void end(const Status& why) {
    auto instance = instance_.lock();
    if (instance == nullptr) return;
    if (std::exchange(open_, false) && nearer_) instance->nearer_.fetch_sub(1, std::memory_order_relaxed);
    // Not from inside its own event.
    instance->loops_[index_]->post([self = instance->links_[index_], direct = instance->links_[index_]->direct_] {
      if (self->direct_ == direct) self->direct_ = nullptr;
    });
    if (ended_ != nullptr) {
      instance->loops_.back()->post([told = std::exchange(ended_, nullptr), why]() mutable { told(why); });
    }
  }
  call::Link* link() { return open_ ? &link_->link() : nullptr; }

  std::weak_ptr<WorkerInstance> instance_;
  std::size_t index_;
  bool nearer_;
  bool open_ = false;
  DirectEnded ended_;
  Own<WorkerLink> link_;
};

call::Link* WorkerInstance::LoopLink::direct_link() { return direct_->link(); }

WorkerInstance::WorkerInstance(const PoolWiring& wiring, WorkerIdentity identity, InstanceEvents& events)
    : loops_(wiring.loops),
      factory_(wiring.links),
      identity_(std::move(identity)),
      name_(identity_.to_string().substr(7)),
      events_(&events) {
  // Until the queue opens it.
  closed.store(true, std::memory_order_release);
}

WorkerInstance::~WorkerInstance() = default;

call::Link* WorkerInstance::link(std::size_t loop_index) {
  return loop_index < links_.size() && links_[loop_index] ? links_[loop_index]->link() : nullptr;
}

std::uint64_t WorkerInstance::take_grant() {
  if (grants_count_.load(std::memory_order_acquire) == 0) return 0;
  std::lock_guard lock(mutex_);
  if (grants_.empty()) return 0;
  std::uint64_t grant = grants_.front();
  grants_.pop_front();
  grants_count_.store(grants_.size(), std::memory_order_release);
  return grant;
}

void WorkerInstance::add_grant(std::uint64_t grant) {
  std::lock_guard lock(mutex_);
  grants_.push_back(grant);
  grants_count_.store(grants_.size(), std::memory_order_release);
}

void WorkerInstance::force_enter(bool blocking) {
  in_flight.fetch_add(1, std::memory_order_relaxed);
  if (blocking) blocking_in_flight.fetch_add(1, std::memory_order_relaxed);
}

void WorkerInstance::make_links(std::vector<os::Fd> sockets) {
  std::size_t control = loops_.size() - 1;
  for (std::size_t index = 0; index < loops_.size(); ++index) {
    links_.push_back(std::make_shared<LoopLink>(weak_from_this(), index));
  }
  auto make = [this](std::size_t index, os::Fd socket) {
    if (links_[index]->retired_) return;
    links_[index]->link_ = factory_.make_link(index, std::move(socket), identity_, *links_[index]);
  };
  for (std::size_t index = 0; index < control; ++index) {
    if (index + 1 >= sockets.size()) break;
    loops_[index]->post([self = shared_from_this(), make, index, socket = std::move(sockets[index + 1])]() mutable {
      make(index, std::move(socket));
    });
  }
  if (!sockets.empty()) make(control, std::move(sockets[0]));
}

void WorkerInstance::make_crossing(std::size_t loop_index) {
  loops_[loop_index]->post([self = shared_from_this(), loop_index] {
    LoopLink& at = *self->links_[loop_index];
    if (at.retired_) return;
    // Weak: calls on their way may outlive the instance.
    at.crossing_ = self->factory_.make_crossing(
        loop_index, [weak = std::weak_ptr<WorkerInstance>(self), control = self->loops_.size() - 1]() -> call::Link* {
          auto instance = weak.lock();
          return instance ? instance->link(control) : nullptr;
        });
    bool made = at.crossing_ != nullptr;
    self->tell([loop_index, made](InstanceEvents& events) { events.on_crossing(loop_index, made); });
  });
}

void WorkerInstance::make_direct(std::size_t loop_index, bool nearer, MakeDirect make, DirectEnded ended) {
  if (loop_index >= links_.size()) return;
  loops_[loop_index]->post(
      [self = shared_from_this(), loop_index, nearer, make = std::move(make), ended = std::move(ended)]() mutable {
        LoopLink& at = *self->links_[loop_index];
        auto direct = std::make_shared<DirectLink>(self, loop_index, nearer, std::move(ended));
        if (at.retired_ || at.direct_ != nullptr) return;
        direct->link_ = make(*direct);
        at.direct_ = direct;
        if (direct->link_ == nullptr) direct->end(Status(Code::unavailable, "its link could not be made"));
      });
}

void WorkerInstance::close_direct(std::size_t loop_index, Status why) {
  if (loop_index >= links_.size()) return;
  loops_[loop_index]->post([self = shared_from_this(), loop_index, why = std::move(why)] {
    LoopLink& at = *self->links_[loop_index];
    if (at.direct_ != nullptr && at.direct_->link_ != nullptr) at.direct_->link_->close(why);
  });
}

void WorkerInstance::set_why(std::string why) {
  std::lock_guard lock(mutex_);
  distance_why_ = std::move(why);
}

std::string WorkerInstance::why() const {
  std::lock_guard lock(mutex_);
  return distance_why_;
}

WorkerLink* WorkerInstance::control_link() {
  if (links_.empty()) return nullptr;
  LoopLink& control = *links_.back();
  return control.open_ ? control.link_.get() : nullptr;
}

void WorkerInstance::tell(std::move_only_function<void(InstanceEvents&)> what) {
  // Always posted, also on the control loop: the keeper may then destroy what has told it.
  loops_.back()->post([self = shared_from_this(), what = std::move(what)]() mutable {
    if (self->events_ != nullptr) what(*self->events_);
  });
}

void WorkerInstance::answer(const std::vector<loop::Loop*>& loops, Asker asker, const Status& why) {
  loops[asker.loop_index]->post(
      [told = std::move(asker.told), copy = Status(why)]() mutable { told(std::move(copy)); });
}

void WorkerInstance::ask_why(std::size_t loop_index, WorkerLinkEvents::Told told) {
  Asker asker{loop_index, std::move(told)};
  std::optional<Status> known;
  {
    std::lock_guard lock(mutex_);
    known = why_;
    if (!known) askers_.push_back(std::move(asker));
  }
  if (known) {
    answer(loops_, std::move(asker), *known);  // NOLINT(bugprone-use-after-move): moved only where nothing is known
  } else {
    tell([](InstanceEvents& events) { events.on_why_asked(); });
  }
}

void WorkerInstance::answer_why_for_now(const Status& why) {
  std::vector<Asker> askers;
  {
    std::lock_guard lock(mutex_);
    askers.swap(askers_);
  }
  for (Asker& each : askers) answer(loops_, std::move(each), why);
}

void WorkerInstance::answer_why(Status why) {
  {
    std::lock_guard lock(mutex_);
    why_ = why;
  }
  answer_why_for_now(why);
}

void WorkerInstance::retire(Status why) {
  events_ = nullptr;
  closed.store(true, std::memory_order_release);
  answer_why(why);
  for (std::size_t index = 0; index < links_.size(); ++index) {
    loops_[index]->post([self = shared_from_this(), index, why] {
      LoopLink& at = *self->links_[index];
      at.retired_ = true;
      if (at.link_) at.link_->close(why);
      if (at.direct_ && at.direct_->link_) at.direct_->link_->close(why);
      // In a later turn: its calls' last events may still be under way in this one.
      self->loops_[index]->post([self, index] {
        self->links_[index]->link_ = nullptr;
        self->links_[index]->crossing_ = nullptr;
        self->links_[index]->direct_ = nullptr;
      });
    });
  }
}

}  // namespace shunt::pool
