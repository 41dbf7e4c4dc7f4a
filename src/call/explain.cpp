#include "call/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/names.h"

namespace shunt::call {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
using Outcome = Explanation::Outcome;

std::string_view app_of(const Routing& routing, const Principal& caller) {
  auto found = routing.routes.find(caller.service);
  return caller.kind == PrincipalKind::service && found != routing.routes.end()
             ? std::string_view(found->second->definition->app)
             : std::string_view();
}

struct Target {
  const Route* route;
  std::string command;
};

// "prices", "shop.prices", "prices.get": a service as a whole goes before a service and its command.
Result<Target> target_of(const Routing& routing, std::string_view text, std::string_view app) {
  auto whole = routing.resolve(text, app);
  if (whole) return Target{*whole, ""};
  const auto split = split_target(text);
  if (!split) return std::unexpected(std::move(whole).error());
  auto service = routing.resolve(split->first, app);
  // The nearest name to "shop.pirces" is one of services, not of commands of "shop".
  if (!service) return std::unexpected(std::move(whole).error());
  const auto& definition = *(*service)->definition;
  if (!definition.commands.empty() && !definition.commands.contains(split->second)) {
    std::vector<std::string_view> known;
    for (const auto& [name, command] : definition.commands) known.push_back(name);
    const auto near = nearest(split->second, known);
    return fail(Code::unimplemented, "S1005",
                fmt::format("service {} has no command '{}'{}; it has: {}", definition.full_name, split->second,
                            near ? fmt::format(" (the nearest name is '{}')", *near) : "", fmt::join(known, ", ")));
  }
  return Target{*service, std::string(split->second)};
}

std::string why_service_may(const Routing& routing, const ServiceDefinition& self, const Route& callee,
                            std::string_view command) {
  const auto& target = *callee.definition;
  if (self.full_name == target.full_name) return "a service may always call itself";
  std::string used = target.full_name;
  for (const Reach& reach : self.uses) {
    auto route = routing.resolve(reach.service, self.app);
    if (!route || *route != &callee || (!reach.command.empty() && reach.command != command)) continue;
    used = reach.command.empty() ? reach.service : fmt::format("{}.{}", reach.service, reach.command);
    break;
  }
  std::string allowed;
  if (target.allow_all) {
    allowed = R"("allow": ["*"])";
  } else if (target.allow.empty()) {
    allowed = fmt::format(R"(no "allow", which is the services of the same app)");
  } else {
    allowed = fmt::format(R"("allow" with {})", self.full_name);
  }
  return fmt::format(R"({} has "uses" with {}, and {} has {})", self.full_name, used, target.full_name, allowed);
}

std::string why_may(const Routing& routing, const Principal& caller, const Route& callee, std::string_view command) {
  switch (caller.kind) {
    case PrincipalKind::gateway:
      if (callee.definition->exposed) {
        return callee.definition->auth == Auth::token
                   ? R"(its manifest exposes it ("expose": true), to who has a token ("auth": "token"))"
                   : R"(its manifest exposes it ("expose": true))";
      }
      return "this node exposes every service (--dev)";
    case PrincipalKind::operator_:
      return "the operator may call everything";
    case PrincipalKind::service:
      break;
    default:
      return "the node may call everything";
  }
  auto self = routing.routes.find(caller.service);
  return self == routing.routes.end() ? "" : why_service_may(routing, *self->second->definition, callee, command);
}

// May it? Of a service as a whole: any of its commands.
void decide_permission(const Routing& routing, const Principal& caller, const Route& callee, Explanation& out) {
  if (!out.command.empty() || callee.definition->commands.empty()) {
    auto allowed = routing.permit(caller, callee, out.command);
    out.permitted = allowed.has_value();
    out.because =
        allowed ? why_may(routing, caller, callee, out.command) : std::string(std::move(allowed).error().message());
    return;
  }
  std::vector<std::string_view> may;
  std::string denied;
  for (const auto& [name, command] : callee.definition->commands) {
    auto allowed = routing.permit(caller, callee, name);
    if (allowed) {
      may.push_back(name);
    } else if (denied.empty()) {
      denied = allowed.error().message();
    }
  }
  out.permitted = !may.empty();
  out.because = may.empty() ? denied : why_may(routing, caller, callee, may.front());
  if (!may.empty() && !denied.empty()) out.because += fmt::format("; only: {}", fmt::join(may, ", "));
}

std::string why_not_taken(const Route& route, const Instance& instance, Standing standing) {
  switch (standing) {
    case Standing::has_room:
      break;
    case Standing::full: {
      const auto capacity = instance.capacity.load(relaxed);
      if (instance.in_flight.load(relaxed) < capacity) {
        return "it runs a command that leaves no room for others while it does";
      }
      return fmt::format("it runs as many calls as it takes at once ({})", capacity);
    }
    case Standing::queued:
      return "calls wait for a slot there already, and nobody passes them";
    case Standing::closed:
      return "it takes no new calls: it is starting, draining or gone";
    case Standing::no_link:
      return "there is no link to it now";
    case Standing::forbidden:
      return route.definition->placement.why_not(instance.distance());
    case Standing::too_far:
    case Standing::refused:
      return std::string(standing_name(standing));
  }
  return {};
}

std::vector<Explanation::Candidate> candidates_of(const Route& route, std::size_t loop_index) {
  struct Ranked {
    std::uint64_t rank;
    Explanation::Candidate candidate;
  };
  std::vector<Ranked> all;
  for (const auto& instance : route.instances) {
    const Standing its = standing(route, *instance, {.loop_index = loop_index});
    std::string why = instance->why();
    if (why.empty()) why = distance_meaning(instance->distance());
    all.push_back({rank(*instance),
                   {.name = instance->name(),
                    .distance = instance->distance(),
                    .why_distance = std::move(why),
                    .standing = its,
                    .in_flight = instance->in_flight.load(relaxed),
                    .capacity = instance->capacity.load(relaxed),
                    .because = why_not_taken(route, *instance, its)}});
  }
  std::ranges::sort(all, {}, [](const Ranked& one) {
    return std::tuple(place_of(one.candidate.distance), one.candidate.standing != Standing::has_room, one.rank,
                      one.candidate.name);
  });
  const auto best =
      std::ranges::find(all, Standing::has_room, [](const Ranked& one) { return one.candidate.standing; });
  std::vector<Explanation::Candidate> out;
  if (best != all.end()) {
    const std::uint64_t least = best->rank;
    const Place place = place_of(best->candidate.distance);
    const auto equals = std::ranges::count_if(
        all, [&](const Ranked& one) { return one.rank == least && one.candidate.standing == Standing::has_room; });
    for (auto& [its_rank, candidate] : all) {
      if (candidate.standing != Standing::has_room) continue;
      candidate.chosen = its_rank == least;
      if (candidate.chosen) {
        candidate.because = equals > 1        ? fmt::format("one of {} equals: each gets its share", equals)
                            : all.size() == 1 ? "the only instance"
                                              : "the nearest with room";
      } else if (place_of(candidate.distance) != place) {
        candidate.because = "farther: it gets what the nearer ones have no room for";
      } else if (its_rank >> 8 != least >> 8) {
        candidate.because = "as near, but busier";
      } else {
        candidate.because = "as near and as busy, by a dearer way";
      }
    }
  }
  for (auto& one : all) out.push_back(std::move(one.candidate));
  return out;
}

void measure(const PathStats* paths, Explanation& out) {
  if (paths == nullptr) return;
  for (auto& [key, counts] : paths->report(out.caller, out.callee)) {
    auto found = std::ranges::find_if(out.candidates, [&](const auto& one) {
      return one.distance == key.distance && path_instance(one.name) == key.instance;
    });
    if (found != out.candidates.end()) {
      found->measured += counts;
    } else if (counts.calls > 0) {
      out.earlier.push_back({key.instance, key.distance, counts});
    }
  }
}

void decide_outcome(const Route& route, std::size_t loop_index, Explanation& out) {
  if (!out.permitted) {
    out.outcome = Outcome::refused;
    out.says = "nowhere: it is refused (S1010 permission_denied)";
    return;
  }
  const auto chosen = std::ranges::find(out.candidates, true, &Explanation::Candidate::chosen);
  if (chosen != out.candidates.end()) {
    const auto count = std::ranges::count(out.candidates, true, &Explanation::Candidate::chosen);
    out.outcome = Outcome::goes;
    out.says = count > 1 ? fmt::format("to any of {} instances, by {}", count, distance_name(chosen->distance))
                         : fmt::format("to {}, by {}", chosen->name, distance_name(chosen->distance));
    return;
  }
  if (may_wait(route) && !out.candidates.empty()) {
    out.outcome = Outcome::waits;
    out.says = "into the queue: it waits until an instance has room";
    return;
  }
  if (const auto full = queue_elsewhere(route, {.loop_index = loop_index})) {
    out.outcome = Outcome::waits;
    out.says = fmt::format("to {}, by grpc: it waits in the queue there", route.instances[*full]->name());
    return;
  }
  const Status why = nowhere(route, {.loop_index = loop_index});
  out.outcome = Outcome::unavailable;
  out.says = fmt::format("nowhere: {} {}: {}", why.id(), code_name(why.code()), why.message());
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::goes:
      return "goes";
    case Outcome::waits:
      return "waits";
    case Outcome::refused:
      return "refused";
    case Outcome::unavailable:
      return "unavailable";
  }
  return "unknown";
}

