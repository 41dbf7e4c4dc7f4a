#pragma once
// The inside of WorkerHost, shared by the files that make it: host.cpp (links and the life), host_slots.cpp (who may run),
// host_calls.cpp (ends of calls, and calls that go out). For nobody else.

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "call/load_page.h"
#include "call/token_cache.h"
#include "worker/broker_socket.h"
#include "worker/control_socket.h"
#include "worker/direct_call.h"
#include "worker/direct_links.h"
#include "worker/end_list.h"
#include "worker/host.h"

namespace shunt::worker {

/// Who calls over a direct link, and what the node has said that it may.
struct DirectGate {
  std::string caller;
  std::set<std::string, std::less<>> commands;
  bool draining = false;  ///< Nobody can revoke it any more: it takes no new calls.
};

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

/// A link over which calls come in: to the node, or from another worker that calls directly.
struct WorkerHost::HostLink final : NodeLinkEvents, call::Service {
  explicit HostLink(State& host) : host(host) {}
  [[nodiscard]] bool is_to_node() const { return gate == nullptr; }

  void on_open(const wire::Hello& node) override;
  void on_closed(const Status& why) override;
  void on_goaway(std::string_view reason) override;
  void on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) override;
  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;
  void begin_admitted(call::IncomingHandle call, const call::Open& open, call::Opening opening);

  State& host;
  EndList ends;
  bool closed = false;
  bool draining = false;  ///< The node takes no new calls over this one.
  std::uint64_t id = 0;   ///< Of a brokered one.
  Own<DirectGate> gate;   ///< Of one from another worker: who calls, and what it may.
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
  void forget_host() override { host = nullptr; }
  void leave();

  State* host = nullptr;  ///< nullptr: the host is gone.
  HostLink* link = nullptr;
  bool running = false;
  bool blocking = false;
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
  void forget_host() override { host = nullptr; }

  State* host = nullptr;
  call::OutgoingHandle inner;
};

struct WorkerHost::State final : ControlEvents, BrokerEvents, DirectHost, ByNode, loop::Runnable {
  State(loop::EpollLoop& loop, NodeLinkMaker& maker, call::Service& service, HostEvents& events, HostOptions options)
      : loop(loop),
        maker(maker),
        service(service),
        events(events),
        options(std::move(options)),
        direct(loop, maker, *this, this->options.direct) {}
  ~State();

  Result<void> open_links(std::vector<os::Fd> sockets);
  Result<void> open_control(os::Fd socket);
  wire::Hello hello() const;

  HostLink* pick(HostLink* preferred);
  call::OutgoingHandle place(HostLink* link, const call::CallStart& start, call::CallerEvents& caller,
                             call::Opening opening);
  bool take_slot(std::uint64_t grant);
  /// A blocking command leaves no other room while it runs.
  [[nodiscard]] bool has_room() const {
    return capacity() == 0 || (blocking_running == 0 && running + reservations.size() < capacity());
  }
  [[nodiscard]] std::uint32_t capacity() const {
    return options.concurrency != 0 ? options.concurrency : node_concurrency;
  }

  void slot_freed(bool blocking);
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
    return direct.has_unsent() ||
           std::ranges::any_of(links, [](auto& link) { return !link->closed && link->link->has_unsent(); });
  }

  // host_direct.cpp
  Result<void> open_broker(os::Fd socket);
  void on_broker(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) override;
  void on_broker_gone() override;
  void attach(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors);
  void take_answer(const wire::BrokerMessage& message);
  HostLink* brokered(std::uint64_t id);
  /// False: the call was finished, or is refused as it is.
  bool admit(HostLink& link, call::IncomingHandle& call, const call::Open& open, call::Principal& principal);
  void publish_load();
  void drain_gates();
  call::OutgoingHandle place_directly(DirectWay way, const call::CallStart& start, call::CallerEvents& caller,
                                      call::Opening opening);
  bool tell_broker(const wire::BrokerMessage& message) override { return broker != nullptr && broker->send(message); }
  [[nodiscard]] wire::Hello direct_hello() const override;
  call::OutgoingHandle place_at(HostLink* preferred, const call::CallStart& start, call::CallerEvents& caller,
                                call::Opening opening);
  call::OutgoingHandle place_by_node(const call::CallStart& start, call::CallerEvents& caller,
                                     call::Opening opening) override {
    return place_at(nullptr, start, caller, std::move(opening));
  }
  void on_direct_released() override;
  [[nodiscard]] bool is_closing() const override { return closing; }
  [[nodiscard]] loop::Loop& direct_loop() override { return loop; }
  [[nodiscard]] DirectLinks& direct_links() override { return direct; }

  void on_fresh_links(std::vector<os::Fd> sockets) override;
  void on_fresh_broker(os::Fd socket) override;
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
  std::uint32_t blocking_running = 0;
  Instant blocking_until;  // The last deadline of those.
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

  // What the broker gave. Members that links and calls use come first.
  std::optional<call::LoadPage> load_page;
  std::set<std::string, std::less<>> blocking_commands;  // Of our service; as the node knows them.
  call::TokenCache tokens;
  std::map<std::uint64_t, std::string> verifying;          // By request: the token.
  std::uint64_t verify_requests = std::uint64_t{1} << 62;  // Apart from those of DirectLinks.
  EndList direct_calls;
  DirectLinks direct;
  Own<BrokerSocket> broker;
  Own<ControlSocket> control;
  Sweeper sweeper{*this};
  LoadTeller load_teller{*this};
  DrainChecker drain_checker{*this};
};

// Ends are made for every call: they are kept and used again.
inline constexpr std::size_t ends_kept_max = 1024;

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

}  // namespace shunt::worker
