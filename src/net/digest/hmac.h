#pragma once
// A keyed digest, from OpenSSL's crypto: by which a node knows again what it has signed.

#include <array>
#include <cstdint>
#include <string_view>

namespace shunt::net {

/// HMAC-SHA256. The key is secret; 32 random bytes are enough.
std::array<char, 32> hmac_sha256(std::string_view key, std::string_view text);
/// Takes equally long wherever they differ.
bool equal_digests(std::string_view left, std::string_view right);

}  // namespace shunt::net
