#include "call/chooser.h"

#include <fmt/format.h>

#include <algorithm>

#include "call/router.h"

namespace shunt::call {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
// From how many equally near ones two are picked at random: looking at each would make every loop read what every other
// loop writes.
constexpr std::size_t many = 8;
constexpr int tries_max = 4;  // Another loop may take the slot that was seen.

struct Best {
  std::size_t index = SIZE_MAX;
  std::uint64_t rank = UINT64_MAX;
  void consider(const Route& route, std::size_t at, const Ask& ask) {
    Instance& instance = *route.instances[at];
    const std::uint64_t its = call::rank(instance);
    if (its < rank && standing(route, instance, ask) == Standing::has_room) {
      index = at;
      rank = its;
    }
  }
};

// The best of [begin, end). It starts at a random place, so that equals share the load.
Best best_of(const Route& route, std::size_t begin, std::size_t end, const Ask& ask, Random& random) {
  const std::size_t count = end - begin;
  Best best;
  if (count == 0) return best;
  std::size_t at = count == 1 ? 0 : random.below(count);
  for (std::size_t i = 0; i < count; i++) {
    best.consider(route, begin + at, ask);
    if (++at == count) at = 0;
  }
  return best;
}

Best best_of_two(const Route& route, std::size_t begin, std::size_t end, const Ask& ask, Random& random) {
  Best best;
  const std::size_t one = random.below(end - begin);
  std::size_t other = random.below(end - begin - 1);
  if (other >= one) other++;
  best.consider(route, begin + one, ask);
  best.consider(route, begin + other, ask);
  return best;
}

Best best_there(const Route& route, const Ask& ask, Random& random) {
  const std::size_t count = route.instances.size();
  // Not in order: ranks say what is near.
  if (count <= many || route.near_end.back() != count) return best_of(route, 0, count, ask, random);
  Best best;
  std::size_t begin = 0;
  for (const std::size_t end : route.near_end) {
    if (end - begin > many) best = best_of_two(route, begin, end, ask, random);
    if (best.index == SIZE_MAX) best = best_of(route, begin, end, ask, random);
    if (best.index != SIZE_MAX) break;
    begin = end;
  }
  return best;
}

}  // namespace

std::uint64_t rank(const Instance& instance) {
  const Distance distance = instance.distance();
  return static_cast<std::uint64_t>(place_of(distance)) << 48 |
         static_cast<std::uint64_t>(instance.in_flight.load(relaxed)) << 8 | static_cast<std::uint64_t>(distance);
}

Standing standing(const Route& route, Instance& instance, const Ask& ask) {
  const Placement& placement = route.definition->placement;
  if (!placement.is_free() && !placement.allows(instance.distance())) return Standing::forbidden;
  if (ask.farthest != Distance::grpc && instance.distance() > ask.farthest) return Standing::too_far;
  if (instance.closed.load(std::memory_order_acquire)) return Standing::closed;
  if (instance.link(ask.loop_index) == nullptr) return Standing::no_link;
  if (&instance == ask.not_there) return Standing::refused;
  const std::uint32_t capacity = instance.capacity.load(relaxed);
  if (capacity != 0 &&
      (instance.in_flight.load(relaxed) >= capacity || instance.blocking_in_flight.load(relaxed) > 0)) {
    return Standing::full;
  }
  // Whoever waits already goes first.
  if (route.admission != nullptr && instance.is_pooled() && route.admission->has_waiters()) return Standing::queued;
  return Standing::has_room;
}

std::string_view standing_name(Standing standing) {
  switch (standing) {
    case Standing::has_room:
      return "has room";
    case Standing::full:
      return "full";
    case Standing::queued:
      return "calls wait for it";
    case Standing::closed:
      return "closed";
    case Standing::no_link:
      return "no link";
    case Standing::forbidden:
      return "forbidden";
    case Standing::too_far:
      return "too far";
    case Standing::refused:
      return "refused";
  }
  return "unknown";
}

std::optional<std::size_t> enter_nearest(const Route& route, const Ask& ask, Random& random) {
  if (route.instances.size() == 1) {
    Instance& only = *route.instances.front();
    if (standing(route, only, ask) == Standing::has_room && only.try_enter(ask.blocking)) return 0;
    return std::nullopt;
  }
  for (int i = 0; i < tries_max; i++) {
    const Best best = best_there(route, ask, random);
    if (best.index == SIZE_MAX) return std::nullopt;
    if (route.instances[best.index]->try_enter(ask.blocking)) return best.index;
  }
  return std::nullopt;
}

std::optional<std::size_t> queue_elsewhere(const Route& route, const Ask& ask) {
  std::optional<std::size_t> best;
  std::uint64_t least = UINT64_MAX;
  for (std::size_t i = 0; i < route.instances.size(); i++) {
    Instance& instance = *route.instances[i];
    if (instance.distance() != Distance::grpc || standing(route, instance, ask) != Standing::full) continue;
    if (rank(instance) >= least) continue;
    least = rank(instance);
    best = i;
  }
  return best;
}

std::optional<std::size_t> enter_queue_elsewhere(const Route& route, const Ask& ask) {
  const auto at = queue_elsewhere(route, ask);
  if (at) route.instances[*at]->in_flight.fetch_add(1, relaxed);
  return at;
}

bool may_wait(const Route& route) {
  const Placement& placement = route.definition->placement;
  return route.admission != nullptr && (placement.allows(Distance::shm) || placement.allows(Distance::unix_));
}

Status nowhere(const Route& route, const Ask& ask) {
  const auto& definition = *route.definition;
  std::string listed;
  bool forbidden = false;
  bool others = false;
  constexpr std::size_t shown_max = 8;
  std::size_t shown = 0;
  for (const auto& instance : route.instances) {
    const Standing its = standing(route, *instance, ask);
    std::string why(standing_name(its));
    if (its == Standing::forbidden) why = definition.placement.why_not(instance->distance());
    if (its == Standing::too_far) why = "another node handed the call to this one, and it goes no farther";
    if (its == Standing::no_link) why = "there is no link to it now";
    (its == Standing::forbidden ? forbidden : others) = true;
    if (++shown > shown_max) continue;
    listed += fmt::format("{}{} ({}): {}", listed.empty() ? "" : "; ", instance->name(),
                          distance_name(instance->distance()), why);
  }
  if (shown > shown_max) listed += fmt::format("; and {} more", shown - shown_max);
  std::string absent = route.why_absent.empty() ? "" : ": " + route.why_absent;
  if (forbidden && !others) {
    return Status(Code::unavailable, "S1018",
                  fmt::format(R"(the "placement" of service {} leaves no instance to call{}; there are: {})",
                              definition.full_name, absent, listed))
        .with_retry(Retry::later);
  }
  if (!listed.empty()) listed = (absent.empty() ? ": " : "; there are: ") + listed;
  return Status(
             Code::unavailable, "S1009",
             fmt::format("service {} has no instance that can take a call{}{}", definition.full_name, absent, listed))
      .with_retry(Retry::later);
}

}  // namespace shunt::call
