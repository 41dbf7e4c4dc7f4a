#include "base/base64.h"

#include <array>
#include <cstdint>

namespace shunt {

namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr auto values = [] {
  std::array<std::int16_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < digits.size(); i++)
    table[static_cast<unsigned char>(digits[i])] = static_cast<std::int16_t>(i);
  table['-'] = 62;
  table['_'] = 63;
  return table;
}();

}  // namespace

void append_base64(std::string& out, std::string_view bytes, Padding padding) {
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) out += digits[bits >> (count - 6) & 63];
  }
  if (count > 0) out += digits[bits << (6 - count) & 63];
  if (padding == Padding::yes) out.append((3 - bytes.size() % 3) % 3, '=');
}

std::string encode_base64(std::string_view bytes, Padding padding) {
  std::string out;
  append_base64(out, bytes, padding);
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = values[static_cast<unsigned char>(c)];
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  return out;
}

}  // namespace shunt
