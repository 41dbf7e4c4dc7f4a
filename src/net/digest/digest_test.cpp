#include "net/digest/digest.h"

#include <gtest/gtest.h>

namespace shunt::net {
namespace {

TEST(Hmac, is_that_of_rfc_4231) {
  auto digest = hmac_sha256("Jefe", "what do ya want for nothing?");
  std::string hex;
  for (std::uint8_t byte : digest) {
    constexpr char digits[] = "0123456789abcdef";
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  EXPECT_EQ(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Hmac, digests_are_equal_when_all_of_them_is) {
  EXPECT_TRUE(equal_digests("abc", "abc"));
  EXPECT_FALSE(equal_digests("abc", "abd"));
  EXPECT_FALSE(equal_digests("abc", "ab"));
}

}  // namespace
}  // namespace shunt::net
