#include "base/time.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace shunt {

Deadline Deadline::after(Instant now, Duration span) {
  if (span.count() > 0 && now.ns > INT64_MAX - span.count()) return never();
  return Deadline(now + span);
}

Duration Deadline::left(Instant now) const {
  if (is_never()) return Duration::max();
  return at_ > now ? at_ - now : Duration(0);
}

namespace {

struct Unit {
  std::string_view name;
  double factor;
};

// A number and its unit: "1.5m". Several parts ("1m30s") are read one after the other.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(value) || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::string_view take_letters(std::string_view& text) {
  std::size_t n = 0;
  while (n < text.size() && ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z'))) n++;
  auto letters = text.substr(0, n);
  text.remove_prefix(n);
  return letters;
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  static constexpr std::array<Unit, 6> units = {
      {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}}};
  auto bad = [&] {
    return fail(
        Code::invalid_argument,
        fmt::format("'{}' is not a duration; write a number and a unit: \"250ms\", \"2s\", \"1m30s\", \"1h\"", text));
  };
  double total = 0;
  auto rest = text;
  if (rest.empty()) return bad();
  while (!rest.empty()) {
    auto number = take_number(rest);
    if (!number) return bad();
    auto name = take_letters(rest);
    double factor = 0;
    for (const auto& unit : units) {
      if (unit.name == name) factor = unit.factor;
    }
    if (factor == 0) return bad();
    total += *number * factor;
  }
  if (total > 9e18) return bad();
  return Duration(static_cast<std::int64_t>(std::llround(total)));
}

std::string format_duration(Duration duration) {
  std::int64_t ns = duration.count();
  if (ns == 0) return "0s";
  if (ns < 0) return "-" + format_duration(Duration(ns == INT64_MIN ? INT64_MAX : -ns));
  static constexpr std::array<std::pair<std::int64_t, std::string_view>, 6> units = {{{3'600'000'000'000, "h"},
                                                                                      {60'000'000'000, "m"},
                                                                                      {1'000'000'000, "s"},
                                                                                      {1'000'000, "ms"},
                                                                                      {1000, "us"},
                                                                                      {1, "ns"}}};
  std::string text;
  for (const auto& [size, name] : units) {
    if (ns < size) continue;
    text += fmt::format("{}{}", ns / size, name);
    ns %= size;
  }
  return text;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::array<Unit, 9> units = {{{"", 1},
                                                 {"B", 1},
                                                 {"KB", 1e3},
                                                 {"MB", 1e6},
                                                 {"GB", 1e9},
                                                 {"KiB", 1024},
                                                 {"MiB", 1024.0 * 1024},
                                                 {"GiB", 1024.0 * 1024 * 1024},
                                                 {"TiB", 1024.0 * 1024 * 1024 * 1024}}};
  auto rest = text;
  auto number = take_number(rest);
  auto name = take_letters(rest);
  if (number && rest.empty()) {
    for (const auto& unit : units) {
      double bytes = *number * unit.factor;
      if (unit.name == name && bytes < 9e18) return static_cast<std::uint64_t>(bytes);
    }
  }
  return fail(
      Code::invalid_argument,
      fmt::format("'{}' is not a size; write a number and a unit: \"512\", \"64KiB\", \"16MiB\", \"1GiB\"", text));
}

}  // namespace shunt