Result<Principal> caller_named(const Routing& routing, std::string_view name) {
  Principal caller;
  if (name == "gateway") {
    caller.kind = PrincipalKind::gateway;
  } else if (name == "operator") {
    caller.kind = PrincipalKind::operator_;
  } else {
    auto route = routing.resolve(name, {});
    if (!route) {
      const Status& why = route.error();
      return fail(why.code(), std::string(why.id()),
                  fmt::format("{}. A caller may also be 'gateway' or 'operator'", why.message()));
    }
    caller.kind = PrincipalKind::service;
    caller.service = (*route)->definition->full_name;
  }
  return caller;
}

Result<Explanation> explain(const Routing& routing, const ExplainQuestion& question, std::size_t loop_index) {
  SHUNT_TRY(const Principal caller, caller_named(routing, question.caller));
  SHUNT_TRY(Target target, target_of(routing, question.callee, app_of(routing, caller)));
  const Route& route = *target.route;
  Explanation out;
  out.caller = path_caller(&caller);
  out.callee = route.definition->full_name;
  out.command = std::move(target.command);
  out.placement = route.definition->placement;
  out.has_queue = route.admission != nullptr;
  out.has_waiters = out.has_queue && route.admission->has_waiters();
  decide_permission(routing, caller, route, out);
  out.candidates = candidates_of(route, loop_index);
  measure(routing.paths.get(), out);
  decide_outcome(route, loop_index, out);
  return out;
}

}  // namespace shunt::call
