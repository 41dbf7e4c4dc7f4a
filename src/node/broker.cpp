#include "node/broker.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace shunt::node {

namespace {

/// A worker that was told no asks again after this.
constexpr std::uint64_t refused_for_ms = 5'000;
/// Of one service that a worker may call directly; beyond, it goes by the node. As many as a message has room for.
constexpr std::size_t commands_max = 512;
/// Services that one worker calls directly.
constexpr std::size_t interests_max = 256;

std::string_view carrier_name(wire::BrokerCarrier carrier) {
  return carrier == wire::BrokerCarrier::ring ? "shm" : "unix";
}

wire::BrokerCommand describe(const call::ServiceDefinition& service, const call::CommandDefinition& command) {
  wire::BrokerCommand told;
  told.name = command.name;
  const Duration timeout = command.timeout.count() > 0 ? command.timeout : service.timeout;
  told.timeout_ns = static_cast<std::uint64_t>(timeout.count());
  told.effect = static_cast<std::uint8_t>(command.effect);
  told.stream = static_cast<std::uint8_t>(command.stream);
  // What must be turned or checked on the way, a router does.
  const bool is_proto = command.encoding == call::Encoding::proto;
  const bool checked = command.transcoder != nullptr && command.transcoder->checks_json();
  told.flags = static_cast<std::uint8_t>((command.blocking ? wire::BrokerCommand::blocking : 0) |
                                         (is_proto ? wire::BrokerCommand::proto : 0) |
                                         (!is_proto && !checked ? wire::BrokerCommand::json : 0));
  return told;
}

void add_commands(wire::BrokerMessage& message, const std::vector<wire::BrokerCommand>& commands) {
  for (const auto& command : commands) message.add(command);
}

}  // namespace

Broker::Broker(Loops& loops, UserTokens& tokens, BrokerOptions options)
    : loops_(loops), tokens_(tokens), options_(options) {
  for (std::size_t i = 0; i < loops.all(); i++) {
    gates_.push_back(make_own<TokenGate>(loops.at(i).loop, loops.at(i).forwarder, tokens));
  }
  loops.control().router.watch(*this);
}

Broker::~Broker() {
  loops_.control().router.unwatch(*this);
  stop();
}

void Broker::stop() {
  direct_.clear();
  interests_.clear();
  counted_.clear();
  sessions_.clear();
}

const call::Routing& Broker::routing() const { return *loops_.control().router.routing(); }

void Broker::add(WorkerLinks& links, std::shared_ptr<pool::WorkerInstance> instance, BrokerTraits traits,
                 os::Fd socket) {
  traits.loops = loops_.all();
  const auto* key = instance.get();
  auto session = make_own<BrokerSession>(loops_.control().loop, static_cast<BrokerSessionOwner&>(*this), links,
                                         std::move(instance), std::move(traits), std::move(socket));
  if (!session->start()) return;
  sessions_[key] = std::move(session);
}

void Broker::remove(const pool::WorkerInstance& instance) {
  auto found = sessions_.find(&instance);
  if (found == sessions_.end()) return;
  // Whoever was linked to it sees the end of the link; this is the second witness.
  drop(*found->second, Tell::yes);
  sessions_.erase(found);
}

void Broker::on_session_gone(BrokerSession& session) {
  // The socket's end comes with the worker's; or the worker wants no more of this, and then others learn.
  drop(session, Tell::no);
  session.instance().set_why("over a unix socket: the worker closed its broker socket");
  sessions_.erase(&session.instance());
}

void Broker::drop(BrokerSession& session, Tell tell) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, direct] : direct_) {
    if (direct.caller == &session || direct.callee == &session) ids.push_back(id);
  }
  for (auto id : ids) {
    const bool calls = direct_.at(id).caller == &session;
    forget(id, calls ? tell : Tell::no, calls ? Tell::no : tell);
  }
  std::erase_if(interests_, [&](const auto& each) { return each.first.first == &session; });
  counted_.erase(&session);
}

void Broker::forget(std::uint64_t id, Tell callee, Tell caller) {
  auto found = direct_.find(id);
  if (found == direct_.end()) return;
  const wire::BrokerMessage revoke(wire::BrokerVerb::revoke, id);
  if (callee == Tell::yes) found->second.callee->send(revoke);
  if (caller == Tell::yes) found->second.caller->send(revoke);
  give_back(found->second.carrier);
  direct_.erase(found);
}

