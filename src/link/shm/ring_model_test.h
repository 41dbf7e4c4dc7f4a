#pragma once
// A model checker for ring.h: runs a reader and a writer in every order of their steps (up to a number of forced switches),
// and lets each load see every value that the memory model of C++ permits, not only the newest.
//
// The model is the operational one of release, acquire, relaxed and fences, by views (J. Kang et al., "A Promising Semantics
// for Relaxed-Memory Concurrency", POPL 2017, without promises: no step runs before one that it depends on). A word is the
// list of all that was ever stored to it; a thread knows, for each word, the oldest entry that it may still read. Bytes of
// the ring are no atomics: two accesses of one byte that no chain of release and acquire orders are a race, and found.
//
// An execution is a list of choices. Explorer runs the program again and again, each time with the next list, depth first.

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace shunt::link::model {

inline constexpr int threads = 2;

/// What a thread, or a stored value, knows.
struct View {
  std::array<double, 8> seen{};                ///< By word: the place in its order that was seen last.
  std::array<std::uint32_t, threads> clock{};  ///< What has happened before: steps of each thread.
  void join_seen(const View& other) {
    for (std::size_t i = 0; i < seen.size(); i++) seen[i] = std::max(seen[i], other.seen[i]);
  }
  void join(const View& other) {
    join_seen(other);
    for (std::size_t i = 0; i < clock.size(); i++) clock[i] = std::max(clock[i], other.clock[i]);
  }
};

/// One value that was stored to a word.
struct Stored {
  double place = 0;  ///< In the word's order.
  std::uint64_t value = 0;
  View view;
  bool is_taken = false;  ///< By an exchange: nothing comes between the two.
};

struct Thread {
  View now;
  View pending;   ///< What a fence would acquire.
  View released;  ///< What the last fence released.
  ucontext_t context{};
  std::vector<char> stack;
  std::function<void()> body;
  bool has_ended = false;
  bool sleeps = false;
  bool is_rung = false;  ///< A bell that was rung before its sleep is heard too.
};

/// One exploration. Threads: one.
class Explorer {
 public:
  struct Limits {
    int switches_max = 3;  ///< Of threads that could have gone on.
    int steps_max = 400;   ///< Of one execution: beyond it, it does not end.
    std::uint64_t runs_max = 5'000'000;
  };
  /// `program` gives the bodies of the threads, for one execution.
  using Program = std::function<std::array<std::function<void()>, threads>()>;

  /// What is wrong, or empty: a race, a thread that sleeps for ever, or what fail() was told.
  std::string explore(const Program& program, Limits limits);
  [[nodiscard]] std::uint64_t runs() const { return runs_; }

  // --- For the program ---
  std::size_t add_word();
  std::uint64_t load(std::size_t word, std::memory_order order);
  void store(std::size_t word, std::uint64_t value, std::memory_order order);
  std::uint64_t exchange(std::size_t word, std::uint64_t value);
  void fence();
  /// A plain access to a byte of the ring.
  void touch(const void* byte, bool writes);
  void ring(int thread);
  void sleep();
  void fail(std::string what);

 private:
  struct Touched {
    std::array<std::uint32_t, threads> wrote{};
    std::array<std::uint32_t, threads> read{};
  };
  struct Choice {
    std::uint32_t taken;
    std::uint32_t of;
  };
  void run_once(const Program& program);
  std::uint32_t choose(std::size_t of);
  void step();
  void pause();
  [[nodiscard]] bool can_run(int thread) const { return !threads_[thread].has_ended && !threads_[thread].sleeps; }
  static void enter();

  Limits limits_;
  std::vector<Choice> choices_;
  std::size_t next_choice_ = 0;
  std::uint64_t runs_ = 0;

  // Of one execution.
  std::vector<std::vector<Stored>> words_;
  std::vector<std::pair<const void*, Touched>> bytes_;
  std::array<Thread, threads> threads_;
  View fences_;  ///< What sequentially consistent fences have seen.
  ucontext_t main_{};
  int current_ = 0;
  bool is_inside_ = false;  ///< A thread of the program runs.
  int switches_ = 0;
  int steps_ = 0;
  std::string wrong_;
};

/// The exploration that runs now: words are made, and used, inside it.
inline Explorer* explorer = nullptr;

}  // namespace shunt::link::model
