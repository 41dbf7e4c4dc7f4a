#pragma once
// SpinPolicy: how long a loop looks at its rings in vain before it sleeps. To sleep and to be woken costs both sides some
// microseconds, across cores some tens of them; to spin costs the core. So a loop spins only while it pays:
//
//   never longer than spin_max (20 us: about what a wake-up costs);
//   not after it spun in vain: each vain spin doubles the number of sleeps that go without one, up to 1024;
//   not while others want the core: where the thread's time in the run queue grows by more than a sixteenth of the time,
//     it stops for 10 ms, then twice as long, up to a second;
//   with a yield between two looks where all threads share one core.
//
// It knows nothing of rings. Pure but for what it is told, so that a test can tell it anything.

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace shunt::loop {

struct SpinOptions {
  Duration spin_max = std::chrono::microseconds(20);  ///< Zero: never.
};

class SpinPolicy {
 public:
  explicit SpinPolicy(SpinOptions options) : options_(options) {}

  /// How long to spin now; zero: sleep at once.
  [[nodiscard]] Duration budget(Instant now);
  /// The spin ended with something to do.
  void found();
  /// The budget was spent for nothing.
  void missed();

  /// Others want the core, so nobody spins.
  [[nodiscard]] bool is_crowded(Instant now) const { return now < crowded_until_; }
  /// True when it is time to tell delay() again.
  [[nodiscard]] bool wants_delay(Instant now) const { return now >= next_sample_; }
  /// How long the thread has waited for a core in all its life; nothing where that is not known.
  void delay(Instant now, std::optional<std::int64_t> total_ns);

 private:
  static constexpr std::int64_t sample_ns = 10'000'000;
  static constexpr std::int64_t crowded_ns_max = 1'000'000'000;
  static constexpr std::uint32_t skip_max = 1024;

  SpinOptions options_;
  std::uint32_t penalty_ = 0;  ///< Sleeps without a spin after the next vain one.
  std::uint32_t skip_ = 0;     ///< Of those, still to come.
  Instant next_sample_{0};
  Instant last_sample_{0};
  std::int64_t last_delay_ns_ = -1;
  std::int64_t crowded_ns_ = sample_ns;  ///< How long to stop next time.
  Instant crowded_until_{0};
};

}  // namespace shunt::loop
