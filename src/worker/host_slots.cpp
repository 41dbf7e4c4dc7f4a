#include <fmt/format.h>

#include <algorithm>

#include "worker/host_state.h"

namespace shunt::worker {

// ---- Slots ---------------------------------------------------------------------------------------------------------

bool WorkerHost::State::take_slot(std::uint64_t grant) {
  if (grant != 0) {
    auto found = std::ranges::find(reservations, grant, &Reservation::grant);
    if (found != reservations.end()) {
      reservations.erase(found);
      return true;
    }
  }
  return has_room();
}

void WorkerHost::State::slot_freed(bool blocking) {
  running--;
  if (blocking) blocking_running--;
  if (closing) return;
  load_changed();
  if (!waits.empty()) serve_waits();
  if (draining && running == 0) settle_later();
}

void WorkerHost::State::wait(HostLink& link, std::uint64_t ticket, const wire::WaitFrame& frame) {
  if (draining) {
    deny(link, ticket,
         Status(Code::unavailable, "S1015", fmt::format("a worker of {} is ending and takes no new calls", name))
             .with_retry(Retry::elsewhere));
    return;
  }
  if (has_room()) {
    grant(link, ticket);
    return;
  }
  if (waits.size() >= options.waits_max) {
    deny(link, ticket,
         Status(Code::resource_exhausted, "S1011",
                fmt::format("{} calls wait for a worker of {}, as many as may", waits.size(), name))
             .with_retry(Retry::later));
    return;
  }
  Wait entry{
      .ticket = ticket, .deadline = Deadline(Instant{frame.deadline_ns}), .priority = frame.priority, .link = &link};
  auto place = std::ranges::find_if(waits, [&](const Wait& other) { return other.priority < entry.priority; });
  waits.insert(place, entry);
  arm_sweeper();
}

void WorkerHost::State::serve_waits() {
  while (!waits.empty() && has_room()) {
    Wait next = waits.front();
    waits.pop_front();
    auto& link = *static_cast<HostLink*>(next.link);
    if (next.deadline.passed(loop.now())) {
      deny(link, next.ticket,
           Status(Code::deadline_exceeded, "S1004", fmt::format("the deadline passed in the queue for {}", name)));
    } else {
      grant(link, next.ticket);
    }
  }
}

void WorkerHost::State::grant(HostLink& link, std::uint64_t ticket) {
  wire::GrantFrame frame;
  frame.grant = ++grants_made;
  // Without a limit there is nothing to keep free.
  if (capacity() != 0) {
    reservations.push_back({.expires = loop.refresh_now() + options.reservation, .grant = frame.grant, .link = &link});
    arm_sweeper();
  }
  link.link->grant(ticket, frame);
}

void WorkerHost::State::deny(HostLink& link, std::uint64_t ticket, const Status& why) {
  wire::GrantFrame frame;
  frame.status.code = why.code();
  frame.status.retry = why.retry();
  frame.status.id = why.id();
  frame.status.message = why.message();
  link.link->grant(ticket, frame);
}

void WorkerHost::State::arm_sweeper() {
  Deadline next = reservations.empty() ? Deadline::never() : Deadline(reservations.front().expires);
  for (auto& wait : waits) next = earlier(next, wait.deadline);
  if (next.is_never()) {
    sweeper.disarm();
  } else {
    loop.arm(sweeper, next.at());
  }
}

void WorkerHost::State::sweep() {
  while (!reservations.empty() && reservations.front().expires <= loop.now()) reservations.pop_front();
  for (std::size_t i = 0; i < waits.size();) {
    if (!waits[i].deadline.passed(loop.now())) {
      i++;
      continue;
    }
    Wait late = waits[i];
    waits.erase(waits.begin() + static_cast<std::ptrdiff_t>(i));
    deny(*static_cast<HostLink*>(late.link), late.ticket,
         Status(Code::deadline_exceeded, "S1004", fmt::format("the deadline passed in the queue for {}", name)));
  }
  serve_waits();
  arm_sweeper();
}
// ---- Drain and load ------------------------------------------------------------------------------------------------

void WorkerHost::State::drain() {
  if (std::exchange(draining, true)) return;
  if (load_page) publish_load();
  while (!waits.empty()) {
    Wait next = waits.front();
    waits.pop_front();
    deny(*static_cast<HostLink*>(next.link), next.ticket,
         Status(Code::unavailable, "S1015", fmt::format("a worker of {} is ending and takes no new calls", name))
             .with_retry(Retry::elsewhere));
  }
  reservations.clear();
  events.on_drain();
  settle_later();
}

void WorkerHost::State::load_changed() {
  if (load_page) publish_load();
  if (!load_teller.is_armed()) loop.arm(load_teller, loop.now() + options.load_every);
}

void WorkerHost::State::tell_load() {
  if (control_link == nullptr || running == running_told) return;
  running_told = running;
  control_link->link->load({.running = running, .capacity = capacity()});
}

}  // namespace shunt::worker
