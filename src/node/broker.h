#pragma once
// Broker: makes direct links between workers, and knows who may have one. A worker that calls a service by name asks for a
// way (WANT); the broker resolves the name as its router would, checks `uses` and `allow`, and gives both sides an end of a
// link and the commands that may be called over it. Each new routing is held against every link: what it withdraws is
// closed at once.
//
// The data never comes here, nor does a call. All of it on the control loop; docs/internals/direct-links.md tells the story.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/own.h"
#include "call/router.h"
#include "node/broker_session.h"
#include "node/loops.h"
#include "node/user_tokens.h"

namespace shunt::node {

struct BrokerOptions {
  /// Links at once, those of the node's own loops too; beyond: calls go by the node, over its unix sockets.
  std::size_t links_max = 1024;
  /// Shared memory that they take together; the same.
  std::size_t bytes_max = 512u << 20;
  /// Instances of one service that one worker has links to; more would not make it faster.
  std::size_t targets_max = 16;
};

/// A direct link between two workers, for `shunt explain` and tests.
struct DirectLinkReport {
  std::string caller;           ///< "shop.cart"
  std::string caller_instance;  ///< "cart#1"
  std::string callee;
  std::string callee_instance;
  std::string over;  ///< "shm" or "unix"
};

/// Threads: the control loop's. Lifetime: loops and tokens outlive it. stop() before the pools go.
class Broker final : private BrokerSessionOwner, private call::RoutingEvents {
 public:
  Broker(Loops& loops, UserTokens& tokens, BrokerOptions options);
  ~Broker();

  void add(WorkerLinks& links, std::shared_ptr<pool::WorkerInstance> instance, BrokerTraits traits, os::Fd socket);
  void remove(const pool::WorkerInstance& instance);
  /// Lets go of every worker.
  void stop();
  /// Takes the calls that workers make over links of that loop: knows users by their tokens.
  call::Service& gate(std::size_t loop_index) { return *gates_[loop_index]; }

  [[nodiscard]] std::vector<DirectLinkReport> report() const;
  [[nodiscard]] std::size_t links() const { return links_count_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  /// That one worker calls one service.
  struct Interest {
    BrokerSession* caller = nullptr;
    std::string service;
    std::vector<wire::BrokerCommand> commands;
    bool over_budget = false;
  };
  struct Direct {
    Interest* interest = nullptr;
    BrokerSession* caller = nullptr;
    BrokerSession* callee = nullptr;
    wire::BrokerCarrier carrier{};
    bool retiring = false;
  };
  enum class Tell : bool { no, yes };

  // BrokerSessionOwner
  void on_session_ready(BrokerSession& session) override;
  void on_session_message(BrokerSession& session, const wire::BrokerMessage& message) override;
  void on_session_gone(BrokerSession& session) override;
  std::uint64_t next_link_id() override { return ++link_ids_; }
  Result<void> reserve(wire::BrokerCarrier carrier) override;
  void give_back(wire::BrokerCarrier carrier) override;
  void on_distance_change() override {}

  void on_routing() override;

  void on_want(BrokerSession& session, const wire::BrokerMessage& message);
  void on_verify(BrokerSession& session, const wire::BrokerMessage& message);
  void on_counts(BrokerSession& session, const wire::BrokerMessage& message);
  void on_paths(const BrokerSession& session, const wire::BrokerMessage& message);
  void on_closed(BrokerSession& session, std::uint64_t id);
  [[nodiscard]] const call::Routing& routing() const;
  /// What the worker may call there, and how. Errors: as Routing::permit() says of the first command that it may not.
  [[nodiscard]] Result<std::vector<wire::BrokerCommand>> permitted(const BrokerSession& caller,
                                                                   const call::Route& route) const;
  [[nodiscard]] std::vector<BrokerSession*> targets(const BrokerSession& caller, const call::Route& route) const;
  void update(Interest& interest);
  void attach(Interest& interest, BrokerSession& callee);
  void revoke(const Interest& interest, const Status& why);
  void forget(std::uint64_t id, Tell callee, Tell caller);
  void drop(BrokerSession& session, Tell tell);

  Loops& loops_;
  UserTokens& tokens_;
  const BrokerOptions options_;
  std::vector<Own<TokenGate>> gates_;  ///< By loop index.
  std::uint64_t link_ids_ = 0;
  std::size_t links_count_ = 0;
  std::size_t bytes_ = 0;
  std::map<std::pair<BrokerSession*, std::string>, Interest> interests_;
  std::map<std::uint64_t, Direct> direct_;
  /// What each worker may tell counts of: services that it was given links to.
  std::map<BrokerSession*, std::set<std::string>> counted_;
  std::map<const call::Instance*, Own<BrokerSession>> sessions_;  ///< By the instance, as routing has it.
};

}  // namespace shunt::node
