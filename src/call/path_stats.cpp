#include "call/path_stats.h"

#include <algorithm>
#include <utility>

namespace shunt::call {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::string_view other = "other";

void put_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

Result<std::uint64_t> take_varint(std::string_view& from) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (from.empty()) break;
    const auto byte = static_cast<unsigned char>(from.front());
    from.remove_prefix(1);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return fail(Code::invalid_argument, "S1017", "counts of a path end in the middle of a number");
}

}  // namespace

// --- PathCounts -----------------------------------------------------------------------------------------------------

std::uint64_t PathCounts::timed() const {
  std::uint64_t total = 0;
  for (auto count : buckets) total += count;
  return total;
}

Duration PathCounts::at(double quantile) const {
  const std::uint64_t total = timed();
  if (total == 0) return Duration(0);
  const double share = std::clamp(quantile, 0.0, 1.0) * static_cast<double>(total);
  std::uint64_t passed = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < buckets.size(); i++) {
    if (buckets[i] == 0) continue;
    last = i;
    passed += buckets[i];
    if (static_cast<double>(passed) >= share) break;
  }
  return Duration(latency::middle_ns(last));
}

double PathCounts::seconds() const {
  double sum = 0;
  for (std::size_t i = 0; i < buckets.size(); i++) {
    sum += static_cast<double>(buckets[i]) * static_cast<double>(latency::middle_ns(i));
  }
  return sum * 1e-9;
}

PathCounts& PathCounts::operator+=(const PathCounts& more) {
  calls += more.calls;
  errors += more.errors;
  for (std::size_t i = 0; i < buckets.size(); i++) buckets[i] += more.buckets[i];
  return *this;
}

PathCounts PathCounts::since(const PathCounts& earlier) const {
  // Counters only grow; what says otherwise was not read from the same ones, and counts as nothing.
  auto grown = [](std::uint64_t now, std::uint64_t before) { return now > before ? now - before : 0; };
  PathCounts delta;
  delta.calls = grown(calls, earlier.calls);
  delta.errors = grown(errors, earlier.errors);
  for (std::size_t i = 0; i < buckets.size(); i++) delta.buckets[i] = grown(buckets[i], earlier.buckets[i]);
  return delta;
}

std::string PathCounts::encode() const {
  std::string text;
  put_varint(text, calls);
  put_varint(text, errors);
  std::size_t next = 0;
  for (std::size_t i = 0; i < buckets.size(); i++) {
    if (buckets[i] == 0) continue;
    put_varint(text, i - next);
    put_varint(text, buckets[i]);
    next = i + 1;
  }
  return text;
}

Result<PathCounts> PathCounts::decode(std::string_view text) {
  PathCounts counts;
  SHUNT_TRY(counts.calls, take_varint(text));
  SHUNT_TRY(counts.errors, take_varint(text));
  std::size_t next = 0;
  while (!text.empty()) {
    SHUNT_TRY(const std::uint64_t skipped, take_varint(text));
    SHUNT_TRY(const std::uint64_t count, take_varint(text));
    if (next >= counts.buckets.size() || skipped >= counts.buckets.size() - next) {
      return fail(Code::invalid_argument, "S1017", "counts of a path name a latency that is none");
    }
    counts.buckets[next + skipped] = count;
    next += skipped + 1;
  }
  return counts;
}

// --- PathShard ------------------------------------------------------------------------------------------------------

void PathShard::add_to(PathCounts& sum) const {
  sum.calls += calls_.load(relaxed);
  sum.errors += errors_.load(relaxed);
  for (std::size_t i = 0; i < buckets_.size(); i++) sum.buckets[i] += buckets_[i].load(relaxed);
}

void PathShard::merge(const PathCounts& counts) {
  add(calls_, counts.calls);
  add(errors_, counts.errors);
  for (std::size_t i = 0; i < buckets_.size(); i++) {
    if (counts.buckets[i] != 0) add(buckets_[i], counts.buckets[i]);
  }
}

// --- Names ----------------------------------------------------------------------------------------------------------

std::string_view path_caller(const Principal* principal) {
  switch (principal == nullptr ? PrincipalKind::none : principal->kind) {
    case PrincipalKind::service:
      return principal->service;
    case PrincipalKind::gateway:
      return "gateway";
    case PrincipalKind::operator_:
      return "operator";
    case PrincipalKind::node:
      return "node";
    case PrincipalKind::none:
      break;
  }
  return "nobody";
}

std::string_view path_instance(std::string_view name) { return name.substr(0, name.find(" (pid ")); }

// --- PathStats ------------------------------------------------------------------------------------------------------

struct PathStats::Path {
  explicit Path(std::size_t slots) : shards(slots) {}
  std::vector<Own<PathShard>> shards;  // By loop, made when that loop first asks; the last is for the others.
};

PathStats::PathStats(std::size_t loops, std::size_t paths_max) : loops_(loops), paths_max_(paths_max) {}
PathStats::~PathStats() = default;

const std::string* PathStats::caller(std::string_view name) {
  std::lock_guard lock(mutex_);
  if (auto found = callers_.find(name); found != callers_.end()) return &*found;
  return &*callers_.emplace(callers_.size() < callers_max ? name : other).first;
}

PathStats::Path& PathStats::path(PathKey key) {
  if (auto found = paths_.find(key); found != paths_.end()) return *found->second;
  if (paths_.size() >= paths_max_) key.caller = key.callee = key.instance = other;
  auto& place = paths_[std::move(key)];
  if (place == nullptr) place = make_own<Path>(loops_ + 1);
  return *place;
}

PathShard& PathStats::shard_of(Path& path, std::size_t slot) {
  auto& shard = path.shards[slot];
  if (shard == nullptr) shard = make_own<PathShard>(slot == loops_);
  return *shard;
}

PathShard& PathStats::shard(std::string_view caller, std::string_view callee, std::string_view instance,
                            Distance distance, std::size_t loop_index) {
  PathKey key{std::string(caller), std::string(callee), std::string(path_instance(instance)), distance};
  std::lock_guard lock(mutex_);
  return shard_of(path(std::move(key)), std::min(loop_index, loops_));
}

void PathStats::merge(const PathKey& key, const PathCounts& counts) {
  std::lock_guard lock(mutex_);
  shard_of(path(key), loops_).merge(counts);
}

std::vector<PathReport> PathStats::report() const { return report({}, {}); }

std::vector<PathReport> PathStats::report(std::string_view caller, std::string_view callee) const {
  std::vector<PathReport> all;
  std::lock_guard lock(mutex_);
  for (const auto& [key, path] : paths_) {
    if (!caller.empty() && key.caller != caller) continue;
    if (!callee.empty() && key.callee != callee) continue;
    auto& entry = all.emplace_back(PathReport{key, {}});
    for (const auto& shard : path->shards) {
      if (shard != nullptr) shard->add_to(entry.counts);
    }
  }
  return all;
}

// --- PathCache ------------------------------------------------------------------------------------------------------

PathShard& PathCache::look_up(Entry& entry, PathStats& stats, const std::string* caller, std::string_view callee,
                              const Instance& instance, Distance distance, std::size_t loop_index) {
  entry = {&instance, caller, &stats.shard(*caller, callee, instance.name(), distance, loop_index), distance};
  return *entry.shard;
}

}  // namespace shunt::call
