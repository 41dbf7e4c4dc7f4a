#pragma once
// Hosting: how a service of a manifest becomes one that can be called: its code says what it is, the manifest and the code
// are held against each other, types are derived, and a host is started, as a module of this process or as a pool of
// workers. A node that starts does it with every service, a reload with those that changed.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "call/spawner.h"
#include "loop/task.h"
#include "manifest/manifest.h"
#include "module/log_book.h"
#include "node/broker.h"
#include "node/hosted.h"
#include "node/loops.h"
#include "supervisor/client.h"

namespace shunt::node {

struct HostingOptions {
  loop::EpollLoop& control;
  Loops& loops;
  Broker& broker;
  supervisor::SupervisorClient& supervisor;
  module::LogBook& log;
  std::string data;     ///< The data folder.
  HostChanged changed;  ///< Instances came or went, or why there are none.
};

/// Threads: the control loop's. Lifetime: what its options refer to outlives it, and it its tasks.
class Hosting final {
 public:
  explicit Hosting(HostingOptions options);

  /// Completes `hosted.manifest` by what the code says of itself, in a throwaway process. Nothing else is started. The
  /// service can't be hosted when an error is among what it returns.
  loop::Task<std::vector<manifest::Diagnostic>> learn(Hosted& hosted);
  /// Starts the host of a service that was learned; it may not be ready yet. Workers of its kind in `living` are taken
  /// over. What it returns is why there is none. `before`: whose counts are continued; may be nullptr.
  loop::Task<std::optional<manifest::Diagnostic>> start(Hosted& hosted, std::vector<call::SpawnedWorker>& living,
                                                        const Hosted* before = nullptr);
  /// Statistics for the commands that the service has now; those that `before` had are counted on.
  void count_on(Hosted& hosted, const Hosted* before) const;

 private:
  HostingOptions options_;
};

/// Removes the copies of libraries that a node before this one has loaded.
void forget_copies(const std::string& data);
/// The route of a service, as it is hosted now.
std::shared_ptr<call::Route> route_of(const Hosted& hosted);
/// What `shunt ps` shows of it.
module::ServiceReport report_of(const Hosted& hosted);

}  // namespace shunt::node
