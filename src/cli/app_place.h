#pragma once
// Where an app is: by path, as a name that a running node knows, as a folder here, or among those that `shunt app create`
// has made.

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace shunt::cli {

struct NodeApp {
  std::string name;
  std::filesystem::path manifest;
};

/// What a node says that it runs. `answers` is false where there is no node; a node that is named by --at must answer.
struct NodeApps {
  bool answers = false;
  std::vector<NodeApp> apps;
  std::string ps;  ///< Its whole answer.

  [[nodiscard]] bool runs(const std::filesystem::path& manifest) const;
};
Result<NodeApps> apps_of_node(const NodeAddress& node);

/// The manifest of an app. Errors: not_found S5084 with what there is.
Result<std::filesystem::path> find_app(const std::string& app, const NodeApps& node, const std::string& data);

/// Those that were made by create, by name. Where the folder is gone they are left out.
std::vector<NodeApp> registered_apps(const std::string& data);
Result<void> register_app(const std::string& data, const std::string& name, const std::filesystem::path& manifest);

}  // namespace shunt::cli
