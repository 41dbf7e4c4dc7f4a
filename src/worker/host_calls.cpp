#include <fmt/format.h>

#include "worker/host_state.h"

namespace shunt::worker {

// ---- Ends ----------------------------------------------------------------------------------------------------------

void WorkerHost::Served::leave() {
  if (!std::exchange(running, false) || host == nullptr) return;
  host->slot_freed(blocking);
}

void WorkerHost::Served::release() {
  inner.reset();
  leave();
  leave_list();
  link = nullptr;
  if (State* owner = std::exchange(host, nullptr)) {
    keep_end(owner->served_free, this);
  } else {
    delete this;
  }
}

void WorkerHost::Placed::release() {
  inner.reset();
  leave_list();
  if (State* owner = std::exchange(host, nullptr)) {
    owner->placed--;
    if (owner->draining) owner->settle_later();
    keep_end(owner->placed_free, this);
  } else {
    delete this;
  }
}

// ---- Calls that go out ---------------------------------------------------------------------------------------------

WorkerHost::HostLink* WorkerHost::State::pick(HostLink* preferred) {
  auto usable = [](const HostLink* link) {
    return link != nullptr && !link->closed && !link->draining && link->is_to_node();
  };
  if (usable(preferred)) return preferred;
  if (usable(last_link)) return last_link;
  for (std::size_t i = 0; i < links.size(); i++) {
    HostLink* candidate = links[next_link++ % links.size()].get();
    if (usable(candidate) && candidate != control_link) return candidate;
  }
  if (usable(control_link)) return control_link;
  // One that drains says so by itself.
  for (auto& link : links) {
    if (!link->closed && link->is_to_node()) return link.get();
  }
  return nullptr;
}

call::OutgoingHandle WorkerHost::State::place(HostLink* preferred, const call::CallStart& start,
                                              call::CallerEvents& caller, call::Opening opening) {
  if (broker != nullptr && !closing) {
    if (DirectWay way = direct.find(start); way.target != nullptr) {
      return place_directly(std::move(way), start, caller, std::move(opening));
    }
  }
  return place_at(preferred, start, caller, std::move(opening));
}

call::OutgoingHandle WorkerHost::State::place_at(HostLink* preferred, const call::CallStart& start,
                                                 call::CallerEvents& caller, call::Opening opening) {
  Placed* placing = take_end(placed_free);
  placing->host = this;
  placed++;
  call::OutgoingHandle handle(placing);
  HostLink* link = closing ? nullptr : pick(preferred);
  if (link == nullptr) {
    placing->join(orphans);
    caller.on_end(
        Status(Code::unavailable, "S3062",
               fmt::format("call {}.{}: this worker has no link to its node now; it comes back when the node does",
                           start.service, start.command))
            .with_retry(Retry::later),
        {});
    return handle;
  }
  placing->join(link->ends);
  call::Open open;
  open.service = start.service;
  open.command = start.command;
  open.metadata = start.metadata;
  open.deadline = start.deadline;
  open.principal = start.principal;
  open.hops = start.hops;
  open.encoding = start.encoding;
  placing->inner = link->link->calls().open(open, caller, std::move(opening));
  return handle;
}

}  // namespace shunt::worker
