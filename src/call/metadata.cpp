#include "call/metadata.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::call {

namespace {
bool is_key(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
}
bool is_text(std::string_view value) {
  return std::ranges::all_of(value, [](char c) { return c >= 0x20 && c <= 0x7e; });
}
}  // namespace

Result<void> Metadata::add(std::string_view key, std::string_view value) {
  if (!is_key(key)) {
    return fail(Code::invalid_argument, fmt::format("metadata key '{}' may have only 0-9, a-z, '_', '-' and '.'", key));
  }
  if (!key.ends_with("-bin") && !is_text(value)) {
    return fail(Code::invalid_argument,
                fmt::format("metadata '{}' must be printable ASCII; end its name in -bin to send bytes", key));
  }
  entries_.emplace_back(key, value);
  return {};
}

std::optional<std::string_view> Metadata::find(std::string_view key) const {
  for (const auto& [name, value] : entries_) {
    if (name == key) return value;
  }
  return std::nullopt;
}

std::size_t Metadata::cost() const {
  std::size_t total = 0;
  for (const auto& [name, value] : entries_) total += name.size() + value.size() + 32;
  return total;
}

}  // namespace shunt::call
