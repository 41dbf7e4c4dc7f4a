#pragma once
// Metadata: the small named texts that travel with a call, each way. Keys are lower case; a key that ends in "-bin" has
// raw bytes as its value, as in gRPC. Identity never travels here: see principal.h.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace shunt::call {

/// Ordered; a key may appear more than once. Empty metadata allocates nothing.
class Metadata {
 public:
  using Entry = std::pair<std::string, std::string>;

  /// Errors: invalid_argument for a key outside [0-9a-z_.-]+ or a text value outside printable ASCII.
  Result<void> add(std::string_view key, std::string_view value);
  /// For keys and values that were checked already.
  void add_unchecked(std::string key, std::string value) { entries_.emplace_back(std::move(key), std::move(value)); }
  /// The first value of the key.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const;
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  /// What it counts against limits: keys, values and 32 for each entry (HTTP/2's rule).
  [[nodiscard]] std::size_t cost() const;
  [[nodiscard]] auto begin() const { return entries_.begin(); }
  [[nodiscard]] auto end() const { return entries_.end(); }
  friend bool operator==(const Metadata&, const Metadata&) = default;

 private:
  std::vector<Entry> entries_;
};

}  // namespace shunt::call
