#include "node/manifests.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

namespace shunt::node {

namespace {

auto limits_of(const manifest::HttpLimits& http) {
  return std::tie(http.header_limit, http.body_limit, http.connection_limit, http.header_timeout, http.body_timeout,
                  http.idle_timeout, http.write_timeout);
}

}  // namespace

Manifests read_manifests(const std::vector<std::string>& paths) {
  Manifests out;
  for (const auto& path : paths) {
    auto loaded = manifest::load_app(path);
    std::ranges::move(loaded.diagnostics, std::back_inserter(out.diagnostics));
    if (loaded.app) out.apps.push_back(std::move(*loaded.app));
  }
  std::set<std::size_t> refused;
  for (auto& conflict : manifest::check_together(out.apps)) {
    if (conflict.diagnostic.severity == manifest::Severity::error) refused.insert(conflict.app);
    out.diagnostics.push_back(std::move(conflict.diagnostic));
  }
  for (auto it = refused.rbegin(); it != refused.rend(); ++it) {
    out.apps.erase(out.apps.begin() + static_cast<std::ptrdiff_t>(*it));
  }
  return out;
}

void check_reach(Manifests& manifests, manifest::Listening listening) {
  std::erase_if(manifests.apps, [&](const manifest::AppManifest& app) {
    auto diagnostics = manifest::check_listen(app, listening);
    const bool bad = manifest::has_errors(diagnostics);
    std::ranges::move(diagnostics, std::back_inserter(manifests.diagnostics));
    return bad;
  });
}

void warn_of_fixed(const std::vector<manifest::AppManifest>& before, Manifests& now, bool listen_counts) {
  for (const auto& app : now.apps) {
    const auto old = std::ranges::find(before, app.path, &manifest::AppManifest::path);
    if (old == before.end()) continue;
    auto warn = [&](const char* key) {
      auto diagnostic = manifest::diagnostic_at(
          app, key, "S5081", "'" + std::string(key) + "' has changed, which a node takes up only when it starts", "",
          "stop the node and run it again");
      diagnostic.severity = manifest::Severity::warning;
      now.diagnostics.push_back(std::move(diagnostic));
    };
    if (listen_counts && old->listen != app.listen) warn("listen");
    if (limits_of(old->http) != limits_of(app.http)) warn("http");
  }
}

}  // namespace shunt::node
