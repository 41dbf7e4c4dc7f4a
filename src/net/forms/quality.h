#pragma once
// The weighted lists of Accept and Accept-Encoding (RFC 9110, section 12.4.2).

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "net/forms/parameters.h"

namespace shunt::net {

/// "0.5" is 500; 1000 for nothing, and for what is not a weight.
int parse_quality(std::string_view text);

/// Calls `take(name, quality)` for each element: "gzip;q=0.5" is ("gzip", 500). Other parameters are passed over.
template <typename Take>
void for_each_choice(std::string_view list, Take take) {
  for_each_element(list, [&](std::string_view element) {
    const std::size_t semicolon = std::min(element.find(';'), element.size());
    const std::string_view name = trim_blanks(element.substr(0, semicolon));
    if (name.empty()) return;
    const auto weight = parameter(element.substr(semicolon), "q");
    take(name, weight ? parse_quality(*weight) : 1000);
  });
}

}  // namespace shunt::net
