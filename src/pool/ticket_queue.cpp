#include "pool/ticket_queue.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::pool {

namespace {
/// A slot may be handed over inside the stack of a call that ended, and that inside another's: so deep, no deeper.
constexpr int depth_max = 8;
}  // namespace

struct TicketQueue::Expiry final : loop::Timer {
  explicit Expiry(TicketQueue& its_queue) : queue(its_queue) {}
  void fire() override { queue.expire(); }
  TicketQueue& queue;
};

TicketQueue::TicketQueue(loop::Loop& control, std::string service, std::size_t limit, QueueEvents& events)
    : control_(control),
      service_(std::move(service)),
      limit_(limit),
      events_(&events),
      expiry_(make_own<Expiry>(*this)) {}

TicketQueue::~TicketQueue() = default;

// --- Callers --------------------------------------------------------------------------------------------------------

std::uint64_t TicketQueue::wait(loop::Loop& loop, bool blocking, Deadline deadline, Granted granted, Reach reach) {
  std::optional<Result<std::shared_ptr<call::Instance>>> at_once;
  std::uint64_t number = 0;
  bool arm = false;
  {
    std::lock_guard lock(mutex_);
    // Said before the last look for room: whoever frees a slot from here on sees that somebody waits.
    waiting_count_.fetch_add(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (ended_) {
      at_once = std::unexpected(*ended_);
    } else if (std::shared_ptr<WorkerInstance> found = waiting_.empty() ? enter(blocking) : nullptr) {
      at_once = std::shared_ptr<call::Instance>(std::move(found));
    } else if (absent_ && count().workers == 0) {
      at_once = std::unexpected(*absent_);
    } else if (waiting_.size() >= limit_) {
      refusals_++;
      at_once = std::unexpected(full());
    } else {
      number = next_number_++;
      waiting_.push_back({number, &loop, blocking, deadline, std::move(granted), reach});
      by_number_[number] = std::prev(waiting_.end());
      if (deadline < armed_) {
        armed_ = deadline;
        arm = true;
      }
    }
    if (at_once) waiting_count_.fetch_sub(1, std::memory_order_seq_cst);
  }
  if (at_once) {
    granted(std::move(*at_once));  // NOLINT(bugprone-use-after-move): moved only where it has to wait
    return 0;
  }
  if (arm) control_.post([self = shared_from_this()] { self->arm_expiry(); });
  return number;
}

void TicketQueue::abandon(std::uint64_t ticket) {
  std::optional<Ticket> waited;
  std::optional<Delivery> delivery;
  {
    std::lock_guard lock(mutex_);
    if (auto found = by_number_.find(ticket); found != by_number_.end()) {
      waited = std::move(*found->second);
      waiting_.erase(found->second);
      by_number_.erase(found);
      waiting_count_.fetch_sub(1, std::memory_order_seq_cst);
    } else if (auto underway = deliveries_.find(ticket); underway != deliveries_.end()) {
      delivery = std::move(underway->second);
      deliveries_.erase(underway);
    }
  }
  tell_end();
  if (delivery && delivery->result) {
    // Its slot was taken already: the next one's.
    call::Instance& instance = **delivery->result;
    instance.leave(delivery->ticket.blocking);
    if (instance.is_pooled()) {
      freed(instance);
    } else {
      room_at(*delivery->result);
    }
  }
}

void TicketQueue::freed(call::Instance&) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  tell_end();
  if (!has_waiters()) return;
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    match(ready);
  }
  hand_over(ready);
}

void TicketQueue::room_at(const std::shared_ptr<call::Instance>& instance) {
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    for (auto ticket = waiting_.begin(); ticket != waiting_.end();) {
      const auto next = std::next(ticket);
      if (ticket->reach == Reach::anywhere) {
        if (!instance->try_enter(ticket->blocking)) break;
        settle(ticket, instance, ready);
      }
      ticket = next;
    }
  }
  hand_over(ready);
}

