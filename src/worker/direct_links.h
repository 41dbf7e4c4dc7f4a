#pragma once
// DirectLinks: the caller's side of direct links: which services this worker can reach without its node in between, and at
// which of their instances a call goes best. The node decides and makes the links (spec/wire.md section 12); this asks
// for them when a service is called for the first time, and lets go of them when it is not called any more.
//
//   call by name --no route yet--> by the node; WANT is asked meanwhile
//                --route, room----> DirectCall at the instance with the fewest calls
//                --route, no room-> by the node, which queues
//
// It does not know where calls come from, nor what the node thinks of them.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/own.h"
#include "call/caller.h"
#include "call/definition.h"
#include "call/load_page.h"
#include "loop/epoll_loop.h"
#include "wire/broker_message.h"
#include "worker/direct_counts.h"
#include "worker/node_link.h"

namespace shunt::worker {

struct DirectOptions {
  Duration idle = std::chrono::seconds(30);           ///< A service that was not called for so long loses its links.
  Duration tell_every = std::chrono::seconds(1);      ///< Counts are told so often while they change.
  Duration ask_again = std::chrono::seconds(1);       ///< After a failure that says nothing else; doubles …
  Duration ask_again_max = std::chrono::seconds(60);  ///< … up to this.
  std::size_t names_max = 1024;                       ///< Of services that were asked for; beyond: by the node.
  std::size_t targets_max = 256;                      ///< Links at once; beyond: what the node offers is declined.
};

/// What DirectLinks needs of its host.
class DirectHost {
 public:
  /// False: there is no broker now.
  virtual bool tell_broker(const wire::BrokerMessage& message) = 0;
  [[nodiscard]] virtual wire::Hello direct_hello() const = 0;

 protected:
  ~DirectHost() = default;
};

struct DirectRoute;

/// A command as a caller needs to know it.
struct DirectCommand {
  std::string name;
  Duration timeout{0};
  call::Effect effect = call::Effect::any;
  bool json = false;   ///< A call in JSON needs no turning.
  bool proto = false;  ///< The same of protobuf.
};
/// Sorted by name. Immutable: calls that are open keep theirs. Owners: the route, and calls.
using DirectCommands = std::vector<DirectCommand>;

/// A link to one instance.
struct DirectTarget final : NodeLinkEvents, call::Service {
  explicit DirectTarget(DirectRoute& of) : route(&of) {}
  void on_open(const wire::Hello& peer) override;
  void on_closed(const Status& why) override;
  void on_goaway(std::string_view reason) override;
  void on_wait(std::uint64_t, const wire::WaitFrame&) override {}
  /// A callee has nothing to call here.
  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;
  /// Calls that it has now, as far as can be known from here; nothing when it has no room.
  [[nodiscard]] std::optional<std::uint32_t> load() const;

  DirectRoute* route;
  std::uint64_t id = 0;
  std::string instance;
  std::optional<call::LoadView> view;
  std::uint32_t in_flight = 0;  ///< Of ours.
  bool open = false;
  bool retiring = false;  ///< Takes no new calls; is closed when it has none.
  bool closed = false;
  bool told = false;                     ///< The node knows that it is closed.
  std::vector<DirectCounter*> counters;  ///< By index of the route's commands; made when first used.
  Own<NodeLink> link;
};

/// A service that can be called directly.
struct DirectRoute {
  class DirectLinks* links = nullptr;
  std::string full_name;
  std::shared_ptr<const DirectCommands> commands;
  std::vector<Own<DirectTarget>> targets;
  Instant used;
  bool withdrawn = false;  ///< Its calls go by the node, until it is asked for anew.
  std::size_t next = 0;    ///< Where the search for the least load begins, so that equals share.
};

/// Where a call may go; nowhere: by the node.
struct DirectWay {
  DirectTarget* target = nullptr;
  std::shared_ptr<const DirectCommands> commands;  ///< Keeps `command`.
  const DirectCommand* command = nullptr;
  DirectCounter* counter = nullptr;
};

/// Threads: the loop's. Lifetime: loop, maker and host outlive it.
class DirectLinks final : private loop::Timer, private loop::Runnable {
 public:
  DirectLinks(loop::EpollLoop& loop, NodeLinkMaker& maker, DirectHost& host, DirectOptions options)
      : loop_(loop), maker_(maker), host_(host), options_(options) {}
  ~DirectLinks();

  /// The best way for that call now. Asks the node for links where there are none.
  DirectWay find(const call::CallStart& start);

  // --- What the node says ---
  void on_attach(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors);
  void on_answer(const wire::BrokerMessage& message);
  /// True when the link was one of these.
  bool on_revoke(std::uint64_t id, const Status& why);
  void on_retire(std::uint64_t id);
  void on_policy(const wire::BrokerMessage& message);
  /// The node is gone, or a new one is there: what is open may end, nothing new is opened over what the old one made.
  void on_broker_gone();

  // --- For calls ---
  /// Ends them all: the host is going.
  void close_all();
  /// A call at that target has ended, in whatever way.
  void left(DirectTarget& target);
  DirectCounts& counts() { return counts_; }
  /// Tells what was counted, now.
  void tell_counts();
  /// Tells it within DirectOptions::tell_every.
  void counted() {
    if (!Timer::is_armed()) loop_.arm(*this, loop_.now() + options_.tell_every);
  }

  [[nodiscard]] bool has_unsent() const;
  [[nodiscard]] std::size_t open_links() const;

 private:
  friend struct DirectTarget;
  struct Name {
    DirectRoute* route = nullptr;
    bool asking = false;
    Instant ask_at;  ///< Not before.
    Duration wait{0};
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Names = std::unordered_map<std::string, Name, Hash, std::equal_to<>>;

  void ask(const std::string& named, Name& name);
  void put_off(Name& name, Duration at_least);
  DirectRoute* route_of(std::string_view full_name);
  DirectTarget* target_of(std::uint64_t id);
  void withdraw(DirectRoute& route, Duration wait);
  void close(DirectTarget& target, const Status& why);
  void bury_later() { loop_.ready(*this); }
  void fire() override;  // Idle links, and counts.
  void run() override;   // Closed targets, outside of their events.

  loop::EpollLoop& loop_;
  NodeLinkMaker& maker_;
  DirectHost& host_;
  const DirectOptions options_;
  DirectCounts counts_;
  std::uint64_t requests_ = 0;
  std::unordered_map<std::uint64_t, std::string> asked_;  ///< By request: the name.
  Names names_;
  std::vector<Own<DirectRoute>> routes_;  ///< Stay: calls point at them. As many as names at most.
  const std::string* last_named_ = nullptr;
  Name* last_name_ = nullptr;
};

}  // namespace shunt::worker
