#pragma once
// A digest, from OpenSSL's crypto: SHA-1, which a WebSocket handshake is made of. (tls/ keeps
// OpenSSL's connections to itself; this is the other half of that library, and needs none of them.)

#include <array>
#include <cstdint>
#include <string_view>

namespace shunt::net {

/// Not for secrets: RFC 6455 asks for it, and nothing else here does.
std::array<std::uint8_t, 20> sha1(std::string_view text);

}  // namespace shunt::net
