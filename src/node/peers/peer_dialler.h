#pragma once
// PeerDialler: keeps one link up from one loop to the node at one address: dials, again after growing pauses when it fails,
// at once when the link is lost, and a fresh one before proxies tire of the old.

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/own.h"
#include "link/grpc/grpc_carrier.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "net/tls/tls_context.h"
#include "node/peers/peer_link.h"
#include "os/socket.h"

namespace shunt::node {

/// What was given with --peer, and how peers are dialled.
struct PeerTarget {
  std::string url;  ///< As it was given: "grpc://10.0.0.2:8080".
  os::TcpAddress address;
  std::shared_ptr<const net::TlsContext> tls;  ///< nullptr: in clear. Owners: the targets.
};

struct PeerTimes {
  Duration pause_min = std::chrono::milliseconds(100);  ///< After a failed attempt; each next is twice as long,
  Duration pause_max = std::chrono::seconds(5);         ///< up to this; all of them with jitter, from the half on.
  Duration renewal = std::chrono::minutes(30);          ///< How long a link is used; ± 10 %.
  Duration drain = std::chrono::minutes(10);            ///< What calls that are open on an old link get.
};

/// How it stands, as `shunt ps` shows it.
struct DialState {
  link::NodeIdentity peer;  ///< Empty id: it has never answered.
  bool open = false;
  bool hopeless = false;  ///< It is this node itself: not dialled again.
  Duration round_trip{0};
  std::string last_error;
  std::uint64_t attempts = 0;
};

/// Threads: its loop's. Lifetime: what it is given outlives it; destroyed after the loop's thread has ended, and waits then for
/// a name that is being looked up.
class PeerDialler final : public link::GrpcDialEvents, public PeerLinkEvents, private loop::Timer {
 public:
  using Changed = std::function<void(const DialState& state)>;

  /// `changed` is told on the loop.
  PeerDialler(RoutingLoop& routing, const PeerTarget& target, const link::NodeIdentity& self, const std::string& key,
              call::Service& door, PeerBook& book, const PeerTimes& times, Changed changed);
  ~PeerDialler();

  void start();
  /// Dials no more, and drains what is open.
  loop::Task<void> stop(Deadline deadline);
  [[nodiscard]] DialState state() const;

 private:
  // GrpcDialEvents
  void on_ready(const link::NodeIdentity& peer) override;
  void on_failed(Status why) override;
  void on_goaway() override;
  // PeerLinkEvents
  void on_open(PeerLink& link) override;
  void on_leaving(PeerLink& link) override;
  void on_closed(PeerLink& link, const Status& why) override;
  void on_measured(PeerLink&) override { tell(); }
  void fire() override;  // dials; or renews

  void dial();
  void look_up();
  void looked_up(Result<std::vector<os::TcpAddress>> found);
  void dial_at(const os::TcpAddress& address);
  void fail(const Status& why);
  void retire(Own<PeerLink> link);
  loop::Task<void> drain_old(Own<PeerLink> link);
  [[nodiscard]] Duration jittered(Duration span, double from, double to);
  void tell() { changed_(state()); }

  RoutingLoop& routing_;
  const PeerTarget& target_;
  const link::NodeIdentity& self_;
  const std::string& key_;
  call::Service& door_;
  PeerBook& book_;
  const PeerTimes times_;
  const Changed changed_;
  link::NodeIdentity known_;
  std::string last_error_;
  std::uint64_t attempts_ = 0;
  Duration pause_{0};
  std::vector<os::TcpAddress> addresses_;  // Of a name, those that were not tried yet.
  bool stopping_ = false;
  bool hopeless_ = false;
  bool looking_up_ = false;
  std::thread lookup_;  // Of a name; one at a time.
  Own<link::GrpcCarrier> dialling_;
  Own<PeerLink> next_;  // Has not said HELLO.
  Own<PeerLink> link_;
  std::vector<Own<PeerLink>> gone_;  // Ended; freed in a turn of its own.
  loop::Scope scope_;
};

}  // namespace shunt::node
