#include "schema/text_forms.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace shunt::schema {

namespace {

constexpr std::int64_t timestamp_min = -62135596800;  // 0001-01-01T00:00:00Z
constexpr std::int64_t timestamp_max = 253402300799;  // 9999-12-31T23:59:59Z
constexpr std::int64_t duration_max = 315576000000;   // Ten thousand years.
constexpr std::int32_t nanos_max = 999'999'999;

// Days from 1970-01-01 in the proleptic Gregorian calendar, by the era of 400 years.
std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto of_era = static_cast<unsigned>(year - era * 400);
  const unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct Civil {
  std::int64_t year;
  unsigned month;
  unsigned day;
};

Civil civil_from_days(std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
  const unsigned month = (5 * of_year + 2) / 153;
  const unsigned day = of_year - (153 * month + 2) / 5 + 1;
  return {era * 400 + year + (month >= 10 ? 1 : 0), month < 10 ? month + 3 : month - 9, day};
}

void append_digits(std::string& out, std::uint64_t value, int width) {
  char digits[20];
  for (int i = width - 1; i >= 0; --i, value /= 10) digits[i] = static_cast<char>('0' + value % 10);
  out.append(digits, static_cast<std::size_t>(width));
}

// None, three, six or nine digits, as they are needed.
void append_fraction(std::string& out, std::uint32_t nanos) {
  if (nanos == 0) return;
  out.push_back('.');
  if (nanos % 1'000'000 == 0) return append_digits(out, nanos / 1'000'000, 3);
  if (nanos % 1000 == 0) return append_digits(out, nanos / 1000, 6);
  append_digits(out, nanos, 9);
}

void append_whole(std::string& out, std::int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

// A cursor over a text with fixed parts.
struct Cursor {
  std::string_view text;
  std::size_t at = 0;

  [[nodiscard]] bool looking_at(char c) const { return at < text.size() && text[at] == c; }
  bool literal(char c) {
    if (!looking_at(c)) return false;
    ++at;
    return true;
  }
  bool digits(std::size_t count, unsigned& out) {
    out = 0;
    for (std::size_t i = 0; i < count; ++i, ++at) {
      if (at >= text.size() || text[at] < '0' || text[at] > '9') return false;
      out = out * 10 + static_cast<unsigned>(text[at] - '0');
    }
    return true;
  }
  /// One to nine digits after a point, as billionths.
  bool fraction(std::int32_t& nanos) {
    nanos = 0;
    int count = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++count) {
      if (count == 9) return false;
      nanos = nanos * 10 + (text[at] - '0');
    }
    if (count == 0) return false;
    for (; count < 9; ++count) nanos *= 10;
    return true;
  }
};

template <typename Real>
void append_any_real(std::string& out, Real value) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
  } else if (std::isinf(value)) {
    out += value < 0 ? "\"-Infinity\"" : "\"Infinity\"";
  } else {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, end);
  }
}

}  // namespace

std::optional<SecondsAndNanos> parse_timestamp(std::string_view text) {
  Cursor in{text};
  unsigned year;
  unsigned month;
  unsigned day;
  unsigned hour;
  unsigned minute;
  unsigned second;
  if (!in.digits(4, year) || !in.literal('-') || !in.digits(2, month) || !in.literal('-') || !in.digits(2, day) ||
      !(in.literal('T') || in.literal('t')) || !in.digits(2, hour) || !in.literal(':') || !in.digits(2, minute) ||
      !in.literal(':') || !in.digits(2, second)) {
    return std::nullopt;
  }
  SecondsAndNanos out;
  if (in.literal('.') && !in.fraction(out.nanos)) return std::nullopt;
  std::int64_t offset = 0;
  if (!in.literal('Z') && !in.literal('z')) {
    const bool behind = in.looking_at('-');
    unsigned hours;
    unsigned minutes;
    if (!(in.literal('+') || in.literal('-')) || !in.digits(2, hours) || !in.literal(':') || !in.digits(2, minutes) ||
        hours > 23 || minutes > 59) {
      return std::nullopt;
    }
    offset = (hours * 60 + minutes) * 60;
    if (behind) offset = -offset;
  }
  static constexpr unsigned month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (in.at != text.size() || year == 0 || month == 0 || month > 12 || day == 0 || day > month_days[month - 1] ||
      (month == 2 && day == 29 && !leap) || hour > 23 || minute > 59 || second > 59) {
    return std::nullopt;
  }
  out.seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
  if (out.seconds < timestamp_min || out.seconds > timestamp_max) return std::nullopt;
  return out;
}

