#pragma once
// DirectCounts: what this worker's direct calls came to. No router sees them, so the worker counts, and tells its node once a
// second what has changed; the node adds it to what its routers count.

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/own.h"
#include "base/status.h"
#include "call/path_stats.h"
#include "call/stats.h"
#include "wire/broker_message.h"

namespace shunt::worker {

/// Of one command at one instance.
struct DirectCounter {
  struct Ended {
    std::uint64_t calls = 0;
    std::uint64_t latency_ns_sum = 0;
    std::array<std::uint64_t, call::latency_bounds.size() + 1> latency{};
  };
  void count(Code code, Duration took);

  std::map<Code, Ended> ended;  ///< Not told yet.
  call::PathCounts* path = nullptr;
  bool* dirty = nullptr;
};

/// Threads: one. Counters stay where they are for its life.
class DirectCounts {
 public:
  /// Beyond so many, counters of other names share one: `other`.
  static constexpr std::size_t counters_max = 4096;

  DirectCounter& of(std::string_view service, std::string_view command, std::string_view instance);
  [[nodiscard]] bool has_untold() const { return dirty_; }
  /// What was counted since the last time, in messages that fit.
  std::vector<wire::BrokerMessage> take();

 private:
  using Key = std::tuple<std::string, std::string, std::string>;
  std::map<Key, Own<DirectCounter>> counters_;
  std::map<std::pair<std::string, std::string>, Own<call::PathCounts>> paths_;
  bool dirty_ = false;
};

}  // namespace shunt::worker
