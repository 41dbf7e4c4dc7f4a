#pragma once
// UserTokens: on whose behalf a call is made, in a form that services hand on and can't make. The gateway, which knows the
// user, has one minted; it travels in OPEN (Principal::token) from service to service, and wherever a call leaves a service
// the node reads the user out of it again. Signed with a key that only this data folder has.
//
//   s1.BASE64URL(audience \n expiry \n user).BASE64URL(HMAC-SHA256)      at most 1 KiB; expiry in seconds of the wall clock

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "call/ends.h"
#include "call/token_cache.h"
#include "loop/loop.h"

namespace shunt::node {

/// Threads: any; immutable.
class UserTokens {
 public:
  /// How long a token is good. It is minted anew when half of it has passed, so a call has half an hour at least.
  static constexpr std::int64_t lifetime_s = 3600;

  /// Reads the key of that data folder, or makes it: 32 random bytes in `token.key`, for its owner only.
  /// Errors: S5050 when the file is not that.
  static Result<UserTokens> load(const std::string& data_folder);
  explicit UserTokens(std::string key);

  /// `now`: the wall clock's seconds. Empty when the name is too long for a token.
  [[nodiscard]] std::string mint(std::string_view user, std::int64_t now) const;
  struct User {
    std::string user;
    std::int64_t expires = 0;
  };
  /// Errors: unauthenticated S1050, saying what is wrong with it.
  [[nodiscard]] Result<User> verify(std::string_view token, std::int64_t now) const;

 private:
  std::string key_;
  std::string audience_;  ///< Of this data folder: whose tokens these are.
};

/// Mints for one loop: a user's next token is made when half of its life has passed. Threads: one.
class TokenMint {
 public:
  explicit TokenMint(const UserTokens& tokens) : tokens_(tokens) {}
  const std::string& of(const std::string& user, std::int64_t now);

 private:
  static constexpr std::size_t users_max = 4096;
  struct Minted {
    std::string token;
    std::int64_t until = 0;
  };
  const UserTokens& tokens_;
  std::unordered_map<std::string, Minted> minted_;
};

/// Where calls of workers come in: what they say of their user is known by the token, or refused. Threads: its loop's.
class TokenGate final : public call::Service {
 public:
  TokenGate(loop::Loop& loop, call::Service& next, const UserTokens& tokens)
      : loop_(loop), next_(next), tokens_(tokens) {}
  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;

 private:
  loop::Loop& loop_;
  call::Service& next_;
  const UserTokens& tokens_;
  call::TokenCache cache_;
};

}  // namespace shunt::node
