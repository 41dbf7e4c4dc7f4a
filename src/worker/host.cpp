#include "worker/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <vector>

#include "os/clock_id.h"
#include "worker/control_socket.h"

namespace shunt::worker {

namespace {

/// An end of a call that is out with somebody, on the list of its link (or, after the link, of the host).
struct End {
  End* next = this;
  End* previous = this;

  End() = default;
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  /// The link is gone or going: lets go of its end of the call.
  virtual void let_go() {}

  void join(End& list) {
    next = &list;
    previous = list.previous;
    previous->next = this;
    list.previous = this;
  }
  void leave_list() {
    next->previous = previous;
    previous->next = next;
    next = previous = this;
  }

 protected:
  ~End() { leave_list(); }
};

struct EndList final : End {
  [[nodiscard]] bool empty() const { return next == this; }
};

constexpr Duration drain_check_every = std::chrono::milliseconds(2);

/// A ticket that waits for a slot.
struct Wait {
  std::uint64_t ticket = 0;
  Deadline deadline;
  std::uint8_t priority = 0;
  void* link = nullptr;
};

/// A slot that was granted. All are kept equally long, so the oldest is the first to expire.
struct Reservation {
  Instant expires;
  std::uint64_t grant = 0;
  void* link = nullptr;
};

}  // namespace

struct WorkerHost::HostLink final : NodeLinkEvents, call::Service {
  explicit HostLink(State& host) : host(host) {}

  void on_open(const wire::Hello& node) override;
  void on_closed(const Status& why) override;
  void on_goaway(std::string_view reason) override;
  void on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) override;
  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;

  State& host;
  EndList ends;
  bool closed = false;
  bool draining = false;  ///< The node takes no new calls over this one.
  Own<NodeLink> link;
};

/// A callee's end: knows when the call's slot is free again, and outlives its link.
struct WorkerHost::Served final : End, call::Incoming {
  void listen(call::CalleeEvents& events) override {
    if (inner) inner->listen(events);
  }
  void send_metadata(call::Metadata metadata) override {
    if (inner) inner->send_metadata(std::move(metadata));
  }
  call::Sent send(call::Message message) override {
    return inner ? inner->send(std::move(message)) : call::Sent::ended;
  }
  void consumed(std::size_t cost) override {
    if (inner) inner->consumed(cost);
  }
  void finish(Status status, call::Metadata trailers) override {
    if (inner) inner->finish(std::move(status), std::move(trailers));
    leave();
  }
  void finish_with(call::Message message) override {
    if (inner) inner->finish_with(std::move(message));
    leave();
  }
  void release() override;
  void let_go() override { inner.reset(); }
  void leave();

  State* host = nullptr;  ///< nullptr: the host is gone.
  HostLink* link = nullptr;
  bool running = false;
  call::IncomingHandle inner;
};

/// A caller's end: outlives its link.
struct WorkerHost::Placed final : End, call::Outgoing {
  call::Sent send(call::Message message, call::Last last) override {
    return inner ? inner->send(std::move(message), last) : call::Sent::ended;
  }
  void half_close() override {
    if (inner) inner->half_close();
  }
  void consumed(std::size_t cost) override {
    if (inner) inner->consumed(cost);
  }
  void cancel(call::Cancel reason) override {
    if (inner) inner->cancel(reason);
  }
  void release() override;
  void let_go() override { inner.reset(); }

  State* host = nullptr;
  call::OutgoingHandle inner;
};

struct WorkerHost::State final : ControlEvents, loop::Runnable {
  State(loop::EpollLoop& loop, NodeLinkMaker& maker, call::Service& service, HostEvents& events, HostOptions options)
      : loop(loop), maker(maker), service(service), events(events), options(std::move(options)) {}
  ~State();

  Result<void> open_links(std::vector<os::Fd> sockets);
  Result<void> open_control(os::Fd socket);
  wire::Hello hello() const;

  HostLink* pick(HostLink* preferred);
  call::OutgoingHandle place(HostLink* link, const call::CallStart& start, call::CallerEvents& caller,
                             call::Opening opening);
  bool take_slot(std::uint64_t grant);
  [[nodiscard]] bool has_room() const { return capacity() == 0 || running + reservations.size() < capacity(); }
  [[nodiscard]] std::uint32_t capacity() const {
    return options.concurrency != 0 ? options.concurrency : node_concurrency;
  }

