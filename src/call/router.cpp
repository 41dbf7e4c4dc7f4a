#include "call/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "call/direct.h"
#include "call/routed_call.h"
#include "call/transcoded_call.h"

namespace shunt::call {

namespace {

// What a caller's word for a command came to; kept until the routing changes.
struct Resolved {
  std::shared_ptr<const Route> route;
  const CommandDefinition* command = nullptr;
  CommandStats* stats = nullptr;
  const std::string* caller = nullptr;  // As PathStats names it.
};

struct TextHash {
  using is_transparent = void;
  // Eight bytes at a step: a lookup for each call. Only names that resolved are kept, so nobody outside can pile up
  // collisions.
  std::size_t operator()(std::string_view text) const {
    constexpr std::uint64_t factor = 0x9e3779b97f4a7c15ull;
    std::uint64_t hash = text.size() * factor;
    const char* at = text.data();
    std::size_t left = text.size();
    for (; left >= 8; left -= 8, at += 8) {
      std::uint64_t word;
      std::memcpy(&word, at, 8);
      hash = (hash ^ word) * factor;
      hash ^= hash >> 32;
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, at, left);
    hash = (hash ^ rest) * factor;
    return hash ^ (hash >> 29);
  }
};

// "kind service target command" on the stack, or on the heap for names of unusual length.
class Key {
 public:
  Key(const Principal* principal, const CallStart& start) {
    char kind = static_cast<char>('0' + static_cast<int>(principal != nullptr ? principal->kind : PrincipalKind::none));
    std::string_view caller = principal != nullptr ? std::string_view(principal->service) : std::string_view();
    std::size_t size = 3 + caller.size() + start.service.size() + start.command.size();
    char* to = inline_;
    if (size > sizeof inline_) {
      heap_.resize(size);
      to = heap_.data();
    }
    view_ = {to, size};
    *to++ = kind;
    for (auto part : {caller, start.service, start.command}) {
      std::copy(part.begin(), part.end(), to);
      to += part.size();
      if (to < view_.data() + size) *to++ = '\n';
    }
  }
  [[nodiscard]] std::string_view view() const { return view_; }

 private:
  char inline_[192];
  std::string heap_;
  std::string_view view_;
};

}  // namespace

// The commands that were called last, found by comparing names in place: most services call few.
class RecentlyCalled {
 public:
  const Resolved* find(const Principal* principal, const CallStart& start) const {
    const Entry& entry = entries_[index(start)];
    if (entry.resolved == nullptr || entry.command != start.command || entry.service != start.service) return nullptr;
    if (principal == nullptr || entry.kind != principal->kind || entry.caller != principal->service) return nullptr;
    return entry.resolved;
  }
  void remember(const Principal* principal, const CallStart& start, const Resolved& resolved) {
    if (principal == nullptr) return;
    Entry& entry = entries_[index(start)];
    entry = {&resolved, principal->kind, principal->service, std::string(start.service), std::string(start.command)};
  }
  void clear() { entries_ = {}; }

 private:
  struct Entry {
    const Resolved* resolved = nullptr;
    PrincipalKind kind{};
    std::string caller;
    std::string service;
    std::string command;
  };
  static constexpr std::size_t size = 64;
  static std::size_t index(const CallStart& start) {
    auto ends = [](std::string_view text) -> std::size_t {
      return text.empty() ? 0
                          : static_cast<unsigned char>(text.front()) * 31u + static_cast<unsigned char>(text.back());
    };
    return (ends(start.service) * 7 + ends(start.command) + start.command.size()) % size;
  }
  std::array<Entry, size> entries_;
};

struct Router::State {
  State(loop::Loop& on, std::size_t index, Random& random) : context{on, index, random} {}
  Result<const Resolved*> resolve(const CallStart& start);

