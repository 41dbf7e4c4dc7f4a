#include "worker/direct_links.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shunt::worker {

namespace {

Status closed_by_us(std::string_view why) {
  return Status(Code::unavailable, "S1008", std::string(why)).with_retry(Retry::reconnect);
}

std::shared_ptr<const DirectCommands> read_commands(const wire::BrokerMessage& message) {
  auto commands = std::make_shared<DirectCommands>();
  for (auto& each : message.commands()) {
    DirectCommand command;
    command.name = std::move(each.name);
    command.timeout = Duration(static_cast<std::int64_t>(std::min<std::uint64_t>(each.timeout_ns, INT64_MAX)));
    command.effect = each.effect <= static_cast<std::uint8_t>(call::Effect::none)
                         ? static_cast<call::Effect>(each.effect)
                         : call::Effect::any;
    command.json = (each.flags & wire::BrokerCommand::json) != 0;
    command.proto = (each.flags & wire::BrokerCommand::proto) != 0;
    commands->push_back(std::move(command));
  }
  std::ranges::sort(*commands, {}, &DirectCommand::name);
  return commands;
}

}  // namespace

// --- Targets --------------------------------------------------------------------------------------------------------

void DirectTarget::on_open(const wire::Hello&) { open = true; }

void DirectTarget::on_closed(const Status&) {
  closed = true;
  open = false;
  route->links->bury_later();
}

void DirectTarget::on_goaway(std::string_view) { retiring = true; }

void DirectTarget::begin(call::IncomingHandle call, const call::Open&, call::Opening) {
  call->finish(Status(Code::unimplemented, "S1005", "this end of a direct link only calls"), {});
}

std::optional<std::uint32_t> DirectTarget::load() const {
  if (!open || retiring) return std::nullopt;
  if (!view) return in_flight;
  auto told = view->read();
  // Ours may be on their way still.
  told.running = std::max(told.running, in_flight);
  if (!told.has_room()) return std::nullopt;
  return told.running;
}

// --- Finding a way --------------------------------------------------------------------------------------------------

DirectLinks::~DirectLinks() { close_all(); }

void DirectLinks::close_all() {
  for (auto& route : routes_) {
    for (auto& target : route->targets) {
      if (!target->closed) target->link->close(closed_by_us("this worker has ended"));
    }
  }
}

DirectWay DirectLinks::find(const call::CallStart& start) {
  if (start.encoding == call::Encoding::proto_json) return {};
  Name* name = nullptr;
  if (last_named_ != nullptr && *last_named_ == start.service) {
    name = last_name_;
  } else {
    auto found = names_.find(start.service);
    if (found == names_.end()) {
      if (names_.size() >= options_.names_max) return {};
      found = names_.emplace(std::string(start.service), Name{}).first;
    }
    // Nodes of an unordered_map stay where they are.
    last_named_ = &found->first;
    last_name_ = name = &found->second;
  }
  DirectRoute* route = name->route;
  if (route == nullptr || route->withdrawn) {
    if (!name->asking && loop_.now() >= name->ask_at) ask(*last_named_, *name);
    return {};
  }
  route->used = loop_.now();
  const auto& commands = *route->commands;
  auto command = std::ranges::lower_bound(commands, start.command, {}, &DirectCommand::name);
  if (command == commands.end() || command->name != start.command) return {};
  if (start.encoding == call::Encoding::json ? !command->json : !command->proto) return {};
  if (start.hops >= call::hops_max) return {};

  DirectTarget* best = nullptr;
  std::uint32_t least = 0;
  const std::size_t count = route->targets.size();
  for (std::size_t i = 0; i < count; i++) {
    DirectTarget& target = *route->targets[(route->next + i) % count];
    auto load = target.load();
    if (!load || (best != nullptr && *load >= least)) continue;
    best = &target;
    least = *load;
  }
  route->next++;
  if (best == nullptr) return {};
  const auto index = static_cast<std::size_t>(command - commands.begin());
  if (best->counters.size() != commands.size()) best->counters.assign(commands.size(), nullptr);
  DirectCounter*& counter = best->counters[index];
  if (counter == nullptr) counter = &counts_.of(route->full_name, command->name, best->instance);
  return {best, route->commands, &*command, counter};
}

