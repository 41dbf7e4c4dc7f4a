#include "node/user_tokens.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <ctime>

#include "base/base64.h"
#include "call/principal.h"
#include "net/digest/digest.h"
#include "os/file.h"
#include "os/random.h"

namespace shunt::node {

namespace {

constexpr std::size_t key_bytes = 32;
constexpr std::string_view prefix = "s1.";

std::string_view view(const std::array<std::uint8_t, 32>& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string base64url(std::string_view bytes) {
  std::string text = encode_base64(bytes);
  for (char& each : text) each = each == '+' ? '-' : each == '/' ? '_' : each;
  return text;
}

Status refused(std::string_view why) {
  return {Code::unauthenticated, "S1050",
          fmt::format("the token of the call's user {}; a service hands on the one that it was called with, and can't "
                      "make one",
                      why)};
}

}  // namespace

Result<UserTokens> UserTokens::load(const std::string& data_folder) {
  const std::string path = data_folder + "/token.key";
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    std::string key(key_bytes, '\0');
    os::fill_random(key);
    SHUNT_CHECK(os::write_file(path, key, 0600));
    return UserTokens(std::move(key));
  }
  auto bad = [&](std::string_view why) {
    return fail(Code::failed_precondition, "S5050",
                fmt::format("{} {}; remove it, and a new one is made: tokens that were signed with it end", path, why));
  };
  if ((info.st_mode & 077) != 0) return bad("can be read by others, so anybody could sign users' tokens");
  SHUNT_TRY(std::string key, os::read_file(path, 4096));
  if (key.size() != key_bytes) return bad(fmt::format("is {} bytes long, not {}", key.size(), key_bytes));
  return UserTokens(std::move(key));
}

UserTokens::UserTokens(std::string key)
    : key_(std::move(key)), audience_(base64url(view(net::hmac_sha256(key_, "shunt audience"))).substr(0, 16)) {}

std::string UserTokens::mint(std::string_view user, std::int64_t now) const {
  std::string body =
      fmt::format("{}{}", prefix, base64url(fmt::format("{}\n{}\n{}", audience_, now + lifetime_s, user)));
  std::string token = fmt::format("{}.{}", body, base64url(view(net::hmac_sha256(key_, body))));
  return token.size() <= call::token_bytes_max ? token : std::string();
}

Result<UserTokens::User> UserTokens::verify(std::string_view token, std::int64_t now) const {
  const auto dot = token.rfind('.');
  if (!token.starts_with(prefix) || dot == std::string_view::npos || dot < prefix.size()) {
    return std::unexpected(refused("is none of a node's"));
  }
  const auto body = token.substr(0, dot);
  // Compared as text: base64 has more than one for the same bytes.
  if (!net::equal_digests(token.substr(dot + 1), base64url(view(net::hmac_sha256(key_, body))))) {
    return std::unexpected(refused("was not signed by this node, or was changed"));
  }
  auto payload = decode_base64(body.substr(prefix.size()));
  if (!payload) return std::unexpected(refused("can't be read"));
  std::string_view rest = *payload;
  const auto first = rest.find('\n');
  const auto second = first == std::string_view::npos ? first : rest.find('\n', first + 1);
  if (second == std::string_view::npos) return std::unexpected(refused("can't be read"));
  if (rest.substr(0, first) != audience_) return std::unexpected(refused("is for another house"));
  User user{.user = std::string(rest.substr(second + 1))};
  const auto expiry = rest.substr(first + 1, second - first - 1);
  if (std::from_chars(expiry.data(), expiry.data() + expiry.size(), user.expires).ec != std::errc()) {
    return std::unexpected(refused("can't be read"));
  }
  if (user.expires <= now) return std::unexpected(refused(fmt::format("expired {} s ago", now - user.expires)));
  return user;
}

const std::string& TokenMint::of(const std::string& user, std::int64_t now) {
  auto found = minted_.find(user);
  if (found != minted_.end() && now < found->second.until) return found->second.token;
  if (found == minted_.end()) {
    if (minted_.size() >= users_max) minted_.clear();
    found = minted_.emplace(user, Minted{}).first;
  }
  found->second = {tokens_.mint(user, now), now + UserTokens::lifetime_s / 2};
  return found->second.token;
}

void TokenGate::begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  if (open.principal == nullptr || open.principal->token.empty()) [[likely]] {
    return next_.begin(std::move(call), open, std::move(opening));
  }
  const std::string& token = open.principal->token;
  const auto* known = cache_.find(token, loop_.now());
  if (known == nullptr) {
    call::TokenCache::Entry entry{.token = token};
    const std::int64_t now = ::time(nullptr);
    if (auto user = tokens_.verify(token, now)) {
      entry.user = std::move(user->user);
      entry.until = loop_.now() + std::chrono::seconds(user->expires - now);
    } else {
      entry.refused = user.error();
      entry.until = loop_.now() + std::chrono::seconds(10);
    }
    cache_.put(std::move(entry));
    known = cache_.find(token, loop_.now());
  }
  if (!known->refused.is_ok()) {
    call->finish(known->refused, {});
    return;
  }
  call::Principal principal = *open.principal;
  principal.user = known->user;
  call::Open named = open;
  named.principal = &principal;
  next_.begin(std::move(call), named, std::move(opening));
}

}  // namespace shunt::node
