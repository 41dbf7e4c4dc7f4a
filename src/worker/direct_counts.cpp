#include "worker/direct_counts.h"

#include <utility>

namespace shunt::worker {

namespace {
/// Of one message; what is more goes into the next.
constexpr std::size_t message_bytes_wanted = wire::broker_bytes_max / 2;
constexpr std::size_t message_fields_wanted = wire::broker_fields_max / 2;
}  // namespace

void DirectCounter::count(Code code, Duration took) {
  Ended& at = ended[code];
  at.calls++;
  at.latency_ns_sum += static_cast<std::uint64_t>(took.count());
  const double seconds = static_cast<double>(took.count()) * 1e-9;
  std::size_t bucket = 0;
  while (bucket < call::latency_bounds.size() && seconds > call::latency_bounds[bucket]) bucket++;
  at.latency[bucket]++;
  path->calls++;
  if (code != Code::ok) path->errors++;
  path->buckets[call::latency::bucket_of(took.count())]++;
  *dirty = true;
}

DirectCounter& DirectCounts::of(std::string_view service, std::string_view command, std::string_view instance) {
  Key key{service, command, instance};
  auto found = counters_.find(key);
  if (found != counters_.end()) return *found->second;
  if (counters_.size() >= counters_max) std::get<2>(key) = "other";
  auto& counter = counters_[key];
  if (counter == nullptr) {
    counter = make_own<DirectCounter>();
    auto& path = paths_[{std::get<0>(key), std::get<2>(key)}];
    if (path == nullptr) path = make_own<call::PathCounts>();
    counter->path = path.get();
    counter->dirty = &dirty_;
  }
  return *counter;
}

std::vector<wire::BrokerMessage> DirectCounts::take() {
  std::vector<wire::BrokerMessage> messages;
  if (!std::exchange(dirty_, false)) return messages;
  std::size_t fields = 0;
  auto room = [&]() -> wire::BrokerMessage& {
    if (messages.empty() || messages.back().size() > message_bytes_wanted || fields >= message_fields_wanted) {
      messages.emplace_back(wire::BrokerVerb::counts);
      fields = 0;
    }
    fields++;
    return messages.back();
  };
  for (auto& [key, counter] : counters_) {
    for (auto& [code, ended] : counter->ended) {
      room().add(wire::BrokerCount{.service = std::get<0>(key),
                                   .command = std::get<1>(key),
                                   .instance = std::get<2>(key),
                                   .code = static_cast<std::uint8_t>(code),
                                   .calls = ended.calls,
                                   .latency_ns_sum = ended.latency_ns_sum,
                                   .latency = {ended.latency.begin(), ended.latency.end()}});
    }
    counter->ended.clear();
  }
  for (auto& [key, path] : paths_) {
    if (path->calls == 0) continue;
    room().add(wire::BrokerPath{.service = key.first, .instance = key.second, .counts = path->encode()});
    *path = {};
  }
  return messages;
}

}  // namespace shunt::worker
