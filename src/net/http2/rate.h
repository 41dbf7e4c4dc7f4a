#pragma once
// A token bucket: so many at once, refilled at a rate. It has no clock; who asks brings the time.

#include <algorithm>
#include <cstdint>

namespace shunt::net {

class Rate {
 public:
  Rate(std::uint32_t burst, std::uint32_t per_second)
      : burst_(std::int64_t{burst} * unit), per_second_(per_second), left_(burst_) {}

  /// Takes one; false when none is left. A clock that goes back refills nothing.
  bool take(std::int64_t now_ns) {
    if (left_ == burst_) {
      since_ns_ = now_ns;
    } else {
      refill(now_ns);
    }
    if (left_ < unit) return false;
    left_ -= unit;
    return true;
  }
  /// Gives some back, for work that was worth it.
  void earn(std::uint32_t tokens) { left_ = std::min(burst_, left_ + std::int64_t{tokens} * unit); }

 private:
  static constexpr std::int64_t unit = 1'000'000;  // Millionths of a token: a rate of one per second is exact to 1 µs.
  static constexpr std::int64_t passed_ns_max = std::int64_t{1000} * 1'000'000'000;  // What any rate fits in.

  void refill(std::int64_t now_ns) {
    const std::int64_t passed_us = std::clamp<std::int64_t>(now_ns - since_ns_, 0, passed_ns_max) / 1000;
    left_ = std::min(burst_, left_ + passed_us * per_second_);
    since_ns_ = passed_us > 0 ? now_ns : since_ns_;
  }

  std::int64_t burst_;
  std::int64_t per_second_;
  std::int64_t left_;
  std::int64_t since_ns_ = 0;
};

}  // namespace shunt::net
