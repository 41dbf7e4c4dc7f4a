#include "call/distance.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::call {

std::string_view distance_name(Distance distance) {
  switch (distance) {
    case Distance::local:
      return "local";
    case Distance::shm:
      return "shm";
    case Distance::unix_:
      return "unix";
    case Distance::grpc:
      return "grpc";
  }
  return "unknown";
}

std::string_view distance_meaning(Distance distance) {
  switch (distance) {
    case Distance::local:
      return "in the node's own process";
    case Distance::shm:
      return "another process of this host, over shared memory";
    case Distance::unix_:
      return "another process of this host, over a unix socket";
    case Distance::grpc:
      return "another node, over gRPC";
  }
  return "";
}

std::optional<Distance> distance_named(std::string_view name) {
  const auto* found = std::ranges::find(distances, name, distance_name);
  return found == distances.end() ? std::nullopt : std::optional(*found);
}

std::string_view place_name(Place place) {
  switch (place) {
    case Place::same_process:
      return "in this process";
    case Place::same_host:
      return "on this host";
    case Place::elsewhere:
      return "on another node";
  }
  return "somewhere";
}

std::string distance_list(DistanceSet set) {
  std::string list;
  for (Distance each : distances) {
    if (set.has(each)) list.append(list.empty() ? "" : ", ").append(distance_name(each));
  }
  return list;
}

std::string Placement::why_not(Distance distance) const {
  if (allows(distance)) return {};
  return pin ? fmt::format(R"("placement" pins it to {})", distance_name(*pin))
             : fmt::format(R"("placement" forbids {})", distance_name(distance));
}

}  // namespace shunt::call
