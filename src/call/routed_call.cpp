#include "call/routed_call.h"

#include <fmt/format.h>

#include <utility>

namespace shunt::call {

namespace {
constexpr int attempts_max = 3;
constexpr int depth_max = 16;                        // Calls nested in one stack.
constexpr std::size_t saved_bytes_max = 256u << 10;  // Sent but not yet taken up, as a link's credit.

Duration milliseconds(Duration duration) {
  return duration < std::chrono::milliseconds(10) ? std::chrono::floor<std::chrono::microseconds>(duration)
                                                  : std::chrono::floor<std::chrono::milliseconds>(duration);
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
  deadline_ = start.deadline;
  if (deadline_.is_never()) {
    deadline_ = Deadline::after(began_, command_.timeout.count() > 0 ? command_.timeout : route_->definition->timeout);
  }
  if (deadline_.passed(began_)) {
    end(cancel_status(Cancel::deadline), {});
    return;
  }
  if (route_->admission != nullptr || context_.loop.depth >= depth_max) {
    saved_ = make_own<Saved>();
    if (start.metadata != nullptr) saved_->metadata = *start.metadata;
    if (start.principal != nullptr) saved_->principal = *start.principal;
    saved_->last = opening.last == Last::yes;
    if (opening.has_message) {
      saved_->bytes = opening.message.cost();
      saved_->messages.push_back(std::move(opening.message));
    }
  } else {
    start_ = &start;
    opening_ = std::move(opening);
  }
  if (context_.loop.depth >= depth_max) {
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

// The nearest instances with a link from here; among those the one with the fewest calls, of two at random when there
// are many.
Instance* RoutedCall::choose() {
  const auto& all = route_->instances;
  auto usable = [&](const Instance& instance) {
    return !instance.closed.load(std::memory_order_acquire) &&
           const_cast<Instance&>(instance).link(context_.loop_index) != nullptr;
  };
  if (all.size() == 1) return usable(*all[0]) ? all[0].get() : nullptr;
  Instance* best = nullptr;
  auto better = [&](Instance& one) {
    if (best == nullptr || one.distance() < best->distance()) return true;
    return one.distance() == best->distance() &&
           one.in_flight.load(std::memory_order_relaxed) < best->in_flight.load(std::memory_order_relaxed);
  };
  constexpr std::size_t many = 8;
  if (all.size() > many) {
    for (int i = 0; i < 2; i++) {
      auto& one = *all[context_.random.below(all.size())];
      if (usable(one) && better(one)) best = &one;
    }
    if (best != nullptr) return best;
  }
  // Begins at a random place, so that equals share the load.
  std::size_t offset = context_.random.below(std::max<std::size_t>(1, all.size()));
  for (std::size_t i = 0; i < all.size(); i++) {
    auto& one = *all[(offset + i) % all.size()];
    if (usable(one) && better(one)) best = &one;
  }
  return best;
}

void RoutedCall::dispatch() {
  if (route_->admission == nullptr) {
    Instance* instance = choose();
    if (instance == nullptr || !instance->try_enter(command_.blocking)) {
      end(Status(Code::unavailable, "S1009",
                 fmt::format("service {} has no instance that can take a call{}{}", route_->definition->full_name,
                             route_->why_absent.empty() ? "" : ": ", route_->why_absent))
              .with_retry(Retry::later),
          {});
      return;
    }
    entered_ = true;
    // The routing table owns it, and we hold the route.
    open_at(std::shared_ptr<Instance>(std::shared_ptr<Instance>(), instance), 0);
    return;
  }
  // Whoever waits already goes first.
  if (!route_->admission->has_waiters()) {
    Instance* best = choose();
    auto enter = [&](const std::shared_ptr<Instance>& one) {
      if (one->link(context_.loop_index) == nullptr || !one->try_enter(command_.blocking)) return false;
      entered_ = true;
      open_at(one, 0);
      return true;
    };
    for (const auto& one : route_->instances) {
      if (one.get() == best && enter(one)) return;
    }
    for (const auto& one : route_->instances) {
      if (one.get() != best && enter(one)) return;
    }
  }
  wait_for_slot();
}

void RoutedCall::wait_for_slot() {
  waiting_ = true;
  Instant since = context_.loop.refresh_now();
  if (!deadline_.is_never()) context_.loop.arm(*this, deadline_.at());
  refs_++;  // The ticket's; given back when it is granted or abandoned.
  auto ticket = route_->admission->wait(
      context_.loop, command_.blocking, deadline_, [this, since](Result<std::shared_ptr<Instance>> granted) {
        ticket_ = 0;
        waiting_ = false;
        Timer::disarm();
        waited_ = waited_ + (context_.loop.now() - since);
        if (!granted) {
          end(std::move(granted).error(), {});
        } else {
          entered_ = true;
          instance_ = *granted;
          if (ended_) {
            leave();
          } else if (instance_->link(context_.loop_index) == nullptr) {
            leave();
            if (++attempts_ < attempts_max) {
              dispatch();
            } else {
              end(Status(Code::unavailable, "S1009",
                         fmt::format("service {}: the worker that had room is gone", route_->definition->full_name))
                      .with_retry(Retry::later),
                  {});
            }
          } else {
            std::uint64_t grant = instance_->take_grant();
            open_at(std::move(instance_), grant);
          }
        }
        unref();
      });
  if (ticket != 0) ticket_ = ticket;
}

void RoutedCall::open_at(std::shared_ptr<Instance> instance, std::uint64_t grant) {
  Keep keep(*this);
  instance_ = std::move(instance);
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
  if (saved_ == nullptr || route_->admission == nullptr || answered_ || attempts_ >= attempts_max) return false;
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
    if (refused && route_->admission != nullptr && entered_) route_->admission->refused(*instance_);
    leave();
    // A refusal means that our count of its room was wrong: queue, so that the pool asks the worker for a slot.
    if (refused) {
      wait_for_slot();
    } else {
      dispatch();
    }
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
  if (route_->admission != nullptr) route_->admission->freed(*instance);
}

Status RoutedCall::explain(Status status) const {
  if (status.id() == "S1004" && status.code() == Code::deadline_exceeded) {
    Instant now = context_.loop.now();
    Duration waited = waiting_ ? now - began_ : opened_ - began_;
    Duration ran = waiting_ ? Duration(0) : now - opened_;
    return {Code::deadline_exceeded, "S1004",
            fmt::format("call {}.{}: waited {} for a worker, ran {}, deadline {}", route_->definition->full_name,
                        command_.name, format_duration(milliseconds(waited)), format_duration(milliseconds(ran)),
                        format_duration(milliseconds(deadline_.at() - began_ + std::chrono::microseconds(500))))};
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
