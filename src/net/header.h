#pragma once
// One header field, of whatever HTTP.

#include <string_view>

namespace shunt::net {

/// As it was sent; names compare without regard to case (iequals). Views into somebody's input.
struct Header {
  std::string_view name;
  std::string_view value;
};

/// True when both are equal but for the case of ASCII letters. `lower` must be lower case.
bool iequals(std::string_view text, std::string_view lower);

}  // namespace shunt::net
