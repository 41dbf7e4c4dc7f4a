#pragma once
// TokenCache: what is known of users' tokens that were verified before, so that one is asked about once and not with every
// call. Bounded; the one that was not used for longest goes first.

#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/status.h"
#include "base/time.h"

namespace shunt::call {

/// Threads: one loop's.
class TokenCache {
 public:
  struct Entry {
    std::string token;
    Status refused;    ///< ok: the token is good.
    std::string user;  ///< Whose it is.
    Instant until;     ///< It must be asked about again from here on.
  };

  explicit TokenCache(std::size_t entries_max = 512) : entries_max_(entries_max) {}

  /// nullptr: not known, or not any more. Holds until the next put().
  const Entry* find(std::string_view token, Instant now) {
    // One user at a time is the commonest case.
    if (!entries_.empty() && entries_.front().token == token) return fresh(entries_.begin(), now);
    auto found = by_token_.find(token);
    if (found == by_token_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return fresh(entries_.begin(), now);
  }
  void put(Entry entry) {
    if (auto found = by_token_.find(entry.token); found != by_token_.end()) forget(found->second);
    if (entries_.size() >= entries_max_) forget(std::prev(entries_.end()));
    entries_.push_front(std::move(entry));
    by_token_.emplace(entries_.front().token, entries_.begin());
  }
  void clear() {
    by_token_.clear();
    entries_.clear();
  }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  using Place = std::list<Entry>::iterator;
  const Entry* fresh(Place at, Instant now) {
    if (now < at->until) return &*at;
    forget(at);
    return nullptr;
  }
  void forget(Place at) {
    by_token_.erase(at->token);
    entries_.erase(at);
  }

  std::size_t entries_max_;
  std::list<Entry> entries_;  ///< Used last, first.
  std::unordered_map<std::string_view, Place> by_token_;
};

}  // namespace shunt::call
