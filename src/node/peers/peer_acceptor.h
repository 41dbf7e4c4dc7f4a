#pragma once
// PeerAcceptor: takes the streams by which other nodes come in, on one loop: who may, and the link behind each.

#include <functional>
#include <string>
#include <vector>

#include "base/own.h"
#include "gateway/tunnel.h"
#include "link/grpc/accepted_carrier.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "node/peers/peer_link.h"

namespace shunt::node {

/// Threads: its loop's. Lifetime: outlives the loop's gateway; what it is given outlives it.
class PeerAcceptor final : public gateway::Tunnel {
 public:
  static constexpr std::size_t links_max = 4096;  ///< Beyond it S5069.

  /// What happens to links of one peer, told on the loop.
  struct Told {
    std::function<void(const link::NodeIdentity& peer, bool open)> changed;
    std::function<void(const Status& why)> refused;
  };

  PeerAcceptor(RoutingLoop& routing, const link::NodeIdentity& self, const std::string& key, call::Service& door,
               PeerBook& book, Told told);
  ~PeerAcceptor() override;

  [[nodiscard]] bool is_behind(std::string_view path) const override { return path == link::interconnect_path; }
  Result<gateway::TunnelAnswer> accept(const gateway::TunnelRequest& request, gateway::TunnelStream& stream) override;

 private:
  class Accepted;
  struct Reaper final : loop::Runnable {
    explicit Reaper(PeerAcceptor& to) : acceptor(to) {}
    void run() override;
    PeerAcceptor& acceptor;
  };

  Result<void> may_come(const gateway::TunnelRequest& request, const link::Introduction& theirs) const;
  void remove(Accepted& accepted);

  RoutingLoop& routing_;
  const link::NodeIdentity& self_;
  const std::string& key_;
  call::Service& door_;
  PeerBook& book_;
  const Told told_;
  std::vector<Own<Accepted>> accepted_;
  std::vector<Own<Accepted>> ended_;
  Reaper reaper_{*this};
};

}  // namespace shunt::node
