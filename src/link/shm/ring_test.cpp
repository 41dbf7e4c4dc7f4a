#include "link/shm/ring.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>

#include "base/random.h"

namespace shunt::link {
namespace {

/// A ring in ordinary memory, and both of its sides.
template <std::size_t size = 16>
struct TestRing {
  RingWords<> words{};
  std::array<char, size> data{};
  RingWriter<> writer{words, data.data(), size};
  RingReader<> reader{words, data.data(), size};

  std::size_t write(std::string_view text) {
    iovec vector{const_cast<char*>(text.data()), text.size()};
    return writer.write(&vector, 1);
  }
  void send(std::string_view text) {
    EXPECT_EQ(write(text), text.size());
    writer.publish();
  }
  std::string receive(std::size_t at_most = size) {
    std::string text(std::min(reader.look(), at_most), ' ');
    reader.read(text.data(), text.size());
    reader.release();
    return text;
  }
};

TEST(Ring, what_was_written_is_seen_once_it_is_published) {
  TestRing ring;
  ring.write("tea");
  EXPECT_FALSE(ring.reader.peek());
  EXPECT_EQ(ring.receive(), "");
  ring.writer.publish();
  EXPECT_TRUE(ring.reader.peek());
  EXPECT_EQ(ring.receive(), "tea");
  EXPECT_FALSE(ring.reader.peek());
}

TEST(Ring, several_vectors_are_one_run_of_bytes) {
  TestRing ring;
  std::array<iovec, 3> vectors{{{const_cast<char*>("te"), 2}, {nullptr, 0}, {const_cast<char*>("acup"), 4}}};
  EXPECT_EQ(ring.writer.write(vectors.data(), 3), 6u);
  ring.writer.publish();
  EXPECT_EQ(ring.receive(), "teacup");
}

TEST(Ring, a_full_ring_takes_nothing_and_says_so) {
  TestRing ring;
  ring.send("0123456789abcdef");
  EXPECT_EQ(ring.write("x"), 0u);
  EXPECT_FALSE(ring.writer.is_broken());
  EXPECT_EQ(ring.receive(1), "0");
  EXPECT_EQ(ring.write("xy"), 1u);
}

TEST(Ring, a_write_that_does_not_fit_is_taken_in_part) {
  TestRing ring;
  ring.send("0123456789");
  EXPECT_EQ(ring.write("abcdefgh"), 6u);
  ring.writer.publish();
  EXPECT_EQ(ring.receive(), "0123456789abcdef");
}

TEST(Ring, bytes_go_round_the_end) {
  TestRing ring;
  std::string sent;
  std::string received;
  for (int i = 0; i < 100; i++) {
    std::string text(static_cast<std::size_t>(i % 13), static_cast<char>('a' + i % 26));
    ring.send(text);
    sent += text;
    received += ring.receive();
  }
  EXPECT_EQ(received, sent);
}

TEST(Ring, what_was_read_in_part_is_still_there) {
  TestRing ring;
  ring.send("teacup");
  EXPECT_EQ(ring.receive(3), "tea");
  EXPECT_TRUE(ring.reader.peek());
  ring.reader.begin_sleep();
  EXPECT_FALSE(ring.reader.may_sleep());
  ring.reader.end_sleep();
  EXPECT_EQ(ring.receive(), "cup");
}

TEST(Ring, a_sleeping_reader_is_rung_once) {
  TestRing ring;
  ring.send("a");
  EXPECT_FALSE(ring.writer.must_ring());
  EXPECT_EQ(ring.receive(), "a");
  ring.reader.begin_sleep();
  ring.reader.fence();
  EXPECT_TRUE(ring.reader.may_sleep());
  ring.send("b");
  EXPECT_TRUE(ring.writer.reader_sleeps());
  EXPECT_TRUE(ring.writer.must_ring());
  ring.send("c");
  EXPECT_FALSE(ring.writer.must_ring());
  ring.reader.end_sleep();
  EXPECT_EQ(ring.receive(), "bc");
}

TEST(Ring, a_reader_that_finds_something_at_the_last_look_stays_awake) {
  TestRing ring;
  ring.reader.begin_sleep();
  ring.send("a");
  ring.reader.fence();
  EXPECT_FALSE(ring.reader.may_sleep());
}

TEST(Ring, a_writer_that_waits_is_rung_when_half_is_free) {
  TestRing ring;
  ring.send("0123456789abcdef");
  ring.writer.wait_for_room();
  EXPECT_FALSE(ring.writer.peek_room());
  EXPECT_EQ(ring.receive(7), "0123456");
  EXPECT_FALSE(ring.reader.must_ring_writer());
  EXPECT_FALSE(ring.writer.has_room());
  EXPECT_EQ(ring.receive(1), "7");
  EXPECT_TRUE(ring.reader.must_ring_writer());
  EXPECT_FALSE(ring.reader.must_ring_writer());
  EXPECT_TRUE(ring.writer.peek_room());
  EXPECT_TRUE(ring.writer.has_room());
}

TEST(Ring, a_writer_that_found_room_by_itself_is_not_rung) {
  TestRing ring;
  ring.send("0123456789abcdef");
  ring.writer.wait_for_room();
  ring.receive();
  EXPECT_TRUE(ring.writer.has_room());
  EXPECT_FALSE(ring.reader.must_ring_writer());
}

// --- A hostile other side --------------------------------------------------------------------------------------------

TEST(Ring, a_head_further_than_the_ring_is_long_breaks_the_reader) {
  TestRing ring;
  for (std::uint64_t head : {std::uint64_t{17}, std::uint64_t{1} << 40, UINT64_MAX}) {
    RingReader<> reader(ring.words, ring.data.data(), 16);
    ring.words.head = head;
    EXPECT_TRUE(reader.peek());
    EXPECT_EQ(reader.look(), 0u);
    EXPECT_TRUE(reader.is_broken());
  }
}

TEST(Ring, a_head_that_goes_back_breaks_the_reader) {
  TestRing ring;
  ring.send("teacup");
  EXPECT_EQ(ring.receive(3), "tea");
  for (std::uint64_t head : {5, 3, 2, 0}) {
    ring.words.head = 6;
    RingReader<> reader = ring.reader;
    EXPECT_EQ(reader.look(), 3u);
    ring.words.head = head;
    EXPECT_EQ(reader.look(), 0u) << head;
    EXPECT_TRUE(reader.is_broken()) << head;
  }
}

TEST(Ring, a_tail_beyond_what_was_written_breaks_the_writer) {
  TestRing ring;
  ring.send("0123456789abcdef");
  for (std::uint64_t tail : {std::uint64_t{17}, std::uint64_t{1} << 63, UINT64_MAX}) {
    RingWriter<> writer = ring.writer;
    ring.words.tail = tail;
    iovec vector{const_cast<char*>("x"), 1};
    EXPECT_EQ(writer.write(&vector, 1), 0u);
    EXPECT_TRUE(writer.is_broken());
    EXPECT_TRUE(writer.has_room()) << "a broken ring is not waited for";
  }
}

TEST(Ring, a_tail_that_goes_back_breaks_the_writer) {
  TestRing ring;
  ring.send("0123456789abcdef");
  ring.receive(8);
  EXPECT_EQ(ring.write("01234567"), 8u);
  ring.words.tail = 7;
  EXPECT_EQ(ring.write("x"), 0u);
  EXPECT_TRUE(ring.writer.is_broken());
}

TEST(Ring, a_broken_side_stays_broken) {
  TestRing ring;
  ring.words.head = 1000;
  EXPECT_EQ(ring.reader.look(), 0u);
  ring.words.head = 0;
  EXPECT_EQ(ring.reader.look(), 0u);
  EXPECT_TRUE(ring.reader.is_broken());
}

TEST(Ring, what_the_peer_scribbles_over_our_own_index_is_not_believed) {
  TestRing ring;
  ring.send("tea");
  ring.words.head = 9;  // The reader's view is its own trouble; the writer goes on from its own.
  ring.writer.publish();
  EXPECT_EQ(ring.receive(), "tea");
  ring.words.tail = 1;
  ring.reader.release();
  ring.send("cup");
  EXPECT_EQ(ring.receive(), "cup");
}

TEST(Ring, flags_may_hold_anything) {
  TestRing ring;
  ring.words.reader_sleeps = 0xdeadbeef;
  ring.send("a");
  EXPECT_TRUE(ring.writer.must_ring());
  EXPECT_FALSE(ring.writer.must_ring());
  ring.words.writer_waits = 0xdeadbeef;
  EXPECT_EQ(ring.receive(), "a");
  EXPECT_TRUE(ring.reader.must_ring_writer());
  EXPECT_FALSE(ring.reader.must_ring_writer());
}

// --- Two threads -----------------------------------------------------------------------------------------------------

TEST(Ring, two_threads_hand_over_every_byte_and_nobody_sleeps_for_ever) {
  // Goal: claims 1 to 3 of ring.h, on this machine. Method: a ring of 64 bytes, writes and reads of all sizes, a doorbell
  // for each side that is listened to only after going to sleep by the protocol.
  constexpr std::size_t total = 1 << 20;
  constexpr std::size_t size = 64;
  auto ring = std::make_unique<TestRing<size>>();
  std::counting_semaphore<> reader_bell{0};
  std::counting_semaphore<> writer_bell{0};
  auto byte_at = [](std::size_t at) { return static_cast<char>(at * 7 + (at >> 8)); };

  std::thread writer([&] {
    SeededRandom random(1);
    std::array<char, 2 * size> text{};
    for (std::size_t sent = 0; sent < total;) {
      std::size_t wanted = std::min<std::size_t>(random.below(text.size()) + 1, total - sent);
      for (std::size_t i = 0; i < wanted; i++) text[i] = byte_at(sent + i);
      iovec vector{text.data(), wanted};
      std::size_t taken = ring->writer.write(&vector, 1);
      sent += taken;
      if (taken > 0) {
        ring->writer.publish();
        if (ring->writer.must_ring()) reader_bell.release();
      }
      if (taken < wanted) {
        ring->writer.wait_for_room();
        while (!ring->writer.peek_room()) {
          writer_bell.acquire();
          if (!ring->writer.peek_room()) ring->writer.wait_for_room();
        }
        EXPECT_TRUE(ring->writer.has_room());
      }
    }
  });

  SeededRandom random(2);
  std::size_t got = 0;
  std::size_t wrong = 0;
  std::array<char, size> text{};
  while (got < total) {
    std::size_t there = ring->reader.look();
    ASSERT_FALSE(ring->reader.is_broken());
    if (there == 0) {
      ring->reader.begin_sleep();
      ring->reader.fence();
      if (ring->reader.must_ring_writer()) writer_bell.release();
      if (ring->reader.may_sleep()) reader_bell.acquire();
      ring->reader.end_sleep();
      continue;
    }
    std::size_t taken = random.below(there) + 1;
    ring->reader.read(text.data(), taken);
    ring->reader.release();
    if (ring->reader.must_ring_writer()) writer_bell.release();
    for (std::size_t i = 0; i < taken; i++) wrong += text[i] != byte_at(got + i) ? 1 : 0;
    got += taken;
  }
  writer.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace shunt::link
