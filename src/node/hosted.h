#pragma once
// Hosted: one service of a manifest on this node, whether it could be hosted or not.

#include <memory>
#include <string>

#include "base/own.h"
#include "call/stats.h"
#include "manifest/manifest.h"
#include "node/service_host.h"

namespace shunt::node {

struct Hosted {
  manifest::ServiceManifest manifest;  ///< With what the code says of itself, once that is known.
  std::string code;                    ///< content_hash() of what `host` runs; empty until it was started.
  std::shared_ptr<call::ServiceStats> stats = std::make_shared<call::ServiceStats>();  // Owners: this and routing.
  Own<ServiceHost> host;
  std::string failure;   ///< Why there is no host.
  std::string refused;   ///< Why what the manifest says now does not run, while what it said before does.
  bool settled = false;  ///< It was hosted, or has failed.

  [[nodiscard]] const std::string& name() const { return manifest.definition.full_name; }
};

}  // namespace shunt::node