bool append_timestamp(std::string& out, SecondsAndNanos time) {
  if (time.seconds < timestamp_min || time.seconds > timestamp_max || time.nanos < 0 || time.nanos > nanos_max) {
    return false;
  }
  std::int64_t days = time.seconds / 86400;
  std::int64_t rest = time.seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  const Civil date = civil_from_days(days);
  const auto of_day = static_cast<std::uint64_t>(rest);
  out.push_back('"');
  append_digits(out, static_cast<std::uint64_t>(date.year), 4);
  out.push_back('-');
  append_digits(out, date.month, 2);
  out.push_back('-');
  append_digits(out, date.day, 2);
  out.push_back('T');
  append_digits(out, of_day / 3600, 2);
  out.push_back(':');
  append_digits(out, of_day / 60 % 60, 2);
  out.push_back(':');
  append_digits(out, of_day % 60, 2);
  append_fraction(out, static_cast<std::uint32_t>(time.nanos));
  out += "Z\"";
  return true;
}

std::optional<SecondsAndNanos> parse_duration_text(std::string_view text) {
  if (!text.ends_with('s')) return std::nullopt;
  text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  SecondsAndNanos out;
  if (whole.empty() || whole[0] < '0' || whole[0] > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), out.seconds);
  if (error != std::errc() || end != whole.data() + whole.size() || out.seconds > duration_max) return std::nullopt;
  if (point != std::string_view::npos) {
    Cursor in{text, point + 1};
    if (!in.fraction(out.nanos) || in.at != text.size()) return std::nullopt;
  }
  if (out.seconds == duration_max && out.nanos != 0) return std::nullopt;
  if (negative) {
    out.seconds = -out.seconds;
    out.nanos = -out.nanos;
  }
  return out;
}

bool append_duration(std::string& out, SecondsAndNanos duration) {
  const auto [seconds, nanos] = duration;
  if (seconds < -duration_max || seconds > duration_max || nanos < -nanos_max || nanos > nanos_max ||
      (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) {
    return false;
  }
  out.push_back('"');
  if (seconds < 0 || nanos < 0) out.push_back('-');
  append_whole(out, seconds < 0 ? -seconds : seconds);
  append_fraction(out, static_cast<std::uint32_t>(nanos < 0 ? -nanos : nanos));
  out += "s\"";
  return true;
}

std::optional<std::string> snake_path(std::string_view camel) {
  std::string out;
  for (char c : camel) {
    if (c == '_') return std::nullopt;
    if (c >= 'A' && c <= 'Z') {
      out.push_back('_');
      out.push_back(static_cast<char>(c | 0x20));
    } else {
      out.push_back(c);
    }
  }
  return out;
}

std::optional<std::string> camel_path(std::string_view snake) {
  std::string out;
  bool upper = false;
  for (char c : snake) {
    if (c >= 'A' && c <= 'Z') return std::nullopt;  // Reading it back would not give it.
    if (upper && (c < 'a' || c > 'z')) return std::nullopt;
    if (c == '_') {
      upper = true;
      continue;
    }
    out.push_back(upper ? static_cast<char>(c & ~0x20) : c);
    upper = false;
  }
  if (upper) return std::nullopt;
  return out;
}

void append_real(std::string& out, double value) { append_any_real(out, value); }
void append_real(std::string& out, float value) { append_any_real(out, value); }

std::optional<double> parse_real(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc()) return end == text.data() + text.size() ? std::optional(value) : std::nullopt;
  if (error != std::errc::result_out_of_range) return std::nullopt;
  // Too large or too small is one answer there; strtod tells them apart.
  value = std::strtod(std::string(text).c_str(), nullptr);
  return std::isinf(value) ? std::nullopt : std::optional(value);
}

std::optional<std::int64_t> parse_signed(std::string_view text, std::int64_t min, std::int64_t max) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) {
    return value >= min && value <= max ? std::optional(value) : std::nullopt;
  }
  if (error == std::errc::result_out_of_range) return std::nullopt;
  const auto real = parse_real(text);
  if (!real || *real != std::trunc(*real)) return std::nullopt;
  // Both bounds as doubles that the integer's range surely holds.
  if (*real < -9223372036854775808.0 || *real >= 9223372036854775808.0) return std::nullopt;
  value = static_cast<std::int64_t>(*real);
  return value >= min && value <= max ? std::optional(value) : std::nullopt;
}

std::optional<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) {
    return value <= max ? std::optional(value) : std::nullopt;
  }
  if (error == std::errc::result_out_of_range) return std::nullopt;
  const auto real = parse_real(text);
  if (!real || *real != std::trunc(*real) || *real < 0 || *real >= 18446744073709551616.0) return std::nullopt;
  value = static_cast<std::uint64_t>(*real);
  return value <= max ? std::optional(value) : std::nullopt;
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  out.push_back('"');
  std::size_t run = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, run, i - run);
    run = i + 1;
    static constexpr std::string_view plain = "\"\\\b\f\n\r\t";
    static constexpr std::string_view letters = "\"\\bfnrt";
    if (const auto found = plain.find(c); found != std::string_view::npos) {
      out.push_back('\\');
      out.push_back(letters[found]);
    } else {
      out += "\\u00";
      out.push_back(hex[static_cast<unsigned char>(c) >> 4]);
      out.push_back(hex[static_cast<unsigned char>(c) & 15]);
    }
  }
  out.append(text, run);
  out.push_back('"');
}

}  // namespace shunt::schema
