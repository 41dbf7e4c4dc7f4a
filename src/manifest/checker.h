#pragma once
// Checker: the tree of a manifest becomes typed values, or diagnostics. Goes on after an error, so that a writer sees all
// of them at once. Looks whether files exist; reads none.

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "manifest/document.h"
#include "manifest/manifest.h"

namespace shunt::manifest {

/// The app, where nothing added to `diagnostics` is an error. `folder` is absolute.
std::optional<AppManifest> check(const Node& root, const std::shared_ptr<const Source>& source,
                                 const std::filesystem::path& folder, std::vector<Diagnostic>& diagnostics);

}  // namespace shunt::manifest