// --- Budget ---------------------------------------------------------------------------------------------------------

Result<void> Broker::reserve(wire::BrokerCarrier carrier) {
  const std::size_t bytes = worker_links::direct_bytes(carrier);
  if (links_count_ >= options_.links_max) {
    return fail(Code::resource_exhausted, fmt::format("the node has {} direct links, as many as it may", links_count_));
  }
  if (bytes_ + bytes > options_.bytes_max) {
    return fail(Code::resource_exhausted, fmt::format("direct links take {} MiB of the {} MiB of shared memory that "
                                                      "they may",
                                                      bytes_ >> 20, options_.bytes_max >> 20));
  }
  links_count_++;
  bytes_ += bytes;
  return {};
}

void Broker::give_back(wire::BrokerCarrier carrier) {
  links_count_--;
  bytes_ -= worker_links::direct_bytes(carrier);
}

// --- Who may --------------------------------------------------------------------------------------------------------

Result<std::vector<wire::BrokerCommand>> Broker::permitted(const BrokerSession& caller,
                                                           const call::Route& route) const {
  call::Principal principal;
  principal.kind = call::PrincipalKind::service;
  principal.service = caller.service();
  std::vector<wire::BrokerCommand> commands;
  Result<void> denied;
  for (const auto& [name, command] : route.definition->commands) {
    if (auto allowed = routing().permit(principal, route, name)) {
      commands.push_back(describe(*route.definition, command));
    } else if (denied) {
      denied = std::move(allowed);
    }
  }
  if (commands.empty() && !denied) return std::unexpected(denied.error());
  return commands;
}

// Those of its instances that can be linked to. None when one is nearer than any link of ours: a module in the node.
std::vector<BrokerSession*> Broker::targets(const BrokerSession& caller, const call::Route& route) const {
  std::vector<BrokerSession*> found;
  for (const auto& instance : route.instances) {
    if (instance->distance() == call::Distance::local) return {};
    auto session = sessions_.find(instance.get());
    if (session == sessions_.end() || session->second.get() == &caller) continue;
    if (instance->closed.load(std::memory_order_acquire)) continue;
    if (session->second->is_ready() && session->second->can(wire::broker_can::direct)) {
      found.push_back(session->second.get());
    }
  }
  if (found.size() > options_.targets_max) found.resize(options_.targets_max);
  return found;
}

void Broker::on_routing() {
  for (auto& [instance, session] : sessions_) {
    if (!session->is_ready()) continue;
    if (auto route = routing().routes.find(session->service()); route != routing().routes.end()) {
      session->greet(*route->second->definition);
    }
  }
  for (auto it = interests_.begin(); it != interests_.end();) {
    Interest& interest = it->second;
    auto route = routing().routes.find(interest.service);
    Status why;
    if (route == routing().routes.end()) {
      why = Status(Code::not_found, "S1002", fmt::format("there is no service '{}' any more", interest.service));
    } else if (auto commands = permitted(*interest.caller, *route->second); !commands) {
      why = commands.error();
    } else {
      if (*commands != interest.commands) {
        interest.commands = std::move(*commands);
        for (const auto& [id, direct] : direct_) {
          if (direct.interest != &interest) continue;
          wire::BrokerMessage policy(wire::BrokerVerb::policy, id);
          add_commands(policy, interest.commands);
          direct.callee->send(policy);
          direct.caller->send(policy);
        }
      }
      update(interest);
      ++it;
      continue;
    }
    revoke(interest, why);
    it = interests_.erase(it);
  }
}

// Calls that are open end with the reason; later ones go by the node, which says it too.
void Broker::revoke(const Interest& interest, const Status& why) {
  for (auto it = direct_.begin(); it != direct_.end();) {
    if (it->second.interest != &interest) {
      ++it;
      continue;
    }
    wire::BrokerMessage message(wire::BrokerVerb::revoke, it->first);
    message.add_error(why);
    // The caller first, so that it hears the reason and not that its callee is gone.
    it->second.caller->send(message);
    it->second.callee->send(message);
    give_back(it->second.carrier);
    it = direct_.erase(it);
  }
}

