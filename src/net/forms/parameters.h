#pragma once
// The small syntax that header values share: comma-separated lists, and parameters after semicolons, quoted or not.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace shunt::net {

/// Without blanks and tabs at its ends.
std::string_view trim_blanks(std::string_view text);
/// Where `sign` stands outside of a quoted string, from `from` on; the text's size when nowhere.
std::size_t find_unquoted(std::string_view text, char sign, std::size_t from = 0);

/// Calls `take(element)` for each element of a comma-separated list, trimmed; empty ones are passed over. A comma in a
/// quoted string parts nothing.
template <typename Take>
void for_each_element(std::string_view list, Take take) {
  while (!list.empty()) {
    const std::size_t comma = find_unquoted(list, ',');
    const std::string_view element = trim_blanks(list.substr(0, comma));
    if (!element.empty()) take(element);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

/// Takes the next parameter of "; name=value; name=\"va\\\"lue\"" off the front of `text`. False at the end. `value` is
/// without its quotes and their escapes. A parameter without "=" has an empty value.
bool next_parameter(std::string_view& text, std::string_view& name, std::string& value);

/// The value of the first parameter of that name (lower case) in "; a=b; c=d".
std::optional<std::string> parameter(std::string_view parameters, std::string_view name);

}  // namespace shunt::net
