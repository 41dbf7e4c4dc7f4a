#include "call/stats.h"

namespace shunt::call {

namespace {

constexpr auto bounds_ns = [] {
  std::array<std::int64_t, latency_bounds.size()> bounds{};
  // NOLINTNEXTLINE(bugprone-incorrect-roundings): at compile time, where lround is not to be had.
  for (std::size_t i = 0; i < bounds.size(); i++) bounds[i] = static_cast<std::int64_t>(latency_bounds[i] * 1e9 + 0.5);
  return bounds;
}();

}  // namespace

void CommandStats::count_end(std::size_t loop_index, Code code, Duration took) {
  Shard& to = shard(loop_index);
  add(loop_index, to.ended[static_cast<std::size_t>(code) % code_count], 1);
  add(loop_index, to.latency_ns_sum, static_cast<std::uint64_t>(took.count()));
  std::size_t bucket = 0;
  while (bucket < bounds_ns.size() && took.count() > bounds_ns[bucket]) bucket++;
  add(loop_index, to.latency[bucket], 1);
}

}  // namespace shunt::call
