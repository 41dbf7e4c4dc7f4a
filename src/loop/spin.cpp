#include "loop/spin.h"

#include <algorithm>

namespace shunt::loop {

Duration SpinPolicy::budget(Instant now) {
  if (options_.spin_max.count() <= 0 || now < crowded_until_) return Duration(0);
  if (skip_ > 0) {
    skip_--;
    return Duration(0);
  }
  return options_.spin_max;
}

void SpinPolicy::found() {
  // Forgiven by halves: one lucky spin among many does not set it spinning.
  penalty_ /= 2;
}

void SpinPolicy::missed() {
  penalty_ = std::min(penalty_ * 2 + 1, skip_max);
  skip_ = penalty_;
}

void SpinPolicy::delay(Instant now, std::optional<std::int64_t> total_ns) {
  next_sample_ = now + Duration(sample_ns);
  if (!total_ns) return;
  std::int64_t elapsed = now.ns - last_sample_.ns;
  bool known = last_delay_ns_ >= 0 && elapsed > 0;
  bool crowded = known && *total_ns - last_delay_ns_ > elapsed / 16;
  last_sample_ = now;
  last_delay_ns_ = *total_ns;
  if (crowded) {
    crowded_until_ = now + Duration(crowded_ns_);
    crowded_ns_ = std::min(crowded_ns_ * 2, crowded_ns_max);
  } else if (known && now >= crowded_until_) {
    crowded_ns_ = std::max(crowded_ns_ / 2, sample_ns);
  }
}

}  // namespace shunt::loop
