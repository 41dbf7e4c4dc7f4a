#pragma once
// PeerLink: one link to another node on one loop, whoever dialled it: the mux over a carrier, pings that measure the way,
// and the book's entry while it takes calls.

#include <atomic>
#include <memory>
#include <string>

#include "base/own.h"
#include "link/carrier.h"
#include "link/grpc/handshake.h"
#include "link/mux_link.h"
#include "node/loops.h"
#include "node/peers/peer_links.h"

namespace shunt::node {

class PeerLink;

/// What a link tells whoever keeps it, on its loop. It may be destroyed inside each of them.
class PeerLinkEvents {
 public:
  /// The other node has said HELLO: calls may go both ways.
  virtual void on_open(PeerLink& link) = 0;
  /// The other node takes no new calls; open ones go on.
  virtual void on_leaving(PeerLink& link) = 0;
  virtual void on_closed(PeerLink& link, const Status& why) = 0;
  /// round_trip() is new.
  virtual void on_measured(PeerLink& link) { (void)link; }

 protected:
  ~PeerLinkEvents() = default;
};

/// Threads: its loop's. Lifetime: everything it was given outlives it.
class PeerLink final : private link::LinkOwner, private loop::Timer {
 public:
  PeerLink(RoutingLoop& routing, Own<link::Carrier> carrier, wire::Side side, const link::NodeIdentity& self,
           link::NodeIdentity peer, call::Service& door, PeerBook& book, PeerLinkEvents& events);
  ~PeerLink();

  [[nodiscard]] const link::NodeIdentity& peer() const { return peer_; }
  [[nodiscard]] bool is_open() const { return open_; }
  /// Of the last ping; zero: none was answered yet.
  [[nodiscard]] Duration round_trip() const { return round_trip_; }
  /// Takes no new calls; ends when the open ones have, or are cancelled at the deadline.
  loop::Task<void> drain(Deadline deadline);
  /// Gives new calls to others; open ones go on.
  void leave();

 private:
  void on_open(const wire::Hello& hello) override;
  void on_closed(const Status& why) override;
  void on_pong(std::uint64_t number) override;
  void on_goaway(std::string_view reason) override;
  void fire() override;  // asks how long the way is

  RoutingLoop& routing_;
  const wire::Side side_;
  const link::NodeIdentity peer_;
  PeerLinkEvents& events_;
  const std::shared_ptr<PeerLinks> links_;  // Owners: see there.
  Duration round_trip_{0};
  bool open_ = false;
  Own<link::MuxLink> link_;
};

}  // namespace shunt::node
