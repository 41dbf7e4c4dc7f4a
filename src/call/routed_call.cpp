#include "call/routed_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "call/policy.h"

namespace shunt::call {

namespace {
constexpr int attempts_max = 3;
constexpr std::size_t saved_bytes_max = 256u << 10;  // Sent but not yet taken up, as a link's credit.

// Calls that another node handed to us have routes without it, and so go no farther.
bool is_elsewhere_too(const Route& route) {
  return std::ranges::any_of(route.instances, [](const auto& one) { return one->distance() == Distance::grpc; });
}
}  // namespace

RoutedCall::RoutedCall(Context& context, std::shared_ptr<const Route> route, const CommandDefinition& command,
                       CommandStats& stats, const std::string* caller, CallerEvents& events)
    : context_(context),
      route_(std::move(route)),
      command_(command),
      stats_(stats),
      caller_(caller),
      events_(&events) {}

RoutedCall::~RoutedCall() = default;

void RoutedCall::begin(const CallStart& start, Opening opening) {
  Keep keep(*this);
  began_ = context_.loop.refresh_now();
  stats_.start(context_.loop_index);
  context_.retry_budget = std::min(100.0, context_.retry_budget + 0.1);
  hops_ = static_cast<std::uint8_t>(start.hops + 1);
  farthest_ = start.farthest;
  deadline_ = start.deadline;
  if (deadline_.is_never()) {
    deadline_ = Deadline::after(began_, command_.timeout.count() > 0 ? command_.timeout : route_->definition->timeout);
  }
  if (deadline_.passed(began_)) {
    end(cancel_status(Cancel::deadline), {});
    return;
  }
  start_ = &start;
  opening_ = std::move(opening);
  if (context_.loop.depth >= depth_max) {
    save();
    waiting_ = true;
    context_.loop.ready(*this);
  } else {
    dispatch();
  }
  start_ = nullptr;
}

void RoutedCall::run() {
  waiting_ = false;
  Keep keep(*this);
  if (!ended_) dispatch();
}

// Keeps what the caller gave, so that the call can begin later, or again.
void RoutedCall::save() {
  if (saved_ != nullptr) return;
  saved_ = make_own<Saved>();
  if (start_->metadata != nullptr) saved_->metadata = *start_->metadata;
  if (start_->principal != nullptr) saved_->principal = *start_->principal;
  saved_->last = opening_.last == Last::yes;
  if (opening_.has_message) {
    saved_->bytes = opening_.message.cost();
    saved_->messages.push_back(std::move(opening_.message));
  }
}

Ask RoutedCall::ask() const {
  return {.loop_index = context_.loop_index,
          .blocking = command_.blocking,
          .farthest = farthest_,
          .not_there = refused_by_};
}

// To the nearest instance that has room; else into the queue; else the call ends, `otherwise` or because it has nowhere to go.
void RoutedCall::dispatch(std::optional<Status> otherwise) {
  if (auto at = enter_nearest(*route_, ask(), context_.random)) {
    open_entered(*at);
  } else if (may_wait(*route_)) {
    save();
    wait_for_slot();
  } else if (auto full = enter_queue_elsewhere(*route_, ask())) {
    open_entered(*full);
  } else {
    end(otherwise ? std::move(*otherwise) : nowhere(*route_, ask()), {});
  }
}

// At an instance of the route where a slot was taken for us.
void RoutedCall::open_entered(std::size_t index) {
  entered_ = true;
  const auto& instance = route_->instances[index];
  // The routing table owns it, and we hold the route; only a queue wants an owner's pointer.
  open_at(
      route_->admission != nullptr ? instance : std::shared_ptr<Instance>(std::shared_ptr<Instance>(), instance.get()),
      0);
}

// The route of the same service as it is now; nullptr when there is none, or it is the one that we have.
std::shared_ptr<const Route> RoutedCall::newer_route() const {
  const auto& routes = context_.routing->routes;
  auto found = routes.find(route_->definition->full_name);
  return found == routes.end() || found->second == route_ ? nullptr : found->second;
}

// Away from an instance that did not take the call, or is lost: by the routing as it is now.
void RoutedCall::move_on(Status why) {
  if (auto newer = newer_route()) {
    saved_->left.push_back(std::exchange(route_, std::move(newer)));
    if (auto allowed = context_.routing->permit(saved_->principal, *route_, command_.name); !allowed) {
      end(std::move(allowed).error(), {});
      return;
    }
  }
  dispatch(std::move(why));
}

void RoutedCall::wait_for_slot() {
  waiting_ = true;
  Instant since = context_.loop.refresh_now();
  if (!deadline_.is_never()) context_.loop.arm(*this, deadline_.at());
  refs_++;  // The ticket's; given back when it is granted or abandoned.
  Admission::Granted answer = [this, since](Result<std::shared_ptr<Instance>> instance) {
    ticket_ = 0;
    waiting_ = false;
    Timer::disarm();
    waited_ = waited_ + (context_.loop.now() - since);
    if (instance) {
      granted(std::move(*instance));
    } else if (instance.error().code() == Code::unavailable && attempts_++ < attempts_max && newer_route() != nullptr) {
      // The queue has ended, and the service is elsewhere now.
      move_on(std::move(instance).error());
    } else if (auto full = instance.error().code() == Code::unavailable ? enter_queue_elsewhere(*route_, ask())
                                                                        : std::nullopt) {
      open_entered(*full);  // Nobody is left here to wait for.
    } else {
      end(std::move(instance).error(), {});
    }
    unref();
  };
  const bool may_go_far =
      farthest_ == Distance::grpc && route_->definition->placement.allows(Distance::grpc) && is_elsewhere_too(*route_);
  auto& queue = *route_->admission;
  const auto ticket = may_go_far ? queue.wait_anywhere(context_.loop, command_.blocking, deadline_, std::move(answer))
                                 : queue.wait(context_.loop, command_.blocking, deadline_, std::move(answer));
  if (ticket == 0) return;
  ticket_ = ticket;
  // Farther away a slot may have come free before anybody could see that we wait.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!may_go_far) return;
  if (auto at = enter_nearest(*route_, ask(), context_.random)) {
    queue.abandon(std::exchange(ticket_, 0));
    waiting_ = false;
    Timer::disarm();
    open_entered(*at);
    unref();
  }
}

// A slot was taken for us.
void RoutedCall::granted(std::shared_ptr<Instance> instance) {
  entered_ = true;
  instance_ = std::move(instance);
  if (ended_) {
    leave();
    return;
  }
  const bool forbidden = !route_->definition->placement.allows(instance_->distance());
  if (!forbidden && instance_->link(context_.loop_index) != nullptr) {
    std::uint64_t grant = instance_->take_grant();
    open_at(std::move(instance_), grant);
    return;
  }
  leave();
  if (forbidden) {
    end(nowhere(*route_, ask()), {});
  } else if (++attempts_ < attempts_max) {
    dispatch();
  } else {
    end(Status(Code::unavailable, "S1009",
               fmt::format("service {}: the worker that had room is gone", route_->definition->full_name))
            .with_retry(Retry::later),
        {});
  }
}

void RoutedCall::open_at(std::shared_ptr<Instance> instance, std::uint64_t grant) {
  Keep keep(*this);
  instance_ = std::move(instance);
  if (route_->admission != nullptr || instance_->may_be_lost()) save();
  attempts_++;
  accepted_ = false;
  owed_ = 0;
  opened_ = began_;
  path_ = &context_.path_cache.find(*context_.paths, caller_, route_->definition->full_name, *instance_,
                                    context_.loop_index);
  Link* link = instance_->link(context_.loop_index);
  Open open{.service = route_->definition->full_name,
            .command = command_.name,
            .deadline = deadline_,
            .grant = grant,
            .hops = hops_,
            .blocking = command_.blocking,
            .encoding = command_.encoding};
  Opening opening;
  if (saved_ != nullptr) {
    opened_ = context_.loop.refresh_now();
    open.metadata = &saved_->metadata;
    open.principal = &saved_->principal;
    saved_->given = 0;
    saved_->half_close_given = false;
    if (!saved_->messages.empty()) {
      // Bytes are shared, so keeping a copy to move costs a count.
      saved_->messages[0].bytes();
      opening.has_message = true;
      opening.message = saved_->messages[0].copy();
      saved_->given = 1;
    }
    if (saved_->last && saved_->messages.size() <= 1) {
      opening.last = Last::yes;
      saved_->half_close_given = true;
    }
  } else {
    open.metadata = start_->metadata;
    open.principal = start_->principal;
    opening = std::move(opening_);
  }
  int attempt = attempts_;
  context_.loop.depth++;
  auto call = link->open(open, *this, std::move(opening));
  context_.loop.depth--;
  // It may have ended inside, or moved on; then this handle is only let go of.
  if (!ended_ && entered_ && attempts_ == attempt) {
    call_ = std::move(call);
    if (owed_ > 0) call_->consumed(std::exchange(owed_, 0));
    pump();
  }
}

// Hands on what the caller sent while the call was not open yet.
void RoutedCall::pump() {
  if (saved_ == nullptr || call_ == nullptr) return;
  Keep keep(*this);
  while (saved_ != nullptr && call_ != nullptr && saved_->given < saved_->messages.size()) {
    std::size_t index = saved_->given++;
    bool last = saved_->last && saved_->given == saved_->messages.size();
    saved_->messages[index].bytes();
    if (last) saved_->half_close_given = true;
    Sent sent = call_->send(saved_->messages[index].copy(), last ? Last::yes : Last::no);
    if (sent != Sent::more) return;
  }
  if (saved_ != nullptr && call_ != nullptr && saved_->last && !saved_->half_close_given) {
    saved_->half_close_given = true;
    call_->half_close();
  }
  if (held_ && !ended_ && (saved_ == nullptr || saved_->bytes < saved_bytes_max)) {
    held_ = false;
    if (events_ != nullptr) events_->on_credit();
  }
}

// The instance has begun: the call can't be refused any more. What may still be retried is kept until the answer begins.
void RoutedCall::accepted() {
  if (accepted_) return;
  accepted_ = true;
  if (saved_ == nullptr || command_.effect != Effect::any) return;
  if (saved_->given < saved_->messages.size()) return;
  saved_->messages.clear();
  saved_->bytes = 0;
  saved_->given = 0;
}

Sent RoutedCall::send(Message message, Last last) {
  if (ended_) return Sent::ended;
  if (saved_ == nullptr) {
    if (call_ == nullptr) {
      // Not open yet, and nothing saved: the callee answers inside open(), and the caller sends inside its event.
      return Sent::ended;
    }
    Keep keep(*this);
    return call_->send(std::move(message), last);
  }
  if (saved_->last || held_) return Sent::ended;
  Keep keep(*this);
  bool all_given = call_ != nullptr && saved_->given == saved_->messages.size();
  if (last == Last::yes) saved_->last = true;
  if (all_given && (answered_ || (accepted_ && command_.effect == Effect::any))) {
    // Nothing can be moved any more: straight through.
    if (last == Last::yes) saved_->half_close_given = true;
    Sent sent = call_->send(std::move(message), last);
    held_ = sent == Sent::held;
    return ended_ ? Sent::ended : sent;
  }
  saved_->bytes += message.cost();
  saved_->messages.push_back(std::move(message));
  if (all_given) {
    saved_->given++;
    if (last == Last::yes) saved_->half_close_given = true;
    saved_->messages.back().bytes();
    Sent sent = call_->send(saved_->messages.back().copy(), last);
    if (ended_) return Sent::ended;
    held_ = sent == Sent::held;
  } else {
    held_ = saved_->bytes >= saved_bytes_max;
  }
  return held_ ? Sent::held : Sent::more;
}

void RoutedCall::half_close() {
  if (ended_) return;
  Keep keep(*this);
  if (saved_ == nullptr) {
    if (call_ != nullptr) call_->half_close();
    return;
  }
  if (std::exchange(saved_->last, true)) return;
  if (call_ != nullptr && saved_->given == saved_->messages.size()) {
    saved_->half_close_given = true;
    call_->half_close();
  }
}

void RoutedCall::consumed(std::size_t cost) {
  if (ended_) return;
  // A callee in this process may send before its link has given us the handle.
  if (call_ == nullptr) {
    owed_ += cost;
  } else {
    call_->consumed(cost);
  }
}

void RoutedCall::cancel(Cancel reason) {
  if (ended_) return;
  Keep keep(*this);
  if (call_ != nullptr) {
    call_->cancel(reason);
  } else {
    end(cancel_status(reason), {});
  }
}

void RoutedCall::release() {
  events_ = nullptr;
  if (!ended_) {
    ended_ = true;
    const Instant now = context_.loop.refresh_now();
    stats_.count_end(context_.loop_index, Code::cancelled, now - began_);
    record_path(now, false);
  }
  Timer::disarm();
  Runnable::unlink();
  if (ticket_ != 0) {
    route_->admission->abandon(std::exchange(ticket_, 0));
    unref();
  }
  call_ = nullptr;
  leave();
  unref();
}

void RoutedCall::on_metadata(Metadata metadata) {
  accepted();
  answered_ = true;
  if (events_ != nullptr) events_->on_metadata(std::move(metadata));
}

void RoutedCall::on_message(Message message) {
  accepted();
  if (!answered_) {
    answered_ = true;
    if (saved_ != nullptr && saved_->given == saved_->messages.size()) {
      saved_->messages.clear();
      saved_->bytes = saved_->given = 0;
    }
  }
  if (events_ != nullptr) events_->on_message(std::move(message));
}

void RoutedCall::on_credit() {
  Keep keep(*this);
  accepted();
  if (saved_ != nullptr) {
    pump();
    return;
  }
  if (events_ != nullptr) events_->on_credit();
}

bool RoutedCall::may_move(const Status& status) const {
  if (saved_ == nullptr || answered_ || attempts_ >= attempts_max) return false;
  if (deadline_.passed(context_.loop.now())) return false;
  if (status.retry() == Retry::elsewhere && !accepted_) return true;
  bool lost = status.code() == Code::unavailable && status.retry() == Retry::reconnect;
  // What was sent must all be here still.
  bool whole = !accepted_ || command_.effect != Effect::any;
  return lost && whole && command_.effect != Effect::any && context_.retry_budget >= 1;
}

void RoutedCall::on_end(Status status, Metadata trailers) {
  Keep keep(*this);
  if (!ended_ && !status.is_ok() && may_move(status)) {
    bool refused = status.retry() == Retry::elsewhere;
    if (refused) {
      path_ = nullptr;  // Never begun.
    } else {
      record_path(context_.loop.refresh_now(), false);
      context_.retry_budget -= 1;
      route_->stats->retries.fetch_add(1, std::memory_order_relaxed);
    }
    call_ = nullptr;
    if (refused && entered_) {
      // Our count of its room was wrong: its queue asks it for a slot.
      if (route_->admission != nullptr) route_->admission->refused(*instance_);
      refused_by_ = instance_.get();
    }
    leave();
    move_on(std::move(status));
    return;
  }
  end(std::move(status), std::move(trailers));
}

void RoutedCall::on_answer(Message message) {
  if (ended_) return;
  Keep keep(*this);
  count_end(Code::ok);
  if (events_ != nullptr) std::exchange(events_, nullptr)->on_answer(std::move(message));
}

void RoutedCall::fire() { end(cancel_status(Cancel::deadline), {}); }

// Gives the slot back.
void RoutedCall::leave() {
  if (!std::exchange(entered_, false)) return;
  auto instance = std::move(instance_);
  instance_ = nullptr;
  instance->leave(command_.blocking);
  if (route_->admission == nullptr) return;
  if (instance->is_pooled()) {
    route_->admission->freed(*instance);
    return;
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (route_->admission->has_waiters()) route_->admission->room_at(instance);
}

Status RoutedCall::explain(Status status) const {
  if (status.id() == "S1004" && status.code() == Code::deadline_exceeded) {
    Instant now = context_.loop.now();
    Duration waited = waiting_ ? now - began_ : opened_ - began_;
    Duration ran = waiting_ ? Duration(0) : now - opened_;
    return deadline_status(*route_->definition, command_.name,
                           {.waited = waited, .ran = ran, .allowed = deadline_.at() - began_});
  }
  return status;
}

void RoutedCall::end(Status status, Metadata trailers) {
  if (ended_) return;
  Keep keep(*this);
  if (!status.is_ok()) {
    context_.loop.refresh_now();
    status = explain(std::move(status));
  }
  count_end(status.code());
  if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), std::move(trailers));
}

// What the end of a call comes to, whatever the caller is told.
void RoutedCall::count_end(Code code) {
  const Instant now = context_.loop.refresh_now();
  stats_.count_end(context_.loop_index, code, now - began_);
  record_path(now, code == Code::ok);
  ended_ = true;
  waiting_ = false;
  Timer::disarm();
  if (ticket_ != 0) {
    route_->admission->abandon(std::exchange(ticket_, 0));
    unref();
  }
  if (instance_ != nullptr) instance_->served.fetch_add(1, std::memory_order_relaxed);
  leave();
}

}  // namespace shunt::call
