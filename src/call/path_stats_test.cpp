#include "call/path_stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "base/random.h"

namespace shunt::call {
namespace {

using namespace std::chrono_literals;

struct Place final : Instance {
  explicit Place(std::string called) : label(std::move(called)) {}
  Link* link(std::size_t) override { return nullptr; }
  Distance distance() const override { return Distance::unix_; }
  std::string name() const override { return label; }
  std::string label;
};

TEST(PathStats, what_is_told_of_a_latency_is_within_six_percent_from_16_ns_to_100_s) {
  SeededRandom random(7);
  for (int i = 0; i < 200'000; i++) {
    const double exponent =
        std::log(16.0) + (std::log(1e11) - std::log(16.0)) * double(random.below(1u << 30)) / (1 << 30);
    const auto ns = static_cast<std::int64_t>(std::exp(exponent));
    if (ns < 16) continue;
    const auto told = double(latency::middle_ns(latency::bucket_of(ns)));
    ASSERT_LE(std::abs(told - double(ns)) / double(ns), 0.06) << ns;
  }
}

TEST(PathStats, every_bucket_begins_where_the_one_before_ends) {
  for (std::size_t i = 1; i < latency::bucket_count; i++) {
    EXPECT_EQ(latency::bucket_of(latency::lower_ns(i)), i);
    EXPECT_EQ(latency::bucket_of(latency::lower_ns(i) - 1), i - 1);
  }
  EXPECT_EQ(latency::bucket_of(-5), 0u);
  EXPECT_EQ(latency::bucket_of(INT64_MAX), latency::bucket_count - 1);
}

TEST(PathStats, quantiles_calls_and_errors_come_out_as_they_went_in) {
  PathStats stats(2);
  for (int i = 0; i < 98; i++) stats.shard("cart", "prices", "prices", Distance::local, 0).record(1us, true);
  stats.shard("cart", "prices", "prices", Distance::local, 1).record(1ms, false);
  stats.shard("cart", "prices", "prices", Distance::local, 9).record(1ms, true);
  auto all = stats.report();
  ASSERT_EQ(all.size(), 1u);
  const auto& counts = all[0].counts;
  EXPECT_EQ(counts.calls, 100u);
  EXPECT_EQ(counts.errors, 1u);
  EXPECT_NEAR(double(counts.at(0.5).count()), 1000, 60);
  EXPECT_NEAR(double(counts.at(0.99).count()), 1e6, 6e4);
  EXPECT_NEAR(counts.seconds(), 98e-6 + 2e-3, 0.06 * 2.1e-3);
}

TEST(PathStats, a_path_without_calls_has_no_latency) {
  EXPECT_EQ(PathCounts().at(0.5), Duration(0));
  EXPECT_EQ(PathCounts().seconds(), 0);
}

TEST(PathStats, a_path_is_known_by_caller_callee_place_and_distance) {
  PathStats stats;
  auto& one = stats.shard("cart", "prices", "prices#1 (pid 12)", Distance::unix_, 0);
  EXPECT_EQ(&one, &stats.shard("cart", "prices", "prices#1 (pid 13)", Distance::unix_, 0));
  EXPECT_NE(&one, &stats.shard("cart", "prices", "prices#2 (pid 12)", Distance::unix_, 0));
  EXPECT_NE(&one, &stats.shard("cart", "prices", "prices#1 (pid 12)", Distance::shm, 0));
  EXPECT_NE(&one, &stats.shard("gateway", "prices", "prices#1 (pid 12)", Distance::unix_, 0));
  EXPECT_EQ(stats.report("cart", "prices").size(), 3u);
  EXPECT_EQ(stats.report("", "prices").size(), 4u);
  EXPECT_EQ(stats.report("nobody", "prices").size(), 0u);
}

TEST(PathStats, beyond_its_limit_paths_are_counted_together) {
  PathStats stats(0, 4);
  for (int i = 0; i < 100; i++) {
    stats.shard("caller" + std::to_string(i), "prices", "prices", Distance::local, 0).record(1us, true);
  }
  auto all = stats.report();
  EXPECT_EQ(all.size(), 5u);
  auto rest = stats.report("other", "other");
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].counts.calls, 96u);
}

