#pragma once
// What is counted of each service and command: any loop adds, `shunt ps` and /metrics read. Relaxed atomics: totals, no order.

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "base/time.h"

namespace shunt::call {

/// Upper bounds of the latency histogram, in seconds as /metrics shows them; the last bucket is the rest.
inline constexpr std::array<double, 14> latency_bounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                          0.025,  0.05,    0.1,    0.25,  0.5,    1,     5};

/// Threads: start() and count_end() are for the loop that they name; the totals are for anybody.
class CommandStats {
 public:
  /// Each of `loops` loops counts where nobody else writes, without a locked instruction. Loops beyond them share a place.
  explicit CommandStats(std::size_t loops = 0) : loops_(loops), shards_(std::make_unique<Shard[]>(loops + 1)) {}

  void start(std::size_t loop_index) { add(loop_index, shard(loop_index).started, 1); }
  void count_end(std::size_t loop_index, Code code, Duration took) {
    count_code(loop_index, code);
    count_time(loop_index, took, 1);
  }
  /// The two halves of it: a call has ended; one was timed, and stands for `calls` that ended.
  void count_code(std::size_t loop_index, Code code) {
    add(loop_index, shard(loop_index).ended[static_cast<std::size_t>(code) % code_count], 1);
  }
  void count_time(std::size_t loop_index, Duration took, std::uint64_t calls) {
    Shard& to = shard(loop_index);
    add(loop_index, to.latency_ns_sum, static_cast<std::uint64_t>(took.count()) * calls);
    // Most calls are of the first bucket.
    add(loop_index, to.latency[took.count() <= first_bound_ns ? 0 : bucket_of(took)], calls);
  }
  /// Adds calls that were started and have ended elsewhere; `latency` by bucket.
  void merge(std::size_t loop_index, Code code, std::uint64_t calls, std::uint64_t latency_ns,
             std::span<const std::uint64_t> latency);

  [[nodiscard]] std::uint64_t started() const {
    return sum([](const Shard& one) { return one.started.load(std::memory_order_relaxed); });
  }
  [[nodiscard]] std::uint64_t ended(Code code) const {
    return sum(
        [code](const Shard& one) { return one.ended[static_cast<std::size_t>(code)].load(std::memory_order_relaxed); });
  }
  /// Of one bucket; the last is the rest.
  [[nodiscard]] std::uint64_t latency(std::size_t bucket) const {
    return sum([bucket](const Shard& one) { return one.latency[bucket].load(std::memory_order_relaxed); });
  }
  [[nodiscard]] std::uint64_t latency_ns_sum() const {
    return sum([](const Shard& one) { return one.latency_ns_sum.load(std::memory_order_relaxed); });
  }

 private:
  using Counter = std::atomic<std::uint64_t>;
  static constexpr std::int64_t first_bound_ns = 100'000;
  static std::size_t bucket_of(Duration took);
  struct alignas(64) Shard {
    Counter started{0};
    Counter latency_ns_sum{0};
    std::array<Counter, code_count> ended{};
    std::array<Counter, latency_bounds.size() + 1> latency{};
  };
  Shard& shard(std::size_t loop_index) { return shards_[loop_index < loops_ ? loop_index : loops_]; }
  void add(std::size_t loop_index, Counter& counter, std::uint64_t by) {
    if (loop_index < loops_) {
      counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    } else {
      counter.fetch_add(by, std::memory_order_relaxed);
    }
  }
  template <typename Read>
  [[nodiscard]] std::uint64_t sum(Read read) const {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i <= loops_; i++) total += read(shards_[i]);
    return total;
  }

  std::size_t loops_;
  std::unique_ptr<Shard[]> shards_;
};

/// Made once for each service and kept over reloads.
struct ServiceStats {
  /// Fixed when the service is loaded. Owners of each: the ServiceStats of the versions of a service, which count on.
  std::map<std::string, std::shared_ptr<CommandStats>, std::less<>> commands;
  CommandStats other;  ///< Commands that nobody declared.
  std::atomic<std::uint64_t> retries{0};

  CommandStats& of(std::string_view command) {
    auto found = commands.find(command);
    return found == commands.end() ? other : *found->second;
  }
};

}  // namespace shunt::call
