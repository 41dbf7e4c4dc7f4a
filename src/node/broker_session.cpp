#include "node/broker_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "node/worker_links.h"

namespace shunt::node {

namespace {
/// After a way has closed: long enough that what breaks it each time does not eat the node.
constexpr Duration retry_first = std::chrono::seconds(1);
constexpr Duration retry_max = std::chrono::minutes(5);
}  // namespace

BrokerSession::BrokerSession(loop::EpollLoop& loop, BrokerSessionOwner& owner, WorkerLinks& links,
                             std::shared_ptr<pool::WorkerInstance> instance, BrokerTraits traits, os::Fd socket)
    : loop_(loop),
      owner_(owner),
      links_(links),
      instance_(std::move(instance)),
      traits_(std::move(traits)),
      ways_(traits_.loops),
      alive_(std::make_shared<BrokerSession*>(this)),
      socket_(std::move(socket), *this) {}

BrokerSession::~BrokerSession() {
  for (const Way& way : ways_) {
    if (way.state == Way::State::open) owner_.give_back(way.carrier);
  }
}

Result<void> BrokerSession::start() {
  say_why("over a unix socket: the worker has not said that it can do more");
  return socket_.start(loop_);
}

void BrokerSession::say_why(std::string why) {
  instance_->set_why(std::move(why));
  owner_.on_distance_change();
}

std::optional<os::Fd> BrokerSession::share_load() const {
  if (!load_fd_) return std::nullopt;
  auto copy = load_fd_.duplicate();
  if (!copy) return std::nullopt;
  return std::move(*copy);
}

void BrokerSession::greet(const call::ServiceDefinition& definition) {
  wire::BrokerMessage greeting(wire::BrokerVerb::greeting);
  for (const auto& [name, command] : definition.commands) {
    if (command.blocking) greeting.add(wire::BrokerCommand{.name = name, .flags = wire::BrokerCommand::blocking});
  }
  auto bytes = greeting.encode();
  if (!bytes || *bytes == told_definition_) return;
  told_definition_ = std::move(*bytes);
  socket_.send(greeting);
}

void BrokerSession::on_broker(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) {
  if (message.verb == wire::BrokerVerb::hello) return take_hello(message, std::move(descriptors));
  if (!greeted_by_) return;
  if (message.verb == wire::BrokerVerb::closed) {
    for (std::size_t i = 0; i < ways_.size(); i++) {
      if (ways_[i].id != message.number || ways_[i].state != Way::State::open) continue;
      // Its end over there has closed, or was never opened; ours may not have heard.
      instance_->close_direct(i, Status(Code::unavailable, "S1008", "the worker closed its end of the shared memory")
                                     .with_retry(Retry::reconnect));
      return;
    }
  }
  owner_.on_session_message(*this, message);
}

void BrokerSession::on_broker_gone() { owner_.on_session_gone(*this); }

void BrokerSession::take_hello(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) {
  if (std::exchange(greeted_by_, true)) return;
  can_ = message.value(wire::BrokerKey::can);
  if (!descriptors.empty()) {
    if (auto view = call::LoadView::open(descriptors[0])) {
      // Owners: the instance, for as long as somebody asks it.
      instance_->set_load(std::make_shared<const call::LoadView>(std::move(*view)));
      load_fd_ = std::move(descriptors[0]);
    }
  }
  owner_.on_session_ready(*this);
  open_ways();
}

void BrokerSession::open_ways() {
  if (!traits_.wants_rings) return say_why("over a unix socket: its manifest says \"link\": \"unix\"");
  if (!can(wire::broker_can::ring)) {
    return say_why("over a unix socket: the worker's SDK does not know shared memory; a newer one does");
  }
  for (std::size_t i = 0; i < ways_.size(); i++) open_way(i);
}

void BrokerSession::open_way(std::size_t loop_index) {
  Way& way = ways_[loop_index];
  constexpr auto carrier = wire::BrokerCarrier::ring;
  auto later = [&](std::string_view why) {
    put_off(way);
    say_why(fmt::format("over a unix socket: {}; tried again in {}", why, format_duration(way.wait)));
  };
  if (auto room = owner_.reserve(carrier); !room) return later(room.error().message());
  auto ends = worker_links::make_direct_ends(carrier);
  if (!ends) {
    owner_.give_back(carrier);
    return later(fmt::format("no shared memory is to be had ({})", ends.error().message()));
  }
  way.state = Way::State::open;
  way.id = owner_.next_link_id();
  way.carrier = carrier;
  wire::BrokerMessage attach(wire::BrokerVerb::attach, way.id);
  attach.add_value(wire::BrokerKey::role, static_cast<std::uint64_t>(wire::BrokerRole::node));
  attach.add_value(wire::BrokerKey::carrier, static_cast<std::uint64_t>(carrier));
  attach.add_value(wire::BrokerKey::loop, loop_index);
  if (!socket_.send(attach, std::move(ends->acceptor.descriptors))) {
    way.state = Way::State::none;
    owner_.give_back(carrier);
    return;
  }
  instance_->make_direct(
      loop_index, true,
      [&links = links_, loop_index, end = std::move(ends->dialler)](pool::WorkerLinkEvents& events) mutable {
        return links.make_direct_link(loop_index, std::move(end), events);
      },
      [weak = std::weak_ptr(alive_), loop_index, id = way.id](Status why) {
        if (auto alive = weak.lock()) (*alive)->on_way_ended(loop_index, id, why);
      });
  say_why("over shared memory");
}

void BrokerSession::on_way_ended(std::size_t loop_index, std::uint64_t id, const Status& why) {
  Way& way = ways_[loop_index];
  if (way.id != id || way.state != Way::State::open) return;
  owner_.give_back(way.carrier);
  put_off(way);
  say_why(fmt::format("over a unix socket: the shared memory was closed ({}); tried again in {}", why.message(),
                      format_duration(way.wait)));
}

void BrokerSession::put_off(Way& way) {
  way.state = Way::State::waiting;
  way.wait = std::clamp(way.wait * 2, retry_first, retry_max);
  way.retry_at = loop_.refresh_now() + way.wait;
  arm();
}

void BrokerSession::arm() {
  Deadline next = Deadline::never();
  for (const Way& way : ways_) {
    if (way.state == Way::State::waiting) next = earlier(next, Deadline(way.retry_at));
  }
  if (!next.is_never()) loop_.arm(*this, next.at());
}

void BrokerSession::fire() {
  for (std::size_t i = 0; i < ways_.size(); i++) {
    if (ways_[i].state == Way::State::waiting && ways_[i].retry_at <= loop_.now()) open_way(i);
  }
  arm();
}

}  // namespace shunt::node
