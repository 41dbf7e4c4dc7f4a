#pragma once
// Names of apps, services and commands, and how "SERVICE.COMMAND" splits.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace shunt {

/// An app's or a service's name: [a-z][a-z0-9_-]{0,62}.
bool is_service_name(std::string_view name);
/// A command's name: [A-Za-z_][A-Za-z0-9_-]{0,62}. Capitals because protobuf methods have them.
bool is_command_name(std::string_view name);

/// Splits at the last dot: "shop.prices.get" is service "shop.prices", command "get". Nothing without a dot.
std::optional<std::pair<std::string_view, std::string_view>> split_target(std::string_view target);

/// Where to listen: "127.0.0.1:8080", or with what is spoken there before it, "https://127.0.0.1:8443".
struct ListenPlace {
  std::optional<bool> tls;   ///< https:// or http://; nothing when it was not said.
  std::string_view address;  ///< The rest, unchecked.
};
ListenPlace split_listen(std::string_view text);

/// The known name nearest to `wrong` by edit distance, when it is near enough to be meant.
std::optional<std::string_view> nearest(std::string_view wrong, std::span<const std::string_view> known);

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// True when `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text);

/// True when both are equal; the time taken tells nothing about where they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace shunt
