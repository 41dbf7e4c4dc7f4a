#include "call/direct.h"

#include <algorithm>
#include <utility>

#include "call/policy.h"
#include "call/router.h"

namespace shunt::call {

std::shared_ptr<DirectPort> Link::direct() const { return nullptr; }

namespace {

// What two looks at the clock are apart when nothing is between them.
Duration cost_of_clock(loop::Loop& loop) {
  constexpr int looks = 4;
  Duration least = Duration::max();
  for (int i = 0; i < looks; i++) {
    const Instant before = loop.refresh_now();
    least = std::min(least, loop.refresh_now() - before);
  }
  return least;
}

}  // namespace

DirectRoute::DirectRoute(Found found)
    : loop_(found.loop),
      loop_index_(found.loop_index),
      command_(found.command),
      stats_(found.stats),
      instance_(found.instance),
      path_(found.paths->shard(found.caller, found.route->definition->full_name, path_instance(found.instance.name()),
                               Distance::local, found.loop_index)),
      timeout_(command_.timeout.count() > 0 ? command_.timeout : found.route->definition->timeout),
      clock_cost_(cost_of_clock(loop_)),
      paths_(std::move(found.paths)),
      route_(std::move(found.route)),
      port_(std::move(found.port)) {}

DirectRoute::~DirectRoute() {
  if (head_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : *head_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

const ServiceDefinition& DirectRoute::definition() const { return *route_->definition; }

void DirectRoute::retire() {
  if (head_ != nullptr) {
    (previous_ != nullptr ? previous_->next_ : *head_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    head_ = nullptr;
  }
  is_retired_ = true;
  if (calls_ == 0) unused();
}

void DirectRoute::unused() {
  if (is_retired_) {
    port_ = nullptr;
    route_ = nullptr;
  }
  if (refs_ == 0) delete this;
}

void DirectRoute::suspended(DirectTime& time) {
  constexpr auto relaxed = std::memory_order_relaxed;
  instance_.in_flight.fetch_add(1, relaxed);
  if (command_.blocking) instance_.blocking_in_flight.fetch_add(1, relaxed);
  if (!time.is_timed) time = {loop_.refresh_now(), true};
  until_timed_ = 1;  // Who waits once will wait again: from the next on they are timed from their beginning.
}

void DirectRoute::timed(Duration took) {
  took = std::max(Duration(0), took - clock_cost_);
  const std::uint64_t calls = 1 + std::exchange(untimed_, 0);
  stats_.count_time(loop_index_, took, calls);
  path_.time(took, calls);
  const bool is_known = timed_ >= timed_first || ++timed_ == timed_first;
  until_timed_ = is_known && took < fast_max ? timed_of : 1;
}

void DirectRoute::ended(const DirectTime& time, Code code) {
  const Duration took = loop_.refresh_now() - time.began;
  stats_.count_end(loop_index_, code, took);
  path_.record(took, code == Code::ok);
  instance_.leave(command_.blocking);
  port_->count_served();
  unhold();
}

Status DirectRoute::deadline_status(const DirectTime& time, Deadline deadline) const {
  return call::deadline_status(*route_->definition, command_.name,
                               {.ran = loop_.now() - time.began, .allowed = deadline.at() - time.began});
}

}  // namespace shunt::call