  void slot_freed();
  void wait(HostLink& link, std::uint64_t ticket, const wire::WaitFrame& wait);
  void serve_waits();
  void grant(HostLink& link, std::uint64_t ticket);
  void deny(HostLink& link, std::uint64_t ticket, const Status& why);
  void sweep();
  void arm_sweeper();
  void forget_link(HostLink& link);

  void drain();
  void load_changed();
  void tell_load();
  void settle_later() { loop.ready(*this); }
  void run() override;  // settle: what may not be done inside a link's stack.
  void lose();
  [[nodiscard]] std::size_t links_open() const {
    return static_cast<std::size_t>(std::ranges::count_if(links, [](auto& link) { return !link->closed; }));
  }

  [[nodiscard]] bool has_unsent() const {
    return std::ranges::any_of(links, [](auto& link) { return !link->closed && link->link->has_unsent(); });
  }

  void on_fresh_links(std::vector<os::Fd> sockets) override;
  void on_supervisor_gone() override;

  struct Sweeper final : loop::Timer {
    explicit Sweeper(State& state) : state(state) {}
    void fire() override { state.sweep(); }
    State& state;
  };
  struct DrainChecker final : loop::Timer {
    explicit DrainChecker(State& state) : state(state) {}
    void fire() override { state.settle_later(); }
    State& state;
  };
  struct LoadTeller final : loop::Timer {
    explicit LoadTeller(State& state) : state(state) {}
    void fire() override { state.tell_load(); }
    State& state;
  };

  loop::EpollLoop& loop;
  NodeLinkMaker& maker;
  call::Service& service;
  HostEvents& events;
  HostOptions options;
  std::string name;

  std::uint32_t node_concurrency = 0;
  std::uint32_t running = 0;
  std::uint32_t running_told = 0;
  std::uint32_t placed = 0;
  std::uint64_t grants_made = 0;
  std::deque<Reservation> reservations;  // Oldest first.
  std::deque<Wait> waits;                // Highest priority first, then oldest first.

  bool draining = false;
  bool drained_told = false;
  bool supervised = false;  // The control socket is open: a lost node may come back.
  bool lost = false;
  bool closing = false;

  // Ends are made for every call: they are kept and used again.
  std::vector<Own<Served>> served_free;
  std::vector<Own<Placed>> placed_free;
  EndList orphans;  // Ends whose link is gone.

  HostLink* control_link = nullptr;
  HostLink* last_link = nullptr;
  std::size_t next_link = 0;
  std::vector<Own<HostLink>> links;
  Own<ControlSocket> control;
  Sweeper sweeper{*this};
  LoadTeller load_teller{*this};
  DrainChecker drain_checker{*this};
};

// ---- Ends ----------------------------------------------------------------------------------------------------------

namespace {
constexpr std::size_t ends_kept_max = 1024;

template <typename T>
T* take_end(std::vector<Own<T>>& free) {
  if (free.empty()) return new T();
  T* end = free.back().release();
  free.pop_back();
  return end;
}

template <typename T>
void keep_end(std::vector<Own<T>>& free, T* end) {
  if (free.size() < ends_kept_max) {
    free.emplace_back(end);
  } else {
    delete end;
  }
}
}  // namespace

void WorkerHost::Served::leave() {
  if (!std::exchange(running, false) || host == nullptr) return;
  host->slot_freed();
}

void WorkerHost::Served::release() {
  inner.reset();
  leave();
  leave_list();
  link = nullptr;
  if (State* owner = std::exchange(host, nullptr)) {
    keep_end(owner->served_free, this);
  } else {
    delete this;
  }
}

void WorkerHost::Placed::release() {
  inner.reset();
  leave_list();
  if (State* owner = std::exchange(host, nullptr)) {
    owner->placed--;
    if (owner->draining) owner->settle_later();
    keep_end(owner->placed_free, this);
  } else {
    delete this;
  }
}

// ---- Links ---------------------------------------------------------------------------------------------------------

void WorkerHost::HostLink::on_open(const wire::Hello& node) {
  if (node.concurrency != 0) host.node_concurrency = node.concurrency;
}

