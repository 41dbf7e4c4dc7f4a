// Apps against each other, and against where the node listens.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/names.h"
#include "manifest/ids.h"
#include "manifest/keys.h"
#include "manifest/manifest.h"
#include "manifest/values.h"

namespace shunt::manifest {
namespace {

/// What calls may name: full names, and short names with those who have them.
struct Names {
  std::map<std::string, std::size_t, std::less<>> full;  ///< To the app's index.
  std::set<std::string, std::less<>> any;
};

bool answers(const Names& names, std::string_view target) {
  if (names.any.contains(target) || target == "manager") return true;
  const auto parts = split_target(target);
  return parts && (names.any.contains(parts->first) || parts->first == "manager");
}

Conflict duplicate_app(std::span<const AppManifest> apps, std::size_t index, std::size_t first) {
  const AppManifest& app = apps[index];
  const bool same_file = !app.path.empty() && app.path == apps[first].path;
  return {index, diagnostic_at(app, "name", ids::duplicate_app,
                               same_file ? fmt::format("this manifest is given twice: app {}", in_quotes(app.name))
                                         : fmt::format("there is an app {} already, in {}", in_quotes(app.name),
                                                       apps[first].file),
                               "", same_file ? "give it once" : R"(write another "name" in one of the two)")};
}

void warn_of_hidden_names(const AppManifest& app, std::size_t index, std::span<const AppManifest> apps,
                          const Names& names, std::vector<Conflict>& out) {
  if (app.single) return;
  for (const ServiceManifest& service : app.services) {
    const auto hiding = names.full.find(service.definition.name);
    if (hiding == names.full.end() || hiding->second == index) continue;
    Diagnostic diagnostic =
        diagnostic_at(service, "", ids::hidden_short_name,
                      fmt::format("outside this app, '{}' means the app of that name ({}), not {}",
                                  service.definition.name, apps[hiding->second].file, service.definition.full_name),
                      "", fmt::format("call this one as {0}, at /{0}/COMMAND", service.definition.full_name));
    diagnostic.severity = Severity::warning;
    out.push_back({index, std::move(diagnostic)});
  }
}

void warn_of_unanswered_uses(const AppManifest& app, std::size_t index, const Names& names,
                             std::vector<Conflict>& out) {
  for (const ServiceManifest& service : app.services) {
    for (std::size_t i = 0; i < service.uses.size(); ++i) {
      if (answers(names, service.uses[i])) continue;
      const std::vector<std::string_view> known(names.any.begin(), names.any.end());
      Diagnostic diagnostic = diagnostic_at(service, fmt::format("uses[{}]", i), ids::unanswered_uses,
                                            fmt::format("nobody answers to {} yet", in_quotes(service.uses[i])),
                                            list_of(known), write_nearest(service.uses[i], known));
      if (diagnostic.fix.empty()) diagnostic.fix = "start the app that has it; until then these calls answer not_found";
      diagnostic.severity = Severity::warning;
      out.push_back({index, std::move(diagnostic)});
    }
  }
}

}  // namespace

std::vector<Conflict> check_together(std::span<const AppManifest> apps) {
  std::vector<Conflict> out;
  Names names;
  std::map<std::string_view, std::size_t> first;
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < apps.size(); ++i) {
    const auto [found, added] = first.emplace(apps[i].name, i);
    if (!added) {
      out.push_back(duplicate_app(apps, i, found->second));
      continue;
    }
    kept.push_back(i);
    for (const ServiceManifest& service : apps[i].services) {
      names.full.emplace(service.definition.full_name, i);
      names.any.insert(service.definition.full_name);
      names.any.insert(service.definition.name);
    }
  }
  for (std::size_t i : kept) {
    warn_of_hidden_names(apps[i], i, apps, names, out);
    warn_of_unanswered_uses(apps[i], i, names, out);
  }
  std::ranges::sort(out, {}, [](const Conflict& c) {
    return std::tuple(c.app, c.diagnostic.line, c.diagnostic.column, std::string_view(c.diagnostic.id));
  });
  return out;
}

std::vector<Diagnostic> check_listen(const AppManifest& app, Listening listening) {
  std::vector<Diagnostic> out;
  if (listening.loopback) return out;
  for (const ServiceManifest& service : app.services) {
    const bool reached = service.definition.exposed || listening.expose_all;
    if (!reached || service.auth_said) continue;
    out.push_back(diagnostic_at(
        service, service.definition.exposed ? "expose" : "", ids::no_auth,
        fmt::format("{} can be reached from other machines, and does not say who may call it",
                    service.definition.full_name),
        "none, token",
        R"(write "auth": "token" and "tokens": "FILE"; "auth": "none" if it is meant for everyone; or listen on 127.0.0.1)"));
  }
  return out;
}

}  // namespace shunt::manifest
