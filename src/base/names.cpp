#include "base/names.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace shunt {

namespace {
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr std::size_t name_bytes_max = 63;
}  // namespace

bool is_service_name(std::string_view name) {
  if (name.empty() || name.size() > name_bytes_max || !is_lower(name[0])) return false;
  return std::ranges::all_of(name, [](char c) { return is_lower(c) || is_digit(c) || c == '_' || c == '-'; });
}

bool is_command_name(std::string_view name) {
  if (name.empty() || name.size() > name_bytes_max || is_digit(name[0]) || name[0] == '-') return false;
  return std::ranges::all_of(name,
                             [](char c) { return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c == '-'; });
}

std::optional<std::pair<std::string_view, std::string_view>> split_target(std::string_view target) {
  auto dot = target.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == target.size()) return std::nullopt;
  return std::pair{target.substr(0, dot), target.substr(dot + 1)};
}

ListenPlace split_listen(std::string_view text) {
  if (text.starts_with("https://")) return {true, text.substr(8)};
  if (text.starts_with("http://")) return {false, text.substr(7)};
  return {std::nullopt, text};
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the usual table: a swap of neighbours looks two rows back.
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); j++) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); i++) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); j++) {
      std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::optional<std::string_view> nearest(std::string_view wrong, std::span<const std::string_view> known) {
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(1, wrong.size() / 3) + 1;
  for (auto name : known) {
    std::size_t distance = edit_distance(wrong, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

bool is_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      p++;
      continue;
    }
    int more = *p >= 0xc2 && *p <= 0xdf ? 1 : (*p & 0xf0) == 0xe0 ? 2 : *p >= 0xf0 && *p <= 0xf4 ? 3 : 0;
    if (more == 0 || end - p <= more) return false;
    // The second byte excludes overlong forms, surrogates and what is beyond U+10FFFF.
    unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
    unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return false;
    for (int i = 2; i <= more; i++) {
      if ((p[i] & 0xc0) != 0x80) return false;
    }
    p += more + 1;
  }
  return true;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  // The length may be told; what differs may not.
  volatile unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); i++) {
    char other = b.empty() ? '\0' : b[i % b.size()];
    difference = difference | static_cast<unsigned char>(a[i] ^ other);
  }
  return difference == 0;
}

}  // namespace shunt
