#include "call/stats.h"

namespace shunt::call {

void CommandStats::count_end(Code code, Duration took) {
  constexpr auto relaxed = std::memory_order_relaxed;
  ended[static_cast<std::size_t>(code) % code_count].fetch_add(1, relaxed);
  latency_ns_sum.fetch_add(static_cast<std::uint64_t>(took.count()), relaxed);
  double seconds = static_cast<double>(took.count()) * 1e-9;
  std::size_t bucket = 0;
  while (bucket < latency_bounds.size() && seconds > latency_bounds[bucket]) bucket++;
  latency[bucket].fetch_add(1, relaxed);
}

}  // namespace shunt::call
