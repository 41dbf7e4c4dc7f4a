#pragma once
// What changed of a service between two manifests, in the manifest's words: whether it must run anew, or only be routed
// anew.

#include <string>
#include <vector>

#include "node/hosted.h"

namespace shunt::node {

struct Changes {
  std::vector<std::string> host;   ///< "engine.backend", "args", "code": what runs is not what should run.
  std::vector<std::string> route;  ///< "uses", "allow", "expose": the routing says it.
};

/// `now_code` is content_hash() of `now`.
Changes changes_of(const Hosted& before, const manifest::ServiceManifest& now, const std::string& now_code);

}  // namespace shunt::node