void WorkerHost::HostLink::on_closed(const Status&) {
  closed = true;
  host.forget_link(*this);
  host.settle_later();
}

void WorkerHost::HostLink::on_goaway(std::string_view) {
  draining = true;
  bool all = std::ranges::all_of(host.links, [](auto& link) { return link->closed || link->draining; });
  if (all || host.control_link == this) host.drain();
}

void WorkerHost::HostLink::on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) {
  host.wait(*this, ticket, wait);
}

void WorkerHost::HostLink::begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  // Refuse first: nothing has been started, so the caller may go elsewhere at once.
  if (host.draining) {
    call->finish(
        Status(Code::unavailable, "S1015", fmt::format("a worker of {} is ending and takes no new calls", host.name))
            .with_retry(Retry::elsewhere),
        {});
    return;
  }
  if (!host.take_slot(open.grant)) {
    call->finish(Status(Code::resource_exhausted, "S3061",
                        fmt::format("a worker of {} runs {} calls, as many as it may", host.name, host.capacity()))
                     .with_retry(Retry::elsewhere),
                 {});
    return;
  }
  host.last_link = this;
  host.running++;
  host.load_changed();
  Served* served = take_end(host.served_free);
  served->host = &host;
  served->link = this;
  served->running = true;
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
  // The old node is gone, even where its end has not been read yet.
  for (auto& link : links) {
    if (!link->closed) {
      link->link->close(Status(Code::unavailable, "S1008", "the node was restarted").with_retry(Retry::reconnect));
    }
  }
  node_concurrency = 0;
  running_told = 0;
  // An error leaves fewer links, or none: the node sees that and ends this worker.
  [[maybe_unused]] auto opened = open_links(std::move(sockets));
  if (running > 0) load_changed();
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
  if (links.empty() && !supervised) lose();
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
  while (!orphans.empty()) {
    End* end = orphans.next;
    end->leave_list();
    if (auto* served = dynamic_cast<Served*>(end)) served->host = nullptr;
    if (auto* placing = dynamic_cast<Placed*>(end)) placing->host = nullptr;
  }
}

// ---- Slots ---------------------------------------------------------------------------------------------------------

bool WorkerHost::State::take_slot(std::uint64_t grant) {
  if (grant != 0) {
    auto found = std::ranges::find(reservations, grant, &Reservation::grant);
    if (found != reservations.end()) {
      reservations.erase(found);
      return true;
    }
  }
  return has_room();
}

void WorkerHost::State::slot_freed() {
  running--;
  if (closing) return;
  load_changed();
  if (!waits.empty()) serve_waits();
  if (draining && running == 0) settle_later();
}

void WorkerHost::State::wait(HostLink& link, std::uint64_t ticket, const wire::WaitFrame& frame) {
  if (draining) {
    deny(link, ticket,
         Status(Code::unavailable, "S1015", fmt::format("a worker of {} is ending and takes no new calls", name))
             .with_retry(Retry::elsewhere));
    return;
  }
  if (has_room()) {
    grant(link, ticket);
    return;
  }
  if (waits.size() >= options.waits_max) {
    deny(link, ticket,
         Status(Code::resource_exhausted, "S1011",
                fmt::format("{} calls wait for a worker of {}, as many as may", waits.size(), name))
             .with_retry(Retry::later));
    return;
  }
  Wait entry{
      .ticket = ticket, .deadline = Deadline(Instant{frame.deadline_ns}), .priority = frame.priority, .link = &link};
  auto place = std::ranges::find_if(waits, [&](const Wait& other) { return other.priority < entry.priority; });
  waits.insert(place, entry);
  arm_sweeper();
}

void WorkerHost::State::serve_waits() {
  while (!waits.empty() && has_room()) {
    Wait next = waits.front();
    waits.pop_front();
    auto& link = *static_cast<HostLink*>(next.link);
    if (next.deadline.passed(loop.now())) {
      deny(link, next.ticket,
           Status(Code::deadline_exceeded, "S1004", fmt::format("the deadline passed in the queue for {}", name)));
    } else {
      grant(link, next.ticket);
    }
  }
}

