#pragma once
// Router: finds where a call goes, checks that it may, and starts it there. One on each loop; all of them read one
// immutable Routing, replaced as a whole when something changes.
//
// Policy on the caller's side: default deadline, hops, moving a call that was REFUSED, retries where the effect permits.
// On the callee's side: authorization, limits, counting. Nothing here waits, and nothing locks.

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/own.h"
#include "base/random.h"
#include "base/result.h"
#include "call/caller.h"
#include "call/definition.h"
#include "call/ends.h"
#include "call/instance.h"
#include "call/path_stats.h"
#include "call/stats.h"
#include "loop/loop.h"

namespace shunt::call {

/// A service in the routing table.
struct Route {
  std::shared_ptr<const ServiceDefinition> definition;
  std::vector<std::shared_ptr<Instance>> instances;
  /// Where the instances of each Place end, once arrange() was called: with many, no call looks at each.
  std::array<std::size_t, place_count> near_end{};
  std::shared_ptr<Admission> admission;  ///< nullptr: never refuses.
  std::shared_ptr<ServiceStats> stats;
  std::string why_absent;  ///< Why there is no instance: "starting", "its module crashed; restart in 2s", …

  /// Puts the nearest first. Before it is published.
  void arrange();
};

/// What all loops read. Immutable once published.
class Routing {
 public:
  std::uint64_t revision = 0;
  bool expose_all = false;  ///< `--dev`: the gateway reaches every service.
  /// For calls that another node hands to this one: that node has checked what the caller may use, here counts whom the
  /// callee lets in. Its instances are all of this node.
  bool from_peers = false;
  std::unordered_map<std::string, std::shared_ptr<const Route>> routes;  ///< By full name.
  /// Where calls are measured by path; made once for a node. nullptr: each router measures for itself.
  std::shared_ptr<PathStats> paths;

  /// A service by full name, or by short name within `app`, or where the short name is unique.
  /// Errors: not_found S1002 with what exists and the nearest name; failed_precondition S1003 when it is ambiguous.
  Result<const Route*> resolve(std::string_view service, std::string_view app) const;
  /// Whether `caller` may call that command. Errors: permission_denied S1010, saying which manifest key would allow it;
  /// unauthenticated is the gateway's to answer.
  Result<void> permit(const Principal& caller, const Route& callee, std::string_view command) const;
};

/// Hears of each new Routing. Must not watch or unwatch inside.
class RoutingEvents {
 public:
  virtual void on_routing() = 0;

 protected:
  ~RoutingEvents() = default;
};

class Router final : public Caller {
 public:
  /// `loop_index` is what Instance::link() is asked with.
  Router(loop::Loop& loop, std::size_t loop_index, Random& random);
  ~Router() override;

  /// On this loop only: the node posts it to each.
  void install(std::shared_ptr<const Routing> routing);
  [[nodiscard]] const std::shared_ptr<const Routing>& routing() const;
  /// `events` hears of every install() until unwatch().
  void watch(RoutingEvents& events);
  void unwatch(RoutingEvents& events);

  /// Starts a call. Always a handle; a call that can't start ends with on_end, perhaps before this returns.
  OutgoingHandle start(const CallStart& start, CallerEvents& events, Opening opening) override;

  DirectRoute* direct(const Principal& principal, std::string_view service, std::string_view command) override;
  [[nodiscard]] const std::uint64_t* direct_revision() const override;

  loop::Loop& loop();
  [[nodiscard]] std::size_t loop_index() const;

 private:
  struct State;
  void retire_direct();
  Own<State> state_;
};

}  // namespace shunt::call
