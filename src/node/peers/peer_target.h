#pragma once
// What --peer may be, and how grpcs:// is dialled. Knows no links.

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/tls/tls_context.h"
#include "os/socket.h"

namespace shunt::node {

struct PeerAddress {
  bool tls = false;
  os::TcpAddress address;
};
/// "grpc://HOST:PORT", the same without a scheme, or "grpcs://HOST:PORT". Errors: S5064.
Result<PeerAddress> parse_peer(std::string_view url);

/// Files in PEM, each may be empty. Errors: S5030, S5031, S5034.
Result<std::shared_ptr<const net::TlsContext>> peer_tls(const std::string& authorities, const std::string& certificate,
                                                        const std::string& key);

/// Services of each node's own, which no other node is told of.
bool is_reserved_service(std::string_view name);

}  // namespace shunt::node
