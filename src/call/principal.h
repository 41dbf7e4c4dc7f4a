#pragma once
// Principal: who is calling. Set by the receiving side from the link on which the call came in, never from what the
// caller says of itself.

#include <cstdint>
#include <string>

namespace shunt::call {

enum class PrincipalKind : std::uint8_t {
  none = 0,       ///< Nobody known: a test.
  service = 1,    ///< A service of the house; `service` is its full name.
  gateway = 2,    ///< Somebody outside, by way of the gateway; `user` says whom its token named, if it did.
  operator_ = 3,  ///< The command line over the admin socket: may call everything, and is logged.
  node = 4,       ///< The node itself: drivers, health.
};

struct Principal {
  PrincipalKind kind = PrincipalKind::none;
  std::string service;  ///< Full name, of kind service only.
  std::string user;     ///< On whose behalf, if any.
  std::string token;    ///< Opaque, signed by the node, at most 1 KiB; handed on, never minted by a service.

  friend bool operator==(const Principal&, const Principal&) = default;
};

inline constexpr std::size_t token_bytes_max = 1024;

}  // namespace shunt::call
