#include "node/user_tokens.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "call/principal.h"
#include "os/file.h"

namespace shunt::node {
namespace {

constexpr std::int64_t noon = 1'700'000'000;

TEST(UserTokens, a_user_is_known_again_by_the_token) {
  UserTokens tokens(std::string(32, 'k'));
  auto token = tokens.mint("ann", noon);
  auto user = tokens.verify(token, noon + 10);
  ASSERT_TRUE(user) << user.error().to_string();
  EXPECT_EQ(user->user, "ann");
  EXPECT_EQ(user->expires, noon + UserTokens::lifetime_s);
  EXPECT_EQ(tokens.verify(tokens.mint("a\nb.c", noon), noon)->user, "a\nb.c");
}

TEST(UserTokens, one_changed_byte_anywhere_is_refused) {
  UserTokens tokens(std::string(32, 'k'));
  const auto token = tokens.mint("ann", noon);
  for (std::size_t i = 0; i < token.size(); i++) {
    for (char to : {'A', 'B', '.', '\0'}) {
      auto changed = token;
      if (changed[i] == to) continue;
      changed[i] = to;
      auto verified = tokens.verify(changed, noon);
      ASSERT_FALSE(verified) << i;
      EXPECT_EQ(verified.error().code(), Code::unauthenticated);
      EXPECT_EQ(verified.error().id(), "S1050");
    }
    EXPECT_FALSE(tokens.verify(token.substr(0, i), noon));
  }
}

TEST(UserTokens, what_expired_or_was_signed_by_another_is_refused) {
  UserTokens tokens(std::string(32, 'k'));
  UserTokens others(std::string(32, 'o'));
  EXPECT_FALSE(tokens.verify(tokens.mint("ann", noon), noon + UserTokens::lifetime_s));
  EXPECT_FALSE(tokens.verify(others.mint("ann", noon), noon));
}

TEST(UserTokens, a_name_that_does_not_fit_gets_no_token) {
  UserTokens tokens(std::string(32, 'k'));
  EXPECT_TRUE(tokens.mint(std::string(1000, 'x'), noon).empty());
  EXPECT_LE(tokens.mint(std::string(600, 'x'), noon).size(), call::token_bytes_max);
}

TEST(UserTokens, the_key_is_kept_and_is_its_owners_alone) {
  auto folder = std::filesystem::temp_directory_path() / "shunt_user_tokens_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  auto first = UserTokens::load(folder.string());
  ASSERT_TRUE(first);
  auto second = UserTokens::load(folder.string());
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->verify(first->mint("ann", noon), noon));
  struct stat info{};
  ASSERT_EQ(stat((folder / "token.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  chmod((folder / "token.key").c_str(), 0644);
  EXPECT_EQ(UserTokens::load(folder.string()).error().id(), "S5050");
  std::filesystem::remove_all(folder);
}

TEST(TokenMint, a_token_is_minted_once_and_anew_when_half_of_it_has_passed) {
  UserTokens tokens(std::string(32, 'k'));
  TokenMint mint(tokens);
  const std::string first = mint.of("ann", noon);
  EXPECT_EQ(mint.of("ann", noon + UserTokens::lifetime_s / 2 - 1), first);
  EXPECT_NE(mint.of("ann", noon + UserTokens::lifetime_s / 2), first);
}

}  // namespace
}  // namespace shunt::node
