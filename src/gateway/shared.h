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
#include "net/coding/coding.h"
#include "net/http1/http1.h"
#include "net/http2/session.h"
#include "net/tls/tls_context.h"

namespace shunt::gateway {

class Connection;

/// Where a path leads; found again by the path until the routing changes.
struct Target {
  std::shared_ptr<const call::Route> route;
  const call::CommandDefinition* command = nullptr;  ///< nullptr: the service has no such command.
  std::string command_name;
  std::optional<ParameterTypes> parameters;  ///< Read from the schema at the first GET.
};
using TargetPtr = std::shared_ptr<Target>;  // Owners: Shared, and the exchanges on the way to it.

struct Shared {
  Shared(loop::EpollLoop& on, call::Router& to, GatewayStats& counts, std::size_t shard_index, GatewayLimits bounds,
         GatewayHooks given);
  ~Shared();

  /// The target of `path`, which is "SERVICE/COMMAND" or, of services with a contract, "package.Service/Method".
  /// Errors: S1002, S1003.
  Result<TargetPtr> find_target(std::string_view service, std::string_view command, std::string_view path);
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
  net::Http2Limits http2;
  std::shared_ptr<const TokenTable> tokens = std::make_shared<TokenTable>();
  std::shared_ptr<const CorsTable> cors = std::make_shared<CorsTable>();
  bool draining = false;
  std::size_t collected_bytes = 0;  ///< Of bodies that are not whole yet, of all connections.
  net::DateCache dates;
  net::Codecs codecs;
  std::shared_ptr<const net::TlsContext> tls;  ///< Owners: whoever made it, and the gateways that have it.
  std::string plaintext;                       ///< What TLS decrypts; one connection at a time uses it.
  std::string ciphertext;                      ///< What it encrypts; the same.
  std::array<char, 64u << 10> scratch;         ///< What recv() fills; one connection at a time uses it.

  std::vector<Own<Connection>> connections;
  std::vector<Own<Connection>> retired;
  loop::Runnable* reaper = nullptr;  ///< Frees `retired`; the gateway's.

 private:
  void read_routing();

  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  static constexpr std::size_t targets_max = 4096;
  std::shared_ptr<const call::Routing> targets_of_;
  std::unordered_map<std::string, TargetPtr, TextHash, std::equal_to<>> targets_;
  std::unordered_map<std::string_view, const call::Route*> contracts_;  // by the name of their protobuf service
};

}  // namespace shunt::gateway
