#include "net/http1/http1_fields.h"

#include <algorithm>
#include <array>

namespace shunt::net {

namespace {

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> make_value_table() {
  std::array<bool, 256> table{};
  for (std::size_t c = 0x20; c < 256; ++c) table[c] = c != 0x7f;
  table['\t'] = true;
  return table;
}
constexpr std::array<bool, 256> token_table = make_token_table();
constexpr std::array<bool, 256> value_table = make_value_table();

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

bool iequals(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (to_lower(text[i]) != lower[i]) return false;
  }
  return true;
}

bool is_header_name(std::string_view name) { return detail::is_token(name); }

bool is_header_value(std::string_view value) { return std::all_of(value.begin(), value.end(), detail::is_value_char); }

namespace detail {

bool is_token_char(char c) { return token_table[static_cast<unsigned char>(c)]; }
bool is_value_char(char c) { return value_table[static_cast<unsigned char>(c)]; }

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool list_holds(std::string_view list, std::string_view lower) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (iequals(trim(list.substr(0, comma)), lower)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

bool is_token_list(std::string_view list) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view element = trim(list.substr(0, comma));
    if (!element.empty() && !is_token(element)) return false;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return true;
}

std::string_view split_fields(std::string_view fields, std::size_t headers_max, std::vector<Header>& headers) {
  const char* at = fields.data();
  const char* const end = at + fields.size();
  while (at != end) {
    if (headers.size() == headers_max) return too_many_headers;
    const char* const name = at;
    while (at != end && is_token_char(*at)) ++at;
    if (at == end || *at != ':' || at == name) {
      if (at == name && at != end && (*at == ' ' || *at == '\t')) return "a header line is folded";
      return "a header's name is not a token that ends in a colon";
    }
    const std::string_view name_text(name, static_cast<std::size_t>(at - name));
    const char* const value = ++at;
    while (at != end && is_value_char(*at)) ++at;
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n') return "a header's value holds a control character";
    headers.push_back({name_text, trim({value, static_cast<std::size_t>(at - value)})});
    at += 2;
  }
  return {};
}

bool parse_length(std::string_view text, std::uint64_t& length) {
  if (text.empty() || text.size() > 18) return false;
  length = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    length = length * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

std::size_t find_head_end(std::string_view text, std::size_t& scanned) {
  for (;;) {
    const std::size_t feed = text.find('\n', scanned);
    if (feed == std::string_view::npos) return 0;
    if (feed == 0 || text[feed - 1] != '\r') return std::string_view::npos;
    if (feed - scanned == 1) return feed + 1;
    scanned = feed + 1;
  }
}

}  // namespace detail
}  // namespace shunt::net
