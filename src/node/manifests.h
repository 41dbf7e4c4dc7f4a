#pragma once
// Manifests: the manifests that a node runs, read and held against each other. An app with an error is left out, and
// whoever reads says whether that will do: a node that starts runs the others, a reload changes nothing.

#include <string>
#include <vector>

#include "manifest/manifest.h"

namespace shunt::node {

struct Manifests {
  std::vector<manifest::AppManifest> apps;
  std::vector<manifest::Diagnostic> diagnostics;

  /// No app was left out.
  [[nodiscard]] bool whole() const { return !manifest::has_errors(diagnostics); }
};

/// Files that are not there, or not good, are diagnostics.
Manifests read_manifests(const std::vector<std::string>& paths);
/// Leaves out what must not be reached from where the node listens.
void check_reach(Manifests& manifests, manifest::Listening listening);
/// What a node can't take up while it runs: a warning for each.
void warn_of_fixed(const std::vector<manifest::AppManifest>& before, Manifests& now, bool listen_counts);

}  // namespace shunt::node
