#include "node/peers/peers.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/names.h"

#include "base/version.h"
#include "directory/news.h"
#include "node/peers/peer_contract.h"
#include "node/peers/peer_target.h"
#include "os/file.h"
#include "os/random.h"

namespace shunt::node {

using directory::RecordState;

namespace {

constexpr std::size_t key_bytes_min = 16;
constexpr std::size_t key_bytes_max = 4096;
constexpr Duration follow_pause = std::chrono::milliseconds(200);
/// How often a watch looks whether its caller is still there.
constexpr Duration watch_pause = std::chrono::seconds(5);
const call::Principal node_principal{.kind = call::PrincipalKind::node, .service = {}, .user = {}, .token = {}};

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// How many calls a service takes at once here, for others to know when to spare it; 0: no limit, or not known yet.
std::uint32_t capacity_of(const call::Route& route) {
  std::uint32_t sum = 0;
  for (const auto& instance : route.instances) {
    const std::uint32_t its = instance->capacity.load(std::memory_order_relaxed);
    if (its == 0) return 0;
    sum += its;
  }
  return sum;
}

Result<std::string> read_key(const std::string& path) {
  const auto wrong = [&](std::string_view what) {
    return fail(Code::failed_precondition, "S5065", fmt::format("--peer-key {}: {}", path, what));
  };
  auto text = os::read_file(path, key_bytes_max);
  if (!text) return wrong(text.error().message());
  struct stat about{};
  if (::stat(path.c_str(), &about) == 0 && (about.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    return wrong("every user of this machine may read it; chmod o= it");
  }
  const std::string_view key = trimmed(*text);
  if (key.size() < key_bytes_min) return wrong(fmt::format("a key has at least {} characters", key_bytes_min));
  return std::string(key);
}

/// Kept over restarts, so that others know the node again.
std::string node_id(const std::string& data) {
  const std::string path = data + "/node.id";
  if (auto kept = os::read_file(path, 100)) {
    const std::string_view id = trimmed(*kept);
    const bool is_hex =
        std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    if (id.size() == 32 && is_hex) return std::string(id);
  }
  std::string id = os::random_hex(16);
  (void)os::write_file(path, id + "\n", 0600);
  return id;
}

}  // namespace

/// While it stands, the event is set by each change of the directory.
class Peers::Watching {
 public:
  explicit Watching(Peers& peers) : changed(peers.control_), peers_(peers) { peers_.watchings_.push_back(this); }
  ~Watching() { std::erase(peers_.watchings_, this); }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;
  loop::Event changed;
  std::uint64_t told = 0;  ///< The revision that the peer was told.