void Broker::update(Interest& interest) {
  auto route = routing().routes.find(interest.service);
  if (route == routing().routes.end()) return;
  auto wanted = targets(*interest.caller, *route->second);
  for (auto& [id, direct] : direct_) {
    if (direct.interest != &interest || direct.retiring) continue;
    if (std::erase(wanted, direct.callee) > 0) continue;
    direct.retiring = true;
    direct.caller->send(wire::BrokerMessage(wire::BrokerVerb::retire, id));
  }
  for (BrokerSession* callee : wanted) attach(interest, *callee);
}

void Broker::attach(Interest& interest, BrokerSession& callee) {
  BrokerSession& caller = *interest.caller;
  using wire::BrokerCarrier;
  auto carrier = caller.can_ring() && callee.can_ring() ? BrokerCarrier::ring : BrokerCarrier::stream;
  auto reserved = reserve(carrier);
  if (!reserved && carrier == BrokerCarrier::ring) reserved = reserve(carrier = BrokerCarrier::stream);
  if (!reserved) return;  // By the node.
  auto ends = worker_links::make_direct_ends(carrier);
  if (!ends && carrier == BrokerCarrier::ring) {
    give_back(carrier);
    carrier = BrokerCarrier::stream;
    if (!reserve(carrier)) return;
    ends = worker_links::make_direct_ends(carrier);
  }
  if (!ends) return give_back(carrier);
  const std::uint64_t id = next_link_id();
  direct_[id] = {.interest = &interest, .caller = &caller, .callee = &callee, .carrier = carrier};

  auto message = [&](wire::BrokerRole role, const BrokerSession& peer) {
    wire::BrokerMessage attach(wire::BrokerVerb::attach, id);
    attach.add_value(wire::BrokerKey::role, static_cast<std::uint64_t>(role));
    attach.add_value(wire::BrokerKey::carrier, static_cast<std::uint64_t>(carrier));
    attach.add(wire::BrokerKey::service, peer.service()).add(wire::BrokerKey::instance, peer.name());
    return attach;
  };
  auto to_callee = message(wire::BrokerRole::callee, caller);
  add_commands(to_callee, interest.commands);
  callee.send(to_callee, std::move(ends->acceptor.descriptors));
  auto descriptors = std::move(ends->dialler.descriptors);
  if (auto load = callee.share_load()) descriptors.push_back(std::move(*load));
  caller.send(message(wire::BrokerRole::caller, callee), std::move(descriptors));
}

// --- What workers say -----------------------------------------------------------------------------------------------

void Broker::on_session_ready(BrokerSession& session) {
  if (auto route = routing().routes.find(session.service()); route != routing().routes.end()) {
    session.greet(*route->second->definition);
  }
}

void Broker::on_session_message(BrokerSession& session, const wire::BrokerMessage& message) {
  switch (message.verb) {
    case wire::BrokerVerb::want:
      return on_want(session, message);
    case wire::BrokerVerb::verify:
      return on_verify(session, message);
    case wire::BrokerVerb::counts:
      return on_counts(session, message);
    case wire::BrokerVerb::closed:
      return on_closed(session, message.number);
    case wire::BrokerVerb::done: {
      auto found = interests_.find({&session, std::string(message.text(wire::BrokerKey::service))});
      if (found == interests_.end()) return;
      std::vector<std::uint64_t> ids;
      for (const auto& [id, direct] : direct_) {
        if (direct.interest == &found->second) ids.push_back(id);
      }
      for (auto id : ids) forget(id, Tell::no, Tell::no);
      interests_.erase(found);
      return;
    }
    default:
      return;  // Of a later version.
  }
}

