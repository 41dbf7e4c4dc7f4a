#pragma once
// What was measured of each path that calls take: from a caller to one instance of a callee, at a distance. `shunt explain`
// and /metrics read it. The kernel records every call that it places; a worker that calls another directly counts for
// itself with the same classes, and reports what it counted (PathCounts on the wire, PathStats::merge here).
//
// Finding a path takes a lock and compares names, so it is done once for a loop, a caller and an instance; the call carries
// the PathShard it came to, and recording is two or three plain additions.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "base/time.h"
#include "call/distance.h"
#include "call/instance.h"
#include "call/principal.h"

namespace shunt::call {

/// Buckets of a latency histogram: eight for each doubling from 16 ns to 137 s, one for all below and one for all above.
/// What is told of a bucket is within 6 % of what fell into it.
namespace latency {
inline constexpr std::size_t per_octave = 8;
inline constexpr unsigned first_octave = 4;   // 16 ns
inline constexpr unsigned octave_count = 33;  // up to 2^37 ns, 137 s
inline constexpr std::size_t bucket_count = 2 + octave_count * per_octave;

constexpr std::size_t bucket_of(std::int64_t ns) {
  if (ns < (std::int64_t{1} << first_octave)) return 0;
  const auto value = static_cast<std::uint64_t>(ns);
  const auto octave = static_cast<unsigned>(std::bit_width(value)) - 1;
  if (octave >= first_octave + octave_count) return bucket_count - 1;
  return 1 + (octave - first_octave) * per_octave + ((value >> (octave - 3)) & (per_octave - 1));
}
/// The least that falls into it.
constexpr std::int64_t lower_ns(std::size_t bucket) {
  if (bucket == 0) return 0;
  const std::size_t octave = first_octave + (bucket - 1) / per_octave;
  const std::size_t step = (bucket - 1) % per_octave;
  return static_cast<std::int64_t>((std::uint64_t{per_octave} + step) << (octave - 3));
}
/// What stands for all that fell into it: as far from its least as from its greatest, in proportion.
constexpr std::int64_t middle_ns(std::size_t bucket) {
  if (bucket == 0) return 8;
  if (bucket == bucket_count - 1) return lower_ns(bucket);
  const auto low = static_cast<double>(lower_ns(bucket));
  const auto high = static_cast<double>(lower_ns(bucket + 1));
  return static_cast<std::int64_t>(2 * low * high / (low + high));
}
}  // namespace latency

/// What was counted of a path: a copy, for reading and for telling others.
struct PathCounts {
  std::uint64_t calls = 0;   ///< That have ended.
  std::uint64_t errors = 0;  ///< Of them, those that did not end as ok.
  std::array<std::uint64_t, latency::bucket_count> buckets{};

  /// How many calls were timed; may be less than `calls` where not each one is.
  [[nodiscard]] std::uint64_t timed() const;
  /// The latency that the share `quantile` (0 to 1) of the timed calls did not exceed; zero when none was timed.
  [[nodiscard]] Duration at(double quantile) const;
  /// Of all that were timed together, to within the buckets' error.
  [[nodiscard]] double seconds() const;

  PathCounts& operator+=(const PathCounts& other);
  /// What was added since `earlier`, which was read from the same counters.
  [[nodiscard]] PathCounts since(const PathCounts& earlier) const;

  /// A compact form for the wire: only buckets that are not empty. decode() takes what encode() made, from anybody.
  [[nodiscard]] std::string encode() const;
  /// Errors: invalid_argument when it is not whole, or names buckets that are not there.
  static Result<PathCounts> decode(std::string_view text);
};

/// Where one loop counts one path. Stays where it is as long as its PathStats does.
/// Threads: one writer, the loop it was made for (the shared one: any); anybody reads.
class alignas(64) PathShard {
 public:
  explicit PathShard(bool is_shared) : is_shared_(is_shared) {}

  /// A call has ended, and took that long.
  void record(Duration took, bool ok) {
    count(ok);
    time(took);
  }
  /// A call has ended, and was not timed.
  void count(bool ok) {
    add(calls_, 1);
    if (!ok) [[unlikely]]
      add(errors_, 1);
  }
  /// It took that long; it stands for `calls` that were counted, of which only this one was timed.
  void time(Duration took, std::uint64_t calls = 1) { add(buckets_[latency::bucket_of(took.count())], calls); }

  void add_to(PathCounts& sum) const;
  void merge(const PathCounts& counts);

