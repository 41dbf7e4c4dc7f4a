#pragma once
// UTF-8, JSON strings and base64: what the other headers need of text. Part of <shunt/service.h>; nothing for users.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shunt {
inline namespace sdk {
namespace detail {

/// The length of the well-formed UTF-8 sequence at `at`; 0 when it is not well-formed.
inline std::size_t utf8_length(const char* at, const char* end) {
  auto byte = [&](std::ptrdiff_t i) { return i < end - at ? static_cast<unsigned char>(at[i]) : 0U; };
  auto tail = [&](std::ptrdiff_t i) { return (byte(i) & 0xC0) == 0x80; };
  unsigned char first = static_cast<unsigned char>(*at);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    unsigned high = first == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    unsigned low = first == 0xF0 ? 0x90 : 0x80;
    unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// Writes a JSON string in parts: write(part). What is not UTF-8 becomes U+FFFD.
template <typename Write>
void write_json_string(std::string_view text, Write&& write) {
  constexpr char hex[] = "0123456789abcdef";
  const char* at = text.data();
  const char* end = at + text.size();
  auto is_plain = [](unsigned char c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; };
  write(std::string_view("\"", 1));
  while (at != end) {
    const char* plain = at;
    while (at != end && is_plain(static_cast<unsigned char>(*at))) ++at;
    if (at != plain) write(std::string_view(plain, static_cast<std::size_t>(at - plain)));
    if (at == end) break;
    unsigned char c = static_cast<unsigned char>(*at);
    if (c >= 0x80) {
      std::size_t length = utf8_length(at, end);
      write(length != 0 ? std::string_view(at, length) : std::string_view("\xEF\xBF\xBD"));
      at += std::max<std::size_t>(length, 1);
      continue;
    }
    ++at;
    switch (c) {
      case '"':
        write(std::string_view("\\\""));
        break;
      case '\\':
        write(std::string_view("\\\\"));
        break;
      case '\n':
        write(std::string_view("\\n"));
        break;
      case '\r':
        write(std::string_view("\\r"));
        break;
      case '\t':
        write(std::string_view("\\t"));
        break;
      default: {
        const char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        write(std::string_view(escape, sizeof(escape)));
      }
    }
  }
  write(std::string_view("\"", 1));
}
inline void append_json_string(std::string& out, std::string_view text) {
  write_json_string(text, [&out](std::string_view part) { out.append(part); });
}

inline std::string base64(std::string_view bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  std::size_t at = 0;
  auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])); };
  for (; at + 3 <= bytes.size(); at += 3) {
    std::uint32_t group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    for (int shift = 18; shift >= 0; shift -= 6) text.push_back(digits[group >> shift & 63]);
  }
  if (std::size_t left = bytes.size() - at; left != 0) {
    std::uint32_t group = byte(at) << 16 | (left == 2 ? byte(at + 1) << 8 : 0);
    text.push_back(digits[group >> 18 & 63]);
    text.push_back(digits[group >> 12 & 63]);
    text.push_back(left == 2 ? digits[group >> 6 & 63] : '=');
    text.push_back('=');
  }
  return text;
}

/// Nothing when `text` is not base64. Padding may be absent; the URL alphabet is understood too.
inline std::optional<std::string> from_base64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t group = 0;
  int bits = 0;
  for (char c : text) {
    int digit = c >= 'A' && c <= 'Z'   ? c - 'A'
                : c >= 'a' && c <= 'z' ? c - 'a' + 26
                : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '+' || c == '-' ? 62
                : c == '/' || c == '_' ? 63
                                       : -1;
    if (digit < 0) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<char>(group >> bits & 255));
    }
  }
  if ((group & ((1U << bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

}  // namespace detail
}  // namespace sdk
}  // namespace shunt
