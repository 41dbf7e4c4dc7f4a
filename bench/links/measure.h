#pragma once
// What every program of ./dev bench links shares: a clock that costs a few nanoseconds, a histogram, CPU time of both sides,
// pinning, the child process that plays the callee, and the line of JSON at the end. Knows nothing of what is measured.
//
// Every program takes the same arguments, and measures one row:
//
//   PROGRAM VARIANT BYTES IN_FLIGHT SECONDS awake|asleep split|one [PAUSE]
//
// split: the caller on core 0, the callee on core 1; one: both on core 0. awake: who waits spins; asleep: it blocks. PAUSE:
// so many µs between two calls, so that the callee sleeps deeply when the next one comes (the raw doorbells alone know it).

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// A counter that runs evenly, on all cores alike.
inline std::uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  std::uint64_t now = 0;
  asm volatile("mrs %0, cntvct_el0" : "=r"(now));
  return now;
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Measured against the steady clock once, for 10 ms.
inline double ticks_per_us() {
  static const double rate = [] {
    using Clock = std::chrono::steady_clock;
    auto began = Clock::now();
    std::uint64_t first = ticks();
    while (Clock::now() - began < std::chrono::milliseconds(10)) {
    }
    std::uint64_t last = ticks();
    return static_cast<double>(last - first) / std::chrono::duration<double, std::micro>(Clock::now() - began).count();
  }();
  return rate;
}

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

/// Counts by size: 64 steps to each doubling, so a quantile is right to 1.6 %.
class Histogram {
 public:
  void add(std::uint64_t value) { counts_[slot(value)]++; }
  void clear() { counts_.fill(0); }
  [[nodiscard]] double quantile(double share) const {
    std::uint64_t all = 0;
    for (auto count : counts_) all += count;
    auto rank = static_cast<std::uint64_t>(share * static_cast<double>(all));
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] > rank) return middle(i);
      rank -= counts_[i];
    }
    return 0;
  }

 private:
  static constexpr unsigned step_bits = 6;
  static std::size_t slot(std::uint64_t value) {
    if (value < (2u << step_bits)) return static_cast<std::size_t>(value);
    auto shift = 63 - static_cast<unsigned>(__builtin_clzll(value)) - step_bits;
    return (std::size_t{shift} << step_bits) + static_cast<std::size_t>(value >> shift);
  }
  static double middle(std::size_t slot) {
    if (slot < (2u << step_bits)) return static_cast<double>(slot);
    auto shift = (slot >> step_bits) - 1;
    auto low = static_cast<double>(((slot & ((1u << step_bits) - 1)) + (1u << step_bits)) << shift);
    return low + static_cast<double>(std::uint64_t{1} << shift) / 2;
  }
  std::array<std::uint32_t, (64 - step_bits + 1) << step_bits> counts_{};
};

/// CPU seconds by a process's or a thread's own clock.
inline double cpu_seconds(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
inline clockid_t cpu_clock_of(pid_t process) {
  clockid_t clock = CLOCK_MONOTONIC;
  clock_getcpuclockid(process, &clock);
  return clock;
}

/// This thread, and those that it starts, on that core; a no-op where there is no such core.
inline void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  (void)sched_setaffinity(0, sizeof set, &set);
}

struct Ask {
  std::string variant;
  std::size_t bytes = 64;
  std::size_t in_flight = 1;
  double seconds = 0.3;
  bool is_awake = false;
  bool is_one_core = false;
  unsigned pause_us = 0;
};

[[noreturn]] inline void give_up(std::string_view why) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(why.size()), why.data());
  std::_Exit(1);
}

inline Ask ask_of(int argc, char** argv) {
  if (argc < 7) give_up("PROGRAM VARIANT BYTES IN_FLIGHT SECONDS awake|asleep split|one");
  return {.variant = argv[1],
          .bytes = std::strtoull(argv[2], nullptr, 10),
          .in_flight = std::strtoull(argv[3], nullptr, 10),
          .seconds = std::strtod(argv[4], nullptr),
          .is_awake = std::string_view(argv[5]) == "awake",
          .is_one_core = std::string_view(argv[6]) == "one",
          .pause_us = argc > 7 ? static_cast<unsigned>(std::strtoul(argv[7], nullptr, 10)) : 0};
}

/// Which clocks count: of the caller, of the callee if it has one of its own, and of whoever stands between them.
struct CpuClocks {
  clockid_t caller = CLOCK_PROCESS_CPUTIME_ID;
  std::vector<clockid_t> callee;
};

/// Takes the time of each call: warms up for a fifth, then counts until the time is over.
class Meter {
 public:
  Meter(double seconds, CpuClocks clocks) : seconds_(seconds), clocks_(std::move(clocks)) {
    next_ = ticks() + span(seconds / 5);
  }

