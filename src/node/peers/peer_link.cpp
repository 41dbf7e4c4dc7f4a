#include "node/peers/peer_link.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/version.h"
#include "os/clock_id.h"

namespace shunt::node {

namespace {
constexpr Duration measure_interval = std::chrono::seconds(5);
}

PeerLink::PeerLink(RoutingLoop& routing, Own<link::Carrier> carrier, wire::Side side, const link::NodeIdentity& self,
                   link::NodeIdentity peer, call::Service& door, PeerBook& book, PeerLinkEvents& events)
    : routing_(routing), side_(side), peer_(std::move(peer)), events_(events), links_(book.of(peer_.id)) {
  link::MuxLinkOptions options;
  options.side = side;
  options.hello.role = "node";
  options.hello.name = self.name;
  options.hello.software = self.software;
  options.hello.clock = os::clock_id();
  options.hello.pid = static_cast<std::uint64_t>(getpid());
  // It has proven that it is a node of ours; the door says what it may not claim.
  options.trust_principal = true;
  options.refuses_late = true;
  options.peer.service = fmt::format("node {}", peer_.name);
  link_ = link::MuxLink::create(routing.loop, std::move(carrier), door, *this, std::move(options));
}

PeerLink::~PeerLink() { leave(); }

loop::Task<void> PeerLink::drain(Deadline deadline) {
  leave();
  return link_->drain(deadline);
}

void PeerLink::leave() {
  if (std::exchange(open_, false)) links_->closed(routing_.index, *link_);
}

void PeerLink::on_open(const wire::Hello&) {
  open_ = true;
  links_->opened(routing_.index, *link_, side_ == wire::Side::dialler ? Dialled::by_us : Dialled::by_them);
  fire();
  events_.on_open(*this);
}

void PeerLink::on_closed(const Status& why) {
  leave();
  Timer::disarm();
  events_.on_closed(*this, why);
}

void PeerLink::on_goaway(std::string_view) {
  leave();
  events_.on_leaving(*this);
}

void PeerLink::on_pong(std::uint64_t number) {
  round_trip_ = routing_.loop.refresh_now() - Instant{static_cast<std::int64_t>(number)};
  events_.on_measured(*this);
}

void PeerLink::fire() {
  link_->ping(static_cast<std::uint64_t>(routing_.loop.refresh_now().ns));
  routing_.loop.arm(*this, routing_.loop.now() + measure_interval);
}

}  // namespace shunt::node
