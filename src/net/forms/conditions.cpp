#include "net/forms/conditions.h"

#include <algorithm>
#include <cstring>

#include "net/forms/parameters.h"
#include "net/header.h"

namespace shunt::net {

namespace {

bool take_number(std::string_view& text, std::uint64_t& number) {
  std::size_t digits = 0;
  number = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    // Whoever asks for a byte beyond 2^60 gets what is there.
    number = std::min<std::uint64_t>(number * 10 + static_cast<std::uint64_t>(text[digits] - '0'), 1ULL << 60);
  }
  text.remove_prefix(digits);
  return digits > 0;
}

struct Lane {
  void add(std::uint64_t word) {
    state = (state ^ word) * factor;
    state ^= state >> 29;
  }
  std::uint64_t state;
  std::uint64_t factor;
};

}  // namespace

std::string make_etag(std::string_view body) {
  constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
  // Not a secret, and every answer of a command without effect pays for it: two lanes of 64 bits, each step of which can be
  // undone, so that texts which differ in one word never meet in a lane.
  Lane first{0x9e3779b97f4a7c15, 0xff51afd7ed558ccd};
  Lane second{0xc2b2ae3d27d4eb4f, 0xc4ceb9fe1a85ec53};
  for (std::string_view rest = body; !rest.empty();) {
    std::uint64_t word = 0;
    const std::size_t size = std::min(rest.size(), sizeof word);
    std::memcpy(&word, rest.begin(), size);
    rest.remove_prefix(size);
    first.add(word);
    second.add(word);
  }
  first.add(body.size());
  second.add(body.size());
  std::string etag(24, '"');
  std::size_t at = 1;
  for (const std::uint64_t lane : {first.state, second.state}) {
    for (int shift = 60; shift >= 0; shift -= 6) etag[at++] = digits[lane >> shift & 63];
  }
  return etag;
}

bool names_etag(std::string_view list, std::string_view etag, Match match) {
  if (trim_blanks(list) == "*") return true;
  bool found = false;
  for_each_element(list, [&](std::string_view element) {
    const bool is_weak = element.starts_with("W/");
    if (is_weak) element.remove_prefix(2);
    if (element == etag && element.size() >= 2 && element.starts_with('"') && (!is_weak || match == Match::weak)) {
      found = true;
    }
  });
  return found;
}

ByteRange parse_range(std::string_view range, std::uint64_t size) {
  const ByteRange whole{ByteRange::Kind::whole, 0, size};
  const std::size_t equals = range.find('=');
  if (equals == std::string_view::npos || !iequals(trim_blanks(range.substr(0, equals)), "bytes")) return whole;
  std::string_view spec = trim_blanks(range.substr(equals + 1));
  if (spec.find(',') != std::string_view::npos) return whole;
  const ByteRange none{ByteRange::Kind::unsatisfiable, 0, 0};
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  if (spec.starts_with('-')) {
    spec.remove_prefix(1);
    std::uint64_t suffix = 0;
    if (!take_number(spec, suffix) || !spec.empty()) return whole;
    if (suffix == 0 || size == 0) return none;
    suffix = std::min(suffix, size);
    return {ByteRange::Kind::part, size - suffix, suffix};
  }
  if (!take_number(spec, first) || !spec.starts_with('-')) return whole;
  spec.remove_prefix(1);
  const bool has_last = take_number(spec, last);
  if (!spec.empty() || (has_last && last < first)) return whole;
  if (first >= size) return none;
  last = has_last ? std::min(last, size - 1) : size - 1;
  return {ByteRange::Kind::part, first, last - first + 1};
}

}  // namespace shunt::net