  [[nodiscard]] bool over() const { return is_over_; }
  void answered(std::uint64_t began, std::uint64_t now) {
    histogram_.add(now - began);
    calls_++;
    if (now >= next_) turn(now);
  }
  void answered(std::uint64_t began) { answered(began, ticks()); }

  /// The row, as one line of JSON.
  [[nodiscard]] std::string json() const {
    double us = static_cast<double>(ended_ - began_) / ticks_per_us();
    auto calls = static_cast<double>(std::max<std::uint64_t>(1, calls_));
    char text[512];
    int size =
        std::snprintf(text, sizeof text,
                      R"({"calls": %llu, "p50_us": %.4f, "p99_us": %.4f, "calls_per_s": %.1f, "caller_cpu_us": %.4f)",
                      static_cast<unsigned long long>(calls_), histogram_.quantile(0.50) / ticks_per_us(),
                      histogram_.quantile(0.99) / ticks_per_us(), calls / us * 1e6, caller_cpu_ * 1e6 / calls);
    std::string line(text, static_cast<std::size_t>(size));
    if (!clocks_.callee.empty()) {
      size = std::snprintf(text, sizeof text, R"(, "callee_cpu_us": %.4f)", callee_cpu_ * 1e6 / calls);
      line.append(text, static_cast<std::size_t>(size));
    }
    return line + "}";
  }
  void print() const {
    std::puts(json().c_str());
    std::fflush(stdout);
  }

 private:
  static std::uint64_t span(double seconds) { return static_cast<std::uint64_t>(seconds * 1e6 * ticks_per_us()); }
  double callee_now() const {
    double all = 0;
    for (auto clock : clocks_.callee) all += cpu_seconds(clock);
    return all;
  }
  void turn(std::uint64_t now) {
    if (is_over_) return;
    if (began_ == 0) {
      histogram_.clear();
      calls_ = 0;
      caller_cpu_ = cpu_seconds(clocks_.caller);
      callee_cpu_ = callee_now();
      began_ = ticks();
      next_ = began_ + span(seconds_);
      return;
    }
    ended_ = now;
    is_over_ = true;
    caller_cpu_ = cpu_seconds(clocks_.caller) - caller_cpu_;
    callee_cpu_ = callee_now() - callee_cpu_;
  }

  double seconds_;
  CpuClocks clocks_;
  Histogram histogram_;
  std::uint64_t calls_ = 0;
  std::uint64_t began_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t next_ = 0;
  double caller_cpu_ = 0;
  double callee_cpu_ = 0;
  bool is_over_ = false;
};

/// When each call in flight began, where answers come in the order of the calls.
class Window {
 public:
  explicit Window(std::size_t size) : began_(size) {}
  [[nodiscard]] bool has_room() const { return open_ < began_.size(); }
  [[nodiscard]] std::size_t open() const { return open_; }
  void begin(std::uint64_t now) {
    began_[(first_ + open_) % began_.size()] = now;
    open_++;
  }
  std::uint64_t end() {
    auto began = began_[first_];
    first_ = (first_ + 1) % began_.size();
    open_--;
    return began;
  }

 private:
  std::vector<std::uint64_t> began_;
  std::size_t first_ = 0;
  std::size_t open_ = 0;
};

/// The callee: a child process on its core, which says one line when it is ready. Made before any thread is; killed at the end.
class Callee {
 public:
  /// `serve` gets a function that says "ready TEXT" and runs until it is killed.
  template <typename Serve>
  Callee(const Ask& ask, Serve serve) {
    int ends[2];
    if (pipe(ends) != 0) give_up("no pipe");
    std::fflush(stdout);
    child_ = fork();
    if (child_ < 0) give_up("no child process");
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(ends[0]);
      pin(ask.is_one_core ? 0 : 1);
      serve([&](std::string_view text) {
        std::string line = std::string(text) + "\n";
        if (write(ends[1], line.data(), line.size()) < 0) std::_Exit(1);
        close(ends[1]);
      });
      std::_Exit(0);
    }
    close(ends[1]);
    char byte = 0;
    bool whole = false;
    while (!whole && read(ends[0], &byte, 1) == 1) {
      if (byte == '\n') {
        whole = true;
      } else {
        said_ += byte;
      }
    }
    close(ends[0]);
    if (!whole) give_up("the callee ended before it was ready");
    pin(0);
  }
  Callee(const Callee&) = delete;
  Callee& operator=(const Callee&) = delete;
  ~Callee() { end(SIGKILL); }
  void end(int signal) {
    if (child_ <= 0) return;
    kill(child_, signal);
    waitpid(child_, nullptr, 0);
    child_ = -1;
  }
  [[nodiscard]] const std::string& said() const { return said_; }
  [[nodiscard]] pid_t pid() const { return child_; }
  [[nodiscard]] CpuClocks clocks() const { return {.callee = {cpu_clock_of(child_)}}; }

 private:
  pid_t child_ = -1;
  std::string said_;
};

}  // namespace bench
