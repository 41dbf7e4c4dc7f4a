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

std::size_t CommandStats::bucket_of(Duration took) {
  static_assert(bounds_ns[0] == first_bound_ns);
  std::size_t bucket = 0;
  while (bucket < bounds_ns.size() && took.count() > bounds_ns[bucket]) bucket++;
  return bucket;
}

void CommandStats::merge(std::size_t loop_index, Code code, std::uint64_t calls, std::uint64_t latency_ns,
                         std::span<const std::uint64_t> latency) {
  Shard& to = shard(loop_index);
  add(loop_index, to.started, calls);
  add(loop_index, to.ended[static_cast<std::size_t>(code) % code_count], calls);
  add(loop_index, to.latency_ns_sum, latency_ns);
  for (std::size_t i = 0; i < latency.size() && i < to.latency.size(); i++) add(loop_index, to.latency[i], latency[i]);
}

}  // namespace shunt::call
