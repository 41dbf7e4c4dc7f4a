#pragma once
// The inside of WorkerHost, shared by the files that make it: host.cpp (links and the life), host_slots.cpp (who may run),
// host_calls.cpp (ends of calls, and calls that go out). For nobody else.

#include <algorithm>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "worker/control_socket.h"
#include "worker/host.h"

namespace shunt::worker {

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
