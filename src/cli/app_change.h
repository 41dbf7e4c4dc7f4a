#pragma once
// One change of a manifest: made on the text, checked as `shunt check` does, written as a whole, taken up by the node that
// runs the app, and put back where that node refuses.

#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"
#include "cli/app_place.h"

namespace shunt::cli {

using Edit = std::function<Result<std::string>(const std::string& text)>;

/// Does it, prints what has changed or what is wrong, and returns the exit code.
int change_manifest(const std::filesystem::path& manifest, const NodeApps& running, const NodeAddress& node, bool json,
                    const Edit& edit);

}  // namespace shunt::cli
