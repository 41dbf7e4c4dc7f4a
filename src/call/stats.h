#pragma once
// What is counted of each service and command: any loop adds, `shunt ps` and /metrics read. Relaxed atomics: totals, no order.

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/time.h"

namespace shunt::call {

/// Upper bounds of the latency histogram, in seconds as /metrics shows them; the last bucket is the rest.
inline constexpr std::array<double, 14> latency_bounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                          0.025,  0.05,    0.1,    0.25,  0.5,    1,     5};

struct CommandStats {
  std::atomic<std::uint64_t> started{0};
  std::array<std::atomic<std::uint64_t>, code_count> ended{};  ///< By status code.
  std::array<std::atomic<std::uint64_t>, latency_bounds.size() + 1> latency{};
  std::atomic<std::uint64_t> latency_ns_sum{0};

  void count_end(Code code, Duration took);
};

/// Made once for each service and kept over reloads.
struct ServiceStats {
  std::map<std::string, std::unique_ptr<CommandStats>, std::less<>> commands;  ///< Fixed when the service is loaded.
  CommandStats other;  ///< Commands that nobody declared.
  std::atomic<std::uint64_t> retries{0};

  CommandStats& of(std::string_view command) {
    auto found = commands.find(command);
    return found == commands.end() ? other : *found->second;
  }
};

}  // namespace shunt::call