void TicketQueue::refused(call::Instance& instance) {
  std::shared_ptr<WorkerInstance> asked;
  {
    std::lock_guard lock(mutex_);
    Entry* entry = entry_of(instance);
    if (entry == nullptr || entry->paused || entry->closing) return;
    entry->paused = true;
    apply(*entry);
    asked = entry->instance;
  }
  control_.post([self = shared_from_this(), asked] {
    if (self->events_ != nullptr) self->events_->on_slot_wanted(*asked);
  });
}

// --- The pool -------------------------------------------------------------------------------------------------------

void TicketQueue::add(std::shared_ptr<WorkerInstance> instance) {
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    entries_.push_back({std::move(instance)});
    apply(entries_.back());
    match(ready);
  }
  hand_over(ready);
}

void TicketQueue::close(WorkerInstance& instance) {
  std::lock_guard lock(mutex_);
  instance.closed.store(true, std::memory_order_release);
  if (Entry* entry = entry_of(instance)) entry->closing = true;
}

void TicketQueue::remove(WorkerInstance& instance) {
  std::lock_guard lock(mutex_);
  instance.closed.store(true, std::memory_order_release);
  std::erase_if(entries_, [&](const Entry& each) { return each.instance.get() == &instance; });
}

void TicketQueue::granted(WorkerInstance& instance, std::uint64_t grant) {
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    Entry* entry = entry_of(instance);
    if (entry == nullptr || entry->closing) return;
    entry->paused = false;
    apply(*entry);
    if (grant != 0 && !waiting_.empty()) {
      instance.add_grant(grant);
      instance.force_enter(waiting_.front().blocking);
      settle(waiting_.begin(), std::shared_ptr<call::Instance>(entry->instance), ready);
    }
    match(ready);
  }
  hand_over(ready);
}

void TicketQueue::set_absent(std::optional<Status> why) {
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    absent_ = std::move(why);
    if (absent_ && count().workers == 0) {
      while (!waiting_.empty()) settle(waiting_.begin(), std::unexpected(*absent_), ready);
    }
  }
  hand_over(ready);
}

void TicketQueue::pass_on(Status why) {
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    ended_ = why;
    while (!waiting_.empty()) settle(waiting_.begin(), std::unexpected(why), ready);
  }
  hand_over(ready);
}

void TicketQueue::end(Status why) {
  events_ = nullptr;
  expiry_ = nullptr;
  Ready ready;
  {
    std::lock_guard lock(mutex_);
    ended_ = why;
    for (Entry& each : entries_) each.instance->closed.store(true, std::memory_order_release);
    entries_.clear();
    while (!waiting_.empty()) settle(waiting_.begin(), std::unexpected(why), ready);
  }
  hand_over(ready);
}

QueueCounts TicketQueue::counts() const {
  std::lock_guard lock(mutex_);
  return count();
}

// --- With the mutex held --------------------------------------------------------------------------------------------

TicketQueue::Entry* TicketQueue::entry_of(const call::Instance& instance) {
  auto found = std::ranges::find_if(entries_, [&](const Entry& each) { return each.instance.get() == &instance; });
  return found == entries_.end() ? nullptr : &*found;
}

void TicketQueue::apply(Entry& entry) {
  entry.instance->closed.store(entry.paused || entry.closing, std::memory_order_release);
}

/// A slot at the instance with the fewest calls, or nothing.
std::shared_ptr<WorkerInstance> TicketQueue::enter(bool blocking) {
  std::vector<WorkerInstance*> full_ones;
  while (true) {
    const Entry* best = nullptr;
    for (const Entry& each : entries_) {
      if (each.paused || each.closing || std::ranges::find(full_ones, each.instance.get()) != full_ones.end()) continue;
      if (best == nullptr || each.instance->in_flight.load(std::memory_order_relaxed) <
                                 best->instance->in_flight.load(std::memory_order_relaxed)) {
        best = &each;
      }
    }
    if (best == nullptr) return nullptr;
    if (best->instance->try_enter(blocking)) return best->instance;
    full_ones.push_back(best->instance.get());
  }
}

