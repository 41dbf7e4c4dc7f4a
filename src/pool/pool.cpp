#include "pool/pool.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::pool {

Pool::Pool(PoolWiring wiring, PoolOptions options)
    : wiring_(std::move(wiring)),
      options_(std::move(options)),
      queue_(std::make_shared<TicketQueue>(wiring_.control(), options_.service, options_.queue_limit,
                                           static_cast<QueueEvents&>(*this))),
      changed_(wiring_.control()) {}

Pool::~Pool() {
  queue_->end(Status(Code::unavailable, "S1015", fmt::format("service {} is shutting down", options_.service))
                  .with_retry(Retry::later));
  workers_.clear();
}

void Pool::start(std::vector<call::SpawnedWorker>& living) {
  std::string key = worker_key(options_);
  for (std::size_t number = 1; number <= options_.workers; ++number) {
    workers_.push_back(make_own<Worker>(wiring_, options_, number, *queue_, static_cast<WorkerEvents&>(*this)));
  }
  for (auto& worker : workers_) {
    std::optional<call::SpawnedWorker> adopted;
    auto found = std::ranges::find(living, key, &call::SpawnedWorker::key);
    if (found != living.end()) {
      adopted = std::move(*found);
      living.erase(found);
    }
    worker->start(std::move(adopted));
  }
}

std::vector<std::shared_ptr<call::Instance>> Pool::instances() const {
  std::vector<std::shared_ptr<call::Instance>> result;
  for (const auto& worker : workers_) {
    if (auto instance = worker->instance()) result.push_back(std::move(instance));
  }
  return result;
}

std::string Pool::why_absent() const {
  if (is_ready()) return {};
  for (const auto& worker : workers_) {
    WorkerStatus status = worker->status();
    if (status.next_start) {
      Duration left = std::max(Duration(0), *status.next_start - wiring_.control().now());
      return fmt::format("{}; next start in {}", status.last_error,
                         format_duration(std::chrono::ceil<std::chrono::milliseconds>(left)));
    }
    if (!status.last_error.empty()) return fmt::format("{}; it is {}", status.last_error, state_name(status.state));
  }
  return draining_ ? "shutting down" : "starting";
}

bool Pool::is_ready() const {
  return std::ranges::any_of(workers_, [](const auto& each) { return each->is_ready(); });
}

bool Pool::is_complete() const {
  return std::ranges::all_of(workers_, [](const auto& each) { return each->is_ready(); });
}

bool Pool::is_failing() const {
  return !workers_.empty() && std::ranges::all_of(workers_, [this](const auto& each) {
    return !each->is_ready() && each->failures() >= options_.failing_after;
  });
}

std::vector<WorkerStatus> Pool::status() const {
  std::vector<WorkerStatus> result;
  for (const auto& worker : workers_) result.push_back(worker->status());
  return result;
}

// --- Drain ----------------------------------------------------------------------------------------------------------

bool Pool::is_idle() const {
  if (queue_->has_waiters()) return false;
  return std::ranges::all_of(status(), [](const WorkerStatus& each) { return each.placed == 0; });
}

loop::Task<void> Pool::drain(Deadline deadline) {
  draining_ = true;
  drain_until_ = earlier(drain_until_, deadline);
  queue_->tell_ends(true);
  // While tickets wait every worker stays open: what was accepted gets its turn.
  while (!is_idle() && !is_failing() && !drain_until_.passed(wiring_.control().now())) {
    co_await changed_.wait(drain_until_);
  }
  stopping_ = true;
  for (auto& worker : workers_) worker->stop(drain_until_);
  while (!std::ranges::all_of(workers_, [](const auto& each) { return each->is_stopped(); })) {
    co_await changed_.wait();
  }
  queue_->tell_ends(false);
}

void Pool::pass_on() {
  queue_->pass_on(Status(Code::unavailable, "S1015", fmt::format("service {} is not here any more", options_.service))
                      .with_retry(Retry::elsewhere));
}

void Pool::hurry(Deadline deadline) {
  if (!draining_ || deadline >= drain_until_) return;
  drain_until_ = deadline;
  if (stopping_) {
    for (auto& worker : workers_) worker->stop(drain_until_);
  }
  changed_.set();
}

// --- What is heard --------------------------------------------------------------------------------------------------

void Pool::on_worker_change() {
  if (is_failing()) {
    queue_->set_absent(
        Status(Code::unavailable, "S1009",
               fmt::format("service {} has no worker that can take a call: {}", options_.service, why_absent()))
            .with_retry(Retry::later));
  } else {
    queue_->set_absent(std::nullopt);
  }
  changed_.set();
  wiring_.events.on_pool_change();
}

void Pool::on_slot_wanted(WorkerInstance& instance) {
  for (auto& worker : workers_) {
    if (worker->is(instance)) worker->want_slot();
  }
}

void Pool::on_call_ended() {
  changed_.set();
  for (auto& worker : workers_) worker->on_call_ended();
}

}  // namespace shunt::pool
