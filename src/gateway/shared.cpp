#include "gateway/shared.h"

#include <ctime>

#include "gateway/connection/connection.h"

namespace shunt::gateway {

Shared::Shared(loop::EpollLoop& on, call::Router& to, GatewayStats& counts, std::size_t shard_index,
               GatewayLimits bounds, GatewayHooks given)
    : loop(on), router(to), stats(counts), shard(counts.shard(shard_index)), limits(bounds), hooks(std::move(given)) {
  http.line_bytes_max = limits.line_bytes_max;
  http.header_bytes_max = limits.header_bytes_max;
  http.headers_max = limits.headers_max;
  http.body_bytes_max = limits.body_bytes_max;
  http2.streams_max = limits.streams_max;
  http2.header_bytes_max = limits.header_bytes_max;
  http2.headers_max = limits.headers_max;
}

Shared::~Shared() = default;

void Shared::read_routing() {
  targets_of_ = router.routing();
  targets_.clear();
  contracts_.clear();
  for (const auto& [name, route] : targets_of_->routes) {
    const auto& contract = route->definition->contract;
    if (!contract) continue;
    // A derived one is known by its own name, unless that is none in protobuf; another service of that name goes first.
    if (contract->is_derived() && targets_of_->routes.contains(std::string(contract->service_name()))) continue;
    contracts_.emplace(contract->service_name(), route.get());
  }
}

Result<TargetPtr> Shared::find_target(std::string_view service, std::string_view command, std::string_view path) {
  if (targets_of_ != router.routing()) read_routing();
  if (const auto found = targets_.find(path); found != targets_.end()) return found->second;
  const call::Route* route = nullptr;
  std::string_view name = command;
  if (const auto declared = contracts_.find(service); declared != contracts_.end()) {
    const std::string_view bound = declared->second->definition->contract->command_of(command);
    route = declared->second;
    if (!bound.empty()) name = bound;
  } else {
    SHUNT_TRY(route, targets_of_->resolve(service, ""));
    // A derived contract may have had to spell a name otherwise.
    if (const auto& contract = route->definition->contract;
        contract && !route->definition->commands.contains(command) && !contract->command_of(command).empty()) {
      name = contract->command_of(command);
    }
  }
  if (targets_.size() >= targets_max) targets_.clear();  // Paths come from outside.
  auto target = std::make_shared<Target>();
  target->route = targets_of_->routes.at(route->definition->full_name);
  target->command_name = name;
  const auto known = route->definition->commands.find(name);
  if (known != route->definition->commands.end()) target->command = &known->second;
  targets_.emplace(std::string(path), target);
  return target;
}

std::string_view Shared::date() { return dates.at(std::time(nullptr)); }

void Shared::retire(Connection& connection) {
  const std::size_t index = connection.index;
  retired.push_back(std::move(connections[index]));
  if (index + 1 != connections.size()) {
    connections[index] = std::move(connections.back());
    connections[index]->index = index;
  }
  connections.pop_back();
  GatewayStats::add(shard.connections_open, static_cast<std::uint64_t>(-1));
  loop.flush(*reaper);
}

}  // namespace shunt::gateway
