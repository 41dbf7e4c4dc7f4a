#pragma once
// Time inside a node: an Instant on CLOCK_MONOTONIC, a Duration, a Deadline. Wall clocks are converted at the edge.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt {

using Duration = std::chrono::nanoseconds;

/// A point on CLOCK_MONOTONIC, in nanoseconds. Plain so that it can cross the wire within one boot.
struct Instant {
  std::int64_t ns = 0;
  friend auto operator<=>(Instant, Instant) = default;
  friend Instant operator+(Instant at, Duration by) { return {at.ns + by.count()}; }
  friend Instant operator-(Instant at, Duration by) { return {at.ns - by.count()}; }
  friend Duration operator-(Instant a, Instant b) { return Duration(a.ns - b.ns); }
};

/// When a call must have ended. `never()` is later than every Instant.
class Deadline {
 public:
  Deadline() = default;
  explicit Deadline(Instant at) : at_(at) {}
  static Deadline never() { return {}; }
  /// Saturates: a span beyond 292 years is never.
  static Deadline after(Instant now, Duration span);

  [[nodiscard]] bool is_never() const { return at_.ns == INT64_MAX; }
  [[nodiscard]] bool passed(Instant now) const { return now >= at_; }
  [[nodiscard]] Instant at() const { return at_; }
  /// What is left, never below zero; Duration::max() for never.
  [[nodiscard]] Duration left(Instant now) const;
  friend auto operator<=>(Deadline, Deadline) = default;

 private:
  Instant at_{INT64_MAX};
};

inline Deadline earlier(Deadline a, Deadline b) { return a < b ? a : b; }

/// Reads "250ms", "2s", "1.5m", "1h", "10us", "5ns". Errors: invalid_argument says what is accepted.
Result<Duration> parse_duration(std::string_view text);
/// The shortest exact form: "250ms", "2s", "1m30s".
std::string format_duration(Duration duration);
/// Reads "64MiB", "10KB", "512" (bytes), "1GiB". Errors: invalid_argument.
Result<std::uint64_t> parse_size(std::string_view text);

/// Where time comes from: the system's, or a test's.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
};

}  // namespace shunt
