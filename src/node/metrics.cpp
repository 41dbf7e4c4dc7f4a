#include "node/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/version.h"
#include "node/path_metrics.h"

namespace shunt::node {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

struct Row {
  std::string labels;  // service="shop.prices",command="get"
  const call::CommandStats* stats;
};

std::vector<Row> rows(const std::vector<const call::Route*>& routes) {
  std::vector<Row> all;
  for (const auto* route : routes) {
    for (const auto& [command, stats] : route->stats->commands) {
      all.push_back({fmt::format("service=\"{}\",command=\"{}\"", route->definition->full_name, command), stats.get()});
    }
  }
  return all;
}

void head(std::string& text, std::string_view name, std::string_view type, std::string_view help) {
  fmt::format_to(std::back_inserter(text), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void latency(std::string& text, const Row& row) {
  auto to = std::back_inserter(text);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < call::latency_bounds.size(); i++) {
    count += row.stats->latency(i);
    fmt::format_to(to, "shunt_call_duration_seconds_bucket{{{},le=\"{}\"}} {}\n", row.labels, call::latency_bounds[i],
                   count);
  }
  count += row.stats->latency(call::latency_bounds.size());
  fmt::format_to(to, "shunt_call_duration_seconds_bucket{{{},le=\"+Inf\"}} {}\n", row.labels, count);
  fmt::format_to(to, "shunt_call_duration_seconds_sum{{{}}} {}\n", row.labels,
                 static_cast<double>(row.stats->latency_ns_sum()) * 1e-9);
  fmt::format_to(to, "shunt_call_duration_seconds_count{{{}}} {}\n", row.labels, count);
}

}  // namespace

std::string metrics_text(const call::Routing& routing) {
  std::vector<const call::Route*> routes;
  for (const auto& [name, route] : routing.routes) routes.push_back(route.get());
  std::ranges::sort(routes, {}, [](const call::Route* route) { return route->definition->full_name; });
  auto all = rows(routes);

  std::string text;
  auto to = std::back_inserter(text);
  head(text, "shunt_build_info", "gauge", "The version that runs, as labels.");
  fmt::format_to(to, "shunt_build_info{{version=\"{}\"}} 1\n", version);

  head(text, "shunt_calls_started_total", "counter", "Calls that were started.");
  for (const auto& row : all) {
    fmt::format_to(to, "shunt_calls_started_total{{{}}} {}\n", row.labels, row.stats->started());
  }
  head(text, "shunt_calls_total", "counter", "Calls that have ended, by status code.");
  for (const auto& row : all) {
    for (int code = 0; code < code_count; code++) {
      auto count = row.stats->ended(static_cast<Code>(code));
      if (count == 0 && code != 0) continue;
      fmt::format_to(to, "shunt_calls_total{{{},code=\"{}\"}} {}\n", row.labels, code_name(static_cast<Code>(code)),
                     count);
    }
  }
  head(text, "shunt_call_duration_seconds", "histogram", "From start to end of a call, waiting included.");
  for (const auto& row : all) latency(text, row);

  if (routing.paths != nullptr) add_path_metrics(text, *routing.paths);
  head(text, "shunt_retries_total", "counter", "Calls that were run again because their effect permits it.");
  for (const auto* route : routes) {
    fmt::format_to(to, "shunt_retries_total{{service=\"{}\"}} {}\n", route->definition->full_name,
                   route->stats->retries.load(relaxed));
  }
  head(text, "shunt_instances", "gauge", "Places where the service can be called now.");
  for (const auto* route : routes) {
    auto open = std::ranges::count_if(route->instances, [](const auto& one) { return !one->closed.load(relaxed); });
    fmt::format_to(to, "shunt_instances{{service=\"{}\"}} {}\n", route->definition->full_name, open);
  }
  head(text, "shunt_calls_in_flight", "gauge", "Calls that run now.");
  for (const auto* route : routes) {
    std::uint64_t running = 0;
    for (const auto& one : route->instances) running += one->in_flight.load(relaxed);
    fmt::format_to(to, "shunt_calls_in_flight{{service=\"{}\"}} {}\n", route->definition->full_name, running);
  }
  return text;
}

}  // namespace shunt::node
