// What the host does with its broker socket: direct links that the node makes, tokens that it asks about, its load for others
// to see.

#include <fmt/format.h>

#include "os/socket.h"
#include "worker/host_state.h"

namespace shunt::worker {

namespace {
/// Tokens that are asked about at once; calls with others go by the node meanwhile.
constexpr std::size_t verifying_max = 256;
/// Direct links from other workers at once; what the node offers beyond is declined.
constexpr std::size_t gates_max = 1024;
/// How long a token that is not good is remembered.
constexpr Duration refused_for = std::chrono::seconds(10);

std::set<std::string, std::less<>> names_of(const wire::BrokerMessage& message, std::uint8_t flags_wanted = 0) {
  std::set<std::string, std::less<>> names;
  for (auto& command : message.commands()) {
    if ((command.flags & flags_wanted) == flags_wanted) names.insert(std::move(command.name));
  }
  return names;
}

Status taken_back() {
  return Status(Code::unavailable, "S1008", "the node took the direct link back").with_retry(Retry::reconnect);
}
}  // namespace

// --- The socket -----------------------------------------------------------------------------------------------------

Result<void> WorkerHost::State::open_broker(os::Fd socket) {
  if (!socket || maker.can() == 0) return {};
  broker = make_own<BrokerSocket>(std::move(socket), *this);
  SHUNT_CHECK(broker->start(loop));
  wire::BrokerMessage greeting(wire::BrokerVerb::hello);
  greeting.add_value(wire::BrokerKey::can, maker.can()).add_value(wire::BrokerKey::pid, hello().pid);
  std::vector<os::Fd> descriptors;
  // Without a page it is called directly all the same: callers then know only their own calls.
  if (!load_page) {
    if (auto page = call::LoadPage::create()) load_page = std::move(*page);
  }
  if (load_page) {
    publish_load();
    if (auto copy = load_page->share()) descriptors.push_back(std::move(*copy));
  }
  broker->send(greeting, std::move(descriptors));
  return {};
}

wire::Hello WorkerHost::State::direct_hello() const {
  wire::Hello greeting = hello();
  greeting.definition.clear();
  return greeting;
}

void WorkerHost::State::on_broker_gone() {
  broker = nullptr;
  verifying.clear();
  drain_gates();
  direct.on_broker_gone();
}

// Nobody can take these links back any more, so they end with the calls that are open.
void WorkerHost::State::drain_gates() {
  for (auto& link : links) {
    if (link->is_to_node()) continue;
    link->id = 0;
    link->gate->draining = true;
  }
}

WorkerHost::HostLink* WorkerHost::State::brokered(std::uint64_t id) {
  auto found = std::ranges::find_if(links, [&](auto& link) { return link->id == id && !link->closed; });
  return id == 0 || found == links.end() ? nullptr : found->get();
}

void WorkerHost::State::on_broker(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) {
  switch (message.verb) {
    case wire::BrokerVerb::greeting:
      blocking_commands = names_of(message, wire::BrokerCommand::blocking);
      break;
    case wire::BrokerVerb::attach:
      attach(message, std::move(descriptors));
      break;
    case wire::BrokerVerb::revoke:
      if (direct.on_revoke(message.number, message.error())) break;
      if (HostLink* link = brokered(message.number)) {
        link->id = 0;  // The node knows.
        link->link->close(message.error().is_ok() ? taken_back() : message.error());
      }
      break;
    case wire::BrokerVerb::retire:
      direct.on_retire(message.number);
      break;
    case wire::BrokerVerb::policy:
      direct.on_policy(message);
      if (HostLink* link = brokered(message.number); link != nullptr && link->gate) {
        link->gate->commands = names_of(message);
      }
      break;
    case wire::BrokerVerb::answer:
      take_answer(message);
      break;
    default:
      break;  // Of a later version.
  }
}

void WorkerHost::State::attach(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) {
  auto role = static_cast<wire::BrokerRole>(message.value(wire::BrokerKey::role));
  if (role == wire::BrokerRole::caller) return direct.on_attach(message, std::move(descriptors));

  auto decline = [&] { tell_broker(wire::BrokerMessage(wire::BrokerVerb::closed, message.number)); };
  if ((role != wire::BrokerRole::node && role != wire::BrokerRole::callee) || links.size() >= gates_max || draining) {
    return decline();
  }
  auto host_link = make_own<HostLink>(*this);
  host_link->id = message.number;
  DirectPeer peer{role, {}};
  if (role == wire::BrokerRole::callee) {
    peer.service = message.text(wire::BrokerKey::service);
    host_link->gate = make_own<DirectGate>();
    host_link->gate->caller = peer.service;
    host_link->gate->commands = names_of(message);
  }
  DirectEnd end{static_cast<wire::BrokerCarrier>(message.value(wire::BrokerKey::carrier)), std::move(descriptors)};
  auto link = maker.make_direct(std::move(end), peer, *host_link, *host_link, direct_hello());
  if (!link) return decline();
  host_link->link = std::move(*link);
  links.push_back(std::move(host_link));
}

// --- Who may call ---------------------------------------------------------------------------------------------------

bool WorkerHost::State::admit(HostLink& link, call::IncomingHandle& call, const call::Open& open,
                              call::Principal& principal) {
  DirectGate& gate = *link.gate;
  auto by_node = [&](std::string_view why) {
    call->finish(Status(Code::unavailable, "S1015", fmt::format("call {} by the node: {}", name, why))
                     .with_retry(Retry::elsewhere),
                 {});
    return false;
  };
  if (gate.draining) return by_node("the node that made this direct link is gone");
  if (open.service != name || !gate.commands.contains(open.command)) {
    // As Routing::permit() says it: what `allow` lets in is a service, so it is the caller's `uses` that lacks it.
    auto dot = name.rfind('.');
    call->finish(Status(Code::permission_denied, "S1010",
                        fmt::format("service {} may not call {}.{}: its manifest does not name it; add \"{}\" to the "
                                    "\"uses\" of {}",
                                    gate.caller, open.service, open.command,
                                    dot == std::string::npos ? name : name.substr(dot + 1), gate.caller)),
                 {});
    return false;
  }
  if (open.principal == nullptr || open.principal->token.empty()) return true;
  const std::string& token = open.principal->token;
  if (const auto* known = tokens.find(token, loop.now())) {
    if (!known->refused.is_ok()) {
      call->finish(known->refused, {});
      return false;
    }
    principal = *open.principal;
    principal.user = known->user;
    return true;
  }
  const bool asked = std::ranges::any_of(verifying, [&](auto& each) { return each.second == token; });
  if (!asked && verifying.size() < verifying_max) {
    wire::BrokerMessage verify(wire::BrokerVerb::verify, ++verify_requests);
    verify.add(wire::BrokerKey::token, token);
    if (tell_broker(verify)) verifying[verify_requests] = token;
  }
  // The node knows the key; the next call with this token need not go there.
  return by_node("whose token this is, is not known here yet");
}

void WorkerHost::State::take_answer(const wire::BrokerMessage& message) {
  auto asked = verifying.extract(message.number);
  if (asked.empty()) return direct.on_answer(message);
  auto lifetime = Duration(std::chrono::milliseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(message.value(wire::BrokerKey::lifetime_ms), 86'400'000))));
  Status refused = message.error();
  if (!refused.is_ok()) lifetime = refused_for;
  tokens.put({.token = std::move(asked.mapped()),
              .refused = std::move(refused),
              .user = std::string(message.text(wire::BrokerKey::user)),
              .until = loop.now() + lifetime});
}

void WorkerHost::State::publish_load() {
  load_page->tell({.running = running + static_cast<std::uint32_t>(reservations.size()),
                   .capacity = capacity(),
                   .blocking = blocking_running,
                   .closed = draining,
                   .blocking_until = blocking_until});
}

// --- Calls that go out directly -------------------------------------------------------------------------------------

call::OutgoingHandle WorkerHost::State::place_directly(DirectWay way, const call::CallStart& start,
                                                       call::CallerEvents& caller, call::Opening opening) {
  auto* call = new DirectCall(*this, caller);
  call::OutgoingHandle handle(call);
  placed++;
  call->join(direct_calls);
  call->begin(std::move(way), start, std::move(opening));
  return handle;
}

void WorkerHost::State::on_direct_released() {
  placed--;
  if (draining) settle_later();
}

}  // namespace shunt::worker