void DirectLinks::ask(const std::string& named, Name& name) {
  const std::uint64_t request = ++requests_;
  wire::BrokerMessage want(wire::BrokerVerb::want, request);
  want.add(wire::BrokerKey::named, named);
  if (!host_.tell_broker(want)) {
    put_off(name, Duration(0));
    return;
  }
  name.asking = true;
  asked_[request] = named;
}

void DirectLinks::put_off(Name& name, Duration at_least) {
  name.wait = std::clamp(name.wait * 2, options_.ask_again, options_.ask_again_max);
  name.ask_at = loop_.now() + std::max(name.wait, at_least);
}

// --- What the node says ---------------------------------------------------------------------------------------------

DirectRoute* DirectLinks::route_of(std::string_view full_name) {
  auto found = std::ranges::find_if(routes_, [&](auto& route) { return route->full_name == full_name; });
  return found == routes_.end() ? nullptr : found->get();
}

DirectTarget* DirectLinks::target_of(std::uint64_t id) {
  for (auto& route : routes_) {
    for (auto& target : route->targets) {
      if (target->id == id && !target->told) return target.get();
    }
  }
  return nullptr;
}

void DirectLinks::on_answer(const wire::BrokerMessage& message) {
  auto asked = asked_.extract(message.number);
  if (asked.empty()) return;
  auto found = names_.find(asked.mapped());
  if (found == names_.end()) return;
  Name& name = found->second;
  name.asking = false;
  const auto lifetime = Duration(std::chrono::milliseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(message.value(wire::BrokerKey::lifetime_ms), 3'600'000))));
  std::string_view service = message.text(wire::BrokerKey::service);
  if (!message.error().is_ok() || service.empty()) {
    put_off(name, lifetime);
    return;
  }
  name.wait = Duration(0);
  DirectRoute* route = route_of(service);
  if (route == nullptr) {
    routes_.push_back(make_own<DirectRoute>());
    route = routes_.back().get();
    route->links = this;
    route->full_name = service;
  }
  route->commands = read_commands(message);
  for (auto& target : route->targets) target->counters.clear();
  route->withdrawn = false;
  route->used = loop_.now();
  name.route = route;
  counted();  // The timer also looks for what is idle.
}

void DirectLinks::on_attach(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) {
  auto decline = [&] { host_.tell_broker(wire::BrokerMessage(wire::BrokerVerb::closed, message.number)); };
  DirectRoute* route = route_of(message.text(wire::BrokerKey::service));
  if (route == nullptr || route->withdrawn || open_links() >= options_.targets_max) return decline();
  auto target = make_own<DirectTarget>(*route);
  target->id = message.number;
  target->instance = message.text(wire::BrokerKey::instance);
  DirectEnd end;
  end.carrier = static_cast<wire::BrokerCarrier>(message.value(wire::BrokerKey::carrier));
  const std::size_t needed = end.carrier == wire::BrokerCarrier::ring ? 3 : 1;
  if (descriptors.size() < needed) return decline();
  if (descriptors.size() > needed) {
    if (auto view = call::LoadView::open(descriptors[needed])) target->view = std::move(*view);
    descriptors.resize(needed);
  }
  end.descriptors = std::move(descriptors);
  DirectPeer peer{wire::BrokerRole::caller, route->full_name};
  auto link = maker_.make_direct(std::move(end), peer, *target, *target, host_.direct_hello());
  if (!link) return decline();
  target->link = std::move(*link);
  route->targets.push_back(std::move(target));
}

void DirectLinks::close(DirectTarget& target, const Status& why) {
  if (!target.closed && target.link != nullptr) target.link->close(why);
}

void DirectLinks::withdraw(DirectRoute& route, Duration wait) {
  route.withdrawn = true;
  for (auto& [named, name] : names_) {
    if (name.route != &route) continue;
    name.route = nullptr;
    if (wait.count() > 0) put_off(name, wait);
  }
}

