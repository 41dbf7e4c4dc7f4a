#include "worker/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "os/clock_id.h"
#include "worker/host_state.h"

namespace shunt::worker {

namespace {
constexpr Duration drain_check_every = std::chrono::milliseconds(2);
}  // namespace

// ---- Links ---------------------------------------------------------------------------------------------------------

void WorkerHost::HostLink::on_open(const wire::Hello& node) {
  if (is_to_node() && node.concurrency != 0) host.node_concurrency = node.concurrency;
}

void WorkerHost::HostLink::on_closed(const Status&) {
  closed = true;
  if (id != 0) host.tell_broker(wire::BrokerMessage(wire::BrokerVerb::closed, id));
  host.forget_link(*this);
  host.settle_later();
}

void WorkerHost::HostLink::on_goaway(std::string_view) {
  draining = true;
  if (!is_to_node()) return;
  bool all =
      std::ranges::all_of(host.links, [](auto& link) { return !link->is_to_node() || link->closed || link->draining; });
  if (all || host.control_link == this) host.drain();
}

void WorkerHost::HostLink::on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) {
  // Slots are for the node to ask for, on behalf of everybody who waits.
  if (is_to_node()) host.wait(*this, ticket, wait);
}

void WorkerHost::HostLink::begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  if (is_to_node()) return begin_admitted(std::move(call), open, std::move(opening));
  call::Principal principal;
  if (!host.admit(*this, call, open, principal)) return;
  call::Open admitted = open;
  admitted.grant = 0;  // Slots are reserved for the node's calls.
  if (!principal.user.empty()) admitted.principal = &principal;
  begin_admitted(std::move(call), admitted, std::move(opening));
}

void WorkerHost::HostLink::begin_admitted(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  // Refuse first: nothing has been started, so the caller may go elsewhere at once.
  if (host.draining) {
    call->finish(
        Status(Code::unavailable, "S1015", fmt::format("a worker of {} is ending and takes no new calls", host.name))
            .with_retry(Retry::elsewhere),
        {});
    return;
  }
  const bool blocking = !host.blocking_commands.empty() && host.blocking_commands.contains(open.command);
  if (!host.take_slot(open.grant)) {
    call->finish(Status(Code::resource_exhausted, "S3061",
                        fmt::format("a worker of {} runs {} calls, as many as it may", host.name, host.capacity()))
                     .with_retry(Retry::elsewhere),
                 {});
    return;
  }
  if (is_to_node()) host.last_link = this;
  host.running++;
  if (blocking) {
    host.blocking_until =
        host.blocking_running++ == 0 ? open.deadline.at() : std::max(host.blocking_until, open.deadline.at());
  }
  host.load_changed();
  Served* served = take_end(host.served_free);
  served->host = &host;
  served->link = this;
  served->running = true;
  served->blocking = blocking;
  served->inner = std::move(call);
  served->join(ends);
  host.service.begin(call::IncomingHandle(served), open, std::move(opening));
}

wire::Hello WorkerHost::State::hello() const {
  wire::Hello hello;
  hello.role = "worker";
  hello.name = name;
  hello.software = options.software;
  hello.clock = os::clock_id();
  hello.concurrency = options.concurrency;
  hello.pid = static_cast<std::uint64_t>(getpid());
  hello.definition = options.definition;
  return hello;
}

Result<void> WorkerHost::State::open_links(std::vector<os::Fd> sockets) {
  control_link = nullptr;
  for (os::Fd& socket : sockets) {
    wire::Hello greeting = hello();
    if (control_link != nullptr) greeting.definition.clear();  // Told once, on the control link.
    auto host_link = make_own<HostLink>(*this);
    SHUNT_TRY(host_link->link, maker.make(std::move(socket), *host_link, *host_link, greeting));
    if (control_link == nullptr) control_link = host_link.get();
    links.push_back(std::move(host_link));
  }
  return {};
}

Result<void> WorkerHost::State::open_control(os::Fd socket) {
  if (!socket) return {};
  control = make_own<ControlSocket>(std::move(socket), *this);
  SHUNT_CHECK(control->start(loop));
  supervised = true;
  return {};
}

void WorkerHost::State::on_fresh_links(std::vector<os::Fd> sockets) {
  // The old node is gone, even where its end has not been read yet. Other workers' calls go on to their end.
  for (auto& link : links) {
    if (!link->closed && link->is_to_node()) {
      link->link->close(Status(Code::unavailable, "S1008", "the node was restarted").with_retry(Retry::reconnect));
    }
  }
  node_concurrency = 0;
  running_told = 0;
  // An error leaves fewer links, or none: the node sees that and ends this worker.
  [[maybe_unused]] auto opened = open_links(std::move(sockets));
  if (running > 0) load_changed();
}