void TicketQueue::match(Ready& ready) {
  while (!waiting_.empty()) {
    auto instance = enter(waiting_.front().blocking);
    if (instance == nullptr) return;
    settle(waiting_.begin(), std::shared_ptr<call::Instance>(std::move(instance)), ready);
  }
}

void TicketQueue::settle(std::list<Ticket>::iterator ticket, Result<std::shared_ptr<call::Instance>> result,
                         Ready& ready) {
  std::uint64_t number = ticket->number;
  ready.emplace_back(number, ticket->loop);
  deliveries_.emplace(number, Delivery{std::move(*ticket), std::move(result)});
  by_number_.erase(number);
  waiting_.erase(ticket);
  waiting_count_.fetch_sub(1, std::memory_order_seq_cst);
}

QueueCounts TicketQueue::count() const {
  QueueCounts counts;
  counts.queued = waiting_.size();
  counts.limit = limit_;
  counts.refused = refusals_;
  for (const Entry& each : entries_) {
    if (each.closing) continue;
    counts.workers++;
    std::uint32_t capacity = each.instance->capacity.load(std::memory_order_relaxed);
    bool full = capacity > 0 && each.instance->in_flight.load(std::memory_order_relaxed) >= capacity;
    if (full || each.paused || each.instance->blocking_in_flight.load(std::memory_order_relaxed) > 0) counts.busy++;
  }
  return counts;
}

std::string TicketQueue::describe(const QueueCounts& counts) const {
  if (counts.workers == 0) return fmt::format("pool {}: no worker is ready, {} queued", service_, counts.queued);
  return fmt::format("pool {}: {} of {} busy, {} queued", service_, counts.busy, counts.workers, counts.queued);
}

Status TicketQueue::full() {
  return Status(Code::resource_exhausted, "S1011",
                fmt::format("service {}: the queue is full ({}, engine.queue-limit is {}); retry: later; raise "
                            "engine.pool-limit or engine.queue-limit, or call less",
                            service_, describe(count()), limit_))
      .with_retry(Retry::later);
}

// --- Without it -----------------------------------------------------------------------------------------------------

void TicketQueue::hand_over(const Ready& ready) {
  for (auto [number, loop] : ready) {
    if (loop->is_here() && loop->depth < depth_max) {
      loop->depth++;
      deliver(number);
      loop->depth--;
    } else {
      loop->post([self = shared_from_this(), number = number] { self->deliver(number); });
    }
  }
}

void TicketQueue::tell_end() {
  if (!tell_ends_.load(std::memory_order_seq_cst)) return;
  control_.post([self = shared_from_this()] {
    if (self->events_ != nullptr) self->events_->on_call_ended();
  });
}

void TicketQueue::deliver(std::uint64_t number) {
  std::optional<Delivery> delivery;
  {
    std::lock_guard lock(mutex_);
    auto found = deliveries_.find(number);
    if (found == deliveries_.end()) return;  // Abandoned while it was on its way.
    delivery = std::move(found->second);
    deliveries_.erase(found);
  }
  delivery->ticket.granted(std::move(delivery->result));
}

void TicketQueue::arm_expiry() {
  if (expiry_ == nullptr) return;
  Deadline first;
  {
    std::lock_guard lock(mutex_);
    first = armed_;
  }
  if (!first.is_never()) control_.arm(*expiry_, first.at());
}

void TicketQueue::expire() {
  Ready ready;
  Instant now = control_.now();
  {
    std::lock_guard lock(mutex_);
    armed_ = Deadline::never();
    for (auto each = waiting_.begin(); each != waiting_.end();) {
      auto ticket = each++;
      if (!ticket->deadline.passed(now)) {
        armed_ = earlier(armed_, ticket->deadline);
        continue;
      }
      Status why(Code::deadline_exceeded, "S1004",
                 fmt::format("service {}: the deadline passed while the call waited for a worker ({}); raise "
                             "engine.pool-limit or the deadline",
                             service_, describe(count())));
      settle(ticket, std::unexpected(std::move(why).with_retry(Retry::later)), ready);
    }
  }
  arm_expiry();
  hand_over(ready);
  tell_end();
}

}  // namespace shunt::pool
