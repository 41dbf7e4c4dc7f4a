#include "manifest/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "manifest/ids.h"

namespace shunt::manifest {

namespace {

using call::Distance;
using call::DistanceSet;
using call::Placement;

constexpr std::string_view known_distances = "local, shm, unix, grpc";

std::optional<Distance> distance_of(const Node& node, Report& report) {
  const auto distance = call::distance_named(node.text);
  if (distance) return distance;
  std::vector<std::string_view> names;
  for (Distance each : call::distances) names.push_back(call::distance_name(each));
  std::string fix = write_nearest(node.text, names);
  if (fix.empty() && (node.text == "thread" || node.text == "process")) {
    fix = fmt::format(R"(write "{}"; where the service runs is "engine": {{"backend": "{}"}})",
                      node.text == "thread" ? "local" : "shm", node.text);
  }
  report.error(node.span, ids::unknown_distance, fmt::format("{} is no distance", in_quotes(node.text)),
               {.known = std::string(known_distances), .fix = fix.empty() ? "write one of these" : std::move(fix)});
  return std::nullopt;
}

// What a service of that backend can ever be called by.
DistanceSet possible(Backend backend) {
  return backend == Backend::thread ? DistanceSet{Distance::local, Distance::grpc}
                                    : DistanceSet{Distance::shm, Distance::unix_, Distance::grpc};
}

std::string_view backend_name(Backend backend) { return backend == Backend::thread ? "thread" : "process"; }

// A pin that this backend never meets.
void check_pin(const Member& member, const ServiceManifest& out, Report& report) {
  const Distance pin = *out.definition.placement.pin;
  if (possible(out.engine.backend).has(pin)) return;
  std::string fix;
  if (pin != Distance::local) {
    fix = R"(write "backend": "process" in engine, or pin "local")";
  } else if (out.type == "c++") {
    fix = R"(write "backend": "thread" in engine, or pin "shm" or "unix")";
  } else {
    fix = fmt::format(R"(pin "shm" or "unix"; a {} service never runs in the node's process)", out.type);
  }
  report.error(member.value.span, ids::bad_placement,
               fmt::format("a service of the {} backend is never called by {}", backend_name(out.engine.backend),
                           call::distance_name(pin)),
               {.known = fmt::format("thread: {}; process: {}", call::distance_list(possible(Backend::thread)),
                                     call::distance_list(possible(Backend::process))),
                .fix = std::move(fix)});
}

void check_forbid(const Member& member, const ServiceManifest& out, Report& report) {
  const DistanceSet can = possible(out.engine.backend);
  const auto& placement = out.definition.placement;
  const bool left =
      std::ranges::any_of(call::distances, [&](Distance each) { return can.has(each) && placement.allows(each); });
  if (left) return;
  report.error(member.value.span, ids::bad_placement,
               fmt::format("nothing is left: a service of the {} backend is called by {}",
                           backend_name(out.engine.backend), call::distance_list(can)),
               {.fix = "forbid fewer"});
}

void read_distances(const Member& member, Values& values, Report& report, ServiceManifest& out) {
  if (!values.object(member)) return;
  for (const Member& part : member.value.members) out.keys.emplace("placement." + part.key, part.value.span);
  Placement& placement = out.definition.placement;
  const Member* pin = member.value.find("pin");
  const Member* forbid = member.value.find("forbid");
  bool readable = true;
  if (pin != nullptr) {
    if (values.string(*pin)) placement.pin = distance_of(pin->value, report);
    readable = placement.pin.has_value();
  }
  if (forbid != nullptr) {
    for (const Node* entry : values.strings(*forbid, Values::Single::yes, call::distances.size())) {
      const auto distance = distance_of(*entry, report);
      if (distance) placement.forbid.add(*distance);
      readable = readable && distance.has_value();
    }
  }
  if (!readable) return;
  if (pin != nullptr && forbid != nullptr) {
    const std::string_view name = call::distance_name(*placement.pin);
    report.error(forbid->value.span, ids::bad_placement,
                 placement.forbid.has(*placement.pin)
                     ? fmt::format("'pin' says only {0}, and 'forbid' says never {0}", name)
                     : fmt::format("'pin' says only {}: there is nothing left to forbid", name),
                 {.fix = "remove one of the two"});
  } else if (pin != nullptr) {
    check_pin(*pin, out, report);
  } else if (forbid != nullptr) {
    check_forbid(*forbid, out, report);
  }
}

// Where one of the two says shared memory and the other says none.
void check_link(const Member& member, const ServiceManifest& out, Report& report) {
  const Placement& placement = out.definition.placement;
  const Distance link = out.engine.link == WorkerLink::shm ? Distance::shm : Distance::unix_;
  if (placement.allows(link) || placement.pin == Distance::grpc || placement.pin == Distance::local) return;
  report.error(member.value.span, ids::bad_placement,
               fmt::format(R"('link' says {}, and {})", call::distance_name(link), placement.why_not(link)),
               {.fix = "remove one of the two"});
}

}  // namespace

void read_placement(const Node& service, Values& values, Report& report, ServiceManifest& out) {
  if (const Member* placement = service.find("placement")) read_distances(*placement, values, report, out);
  Placement& placement = out.definition.placement;
  const Member* engine = service.find("engine");
  const Member* link = engine == nullptr ? nullptr : engine->value.find("link");
  if (link != nullptr) {
    const auto chosen = values.one_of(*link, "link", ids::unknown_link, {"auto", "shm", "unix"});
    if (!chosen) return;
    out.engine.link = static_cast<WorkerLink>(*chosen);
    if (*chosen != 0) check_link(*link, out, report);
  }
  if (out.engine.backend == Backend::thread) return;
  if (out.engine.link == WorkerLink::automatic) {
    if (!placement.allows(Distance::shm)) out.engine.link = WorkerLink::unix_;
    if (!placement.allows(Distance::unix_) && placement.allows(Distance::shm)) out.engine.link = WorkerLink::shm;
  } else if (!placement.pin) {
    placement.forbid.add(out.engine.link == WorkerLink::shm ? Distance::unix_ : Distance::shm);
  }
}

}  // namespace shunt::manifest
