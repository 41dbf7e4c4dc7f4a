#include "cli/app_place.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/names.h"
#include "cli/node_client.h"
#include "manifest/manifest.h"
#include "os/file.h"

namespace shunt::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path registry(const std::string& data) { return fs::path(data) / "apps"; }

/// The manifest that a path means, by its real name.
fs::path manifest_at(const fs::path& path) {
  std::error_code error;
  const fs::path file = fs::is_directory(path, error) ? path / manifest::file_name : path;
  if (!fs::is_regular_file(file, error)) return {};
  const fs::path real = fs::canonical(file, error);
  return error ? file : real;
}

}  // namespace

bool NodeApps::runs(const fs::path& manifest) const {
  return std::ranges::any_of(apps, [&](const NodeApp& app) { return manifest_at(app.manifest) == manifest; });
}

Result<NodeApps> apps_of_node(const NodeAddress& node) {
  NodeApps found;
  auto answer = call_manager(node, "ps", "{}");
  if (!answer) {
    // Without a node the manifests alone are meant; one that was named is meant itself.
    if (node.at.empty() && answer.error().code() == Code::unavailable) return found;
    return std::unexpected(std::move(answer).error());
  }
  found.answers = true;
  const json root = json::parse(*answer, nullptr, false);
  if (root.is_object() && root.contains("apps") && root["apps"].is_array()) {
    for (const json& app : root["apps"]) {
      if (app.is_object() && app.value("name", json()).is_string() && app.value("manifest", json()).is_string()) {
        found.apps.push_back({app["name"].get<std::string>(), app["manifest"].get<std::string>()});
      }
    }
  }
  found.ps = std::move(*answer);
  return found;
}

Result<fs::path> find_app(const std::string& app, const NodeApps& node, const std::string& data) {
  const bool is_path = app.contains('/') || app.ends_with(".json") || app == "." || app == "..";
  if (!is_path) {
    const auto running = std::ranges::find(node.apps, app, &NodeApp::name);
    if (running != node.apps.end()) {
      if (auto file = manifest_at(running->manifest); !file.empty()) return file;
    }
  }
  if (auto file = manifest_at(app); !file.empty()) return file;
  const auto made = registered_apps(data);
  if (!is_path) {
    const auto registered = std::ranges::find(made, app, &NodeApp::name);
    if (registered != made.end()) return manifest_at(registered->manifest);
  }
  std::vector<std::string> names;
  for (const auto* list : {&node.apps, &made}) {
    for (const auto& one : *list) {
      if (std::ranges::find(names, one.name) == names.end()) names.push_back(one.name);
    }
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  const auto near = nearest(app, views);
  return fail(Code::not_found, "S5084",
              fmt::format("there is no app '{}'{}{}. It may be a name, a folder with a {}, or that file; "
                          "`shunt app create {}` makes one.",
                          app, near ? fmt::format("; the nearest is {}", *near) : "",
                          names.empty() ? "" : fmt::format("; there are: {}", fmt::join(names, ", ")),
                          manifest::file_name, is_path ? "NAME" : app));
}

std::vector<NodeApp> registered_apps(const std::string& data) {
  std::vector<NodeApp> found;
  std::error_code error;
  for (fs::directory_iterator it(registry(data), error), end; !error && it != end; it.increment(error)) {
    auto path = os::read_file(it->path().string(), 4096);
    const std::string name = it->path().filename().string();
    if (!path || !is_service_name(name)) continue;
    while (path->ends_with('\n')) path->pop_back();
    if (!manifest_at(*path).empty()) found.push_back({name, *path});
  }
  std::ranges::sort(found, {}, &NodeApp::name);
  return found;
}

Result<void> register_app(const std::string& data, const std::string& name, const fs::path& manifest) {
  SHUNT_CHECK(os::make_folders(registry(data).string(), 0700));
  return os::write_file((registry(data) / name).string(), manifest.string() + "\n", 0600);
}

}  // namespace shunt::cli