  RoutedCall::Context context;
  std::shared_ptr<const Routing>& routing = context.routing;
  // By what callers wrote. Bounded: names come from outside.
  std::unordered_map<std::string, Resolved, TextHash, std::equal_to<>> resolved;
  static constexpr std::size_t resolved_max = 4096;
  RecentlyCalled recent;
  std::vector<RoutingEvents*> watchers;
  DirectRoute* direct = nullptr;  // All that this routing gave, and nobody has let go of.
  std::uint64_t direct_revision = 1;
};

Result<const Resolved*> Router::State::resolve(const CallStart& start) {
  if (const Resolved* known = recent.find(start.principal, start)) return known;
  Key key(start.principal, start);
  auto found = resolved.find(key.view());
  if (found != resolved.end()) {
    recent.remember(start.principal, start, found->second);
    return &found->second;
  }

  static const Principal nobody;
  const Principal& principal = start.principal != nullptr ? *start.principal : nobody;
  std::string_view app;
  if (principal.kind == PrincipalKind::service) {
    auto caller = routing->routes.find(principal.service);
    if (caller != routing->routes.end()) app = caller->second->definition->app;
  }
  SHUNT_TRY(const Route* route, routing->resolve(start.service, app));
  SHUNT_CHECK(routing->permit(principal, *route, start.command));
  auto command = route->definition->commands.find(start.command);
  if (command == route->definition->commands.end()) {
    // What a service that never got to say its commands would have had, nobody knows.
    if (route->definition->commands.empty() && route->instances.empty() && !route->why_absent.empty()) {
      return fail(Code::unavailable, "S1009",
                  fmt::format("service {} has no instance: {}", route->definition->full_name, route->why_absent));
    }
    std::string known;
    for (const auto& [name, definition] : route->definition->commands)
      known.append(known.empty() ? "" : ", ").append(name);
    return fail(Code::unimplemented, "S1005",
                fmt::format("service {} has no command '{}'; it has: {}", route->definition->full_name, start.command,
                            known.empty() ? "none" : known));
  }
  if (resolved.size() >= resolved_max) {
    recent.clear();
    resolved.clear();
  }
  auto shared = routing->routes.at(route->definition->full_name);
  auto [entry, added] =
      resolved.emplace(std::string(key.view()), Resolved{shared, &command->second, &route->stats->of(start.command),
                                                         context.paths->caller(path_caller(start.principal))});
  return &entry->second;
}

Router::Router(loop::Loop& loop, std::size_t loop_index, Random& random)
    : state_(make_own<State>(loop, loop_index, random)) {}
Router::~Router() { retire_direct(); }

void Router::retire_direct() {
  state_->direct_revision++;
  while (state_->direct != nullptr) state_->direct->retire();
}

void Router::install(std::shared_ptr<const Routing> routing) {
  state_->context.routing = std::move(routing);
  // What calls under way measure must stay; a routing without any is the one at the end.
  if (state_->routing->paths != nullptr) state_->context.paths = state_->routing->paths;
  state_->context.path_cache.clear();
  retire_direct();
  state_->recent.clear();
  state_->resolved.clear();
  for (RoutingEvents* events : state_->watchers) events->on_routing();
}

void Router::watch(RoutingEvents& events) { state_->watchers.push_back(&events); }
void Router::unwatch(RoutingEvents& events) { std::erase(state_->watchers, &events); }

const std::shared_ptr<const Routing>& Router::routing() const { return state_->routing; }
loop::Loop& Router::loop() { return state_->context.loop; }
std::size_t Router::loop_index() const { return state_->context.loop_index; }

namespace {

/// How the caller's messages are written, as far as it matters for this command.
Encoding encoding_of(const CallStart& start, const Resolved& target) {
  if (start.encoding != Encoding::proto_json) return start.encoding;
  const auto& contract = target.route->definition->contract;
  const bool differs = target.command->transcoder != nullptr && contract != nullptr && contract->is_derived();
  return differs ? Encoding::proto_json : Encoding::json;
}

/// Whether messages of the command must pass through its transcoder on the way from a caller that writes them so.
bool is_transcoded(const CommandDefinition& command, Encoding written) {
  const Transcoder* transcoder = command.transcoder.get();
  return transcoder != nullptr &&
         (written != command.encoding || (written == Encoding::json && transcoder->checks_json()));
}

/// The one instance that a call from this loop takes by the direct way; nullptr when there is a choice to make.
Instance* direct_instance(const Route& route, std::size_t loop_index) {
  if (route.admission != nullptr || !route.definition->placement.allows(Distance::local)) return nullptr;
  Instance* only = nullptr;
  for (const auto& instance : route.instances) {
    if (instance->distance() != Distance::local) continue;
    if (only != nullptr) return nullptr;
    only = instance.get();
  }
  if (only == nullptr || only->capacity.load(std::memory_order_relaxed) != 0) return nullptr;
  Link* link = only->link(loop_index);
  return link != nullptr && link->direct() != nullptr ? only : nullptr;
}

}  // namespace

const std::uint64_t* Router::direct_revision() const { return &state_->direct_revision; }

DirectRoute* Router::direct(const Principal& principal, std::string_view service, std::string_view command) {
  auto& state = *state_;
  auto resolved = state.resolve({.service = service, .command = command, .principal = &principal});
  if (!resolved || is_transcoded(*(*resolved)->command, Encoding::json)) return nullptr;
  const Resolved& target = **resolved;
  Instance* instance = direct_instance(*target.route, state.context.loop_index);
  if (instance == nullptr) return nullptr;
  auto* route = new DirectRoute({.loop = state.context.loop,
                                 .loop_index = state.context.loop_index,
                                 .route = target.route,
                                 .command = *target.command,
                                 .stats = *target.stats,
                                 .paths = state.context.paths,
                                 .caller = *target.caller,
                                 .instance = *instance,
                                 .port = instance->link(state.context.loop_index)->direct()});
  route->head_ = &state.direct;
  route->next_ = state.direct;
  if (route->next_ != nullptr) route->next_->previous_ = route;
  state.direct = route;
  return route;
}

OutgoingHandle Router::start(const CallStart& start, CallerEvents& events, Opening opening) {
  auto& state = *state_;
  auto resolved = state.resolve(start);
  if (!resolved) return end_unopened(events, std::move(resolved).error());
  if (start.hops >= hops_max) {
    return end_unopened(events,
                        {Code::resource_exhausted, "S1006",
                         fmt::format("the chain of calls that led to {}.{} has passed {} services; do they call each "
                                     "other in a circle?",
                                     start.service, start.command, hops_max)});
  }
  const Resolved& target = **resolved;
  const Encoding written = encoding_of(start, target);
  if (is_transcoded(*target.command, written)) {
    auto* outer = new TranscodedCall(target.command->transcoder, written, target.command->encoding, events);
    OutgoingHandle handle(outer);
    if (!outer->turn_opening(opening)) return handle;
    CallStart turned = start;
    turned.encoding = target.command->encoding;
    outer->begin(
        *new RoutedCall(state.context, target.route, *target.command, *target.stats, target.caller, outer->ear()),
        turned, std::move(opening));
    return handle;
  }
  auto* call = new RoutedCall(state.context, target.route, *target.command, *target.stats, target.caller, events);
  OutgoingHandle handle(call);
  if (written == start.encoding) {
    call->begin(start, std::move(opening));
  } else {
    CallStart plain = start;
    plain.encoding = written;
    call->begin(plain, std::move(opening));
  }
  return handle;
}

}  // namespace shunt::call
