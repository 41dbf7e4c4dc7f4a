// The small parts that a session is made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "net/http2/block_pool.h"
#include "net/http2/http2_rig_test.h"
#include "net/http2/old_streams.h"
#include "net/http2/rate.h"
#include "net/http2/send_queue.h"

namespace shunt::net {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

TEST(Rate, gives_a_burst_and_then_its_rate) {
  Rate rate(3, 2);
  std::int64_t now_ns = 77 * second_ns;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rate.take(now_ns));
  EXPECT_FALSE(rate.take(now_ns));
  now_ns += second_ns / 2;
  EXPECT_TRUE(rate.take(now_ns));
  EXPECT_FALSE(rate.take(now_ns));
  now_ns += 1000 * second_ns;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rate.take(now_ns));
  EXPECT_FALSE(rate.take(now_ns));
}

TEST(Rate, asked_often_it_refills_all_the_same) {
  Rate rate(1, 10);
  int given = 0;
  for (std::int64_t now_ns = 0; now_ns < second_ns; now_ns += 100) given += rate.take(now_ns) ? 1 : 0;
  EXPECT_GE(given, 9);
  EXPECT_LE(given, 11);
}

TEST(Rate, a_clock_that_goes_back_or_leaps_does_no_harm) {
  Rate rate(2, 0xffff'ffff);
  EXPECT_TRUE(rate.take(second_ns));
  EXPECT_TRUE(rate.take(second_ns));
  EXPECT_FALSE(rate.take(0));
  EXPECT_FALSE(rate.take(INT64_MIN / 2));
  EXPECT_TRUE(rate.take(INT64_MAX));
}

TEST(Rate, what_is_earned_never_exceeds_the_burst) {
  Rate rate(2, 0);
  rate.earn(1000);
  EXPECT_TRUE(rate.take(0));
  EXPECT_TRUE(rate.take(0));
  EXPECT_FALSE(rate.take(0));
  rate.earn(1);
  EXPECT_TRUE(rate.take(0));
}

TEST(SendQueue, gives_what_was_put_in_whatever_the_pieces) {
  std::minstd_rand random(7);
  SendQueue queue;
  std::string put;
  std::string got;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece(random() % 3000, static_cast<char>('a' + random() % 26));
    put += piece;
    random() % 2 == 0 ? queue.push_copy(piece) : queue.push(Bytes::copy_of(piece));
    if (random() % 3 != 0 || queue.size() > 200'000) queue.pop_into(got, random() % (queue.size() + 1));
    ASSERT_EQ(queue.size(), put.size() - got.size());
  }
  queue.pop_into(got, queue.size());
  EXPECT_EQ(got, put);
}

TEST(SendQueue, lets_bytes_go_when_they_are_sent) {
  int released = 0;
  SendQueue queue;
  queue.push(Bytes::external("abcdef", 6, [](void* count) { ++*static_cast<int*>(count); }, &released));
  queue.push_copy("x");
  std::string out;
  queue.pop_into(out, 5);
  EXPECT_EQ(released, 0);
  queue.pop_into(out, 1);
  EXPECT_EQ(released, 1);
  queue.push(Bytes::external("abcdef", 6, [](void* count) { ++*static_cast<int*>(count); }, &released));
  queue.clear();
  EXPECT_EQ(released, 2);
  EXPECT_EQ(queue.size(), 0U);
}

TEST(BlockPool, keeps_what_is_in_blocks_of_any_size) {
  std::minstd_rand random(7);
  BlockPool pool;
  std::vector<std::pair<char*, std::size_t>> blocks;
  const auto check = [](const std::pair<char*, std::size_t>& block) {
    const char mark = static_cast<char>(block.second);
    return std::all_of(block.first, block.first + block.second, [mark](char c) { return c == mark; });
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::size_t bytes = random() % 1200;
    if (blocks.size() < 300 || random() % 2 == 0) {
      auto* block = static_cast<char*>(random() % 2 == 0 ? pool.allocate(bytes) : pool.allocate_zeroed(bytes, 1));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % 16, 0U);
      std::memset(block, static_cast<char>(bytes), bytes);
      blocks.emplace_back(block, bytes);
    } else {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      ASSERT_TRUE(check(blocks.back()));
      if (random() % 2 == 0) {
        auto* moved = static_cast<char*>(pool.resize(blocks.back().first, bytes));
        const char mark = static_cast<char>(blocks.back().second);
        for (std::size_t at = 0; at < std::min(bytes, blocks.back().second); ++at) ASSERT_EQ(moved[at], mark);
        std::memset(moved, static_cast<char>(bytes), bytes);
        blocks.back() = {moved, bytes};
      } else {
        pool.release(blocks.back().first);
        blocks.pop_back();
      }
    }
  }
  for (const auto& block : blocks) {
    EXPECT_TRUE(check(block));
    pool.release(block.first);
  }
  EXPECT_EQ(pool.allocate(static_cast<std::size_t>(-1)), nullptr);
  EXPECT_EQ(pool.allocate_zeroed(static_cast<std::size_t>(-1), 2), nullptr);
  pool.release(nullptr);
}

TEST(FrameWalk, finds_the_same_frames_in_any_pieces) {
  using namespace testing;  // NOLINT(google-build-using-namespace): the words of http2_rig_test.h
  const std::string bytes = std::string(preface) + frame(settings, 0, 0, "") +
                            frame(data, 0, 5, std::string(300, 'x')) + frame(data, 1, 7, "") +
                            frame(headers, 0, 0x7fff'ffff, "abc");
  for (std::size_t piece = 1; piece < 40; ++piece) {
    FrameWalk walk(preface.size());
    std::vector<std::pair<int, std::uint32_t>> found;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const std::string part = bytes.substr(at, piece);
      EXPECT_EQ(walk.walk(part,
                          [&](const FrameWalk::Head& head) {
                            found.emplace_back(head.type, head.stream);
                            return true;
                          }),
                part.size());
    }
    EXPECT_EQ(found, (std::vector<std::pair<int, std::uint32_t>>{{4, 0}, {0, 5}, {0, 7}, {1, 0x7fff'ffff}}));
  }
}

TEST(FrameWalk, stops_before_a_frame_that_is_not_accepted) {
  using namespace testing;  // NOLINT(google-build-using-namespace): the words of http2_rig_test.h
  const std::string good = frame(settings, 0, 0, "") + frame(data, 0, 5, "xyz");
  FrameWalk walk(0);
  const std::string bytes = good + frame(data, 0, 7, "bad") + good;
  EXPECT_EQ(walk.walk(bytes, [](const FrameWalk::Head& head) { return head.stream != 7; }), good.size());
}

TEST(OldStreams, knows_what_ended_and_what_was_passed_over) {
  OldStreams streams;
  EXPECT_TRUE(streams.is_new(1));
  EXPECT_FALSE(streams.has_ended(0));
  streams.opened(5);
  EXPECT_TRUE(streams.was_skipped(1));
  EXPECT_TRUE(streams.was_skipped(3));
  EXPECT_FALSE(streams.was_skipped(5));
  EXPECT_FALSE(streams.is_new(5));
  EXPECT_TRUE(streams.is_new(7));
  streams.opened(7);
  EXPECT_FALSE(streams.was_skipped(7));
  EXPECT_FALSE(streams.has_ended(5));
  streams.ended(5);
  EXPECT_TRUE(streams.has_ended(5));
  for (std::uint32_t id = 9; id < 90; id += 2) streams.ended(id);
  EXPECT_FALSE(streams.has_ended(5));  // Forgotten: nothing is said of it.
}

}  // namespace
}  // namespace shunt::net