void WorkerHost::State::on_fresh_broker(os::Fd socket) {
  on_broker_gone();
  // Without it calls go by the node.
  [[maybe_unused]] auto opened = open_broker(std::move(socket));
}

void WorkerHost::State::on_supervisor_gone() {
  supervised = false;
  for (auto& link : links) {
    if (!link->closed) {
      link->link->close(Status(Code::unavailable, "S1008", "the supervisor is gone").with_retry(Retry::reconnect));
    }
  }
  settle_later();
}

void WorkerHost::State::forget_link(HostLink& link) {
  std::erase_if(waits, [&](const Wait& wait) { return wait.link == &link; });
  std::erase_if(reservations, [&](const Reservation& reservation) { return reservation.link == &link; });
  if (control_link == &link) control_link = nullptr;
  if (last_link == &link) last_link = nullptr;
  if (!closing) serve_waits();
}

void WorkerHost::State::run() {
  for (std::size_t i = 0; i < links.size();) {
    if (!links[i]->closed) {
      i++;
      continue;
    }
    // Out of the list first: destroying it may tell ends, which may place calls.
    Own<HostLink> dead = std::move(links[i]);
    links.erase(links.begin() + static_cast<std::ptrdiff_t>(i));
    dead->link.reset();
    while (!dead->ends.empty()) {
      End* end = dead->ends.next;
      end->leave_list();
      end->join(orphans);
      end->let_go();
    }
  }
  const bool alone = std::ranges::none_of(links, [](auto& link) { return link->is_to_node(); });
  if (alone && !supervised) lose();
  if (!draining || running > 0 || placed > 0 || drained_told) return;
  // Whoever hears on_drained ends the process: the last answers must have left it.
  if (has_unsent()) {
    loop.arm(drain_checker, loop.now() + drain_check_every);
  } else {
    drained_told = true;
    events.on_drained();
  }
}

void WorkerHost::State::lose() {
  if (!std::exchange(lost, true)) events.on_lost();
}

WorkerHost::State::~State() {
  closing = true;
  control.reset();
  direct.tell_counts();
  direct.close_all();
  broker.reset();
  for (auto& link : links) {
    if (!link->closed) {
      link->link->close(Status(Code::unavailable, "S1008", fmt::format("a worker of {} has ended", name))
                            .with_retry(Retry::reconnect));
    }
  }
  for (auto& link : links) {
    link->link.reset();
    while (!link->ends.empty()) {
      End* end = link->ends.next;
      end->leave_list();
      end->join(orphans);
      end->let_go();
    }
  }
  // What is still held learns that nobody is there any more.
  for (EndList* list : {&orphans, &direct_calls}) {
    while (!list->empty()) {
      End* end = list->next;
      end->leave_list();
      end->forget_host();
    }
  }
}
// ---- WorkerHost ----------------------------------------------------------------------------------------------------

WorkerHost::WorkerHost(Own<State> state) : state_(std::move(state)) {}
WorkerHost::~WorkerHost() = default;

Result<Own<WorkerHost>> WorkerHost::create(loop::EpollLoop& loop, NodeLinkMaker& maker, call::Service& service,
                                           HostEvents& events, Environment environment, HostOptions options) {
  auto state = make_own<State>(loop, maker, service, events, std::move(options));
  state->name = std::move(environment.service);
  SHUNT_CHECK(state->open_control(std::move(environment.control)));
  SHUNT_CHECK(state->open_links(std::move(environment.links)));
  SHUNT_CHECK(state->open_broker(std::move(environment.broker)));
  return Own<WorkerHost>(new WorkerHost(std::move(state)));
}

call::OutgoingHandle WorkerHost::start(const call::CallStart& start, call::CallerEvents& events,
                                       call::Opening opening) {
  return state_->place(nullptr, start, events, std::move(opening));
}

call::OutgoingHandle WorkerHost::start_beside(const call::Incoming& parent, const call::CallStart& start,
                                              call::CallerEvents& events, call::Opening opening) {
  // Everything that this host's service was given is a Served.
  auto& served = static_cast<const Served&>(parent);
  HostLink* link = served.inner && served.link->is_to_node() ? served.link : nullptr;
  return state_->place(link, start, events, std::move(opening));
}

void WorkerHost::drain() { state_->drain(); }
bool WorkerHost::is_draining() const { return state_->draining; }
bool WorkerHost::is_lost() const { return state_->lost; }
std::uint32_t WorkerHost::running() const { return state_->running; }
std::uint32_t WorkerHost::reserved() const { return static_cast<std::uint32_t>(state_->reservations.size()); }
std::uint32_t WorkerHost::capacity() const { return state_->capacity(); }
bool WorkerHost::has_unsent() const { return state_->has_unsent(); }
std::size_t WorkerHost::links_open() const { return state_->links_open(); }

}  // namespace shunt::worker
