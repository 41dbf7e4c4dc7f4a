#pragma once
// The texts that canonical proto3 JSON has for values that JSON has not: times, durations, field masks, numbers.
// Each both ways; what is read is checked whole.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shunt::schema {

/// google.protobuf.Timestamp and Duration.
struct SecondsAndNanos {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
};

/// RFC 3339 with any offset, from year 1 to 9999: "2026-07-01T12:00:00.5Z".
std::optional<SecondsAndNanos> parse_timestamp(std::string_view text);
/// False where it lies outside of those years.
bool append_timestamp(std::string& out, SecondsAndNanos time);

/// "1.5s", at most ten thousand years.
std::optional<SecondsAndNanos> parse_duration_text(std::string_view text);
/// False for what is no valid duration: too long, or signs that differ.
bool append_duration(std::string& out, SecondsAndNanos duration);

/// "a,b.cD" to the paths "a", "b.c_d"; calls back with each. False for what has no such path.
std::optional<std::string> snake_path(std::string_view camel);
std::optional<std::string> camel_path(std::string_view snake);

/// The shortest text that reads back as the same number; "NaN" and "Infinity" in quotes.
void append_real(std::string& out, double value);
void append_real(std::string& out, float value);

/// A JSON number's text as a double. Nothing beyond the largest.
std::optional<double> parse_real(std::string_view text);
/// A whole number: "12", "-3", and "1e3" or "2.0", which are whole too. Nothing when it is not, or does not fit.
std::optional<std::int64_t> parse_signed(std::string_view text, std::int64_t min, std::int64_t max);
std::optional<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t max);

/// `text`, which is UTF-8, in quotes.
void append_json_string(std::string& out, std::string_view text);

}  // namespace shunt::schema
