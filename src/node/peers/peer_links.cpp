#include "node/peers/peer_links.h"

#include <algorithm>
#include <bit>

#include "node/loops.h"

namespace shunt::node {

PeerLinks::PeerLinks(Loops& loops) : loops_(loops), slots_(loops.all()) {
  for (Slot& slot : slots_) slot.crossings.resize(std::min(loops.serving(), crossed_loops_max));
}

void PeerLinks::opened(std::size_t loop_index, link::MuxLink& link, Dialled dialled) {
  auto& links = slots_[loop_index].links;
  links.insert(dialled == Dialled::by_us ? links.begin() : links.end(), &link);
  if (loop_index < crossed_loops_max) open_.fetch_or(std::uint64_t{1} << loop_index, std::memory_order_acq_rel);
}

void PeerLinks::closed(std::size_t loop_index, link::MuxLink& link) {
  auto& links = slots_[loop_index].links;
  std::erase(links, &link);
  if (links.empty() && loop_index < crossed_loops_max) {
    open_.fetch_and(~(std::uint64_t{1} << loop_index), std::memory_order_acq_rel);
  }
}

call::Link* PeerLinks::best(const Slot& slot) {
  for (link::MuxLink* link : slot.links) {
    if (!link->is_closed()) return link;
  }
  return nullptr;
}

call::Link* PeerLinks::link(std::size_t loop_index) {
  Slot& slot = slots_[loop_index];
  if (call::Link* own = best(slot)) return own;
  std::uint64_t open = open_.load(std::memory_order_acquire);
  if (loop_index < crossed_loops_max) open &= ~(std::uint64_t{1} << loop_index);
  if (open == 0) return nullptr;
  // The next one that has, so that loops without a link do not all lean on one.
  const auto turned = std::rotr(open, static_cast<int>(loop_index % crossed_loops_max));
  const auto far = (loop_index + static_cast<std::size_t>(std::countr_zero(turned))) % crossed_loops_max;
  auto& crossing = slot.crossings[far];
  if (crossing == nullptr) {
    crossing = link::CrossLoopLink::create(loops_.at(loop_index).loop, loops_.at(far).loop,
                                           [self = weak_from_this(), far]() -> call::Link* {
                                             auto links = self.lock();
                                             return links == nullptr ? nullptr : best(links->slots_[far]);
                                           });
  }
  return crossing.get();
}

std::size_t PeerLinks::open_loops() const {
  return static_cast<std::size_t>(std::popcount(open_.load(std::memory_order_acquire)));
}

std::shared_ptr<PeerLinks> PeerBook::of(const std::string& node) {
  const std::lock_guard lock(mutex_);
  auto& found = peers_[node];
  if (found == nullptr) found = std::make_shared<PeerLinks>(loops_);
  return found;
}

}  // namespace shunt::node
