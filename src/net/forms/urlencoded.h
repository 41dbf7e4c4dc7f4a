#pragma once
// application/x-www-form-urlencoded: the fields of a plain form.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::net {

struct FormField {
  std::string name;
  std::string value;
};

/// "a=1&b=x+y%21". Errors: invalid_argument for a broken escape; resource_exhausted beyond `fields_max`.
Result<std::vector<FormField>> parse_form(std::string_view text, std::size_t fields_max);

/// Decodes %XX, and + to a space when `plus_is_space`. False for a broken escape.
bool decode_percent(std::string_view text, bool plus_is_space, std::string& out);

}  // namespace shunt::net