bool DirectLinks::on_revoke(std::uint64_t id, const Status& why) {
  DirectTarget* target = target_of(id);
  if (target == nullptr) return false;
  target->told = true;
  if (!why.is_ok()) withdraw(*target->route, options_.ask_again);
  close(*target, why.is_ok() ? closed_by_us("the node took the direct link back") : why);
  return true;
}

void DirectLinks::on_retire(std::uint64_t id) {
  DirectTarget* target = target_of(id);
  if (target == nullptr) return;
  target->retiring = true;
  if (target->in_flight == 0) close(*target, closed_by_us("the direct link is not needed any more"));
}

void DirectLinks::on_policy(const wire::BrokerMessage& message) {
  DirectTarget* target = target_of(message.number);
  if (target == nullptr) return;
  target->route->commands = read_commands(message);
  for (auto& each : target->route->targets) each->counters.clear();
}

void DirectLinks::on_broker_gone() {
  asked_.clear();
  for (auto& [named, name] : names_) {
    name.asking = false;
    name.route = nullptr;
    name.ask_at = {};
    name.wait = Duration(0);
  }
  for (auto& route : routes_) {
    route->withdrawn = true;
    for (auto& target : route->targets) {
      target->told = true;  // Its number means nothing to the next node.
      target->retiring = true;
      if (target->in_flight == 0) close(*target, closed_by_us("the node that made the direct link is gone"));
    }
  }
}

// --- Ends -----------------------------------------------------------------------------------------------------------

void DirectLinks::left(DirectTarget& target) {
  target.in_flight--;
  if (target.in_flight == 0 && (target.retiring || target.closed)) bury_later();
}

void DirectLinks::tell_counts() {
  for (auto& message : counts_.take()) host_.tell_broker(message);
}

void DirectLinks::fire() {
  tell_counts();
  bool busy = false;
  for (auto& route : routes_) {
    if (route->withdrawn && route->targets.empty()) continue;
    const bool idle = std::ranges::all_of(route->targets, [](auto& target) { return target->in_flight == 0; });
    if (route->withdrawn || !idle || loop_.now() - route->used < options_.idle) {
      busy = true;
      continue;
    }
    withdraw(*route, Duration(0));
    host_.tell_broker(wire::BrokerMessage(wire::BrokerVerb::done).add(wire::BrokerKey::service, route->full_name));
    for (auto& target : route->targets) {
      target->told = true;
      close(*target, closed_by_us("the direct link was idle"));
    }
  }
  if (busy) loop_.arm(*this, loop_.now() + options_.tell_every);
}

void DirectLinks::run() {
  for (auto& route : routes_) {
    for (std::size_t i = 0; i < route->targets.size(); i++) {
      DirectTarget& target = *route->targets[i];
      if (!target.closed && target.retiring && target.in_flight == 0) {
        close(target, closed_by_us("the direct link is not needed any more"));
      }
      // Calls that have not let go of it yet come back by left().
      if (!target.closed || target.in_flight > 0) continue;
      if (!target.told) host_.tell_broker(wire::BrokerMessage(wire::BrokerVerb::closed, target.id));
      Own<DirectTarget> dead = std::move(route->targets[i]);
      route->targets.erase(route->targets.begin() + static_cast<std::ptrdiff_t>(i--));
    }
    // All instances were lost: whether there are others is the node's to say, which attaches them by itself.
  }
}

bool DirectLinks::has_unsent() const {
  return std::ranges::any_of(routes_, [](auto& route) {
    return std::ranges::any_of(route->targets,
                               [](auto& target) { return !target->closed && target->link->has_unsent(); });
  });
}

std::size_t DirectLinks::open_links() const {
  std::size_t count = 0;
  for (auto& route : routes_) {
    count += static_cast<std::size_t>(std::ranges::count_if(route->targets, [](auto& each) { return !each->closed; }));
  }
  return count;
}

}  // namespace shunt::worker
