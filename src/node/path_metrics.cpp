#include "node/path_metrics.h"

#include <fmt/format.h>

#include <iterator>
#include <map>
#include <utility>

namespace shunt::node {

namespace {

using Key = std::pair<std::string, call::Distance>;

void head(std::string& text, std::string_view name, std::string_view type, std::string_view help) {
  fmt::format_to(std::back_inserter(text), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::string labels_of(const Key& key) {
  return fmt::format("callee=\"{}\",distance=\"{}\"", key.first, call::distance_name(key.second));
}

// From 64 ns to 69 s, each four times the one before: where buckets of the histogram end, so that no count is a guess.
void latency(std::string& text, const Key& key, const call::PathCounts& counts) {
  auto to = std::back_inserter(text);
  const std::string labels = labels_of(key);
  std::uint64_t sum = 0;
  std::size_t bucket = 0;
  for (unsigned octave = 6; octave <= 36; octave += 2) {
    const std::int64_t bound = std::int64_t{1} << octave;
    for (const std::size_t end = call::latency::bucket_of(bound); bucket < end; bucket++) sum += counts.buckets[bucket];
    fmt::format_to(to, "shunt_path_duration_seconds_bucket{{{},le=\"{}\"}} {}\n", labels,
                   static_cast<double>(bound) * 1e-9, sum);
  }
  const std::uint64_t all = counts.timed();
  fmt::format_to(to, "shunt_path_duration_seconds_bucket{{{},le=\"+Inf\"}} {}\n", labels, all);
  fmt::format_to(to, "shunt_path_duration_seconds_sum{{{}}} {:.9g}\n", labels, counts.seconds());
  fmt::format_to(to, "shunt_path_duration_seconds_count{{{}}} {}\n", labels, all);
}

}  // namespace

void add_path_metrics(std::string& text, const call::PathStats& paths) {
  std::map<Key, call::PathCounts> sums;
  for (const auto& path : paths.report()) sums[{path.key.callee, path.key.distance}] += path.counts;

  auto to = std::back_inserter(text);
  head(text, "shunt_path_calls_total", "counter", "Calls that an instance has ended, by how they travelled.");
  for (const auto& [key, counts] : sums) {
    fmt::format_to(to, "shunt_path_calls_total{{{}}} {}\n", labels_of(key), counts.calls);
  }
  head(text, "shunt_path_errors_total", "counter", "Those of them that did not end as ok.");
  for (const auto& [key, counts] : sums) {
    fmt::format_to(to, "shunt_path_errors_total{{{}}} {}\n", labels_of(key), counts.errors);
  }
  head(text, "shunt_path_duration_seconds", "histogram", "From handing a call to an instance to its end.");
  for (const auto& [key, counts] : sums) latency(text, key, counts);
}

}  // namespace shunt::node
