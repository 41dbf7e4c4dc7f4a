#pragma once
// Digests, from OpenSSL's crypto: SHA-1, which a WebSocket handshake is made of, and HMAC-SHA-256, by which one proves
// that one knows a secret. (tls/ keeps OpenSSL's connections to itself; this is the other half of that library, and needs
// none of them.)

#include <array>
#include <cstdint>
#include <string_view>

namespace shunt::net {

/// Not for secrets: RFC 6455 asks for it, and nothing else here does.
std::array<std::uint8_t, 20> sha1(std::string_view text);

/// RFC 2104 with SHA-256: 32 bytes that only who knows `key` could make of `text`.
std::array<std::uint8_t, 32> hmac_sha256(std::string_view key, std::string_view text);

/// Takes equally long wherever they differ.
bool equal_digests(std::string_view left, std::string_view right);

}  // namespace shunt::net
