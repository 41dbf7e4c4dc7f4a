#include "net/forms/urlencoded.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::net {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool decode_percent(std::string_view text, bool plus_is_space, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return true;
}

Result<std::vector<FormField>> parse_form(std::string_view text, std::size_t fields_max) {
  std::vector<FormField> fields;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    if (fields.size() == fields_max) {
      return fail(Code::resource_exhausted, fmt::format("the form has more than {} fields", fields_max));
    }
    const std::size_t equals = std::min(pair.find('='), pair.size());
    FormField& field = fields.emplace_back();
    if (!decode_percent(pair.substr(0, equals), true, field.name) ||
        !decode_percent(pair.substr(std::min(equals + 1, pair.size())), true, field.value)) {
      return fail(Code::invalid_argument, fmt::format("field {} of the form has a '%' that is not followed by two "
                                                      "hexadecimal digits",
                                                      fields.size()));
    }
  }
  return fields;
}

}  // namespace shunt::net