 private:
  Peers& peers_;
};

Peers::Peers(Loops& loops, PeersOptions options, Say say, std::function<void()> changed)
    : loops_(loops),
      control_(loops.control().loop),
      options_(std::move(options)),
      say_(std::move(say)),
      changed_(std::move(changed)),
      service_(control_),
      book_(loops),
      scope_(control_) {
  service_.add("watch", [this](call::ServerCall& call) { return watch(call); });
  service_link_ = link::LocalLink::create(control_, service_);
  own_lease_ = directory_.grant();
  directory_.watch(*this);
}

Peers::~Peers() {
  *alive_ = false;
  scope_.cancel();
  parts_.clear();
  peers_.clear();
  directory_.unwatch(*this);
}

Result<Own<Peers>> Peers::create(Loops& loops, const UserTokens& tokens, PeersOptions options, Say say,
                                 std::function<void()> changed) {
  auto peers = Own<Peers>(new Peers(loops, std::move(options), std::move(say), std::move(changed)));
  SHUNT_CHECK(peers->read_options());
  peers->make_parts(tokens);
  return peers;
}

Result<void> Peers::read_options() {
  self_.id = node_id(options_.data);
  self_.name = options_.node_name.empty() ? os::host_name() : options_.node_name;
  self_.epoch = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  self_.software = fmt::format("shunt {}", version);
  if (!options_.key_file.empty()) {
    SHUNT_TRY(key_, read_key(options_.key_file));
  }
  std::shared_ptr<const net::TlsContext> tls;
  for (const std::string& url : options_.urls) {
    auto dial = make_own<Dial>();
    SHUNT_TRY(const PeerAddress parsed, parse_peer(url));
    dial->target.url = url;
    dial->target.address = parsed.address;
    if (parsed.tls) {
      if (tls == nullptr) {
        SHUNT_TRY(tls, peer_tls(options_.ca_file, options_.certificate_file, options_.certificate_key_file));
      }
      dial->target.tls = tls;
    }
    dial->loops.resize(loops_.serving());
    dials_.push_back(std::move(dial));
  }
  return {};
}

void Peers::make_parts(const UserTokens& tokens) {
  const auto at_home = [this, alive = std::weak_ptr(alive_)](loop::Closure closure) {
    control_.post([alive, closure = std::move(closure)]() mutable {
      if (auto still = alive.lock(); still != nullptr && *still) closure();
    });
  };
  for (std::size_t i = 0; i < loops_.serving(); i++) {
    auto& routing = loops_.at(i);
    auto part = make_own<Part>();
    call::Link* home = service_link_.get();
    part->door = make_own<PeerDoor>(
        routing,
        link::CrossLoopLink::create(routing.loop, control_,
                                    [home, alive = std::weak_ptr(alive_)] { return alive.expired() ? nullptr : home; }),
        tokens);
    PeerAcceptor::Told told;
    told.changed = [this, at_home](const link::NodeIdentity& peer, bool) { at_home([this, peer] { look_at(peer); }); };
    told.refused = [this, at_home](const Status& why) {
      at_home([this, text = why.to_string()] { say_("warning", text); });
    };
    part->acceptor = make_own<PeerAcceptor>(routing, self_, key_, *part->door, book_, std::move(told));
    for (std::size_t d = 0; d < dials_.size(); d++) {
      part->diallers.push_back(make_own<PeerDialler>(
          routing, dials_[d]->target, self_, key_, *part->door, book_, options_.times,
          [this, at_home, d, i](const DialState& state) { at_home([this, d, i, state] { on_dial(d, i, state); }); }));
    }
    parts_.push_back(std::move(part));
  }
}

void Peers::start() {
  if (std::exchange(started_, true)) return;
  for (std::size_t i = 0; i < parts_.size(); i++) {
    for (auto& dialler : parts_[i]->diallers) loops_.at(i).loop.post([one = dialler.get()] { one->start(); });
  }
}

// --- What this node tells ---

void Peers::offer(const call::Routing& local) {
  auto mine = std::make_shared<call::Routing>(local);
  mine->from_peers = true;
  mine->routes.clear();
  std::set<std::string> offered;
  for (const auto& [name, route] : local.routes) {
    // One that has not said yet what it is, nobody could call.
    if (is_reserved_service(name) || (route->instances.empty() && route->definition->commands.empty())) continue;
    // Whoever called from there has seen to the placement.
    auto here = std::make_shared<call::Route>(*route);
    if (!route->definition->placement.is_free()) {
      auto definition = std::make_shared<call::ServiceDefinition>(*route->definition);
      definition->placement = {};
      here->definition = std::move(definition);
    }
    mine->routes[name] = std::move(here);

    const auto& contract = route->definition->contract;
    auto& [kept, proto] = proto_parts_[contract.get()];
    if (kept != contract) proto = proto_part(*route->definition);
    kept = contract;
    directory::Record record;
    record.node = self_.id;
    record.service = name;
    record.epoch = self_.epoch;
    record.definition = directory::write_definition(*route->definition, proto);
    record.hash = directory::definition_hash(record.definition);
    record.lease = own_lease_.id;
    const bool open = std::ranges::any_of(route->instances, [](const auto& one) { return !one->closed.load(); });
    record.state = draining_ ? RecordState::draining : open ? RecordState::ready : RecordState::starting;
    record.capacity = capacity_of(*route);
    if (std::exchange(own_hashes_[name], record.hash) != record.hash) {
      for (const auto& [id, peer] : peers_) {
        const auto there = peer->services.find(name);
        if (there != peer->services.end()) compare(name, record.hash, peer->identity.name, there->second.hash);
      }
    }
    offered.insert(name);
    if (auto put = directory_.put(std::move(record), directory::any_revision); !put) {
      say_("error", put.error().to_string());
    }
  }
  for (auto it = own_hashes_.begin(); it != own_hashes_.end();) {
    if (offered.contains(it->first)) {
      ++it;
      continue;
    }
    (void)directory_.remove(self_.id, it->first, directory::any_revision);
    it = own_hashes_.erase(it);
  }
  std::erase_if(proto_parts_, [](const auto& entry) { return entry.second.first.use_count() == 1; });
  for (std::size_t i = 0; i < parts_.size(); i++) {
    loops_.at(i).loop.post([door = parts_[i]->door.get(), mine]() mutable { door->install(std::move(mine)); });
  }
}

void Peers::on_directory() {
  for (Watching* watching : watchings_) watching->changed.set();
}

loop::Task<Status> Peers::watch(call::ServerCall& call) {
  if (call.principal().kind != call::PrincipalKind::node) {
    co_return Status(Code::permission_denied, "S1010", "only nodes call the directory");
  }
  Watching watching(*this);
  std::shared_ptr<const directory::Snapshot> told;
  while (!call.cancelled()) {
    auto now = directory_.snapshot();
    for (auto& message : directory::write_news(self_.id, self_.epoch, told.get(), *now)) {
      if (!co_await call.send(call::Message(Bytes::adopt(std::move(message))))) co_return Status();
    }
    watching.told = now->revision;
    told = std::move(now);
    if (directory_.snapshot()->revision != told->revision) continue;
    co_await watching.changed.wait(Deadline::after(control_.now(), watch_pause));
  }
  co_return Status();
}

// --- What others tell ---

Peers::Peer& Peers::meet(const link::NodeIdentity& identity) {
  auto& found = peers_[identity.id];
  if (found == nullptr) {
    found = make_own<Peer>(control_);
    found->links = book_.of(identity.id);
    found->identity = identity;
    found->lease = directory_.grant();
  } else if (identity.epoch >= found->identity.epoch) {
    found->identity = identity;
  }
  return *found;
}

// A link to it has opened or closed.
void Peers::look_at(const link::NodeIdentity& identity) {
  Peer& peer = meet(identity);
  const bool open = peer.links->is_open();
  if (std::exchange(peer.open, open) != open) {
    say_("info", fmt::format("node {} is {}", peer.identity.name, open ? "reached" : "not reached any more"));
    changed_();
  }
  peer.changed.set();
  if (open && !std::exchange(peer.following, true)) scope_.spawn(follow(peer));
}

loop::Task<void> Peers::follow(Peer& peer) {
  for (;;) {
    while (!peer.links->is_open()) co_await peer.changed.wait();
    Status ended = co_await listen_to(peer);
    peer.telling_whole = false;
    if (!ended.is_ok()) peer.last_error = ended.to_string();
    look_at(link::NodeIdentity(peer.identity));
    co_await loop::sleep_for(control_, follow_pause);
  }
}

loop::Task<Status> Peers::listen_to(Peer& peer) {
  call::Link* link = peer.links->link(loops_.control().index);
  if (link == nullptr) co_return Status(Code::unavailable, "S1008", "no link is open");
  const call::Open open{.service = directory_service, .command = "watch", .principal = &node_principal};
  call::ClientCall call(control_, *link, open, call::Opening::unary(call::Message(Bytes::copy_of("{}"))));
  while (auto message = co_await call.receive()) {
    const Bytes text = message->bytes();
    if (auto taken = take(peer, text.view()); !taken) {
      say_("warning", fmt::format("node {}: {}", peer.identity.name, taken.error().to_string()));
      co_return std::move(taken).error();
    }
  }
  co_return call.status();
}

Result<void> Peers::take(Peer& peer, std::string_view message) {
  SHUNT_TRY(auto news, directory::read_news(message));
  if (news.node != peer.identity.id) {
    return fail(Code::invalid_argument, "S5068", "it tells what another node serves");
  }
  if (news.whole) {
    peer.telling_whole = true;
    peer.told.clear();
  }
  for (auto& record : news.put) {
    if (peer.telling_whole) peer.told.insert(record.service);
    const std::string service = record.service;
    if (auto done = put(peer, std::move(record)); !done) {
      // One that can't be understood does not cost the others.
      say_("warning", fmt::format("{} of node {}: {}", service, peer.identity.name, done.error().to_string()));
    }
  }
  for (const auto& service : news.gone) drop(peer, service);
  if (peer.telling_whole && !news.more) {
    peer.telling_whole = false;
    peer.whole = true;
    std::vector<std::string> stale;
    for (const auto& [name, service] : peer.services) {
      if (!peer.told.contains(name)) stale.push_back(name);
    }
    for (const auto& name : stale) drop(peer, name);
  }
  peer.last_error.clear();
  changed_();
  return {};
}

Result<void> Peers::put(Peer& peer, directory::Record record) {
  auto found = peer.services.find(record.service);
  if (!record.definition.empty()) {
    if (directory::definition_hash(record.definition) != record.hash) {
      return fail(Code::invalid_argument, "S5068", "the definition is not the one that its hash says");
    }
    SHUNT_TRY(auto travelled, directory::read_definition(record.definition));
    if (travelled.definition.full_name != record.service || is_reserved_service(record.service)) {
      return fail(Code::invalid_argument, "S5068", fmt::format("'{}' is not its name", travelled.definition.full_name));
    }
    if (auto given = give_contract(travelled); !given) {
      say_("warning", fmt::format("{} of node {} has no protobuf view here: {}", record.service, peer.identity.name,
                                  given.error().to_string()));
    }
    if (found == peer.services.end()) {
      found = peer.services.emplace(record.service, Service{}).first;
      found->second.instance =
          std::make_shared<PeerInstance>(peer.links, fmt::format("{}@{}", record.service, peer.identity.name));
    }
    found->second.hash = record.hash;
    found->second.definition = std::make_shared<const call::ServiceDefinition>(std::move(travelled.definition));
    if (const auto own = own_hashes_.find(record.service); own != own_hashes_.end()) {
      compare(record.service, own->second, peer.identity.name, record.hash);
    }
  }
  if (found == peer.services.end() || found->second.hash != record.hash) {
    return fail(Code::invalid_argument, "S5068", "its definition was never told");
  }
  Service& service = found->second;
  service.state = record.state;
  // At once, on every loop: a routing takes its time.
  service.instance->capacity.store(record.capacity, std::memory_order_relaxed);
  service.instance->closed.store(record.state != RecordState::ready, std::memory_order_release);
  record.lease = peer.lease.id;
  if (record.definition.empty()) {
    const auto* old = directory_.snapshot()->find(record.node, record.service);
    if (old != nullptr) record.definition = old->definition;
  }
  auto put = directory_.put(std::move(record), directory::any_revision);
  if (!put) return std::unexpected(std::move(put).error());
  return {};
}

void Peers::drop(Peer& peer, const std::string& service) {
  const auto found = peer.services.find(service);
  if (found == peer.services.end()) return;
  found->second.instance->closed.store(true, std::memory_order_release);
  peer.services.erase(found);
  (void)directory_.remove(peer.identity.id, service, directory::any_revision);
}

void Peers::compare(const std::string& service, const std::string& here, const std::string& there,
                    const std::string& there_hash) {
  if (here == there_hash || !compared_.insert(fmt::format("{} {} {}", service, here, there_hash)).second) return;
  say_("warning", fmt::format("{} is defined in two ways: {} on this node, {} on node {}; calls reach both", service,
                              here, there_hash, there));
}

// --- Routing ---

std::string Peers::why_absent(const Peer& peer, const Service& service) const {
  if (!peer.links->is_open()) {
    return fmt::format("node {} is not reached{}", peer.identity.name,
                       peer.last_error.empty() ? "" : ": " + peer.last_error);
  }
  return fmt::format("it is {} on node {}", directory::state_name(service.state), peer.identity.name);
}

void Peers::merge(call::Routing& routing) {
  // What a service is, one that is ready says before one that starts.
  for (const bool ready : {true, false}) {
    for (const auto& [id, peer] : peers_) {
      for (const auto& [name, service] : peer->services) {
        if ((peer->open && service.state == RecordState::ready) == ready) merge(routing, *peer, name, service);
      }
    }
  }
}

void Peers::merge(call::Routing& routing, const Peer& peer, const std::string& name, const Service& service) {
  auto route = std::make_shared<call::Route>();
  const auto found = routing.routes.find(name);
  if (found != routing.routes.end()) *route = *found->second;
  // Here it has not said yet what it is.
  const bool unknown =
      route->definition == nullptr || (route->instances.empty() && route->definition->commands.empty());
  if (unknown) {
    route->definition = service.definition;
    route->stats = stats_of(name, service);
    if (service.state != RecordState::ready || !peer.open) route->why_absent = why_absent(peer, service);
  }
  route->instances.push_back(service.instance);
  route->arrange();
  routing.routes[name] = std::move(route);
}

std::shared_ptr<call::ServiceStats> Peers::stats_of(const std::string& name, const Service& service) {
  auto& [hash, stats] = stats_[name];
  if (stats != nullptr && hash == service.hash) return stats;
  hash = service.hash;
  stats = std::make_shared<call::ServiceStats>();
  for (const auto& [command, definition] : service.definition->commands) {
    stats->commands[command] = std::make_unique<call::CommandStats>(loops_.all());
  }
  return stats;
}

// --- Dialling, and the end ---

void Peers::on_dial(std::size_t dial, std::size_t loop_index, const DialState& state) {
  DialState& kept = dials_[dial]->loops[loop_index];
  const bool was_open = kept.open;
  const std::string was_wrong = kept.last_error;
  kept = state;
  // The first loop speaks for all.
  if (loop_index == 0 && !state.open && !state.last_error.empty() && state.last_error != was_wrong) {
    say_("warning", fmt::format("peer {}: {}", dials_[dial]->target.url, state.last_error));
  }
  if (!state.peer.id.empty() && !state.hopeless && was_open != state.open) look_at(state.peer);
}

std::vector<module::PeerReport> Peers::report() const {
  std::vector<module::PeerReport> all;
  std::set<std::string> dialled;
  const auto fill = [&](module::PeerReport& to, const Peer& peer) {
    to.name = peer.identity.name;
    to.node = peer.identity.id;
    to.software = peer.identity.software;
    to.links = peer.links->open_loops();
    for (const auto& [name, service] : peer.services) {
      to.services.push_back(name);
      to.in_flight += service.instance->in_flight.load();
      to.served += service.instance->served.load();
    }
    const bool draining = !peer.services.empty() && std::ranges::all_of(peer.services, [](const auto& entry) {
      return entry.second.state == RecordState::draining;
    });
    to.state = !peer.links->is_open() ? "lost" : draining ? "draining" : "ready";
    if (to.last_error.empty()) to.last_error = peer.last_error;
  };
  for (const auto& dial : dials_) {
    module::PeerReport one;
    one.address = dial->target.url;
    one.state = "connecting";
    std::string id;
    for (const DialState& state : dial->loops) {
      if (!state.peer.id.empty()) id = state.peer.id;
      if (!state.last_error.empty() && (one.last_error.empty() || !state.open)) one.last_error = state.last_error;
      if (state.open && state.round_trip.count() > 0) {
        const double us = static_cast<double>(state.round_trip.count()) / 1000;
        one.round_trip_us = one.round_trip_us == 0 ? us : std::min(one.round_trip_us, us);
      }
      if (state.hopeless) one.state = "itself";
    }
    if (const auto found = peers_.find(id); found != peers_.end() && one.state != "itself") {
      dialled.insert(id);
      fill(one, *found->second);
    }
    all.push_back(std::move(one));
  }
  for (const auto& [id, peer] : peers_) {
    if (dialled.contains(id)) continue;
    module::PeerReport one;
    fill(one, *peer);
    all.push_back(std::move(one));
  }
  return all;
}

loop::Task<void> Peers::say_draining(Duration limit) {
  draining_ = true;
  for (const auto& [name, hash] : own_hashes_) {
    const auto* old = directory_.snapshot()->find(self_.id, name);
    if (old == nullptr) continue;
    directory::Record record = *old;
    record.state = RecordState::draining;
    (void)directory_.put(std::move(record), directory::any_revision);
  }
  const Deadline deadline = Deadline::after(control_.refresh_now(), limit);
  const auto all_told = [&] {
    return std::ranges::all_of(watchings_,
                               [&](const Watching* each) { return each->told >= directory_.snapshot()->revision; });
  };
  const bool anybody = !watchings_.empty();
  while (!all_told() && !deadline.passed(control_.now())) {
    co_await loop::sleep_for(control_, std::chrono::milliseconds(2));
  }
  // Told is not heard: what they send before they have is still welcome for as long as a way takes.
  if (anybody) co_await loop::sleep_for(control_, std::min(limit, Duration(std::chrono::milliseconds(100))));
}

loop::Task<void> Peers::stop(Deadline deadline) {
  loop::Scope all(control_);
  for (std::size_t i = 0; i < parts_.size(); i++) {
    for (auto& dialler : parts_[i]->diallers) {
      all.spawn(loops_.run_task_on(i, [one = dialler.get(), deadline] { return one->stop(deadline); }));
    }
  }
  co_await all.join();
  scope_.cancel();
}

}  // namespace shunt::node
