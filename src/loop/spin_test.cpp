#include "loop/spin.h"

#include <gtest/gtest.h>

namespace shunt::loop {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{1'000'000'000};

TEST(SpinPolicy, spins_at_first_and_never_longer_than_told) {
  SpinPolicy policy({.spin_max = 20us});
  EXPECT_EQ(policy.budget(start), 20us);
}

TEST(SpinPolicy, zero_is_never) {
  SpinPolicy policy({.spin_max = 0us});
  EXPECT_EQ(policy.budget(start), 0us);
}

TEST(SpinPolicy, goes_on_while_it_finds_something) {
  SpinPolicy policy({});
  for (int i = 0; i < 1000; i++) {
    ASSERT_GT(policy.budget(start), 0us);
    policy.found();
  }
}

TEST(SpinPolicy, vain_spins_become_rare) {
  SpinPolicy policy({});
  int spins = 0;
  for (int sleeps = 0; sleeps < 100'000; sleeps++) {
    if (policy.budget(start) == 0us) continue;
    spins++;
    policy.missed();
  }
  // Doubling up to one in 1024.
  EXPECT_LT(spins, 120);
  EXPECT_GT(spins, 90);
}

TEST(SpinPolicy, what_pays_again_is_done_again_after_a_while) {
  SpinPolicy policy({});
  for (int i = 0; i < 20; i++) {
    while (policy.budget(start) == 0us) {
    }
    policy.missed();
  }
  while (policy.budget(start) == 0us) {
  }
  // Each find halves what the next vain one costs.
  for (int i = 0; i < 11; i++) policy.found();
  policy.missed();
  EXPECT_EQ(policy.budget(start), 0us);
  EXPECT_GT(policy.budget(start), 0us);
}

TEST(SpinPolicy, stops_while_others_want_the_core) {
  SpinPolicy policy({});
  EXPECT_TRUE(policy.wants_delay(start));
  policy.delay(start, 0);
  EXPECT_FALSE(policy.wants_delay(start + 1ms));
  EXPECT_TRUE(policy.wants_delay(start + 10ms));
  policy.delay(start + 10ms, 500'000);  // A twentieth.
  EXPECT_GT(policy.budget(start + 10ms), 0us);
  policy.delay(start + 20ms, 5'000'000);  // Nearly the half.
  EXPECT_TRUE(policy.is_crowded(start + 20ms));
  EXPECT_EQ(policy.budget(start + 29ms), 0us);
  EXPECT_GT(policy.budget(start + 30ms), 0us);
}

TEST(SpinPolicy, stops_longer_each_time_and_forgives) {
  SpinPolicy policy({});
  Instant now = start;
  std::int64_t delay = 0;
  policy.delay(now, delay);
  for (int i = 0; i < 12; i++) {
    now = now + 10ms;
    policy.delay(now, delay += 9'000'000);
  }
  EXPECT_EQ(policy.budget(now + 999ms), 0us);
  now = now + 1s;
  EXPECT_GT(policy.budget(now), 0us);
  for (int i = 0; i < 12; i++) {
    now = now + 10ms;
    policy.delay(now, delay);
  }
  now = now + 10ms;
  policy.delay(now, delay += 9'000'000);
  EXPECT_GT(policy.budget(now + 10ms), 0us);
}

TEST(SpinPolicy, where_the_system_tells_no_delay_it_spins) {
  SpinPolicy policy({});
  for (int i = 0; i < 10; i++) policy.delay(start + i * 10ms, std::nullopt);
  EXPECT_GT(policy.budget(start + 1s), 0us);
}

}  // namespace
}  // namespace shunt::loop