 private:
  using Counter = std::atomic<std::uint64_t>;
  void add(Counter& counter, std::uint64_t by) {
    if (is_shared_) [[unlikely]] {
      counter.fetch_add(by, std::memory_order_relaxed);
    } else {
      counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }
  }
  const bool is_shared_;
  Counter calls_{0};
  Counter errors_{0};
  std::array<Counter, latency::bucket_count> buckets_{};
};

/// One path, as it is named.
struct PathKey {
  std::string caller;    ///< A service's full name, or what path_caller() says.
  std::string callee;    ///< A service's full name.
  std::string instance;  ///< path_instance() of its name.
  Distance distance = Distance::local;
  friend auto operator<=>(const PathKey&, const PathKey&) = default;
};

struct PathReport {
  PathKey key;
  PathCounts counts;
};

/// How a caller is named in paths: the service's full name, "gateway", "operator", "node", or "nobody".
std::string_view path_caller(const Principal* principal);
/// An instance's name without the process that is behind it now: "cart#3" of "cart#3 (pid 812)". So what a worker's place
/// has measured survives the worker, and restarts don't use up names.
std::string_view path_instance(std::string_view name);

/// All paths of a process. Bounded: beyond `paths_max` each distance has one path of the names "other".
/// Threads: any. One mutex, for finding and reading; recording takes none. Lifetime: outlives every shard() it gave.
/// Owners:  as a shared_ptr, of the node's house and of routing snapshots.
class PathStats {
 public:
  static constexpr std::size_t paths_max_default = 2048;
  static constexpr std::size_t callers_max = 1024;

  /// Each of `loops` loops counts where nobody else writes; loops beyond them share a place.
  explicit PathStats(std::size_t loops = 0, std::size_t paths_max = paths_max_default);
  ~PathStats();

  /// A caller's name, kept for as long as this is: what a call carries until it knows its instance.
  const std::string* caller(std::string_view name);
  /// Where that loop counts that path. Never fails.
  PathShard& shard(std::string_view caller, std::string_view callee, std::string_view instance, Distance distance,
                   std::size_t loop_index);
  /// Adds what another process has counted since it last told.
  void merge(const PathKey& key, const PathCounts& counts);

  /// Every path, in the order of its key.
  [[nodiscard]] std::vector<PathReport> report() const;
  /// Those from one caller to one callee; an empty word means any.
  [[nodiscard]] std::vector<PathReport> report(std::string_view caller, std::string_view callee) const;

 private:
  struct Path;
  Path& path(PathKey key);
  PathShard& shard_of(Path& path, std::size_t slot);

  const std::size_t loops_;
  const std::size_t paths_max_;
  mutable std::mutex mutex_;
  // GUARDED_BY(mutex_) from here on; the counters in a shard are not.
  std::map<PathKey, Own<Path>> paths_;
  std::set<std::string, std::less<>> callers_;
};

/// What a loop found before, by the addresses of caller and instance: a few nanoseconds instead of a lock. Forgets
/// everything with each new routing, so that an address that was used again means nothing old.
/// Threads: one loop's.
class PathCache {
 public:
  /// `caller` is what PathStats::caller() gave.
  PathShard& find(PathStats& stats, const std::string* caller, std::string_view callee, const Instance& instance,
                  std::size_t loop_index) {
    Entry& entry = entries_[index(caller, &instance)];
    const Distance distance = instance.distance();  // It may change: a link to a worker that was made later is nearer.
    if (entry.instance == &instance && entry.caller == caller && entry.distance == distance) return *entry.shard;
    return look_up(entry, stats, caller, callee, instance, distance, loop_index);
  }
  void clear() { entries_ = {}; }

 private:
  struct Entry {
    const Instance* instance = nullptr;
    const std::string* caller = nullptr;
    PathShard* shard = nullptr;
    Distance distance = Distance::local;
  };
  static constexpr std::size_t size = 256;
  static std::size_t index(const void* caller, const void* instance) {
    const auto mixed =
        (reinterpret_cast<std::uintptr_t>(caller) >> 4) * 31 + (reinterpret_cast<std::uintptr_t>(instance) >> 4);
    return (mixed ^ (mixed >> 8)) % size;
  }
  static PathShard& look_up(Entry& entry, PathStats& stats, const std::string* caller, std::string_view callee,
                            const Instance& instance, Distance distance, std::size_t loop_index);
  std::array<Entry, size> entries_{};
};

}  // namespace shunt::call