void Broker::on_want(BrokerSession& session, const wire::BrokerMessage& message) {
  wire::BrokerMessage answer(wire::BrokerVerb::answer, message.number);
  auto refuse = [&](const Status& why) {
    answer.add_error(why).add_value(wire::BrokerKey::lifetime_ms, refused_for_ms);
    session.send(answer);
  };
  std::string app;
  if (auto self = routing().routes.find(session.service()); self != routing().routes.end()) {
    app = self->second->definition->app;
  }
  auto route = routing().resolve(message.text(wire::BrokerKey::named), app);
  if (!route) return refuse(route.error());
  auto commands = permitted(session, **route);
  if (!commands) return refuse(commands.error());
  const std::string& service = (*route)->definition->full_name;
  const auto by_node = [](std::string why) { return Status(Code::unavailable, "S1009", std::move(why)); };
  if (!session.can(wire::broker_can::direct) || targets(session, **route).empty()) {
    return refuse(by_node(fmt::format("{} has no instance that can be linked to; call it by the node", service)));
  }
  const auto key = std::pair(&session, service);
  const bool is_new = !interests_.contains(key);
  if (commands->empty() || commands->size() > commands_max || (is_new && interests_.size() >= interests_max * 16)) {
    return refuse(by_node(fmt::format("{} is called by the node", service)));
  }
  Interest& interest = interests_[key];
  interest.caller = &session;
  interest.service = service;
  interest.commands = std::move(*commands);
  answer.add(wire::BrokerKey::service, service);
  add_commands(answer, interest.commands);
  counted_[&session].insert(service);
  session.send(answer);
  update(interest);
}

void Broker::on_verify(BrokerSession& session, const wire::BrokerMessage& message) {
  wire::BrokerMessage answer(wire::BrokerVerb::answer, message.number);
  const std::int64_t now = ::time(nullptr);
  if (auto user = tokens_.verify(message.text(wire::BrokerKey::token), now)) {
    answer.add(wire::BrokerKey::user, user->user);
    answer.add_value(wire::BrokerKey::lifetime_ms, static_cast<std::uint64_t>(user->expires - now) * 1000);
  } else {
    answer.add_error(user.error());
  }
  session.send(answer);
}

void Broker::on_closed(BrokerSession& session, std::uint64_t id) {
  auto found = direct_.find(id);
  if (found == direct_.end() || (found->second.caller != &session && found->second.callee != &session)) return;
  forget(id, Tell::no, Tell::no);
}

// A worker counts what it called; it may tell of what it was let to call, and no more.
void Broker::on_counts(BrokerSession& session, const wire::BrokerMessage& message) {
  auto known = counted_.find(&session);
  if (known == counted_.end()) return;
  on_paths(session, message);
  for (const auto& count : message.counts()) {
    if (!known->second.contains(count.service) || count.code >= code_count) continue;
    auto route = routing().routes.find(count.service);
    if (route == routing().routes.end()) continue;
    route->second->stats->of(count.command)
        .merge(loops_.control().index, static_cast<Code>(count.code), count.calls, count.latency_ns_sum, count.latency);
    for (const auto& [key, callee] : sessions_) {
      if (callee->service() == count.service && callee->name() == count.instance) {
        callee->instance().served.fetch_add(count.calls, std::memory_order_relaxed);
      }
    }
  }
}

// What was measured of the way to each instance, at the distance that its links have now.
void Broker::on_paths(const BrokerSession& session, const wire::BrokerMessage& message) {
  if (routing().paths == nullptr) return;
  const auto& known = counted_.at(const_cast<BrokerSession*>(&session));
  for (const auto& path : message.paths()) {
    auto counts = call::PathCounts::decode(path.counts);
    if (!counts || !known.contains(path.service)) continue;
    auto distance = call::Distance::unix_;
    for (const auto& [id, direct] : direct_) {
      if (direct.caller == &session && direct.callee->name() == path.instance &&
          direct.carrier == wire::BrokerCarrier::ring) {
        distance = call::Distance::shm;
      }
    }
    routing().paths->merge(
        {.caller = session.service(), .callee = path.service, .instance = path.instance, .distance = distance},
        *counts);
  }
}

std::vector<DirectLinkReport> Broker::report() const {
  std::vector<DirectLinkReport> links;
  for (const auto& [id, direct] : direct_) {
    links.push_back({.caller = direct.caller->service(),
                     .caller_instance = direct.caller->name(),
                     .callee = direct.callee->service(),
                     .callee_instance = direct.callee->name(),
                     .over = std::string(carrier_name(direct.carrier))});
  }
  return links;
}

}  // namespace shunt::node
