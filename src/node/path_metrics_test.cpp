#include "node/path_metrics.h"

#include <gtest/gtest.h>

namespace shunt::node {
namespace {

using namespace std::chrono_literals;
using call::Distance;

TEST(PathMetrics, calls_are_summed_over_callers_and_instances_by_callee_and_distance) {
  call::PathStats paths(1);
  paths.shard("cart", "shop.prices", "prices#1", Distance::unix_, 0).record(1us, true);
  paths.shard("gateway", "shop.prices", "prices#2", Distance::unix_, 0).record(10us, false);
  paths.shard("gateway", "shop.prices", "prices", Distance::local, 0).record(100ns, true);
  std::string text;
  add_path_metrics(text, paths);
  auto has = [&](std::string_view line) { EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text; };
  has("shunt_path_calls_total{callee=\"shop.prices\",distance=\"unix\"} 2\n");
  has("shunt_path_calls_total{callee=\"shop.prices\",distance=\"local\"} 1\n");
  has("shunt_path_errors_total{callee=\"shop.prices\",distance=\"unix\"} 1\n");
  has("shunt_path_duration_seconds_bucket{callee=\"shop.prices\",distance=\"unix\",le=\"1.024e-06\"} 1\n");
  has("shunt_path_duration_seconds_bucket{callee=\"shop.prices\",distance=\"unix\",le=\"1.6384e-05\"} 2\n");
  has("shunt_path_duration_seconds_bucket{callee=\"shop.prices\",distance=\"local\",le=\"6.4e-08\"} 0\n");
  has("shunt_path_duration_seconds_count{callee=\"shop.prices\",distance=\"unix\"} 2\n");
}

}  // namespace
}  // namespace shunt::node
