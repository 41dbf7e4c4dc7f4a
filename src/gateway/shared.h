#pragma once
// What the connections of one gateway share: the loop, the router, limits, a read buffer, the routes that paths came to.
// Only for gateway/'s own files.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/gateway.h"
#include "gateway/query.h"
#include "net/http1/http1.h"

namespace shunt::gateway {

class Connection;

/// Where a path leads; kept until the routing changes.
struct Target {
  std::shared_ptr<const call::Route> route;
  const call::CommandDefinition* command = nullptr;  ///< nullptr: the service has no such command.
  std::string command_name;
  std::optional<ParameterTypes> parameters;  ///< Read from the schema at the first GET.
};

struct Shared {
  Shared(loop::EpollLoop& on, call::Router& to, GatewayStats& counts, std::size_t shard_index, GatewayLimits bounds,
         GatewayHooks given);
  ~Shared();

  /// The target of `path`, which is "SERVICE/COMMAND". Errors: S1002, S1003. The pointer holds until the next call.
  Result<Target*> find_target(std::string_view service, std::string_view command, std::string_view path);
  std::string_view date();
  /// Frees the connection at the end of the turn.
  void retire(Connection& connection);

  loop::EpollLoop& loop;
  call::Router& router;
  GatewayStats& stats;
  GatewayStats::Shard& shard;
  const GatewayLimits limits;
  const GatewayHooks hooks;
  net::Http1Limits http;
  std::shared_ptr<const TokenTable> tokens = std::make_shared<TokenTable>();
  bool draining = false;
  std::size_t collected_bytes = 0;  ///< Of bodies that are not whole yet, of all connections.
  net::DateCache dates;
  std::array<char, 64u << 10> scratch;  ///< What recv() fills; one connection at a time uses it.

  std::vector<Own<Connection>> connections;
  std::vector<Own<Connection>> retired;
  loop::Runnable* reaper = nullptr;  ///< Frees `retired`; the gateway's.

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  static constexpr std::size_t targets_max = 4096;
  std::shared_ptr<const call::Routing> targets_of_;
  std::unordered_map<std::string, Target, TextHash, std::equal_to<>> targets_;
};

}  // namespace shunt::gateway
