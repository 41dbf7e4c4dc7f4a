#include "base/json_text.h"

#include <algorithm>
#include <cstddef>

namespace shunt {
namespace {

/// The length of the well-formed UTF-8 sequence at the start of `text`, or 0.
std::size_t sequence_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto tail = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0u : 0x80u;   // No overlong forms.
    const unsigned high = first == 0xED ? 0x9Fu : 0xBFu;  // No surrogates.
    return byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90u : 0x80u;
    const unsigned high = first == 0xF4 ? 0x8Fu : 0xBFu;
    return byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

void append_control(std::string& out, char c) {
  static constexpr char digits[] = "0123456789abcdef";
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    default:
      break;
  }
  const auto value = static_cast<unsigned char>(c);
  out += "\\u00";
  out += digits[value >> 4];
  out += digits[value & 15];
}

}  // namespace

std::string quote_json(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const auto value = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      ++i;
    } else if (value < 0x20 || value == 0x7F) {
      append_control(out, c);
      ++i;
    } else if (value < 0x80) {
      // Most texts are one such run.
      const auto is_plain = [](char each) {
        const auto code = static_cast<unsigned char>(each);
        return code >= 0x20 && code < 0x7F && each != '"' && each != '\\';
      };
      const auto end = std::find_if_not(text.begin() + static_cast<std::ptrdiff_t>(i), text.end(), is_plain);
      const auto to = static_cast<std::size_t>(end - text.begin());
      out.append(text, i, to - i);
      i = to;
    } else if (const std::size_t length = sequence_length(text.substr(i)); length > 0) {
      out.append(text, i, length);
      i += length;
    } else {
      out += "\xEF\xBF\xBD";
      ++i;
    }
  }
  out += '"';
  return out;
}

}  // namespace shunt
