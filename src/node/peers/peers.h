#pragma once
// Peers: this node among others. It dials those that it was told of, takes those that dial it, tells them what it serves and
// hears what they serve, and puts that into the routing behind what is here. docs/internals/interconnect.md.
//
// One object of the control loop with parts on every serving loop (peer_dialler.h, peer_acceptor.h, peer_door.h); the parts
// post what happens.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/client_call.h"
#include "call/router.h"
#include "call/server_call.h"
#include "directory/definition_json.h"
#include "directory/embedded/embedded_directory.h"
#include "gateway/tunnel.h"
#include "link/local/local_link.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "module/manager.h"
#include "node/loops.h"
#include "node/peers/peer_acceptor.h"
#include "node/peers/peer_dialler.h"
#include "node/peers/peer_door.h"

namespace shunt::node {

struct PeersOptions {
  std::vector<std::string> urls;  ///< "grpc://HOST:PORT", "grpcs://HOST:PORT".
  std::string key_file;           ///< Of the peers' secret; empty: none.
  std::string ca_file;            ///< PEM: whom grpcs:// trusts; empty: the system's.
  std::string certificate_file;   ///< Our own, for nodes that ask; empty: none.
  std::string certificate_key_file;
  std::string node_name;  ///< Empty: the host's.
  std::string data;       ///< The node's id is kept there.
  PeerTimes times = {};
};

class UserTokens;

/// Threads: the control loop's, but where a method says otherwise. Lifetime: loops outlive it; destroyed after their
/// threads have ended, before the hosts of what it was told to offer.
class Peers final : private directory::DirectoryEvents {
 public:
  using Say = std::function<void(std::string_view level, std::string text)>;

  /// `changed`: what merge() adds has. Errors: S5064, S5065, S5030 to S5034 for what was given.
  static Result<Own<Peers>> create(Loops& loops, const UserTokens& tokens, PeersOptions options, Say say,
                                   std::function<void()> changed);
  ~Peers();

  /// For the gateway of that loop.
  gateway::Tunnel& tunnel(std::size_t loop_index) { return *parts_[loop_index]->acceptor; }
  /// Begins to dial; once.
  void start();

  /// What this node serves itself: told to peers, and reachable for them. Before merge().
  void offer(const call::Routing& local);
  /// Adds what peers serve.
  void merge(call::Routing& routing);
  [[nodiscard]] std::vector<module::PeerReport> report() const;

  /// Tells peers that everything here drains, and waits until those that listen were told (at most for `limit`).
  loop::Task<void> say_draining(Duration limit);
  /// Ends the links that this node dialled, when their calls have ended.
  loop::Task<void> stop(Deadline deadline);

 private:
  /// What lives on one serving loop.
  struct Part {
    Own<PeerDoor> door;
    Own<PeerAcceptor> acceptor;
    std::vector<Own<PeerDialler>> diallers;  // By target.
  };
  /// A service of a peer.
  struct Service {
    std::string hash;
    std::shared_ptr<const call::ServiceDefinition> definition;
    directory::RecordState state = directory::RecordState::starting;
    std::shared_ptr<PeerInstance> instance;
  };
  struct Peer {
    explicit Peer(loop::Loop& loop) : changed(loop) {}
    link::NodeIdentity identity;
    std::shared_ptr<PeerLinks> links;
    directory::Lease lease;
    bool following = false;
    bool open = false;
    bool whole = false;          // All of what it serves was told.
    std::set<std::string> told;  // While a whole is being told: what was in it.
    bool telling_whole = false;
    std::map<std::string, Service> services;
    std::string last_error;
    loop::Event changed;
  };
  struct Dial {
    PeerTarget target;
    std::vector<DialState> loops;
  };
  class Watching;

  Peers(Loops& loops, PeersOptions options, Say say, std::function<void()> changed);
  Result<void> read_options();
  void make_parts(const UserTokens& tokens);

  void on_directory() override;
  loop::Task<Status> watch(call::ServerCall& call);

  Peer& meet(const link::NodeIdentity& identity);
  void look_at(const link::NodeIdentity& identity);
  loop::Task<void> follow(Peer& peer);
  loop::Task<Status> listen_to(Peer& peer);
  Result<void> take(Peer& peer, std::string_view message);
  Result<void> put(Peer& peer, directory::Record record);
  void drop(Peer& peer, const std::string& service);
  void settle(Peer& peer);
  void compare(const std::string& service, const std::string& here, const std::string& there,
               const std::string& there_hash);
  void merge(call::Routing& routing, const Peer& peer, const std::string& name, const Service& service);
  std::shared_ptr<call::ServiceStats> stats_of(const std::string& name, const Service& service);
  void on_dial(std::size_t dial, std::size_t loop_index, const DialState& state);
  [[nodiscard]] std::string why_absent(const Peer& peer, const Service& service) const;

  Loops& loops_;
  loop::Loop& control_;
  PeersOptions options_;
  const Say say_;
  const std::function<void()> changed_;
  link::NodeIdentity self_;
  std::string key_;
  std::vector<Own<Dial>> dials_;
  bool draining_ = false;
  bool started_ = false;

  directory::EmbeddedDirectory directory_;
  directory::Lease own_lease_;
  std::map<const call::Contract*, std::pair<std::shared_ptr<const call::Contract>, directory::ProtoPart>> proto_parts_;
  std::map<std::string, std::string> own_hashes_;
  std::set<std::string> compared_;
  std::map<std::string, std::pair<std::string, std::shared_ptr<call::ServiceStats>>, std::less<>> stats_;
  std::vector<Watching*> watchings_;
  call::TaskService service_;
  Own<link::LocalLink> service_link_;
  PeerBook book_;
  std::map<std::string, Own<Peer>> peers_;  // By node id.
  std::vector<Own<Part>> parts_;            // By loop; the control loop's has no acceptor that is used.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // Owners: this, and what loops have posted.
  loop::Scope scope_;
};

}  // namespace shunt::node
