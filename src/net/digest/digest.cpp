#include "net/digest/digest.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace shunt::net {

namespace {

template <std::size_t size>
std::array<std::uint8_t, size> digest(std::string_view text, const EVP_MD* algorithm) {
  std::array<std::uint8_t, size> out{};
  unsigned written = 0;
  SHUNT_ASSERT(EVP_Digest(text.data(), text.size(), out.data(), &written, algorithm, nullptr) == 1 && written == size);
  return out;
}

}  // namespace

// An algorithm is looked up once: that takes longer than the digest of a small text. Constants, never freed.
std::array<std::uint8_t, 20> sha1(std::string_view text) {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  return digest<20>(text, algorithm);
}

std::array<std::uint8_t, 32> sha256(std::string_view text) {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return digest<32>(text, algorithm);
}

}  // namespace shunt::net
