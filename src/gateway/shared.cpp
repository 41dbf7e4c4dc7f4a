#include "gateway/shared.h"

#include <ctime>

#include "gateway/connection.h"

namespace shunt::gateway {

Shared::Shared(loop::EpollLoop& on, call::Router& to, GatewayStats& counts, std::size_t shard_index,
               GatewayLimits bounds, GatewayHooks given)
    : loop(on), router(to), stats(counts), shard(counts.shard(shard_index)), limits(bounds), hooks(std::move(given)) {
  http.line_bytes_max = limits.line_bytes_max;
  http.header_bytes_max = limits.header_bytes_max;
  http.headers_max = limits.headers_max;
  http.body_bytes_max = limits.body_bytes_max;
}

Shared::~Shared() = default;

Result<Target*> Shared::find_target(std::string_view service, std::string_view command, std::string_view path) {
  const auto& routing = router.routing();
  if (targets_of_ != routing) {
    targets_.clear();
    targets_of_ = routing;
  }
  if (const auto found = targets_.find(path); found != targets_.end()) return &found->second;
  SHUNT_TRY(const call::Route* route, routing->resolve(service, ""));
  if (targets_.size() >= targets_max) targets_.clear();  // Paths come from outside.
  Target target;
  target.route = routing->routes.at(route->definition->full_name);
  target.command_name = command;
  const auto known = route->definition->commands.find(command);
  if (known != route->definition->commands.end()) target.command = &known->second;
  return &targets_.emplace(std::string(path), std::move(target)).first->second;
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