void WorkerHost::State::grant(HostLink& link, std::uint64_t ticket) {
  wire::GrantFrame frame;
  frame.grant = ++grants_made;
  // Without a limit there is nothing to keep free.
  if (capacity() != 0) {
    reservations.push_back({.expires = loop.refresh_now() + options.reservation, .grant = frame.grant, .link = &link});
    arm_sweeper();
  }
  link.link->grant(ticket, frame);
}

void WorkerHost::State::deny(HostLink& link, std::uint64_t ticket, const Status& why) {
  wire::GrantFrame frame;
  frame.status.code = why.code();
  frame.status.retry = why.retry();
  frame.status.id = why.id();
  frame.status.message = why.message();
  link.link->grant(ticket, frame);
}

void WorkerHost::State::arm_sweeper() {
  Deadline next = reservations.empty() ? Deadline::never() : Deadline(reservations.front().expires);
  for (auto& wait : waits) next = earlier(next, wait.deadline);
  if (next.is_never()) {
    sweeper.disarm();
  } else {
    loop.arm(sweeper, next.at());
  }
}

void WorkerHost::State::sweep() {
  while (!reservations.empty() && reservations.front().expires <= loop.now()) reservations.pop_front();
  for (std::size_t i = 0; i < waits.size();) {
    if (!waits[i].deadline.passed(loop.now())) {
      i++;
      continue;
    }
    Wait late = waits[i];
    waits.erase(waits.begin() + static_cast<std::ptrdiff_t>(i));
    deny(*static_cast<HostLink*>(late.link), late.ticket,
         Status(Code::deadline_exceeded, "S1004", fmt::format("the deadline passed in the queue for {}", name)));
  }
  serve_waits();
  arm_sweeper();
}

// ---- Drain and load ------------------------------------------------------------------------------------------------

void WorkerHost::State::drain() {
  if (std::exchange(draining, true)) return;
  while (!waits.empty()) {
    Wait next = waits.front();
    waits.pop_front();
    deny(*static_cast<HostLink*>(next.link), next.ticket,
         Status(Code::unavailable, "S1015", fmt::format("a worker of {} is ending and takes no new calls", name))
             .with_retry(Retry::elsewhere));
  }
  reservations.clear();
  events.on_drain();
  settle_later();
}

void WorkerHost::State::load_changed() {
  if (!load_teller.is_armed()) loop.arm(load_teller, loop.now() + options.load_every);
}

void WorkerHost::State::tell_load() {
  if (control_link == nullptr || running == running_told) return;
  running_told = running;
  control_link->link->load({.running = running, .capacity = capacity()});
}

// ---- Calls that go out ---------------------------------------------------------------------------------------------

WorkerHost::HostLink* WorkerHost::State::pick(HostLink* preferred) {
  auto usable = [](const HostLink* link) { return link != nullptr && !link->closed && !link->draining; };
  if (usable(preferred)) return preferred;
  if (usable(last_link)) return last_link;
  for (std::size_t i = 0; i < links.size(); i++) {
    HostLink* candidate = links[next_link++ % links.size()].get();
    if (usable(candidate) && candidate != control_link) return candidate;
  }
  if (usable(control_link)) return control_link;
  // One that drains says so by itself.
  for (auto& link : links) {
    if (!link->closed) return link.get();
  }
  return nullptr;
}

call::OutgoingHandle WorkerHost::State::place(HostLink* preferred, const call::CallStart& start,
                                              call::CallerEvents& caller, call::Opening opening) {
  Placed* placing = take_end(placed_free);
  placing->host = this;
  placed++;
  call::OutgoingHandle handle(placing);
  HostLink* link = closing ? nullptr : pick(preferred);
  if (link == nullptr) {
    placing->join(orphans);
    caller.on_end(
        Status(Code::unavailable, "S3062",
               fmt::format("call {}.{}: this worker has no link to its node now; it comes back when the node does",
                           start.service, start.command))
            .with_retry(Retry::later),
        {});
    return handle;
  }
  placing->join(link->ends);
  call::Open open;
  open.service = start.service;
  open.command = start.command;
  open.metadata = start.metadata;
  open.deadline = start.deadline;
  open.principal = start.principal;
  open.hops = start.hops;
  open.encoding = start.encoding;
  placing->inner = link->link->calls().open(open, caller, std::move(opening));
  return handle;
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
  HostLink* link = served.inner ? served.link : nullptr;
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