TEST(PathStats, callers_beyond_their_limit_share_a_name) {
  PathStats stats;
  const std::string* last = nullptr;
  for (std::size_t i = 0; i < PathStats::callers_max + 2; i++) last = stats.caller("c" + std::to_string(i));
  EXPECT_EQ(*last, "other");
  EXPECT_EQ(*stats.caller("c5"), "c5");
  EXPECT_EQ(stats.caller("c5"), stats.caller("c5"));
}

TEST(PathStats, what_another_process_counted_is_added_once) {
  PathStats stats(1);
  stats.shard("cart", "prices", "prices#1", Distance::shm, 0).record(1us, true);
  PathCounts told;
  told.calls = 10;
  told.errors = 2;
  told.buckets[latency::bucket_of(2000)] = 10;
  stats.merge({"cart", "prices", "prices#1", Distance::shm}, told);
  PathCounts later = told;
  later.calls = 15;
  later.buckets[latency::bucket_of(2000)] = 15;
  stats.merge({"cart", "prices", "prices#1", Distance::shm}, later.since(told));
  auto counts = stats.report()[0].counts;
  EXPECT_EQ(counts.calls, 16u);
  EXPECT_EQ(counts.errors, 2u);
  EXPECT_EQ(counts.timed(), 16u);
}

TEST(PathStats, counts_come_back_from_their_wire_form_as_they_were) {
  SeededRandom random(3);
  for (int round = 0; round < 200; round++) {
    PathCounts counts;
    counts.calls = random.next() >> random.below(64);
    counts.errors = random.next() >> random.below(64);
    for (int i = 0; i < 12; i++)
      counts.buckets[random.below(counts.buckets.size())] = random.next() >> random.below(64);
    auto back = PathCounts::decode(counts.encode());
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->calls, counts.calls);
    EXPECT_EQ(back->errors, counts.errors);
    EXPECT_EQ(back->buckets, counts.buckets);
  }
}

TEST(PathStats, counts_that_are_none_are_refused_whatever_they_hold) {
  EXPECT_EQ(PathCounts::decode("").error().id(), "S1017");
  EXPECT_FALSE(PathCounts::decode(std::string(40, '\xff')).has_value());
  SeededRandom random(5);
  for (int round = 0; round < 20'000; round++) {
    std::string text;
    for (auto left = random.below(24); left > 0; left--) text.push_back(static_cast<char>(random.next()));
    auto counts = PathCounts::decode(text);
    if (!counts) EXPECT_EQ(counts.error().id(), "S1017");
  }
}

TEST(PathStats, a_loop_finds_a_path_again_and_forgets_it_when_told) {
  PathStats stats(1);
  PathCache cache;
  Place one("prices#1 (pid 7)");
  Place two("prices#2 (pid 8)");
  const auto* cart = stats.caller("cart");
  auto& shard = cache.find(stats, cart, "prices", one, 0);
  EXPECT_EQ(&shard, &cache.find(stats, cart, "prices", one, 0));
  EXPECT_NE(&shard, &cache.find(stats, cart, "prices", two, 0));
  EXPECT_NE(&shard, &cache.find(stats, stats.caller("gateway"), "prices", one, 0));
  one.label = "prices#9";
  EXPECT_EQ(&shard, &cache.find(stats, cart, "prices", one, 0));
  cache.clear();
  EXPECT_NE(&shard, &cache.find(stats, cart, "prices", one, 0));
}

TEST(PathStats, loops_count_side_by_side_and_a_reader_sees_all_at_the_end) {
  PathStats stats(2);
  std::vector<std::thread> threads;
  for (std::size_t loop = 0; loop < 4; loop++) {
    threads.emplace_back([&stats, loop] {
      for (int i = 0; i < 10'000; i++) {
        stats.shard("cart", "prices", "prices", Distance::local, loop).record(Duration(100 + i), i % 10 != 0);
      }
    });
  }
  for (int i = 0; i < 50; i++) EXPECT_LE(stats.report("cart", "prices").size(), 1u);
  for (auto& thread : threads) thread.join();
  auto counts = stats.report()[0].counts;
  EXPECT_EQ(counts.calls, 40'000u);
  EXPECT_EQ(counts.timed(), 40'000u);
  EXPECT_EQ(counts.errors, 4'000u);
}

}  // namespace
}  // namespace shunt::call
