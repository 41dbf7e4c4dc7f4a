// ring.h in every order that the memory model permits: nothing is lost, nothing is read too early or overwritten too early,
// nobody sleeps for ever. And the checker is worth something: with one order or one fence less, it finds what breaks.
#include "link/shm/ring_model_test.h"

#include <gtest/gtest.h>

#include <memory>
#include <string_view>

#include "link/shm/ring.h"

// The thread sanitizer does not follow the checker's own switching of stacks; there is one thread here anyway.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHUNT_THREAD_SANITIZER 1
#endif
#endif
#ifndef SHUNT_THREAD_SANITIZER

namespace shunt::link {
namespace {

using model::explorer;

// What is changed for the worse, to see that it is found.
enum class Flaw : std::uint8_t { none, no_fences, stores_relaxed, loads_relaxed };

template <Flaw flaw>
struct ModelAtomics {
  template <typename T>
  class Word {
   public:
    Word() : word_(explorer->add_word()) {}
    T load(std::memory_order order) const {
      const bool is_relaxed = flaw == Flaw::loads_relaxed;
      return static_cast<T>(explorer->load(word_, is_relaxed ? std::memory_order_relaxed : order));
    }
    void store(T value, std::memory_order order) {
      const bool is_relaxed = flaw == Flaw::stores_relaxed && order == std::memory_order_release;
      explorer->store(word_, value, is_relaxed ? std::memory_order_relaxed : order);
    }
    T exchange(T value, std::memory_order) { return static_cast<T>(explorer->exchange(word_, value)); }

   private:
    std::size_t word_;
  };
  static void fence() {
    if (flaw != Flaw::no_fences) explorer->fence();
  }
  static void copy_in(char* ring, const char* from, std::size_t size) {
    for (std::size_t i = 0; i < size; i++) {
      explorer->touch(ring + i, true);
      ring[i] = from[i];
    }
  }
  static void copy_out(char* to, const char* ring, std::size_t size) {
    for (std::size_t i = 0; i < size; i++) {
      explorer->touch(ring + i, false);
      to[i] = ring[i];
    }
  }
};

constexpr int writer_thread = 0;
constexpr int reader_thread = 1;

// The steps of RingCarrier, with one ring and what a loop does around it.
template <Flaw flaw>
struct Sides {
  static constexpr std::size_t size = 2;
  std::string_view text;
  RingWords<ModelAtomics<flaw>> words;
  char data[size] = {};

  void write() {
    RingWriter<ModelAtomics<flaw>> ring(words, data, size);
    std::size_t sent = 0;
    while (sent < text.size()) {
      const iovec vector{const_cast<char*>(text.data() + sent), text.size() - sent};
      const std::size_t taken = ring.write(&vector, 1);
      if (ring.is_broken()) explorer->fail("the writer found an impossible index");
      sent += taken;
      if (taken > 0) {
        ring.publish();
        if (ring.must_ring()) explorer->ring(reader_thread);
      }
      if (sent == text.size()) return;
      ring.wait_for_room();
      if (!ring.peek_room()) explorer->sleep();
      while (!ring.has_room()) {
        ring.wait_for_room();
        if (!ring.peek_room()) explorer->sleep();
      }
    }
  }

  void read() {
    RingReader<ModelAtomics<flaw>> ring(words, data, size);
    std::string got;
    while (got.size() < text.size()) {
      const std::size_t there = ring.look();
      if (ring.is_broken()) explorer->fail("the reader found an impossible index");
      if (there > 0) {
        char into[size];
        ring.read(into, there);
        ring.release();
        got.append(into, there);
        if (ring.must_ring_writer()) explorer->ring(writer_thread);
        continue;
      }
      ring.begin_sleep();
      ring.fence();
      if (ring.may_sleep()) {
        if (ring.must_ring_writer()) explorer->ring(writer_thread);
        explorer->sleep();
      }
      ring.end_sleep();
    }
    if (got != text) explorer->fail("what was read is not what was written");
  }
};

template <Flaw flaw>
std::string explore(std::string_view text, int switches, std::uint64_t* runs = nullptr) {
  model::Explorer checker;
  std::shared_ptr<Sides<flaw>> sides;  // Owners: this, for one execution.
  std::string wrong = checker.explore(
      [&]() -> std::array<std::function<void()>, model::threads> {
        sides = std::make_shared<Sides<flaw>>();
        sides->text = text;
        return {[&] { sides->write(); }, [&] { sides->read(); }};
      },
      {.switches_max = switches});
  if (runs != nullptr) *runs = checker.runs();
  return wrong;
}

TEST(RingModel, every_order_of_steps_delivers_what_fits) {
  std::uint64_t runs = 0;
  EXPECT_EQ(explore<Flaw::none>("ab", 6, &runs), "");
  EXPECT_GT(runs, 1000u);
}

TEST(RingModel, every_order_of_steps_delivers_more_than_fits) {
  std::uint64_t runs = 0;
  EXPECT_EQ(explore<Flaw::none>("abc", 3, &runs), "");
  EXPECT_GT(runs, 1000u);
}

TEST(RingModel, without_its_fences_a_wake_up_would_be_lost) {
  EXPECT_EQ(explore<Flaw::no_fences>("a", 3), "a thread sleeps, and nobody will wake it");
}

TEST(RingModel, an_index_without_release_would_show_bytes_that_are_not_there) {
  EXPECT_EQ(explore<Flaw::stores_relaxed>("a", 2), "a byte is read that may not be there yet");
}

TEST(RingModel, loads_without_acquire_would_see_and_overwrite_what_is_in_use) {
  EXPECT_NE(explore<Flaw::loads_relaxed>("abc", 2), "");
}

}  // namespace
}  // namespace shunt::link

#endif
