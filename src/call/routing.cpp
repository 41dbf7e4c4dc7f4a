#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/names.h"
#include "call/router.h"

namespace shunt::call {

namespace {

std::string join(const std::vector<std::string_view>& names) {
  constexpr std::size_t shown_max = 12;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < shown_max; i++) text.append(i == 0 ? "" : ", ").append(names[i]);
  if (names.size() > shown_max) text += fmt::format(" and {} more", names.size() - shown_max);
  return text;
}

bool names_service(std::string_view written, const ServiceDefinition& service, std::string_view app) {
  return written == service.full_name || (written == service.name && service.app == app);
}

std::string caller_name(const Principal& caller) {
  switch (caller.kind) {
    case PrincipalKind::service:
      return fmt::format("service {}", caller.service);
    case PrincipalKind::gateway:
      return "the gateway";
    case PrincipalKind::operator_:
      return "the operator";
    case PrincipalKind::node:
      return "the node";
    case PrincipalKind::none:
      break;
  }
  return "nobody known";
}

}  // namespace

void Route::arrange() {
  std::vector<std::shared_ptr<Instance>> sorted;
  for (std::size_t place = 0; place < place_count; place++) {
    std::ranges::copy_if(instances, std::back_inserter(sorted),
                         [&](const auto& one) { return static_cast<std::size_t>(place_of(one->distance())) == place; });
    near_end[place] = sorted.size();
  }
  instances = std::move(sorted);
}

Result<const Route*> Routing::resolve(std::string_view service, std::string_view app) const {
  auto at = [&](const std::string& name) -> const Route* {
    auto found = routes.find(name);
    return found == routes.end() ? nullptr : found->second.get();
  };
  if (!app.empty()) {
    if (const Route* route = at(fmt::format("{}.{}", app, service))) return route;
  }
  if (const Route* route = at(std::string(service))) return route;

  std::vector<std::string_view> same;
  std::vector<std::string_view> known;
  const Route* only = nullptr;
  for (const auto& [name, route] : routes) {
    known.push_back(name);
    if (route->definition->name != service) continue;
    same.push_back(name);
    only = route.get();
  }
  if (same.size() == 1) return only;
  std::ranges::sort(same);
  std::ranges::sort(known);
  if (same.size() > 1) {
    return fail(Code::failed_precondition, "S1003",
                fmt::format("'{}' is the name of several services: {}; write the full name", service, join(same)));
  }
  auto near = nearest(service, known);
  std::vector<std::string_view> short_names;
  for (const auto& [name, route] : routes) short_names.push_back(route->definition->name);
  if (!near) near = nearest(service, short_names);
  return fail(Code::not_found, "S1002",
              fmt::format("there is no service '{}'{}; there {}", service,
                          near ? fmt::format(" (the nearest name is '{}')", *near) : "",
                          known.empty() ? "is none at all" : "are: " + join(known)));
}

Result<void> Routing::permit(const Principal& caller, const Route& callee, std::string_view command) const {
  const auto& target = *callee.definition;
  auto denied = [&](std::string why) {
    return fail(Code::permission_denied, "S1010",
                fmt::format("{} may not call {}.{}: {}", caller_name(caller), target.full_name, command, why));
  };
  switch (caller.kind) {
    case PrincipalKind::operator_:
    case PrincipalKind::node:
      return {};
    case PrincipalKind::gateway:
      if (expose_all || target.exposed) return {};
      return denied(R"(it is not exposed; write "expose": true and how it is authorized ("auth") in its manifest)");
    case PrincipalKind::service:
      break;
    case PrincipalKind::none:
      return denied("the call has no principal");
  }
  if (caller.service == target.full_name) return {};
  if (from_peers) {
    // "app.service", or the app's name.
    const std::string_view app = std::string_view(caller.service).substr(0, caller.service.find('.'));
    const bool lets_in = target.allow_all || (target.allow.empty() && app == target.app) ||
                         std::ranges::any_of(target.allow, [&](const std::string& name) {
                           return name == caller.service || name == app ||
                                  (app == target.app && fmt::format("{}.{}", app, name) == caller.service);
                         });
    if (lets_in) return {};
    return denied(fmt::format(R"(the callee does not let it in; add "{}" to the "allow" of {})", caller.service,
                              target.full_name));
  }
  auto found = routes.find(caller.service);
  if (found == routes.end()) return denied("the caller is not in the routing table any more");
  const auto& self = *found->second->definition;
  bool used = std::ranges::any_of(self.uses, [&](const Reach& reach) {
    return names_service(reach.service, target, self.app) && (reach.command.empty() || reach.command == command);
  });
  // A short name in `uses` may also be unique in the whole node.
  if (!used) {
    used = std::ranges::any_of(self.uses, [&](const Reach& reach) {
      if (!reach.command.empty() && reach.command != command) return false;
      auto route = resolve(reach.service, self.app);
      return route.has_value() && *route == &callee;
    });
  }
  if (!used)
    return denied(
        fmt::format(R"(its manifest does not name it; add "{}" to the "uses" of {})", target.name, self.full_name));
  bool allowed = target.allow_all || (target.allow.empty() && self.app == target.app) ||
                 std::ranges::any_of(target.allow, [&](const std::string& name) {
                   return names_service(name, self, target.app) || name == self.app;
                 });
  if (!allowed) {
    return denied(fmt::format(R"(the callee does not let it in; add "{}" to the "allow" of {})", self.full_name,
                              target.full_name));
  }
  return {};
}

}  // namespace shunt::call
