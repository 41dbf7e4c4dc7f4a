#include "module/explain.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace shunt::module {

using nlohmann::ordered_json;

namespace {

// Microseconds with three digits: below that it is a histogram's rounding.
double microseconds(Duration duration) { return std::round(static_cast<double>(duration.count())) / 1000.0; }

ordered_json to_json(const call::PathCounts& counts) {
  ordered_json measured = {
      {"calls", counts.calls}, {"errors", counts.errors}, {"p50_us", nullptr}, {"p99_us", nullptr}};
  if (counts.timed() == 0) return measured;
  measured["p50_us"] = microseconds(counts.at(0.5));
  measured["p99_us"] = microseconds(counts.at(0.99));
  return measured;
}

ordered_json to_json(const call::Explanation::Candidate& one) {
  ordered_json instance = {{"name", one.name},
                           {"distance", call::distance_name(one.distance)},
                           {"why_distance", one.why_distance},
                           {"standing", call::standing_name(one.standing)},
                           {"in_flight", one.in_flight},
                           {"capacity", nullptr},
                           {"chosen", one.chosen},
                           {"because", one.because},
                           {"measured", to_json(one.measured)}};
  if (one.capacity != 0) instance["capacity"] = one.capacity;
  return instance;
}

ordered_json to_json(const call::Placement& placement) {
  ordered_json forbid = ordered_json::array();
  for (call::Distance each : call::distances) {
    if (placement.forbid.has(each)) forbid.push_back(call::distance_name(each));
  }
  ordered_json json = {{"pin", nullptr}, {"forbid", forbid}};
  if (placement.pin) json["pin"] = call::distance_name(*placement.pin);
  return json;
}

}  // namespace

std::string explain_json(const call::Explanation& it) {
  ordered_json json = {{"caller", it.caller},
                       {"callee", it.callee},
                       {"command", nullptr},
                       {"permitted", it.permitted},
                       {"because", it.because},
                       {"outcome", call::outcome_name(it.outcome)},
                       {"says", it.says},
                       {"placement", to_json(it.placement)},
                       {"queue", {{"exists", it.has_queue}, {"waiters", it.has_waiters}}},
                       {"instances", ordered_json::array()},
                       {"direct", ordered_json::array()},
                       {"earlier", ordered_json::array()}};
  if (!it.command.empty()) json["command"] = it.command;
  for (const auto& one : it.candidates) json["instances"].push_back(to_json(one));
  for (const auto& one : it.directs) {
    json["direct"].push_back({{"caller", one.caller_instance},
                              {"callee", one.callee_instance},
                              {"distance", call::distance_name(one.distance)},
                              {"why_distance", one.why}});
  }
  for (const auto& one : it.earlier) {
    json["earlier"].push_back(
        {{"name", one.instance}, {"distance", call::distance_name(one.distance)}, {"measured", to_json(one.measured)}});
  }
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace shunt::module
