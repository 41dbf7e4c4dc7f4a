#include "link/mux_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "loop/event.h"

namespace shunt::link {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;

namespace {

Status too_large(std::size_t size, std::uint64_t limit) {
  return {
      Code::resource_exhausted, "S1007",
      fmt::format("a message of {} bytes is larger than the link's limit of {}; send it as a stream of smaller ones",
                  size, limit)};
}

Status metadata_too_large(std::size_t cost, std::uint64_t limit) {
  return {Code::resource_exhausted, "S1021",
          fmt::format("the metadata costs {} bytes; the link's limit is {}", cost, limit)};
}

/// Puts views of `metadata` into `views`. Errors: S1021 for too much of it, S1024 for what no peer would take.
Result<void> view(const Metadata& metadata, std::size_t limit, wire::MetadataView& views) {
  views.clear();
  if (metadata.empty()) return {};
  if (auto cost = metadata.cost(); cost > limit) return std::unexpected(metadata_too_large(cost, limit));
  for (const auto& [key, value] : metadata) {
    if (!wire::is_legal_metadata(key, value)) {
      return fail(
          Code::invalid_argument, "S1024",
          fmt::format("metadata '{}': keys are of [0-9a-z_.-], values printable ASCII unless the key ends in -bin",
                      key));
    }
    views.emplace_back(key, value);
  }
  return {};
}

Metadata owned(const wire::MetadataView& views) {
  Metadata metadata;
  // The mux has checked keys and values.
  for (const auto& [key, value] : views) metadata.add_unchecked(std::string(key), std::string(value));
  return metadata;
}

Status status_of(const wire::StatusFrame& frame) {
  if (frame.code == Code::ok) return {};
  auto status = Status(frame.code, frame.id, std::string(frame.message)).with_retry(frame.retry);
  if (!frame.details.empty()) status.with_details(std::string(frame.details));
  return status;
}

Sent sent_of(wire::MuxSent sent) {
  switch (sent) {
    case wire::MuxSent::more:
      return Sent::more;
    case wire::MuxSent::held:
      return Sent::held;
    case wire::MuxSent::ended:
      break;
  }
  return Sent::ended;
}

Cancel cancel_of(std::uint8_t reason) {
  return reason >= 1 && reason <= static_cast<std::uint8_t>(Cancel::protocol) ? static_cast<Cancel>(reason)
                                                                              : Cancel::caller;
}

}  // namespace

// --- The calls -------------------------------------------------------------------------------------------------------

/// What both kinds of ends share: a place in one of the link's lists until release(), so that a link which goes first can
/// tell them. Memory comes from the per-thread pool of frames.
struct MuxLink::Node {
  State* state = nullptr;  ///< nullptr: the link is gone; only release() is left.
  wire::CallId id = 0;
  Node* next = nullptr;
  Node* previous = nullptr;
  bool over = false;  ///< Nothing goes or comes any more.

  Node() : next(this), previous(this) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node() { unlink(); }
  void unlink() {
    next->previous = previous;
    previous->next = next;
    next = previous = this;
  }
  void move_to(Node& list) {
    unlink();
    previous = list.previous;
    next = &list;
    previous->next = this;
    list.previous = this;
  }
};

class MuxLink::OutCall final : public MuxLink::Node, public call::Outgoing, public loop::Timer {
 public:
  OutCall(State& link, call::CallerEvents& ear);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  Sent send(Message message, Last last) override;
  void half_close() override;
  void consumed(std::size_t cost) override;
  void cancel(Cancel reason) override;
  void release() override;
  void fire() override;
  void on_credit();

  call::CallerEvents& events;
  // The opening's message may use up all credit, which open() can't tell: one message more is kept here until there is some.
  bool opening_held = false;
  bool has_waiting = false;
  Last waiting_last = Last::no;
  Bytes waiting;
};

class MuxLink::InCall final : public MuxLink::Node, public call::Incoming, public loop::Timer {
 public:
  explicit InCall(State& link);
  ~InCall() {
    if (gone != nullptr) *gone = true;
  }
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void listen(call::CalleeEvents& ear) override { events = &ear; }
  void send_metadata(Metadata metadata) override;
  Sent send(Message message) override;
  void consumed(std::size_t cost) override;
  void finish(Status status, Metadata trailers) override;
  void finish_with(Message message) override;
  void release() override;
  void fire() override;

  /// Ends it from this side: the caller gets `status`, the callee hears `reason`.
  void abort(const Status& status, Cancel reason);

  call::CalleeEvents* events = nullptr;
  bool* gone = nullptr;   ///< While begin() runs: set when it is released there.
  bool beginning = true;  ///< Inside begin(): a refusal there means that nothing was started.
  bool finished = false;
};

// --- The link --------------------------------------------------------------------------------------------------------

struct MuxLink::State final : wire::MuxEvents, Carrier::Events, loop::Runnable {
  loop::Loop& loop;
  call::Service& service;
  LinkOwner* owner;
  MuxLinkOptions options;
  Own<Carrier> carrier;
  wire::Mux mux;
  std::string peer_name;

  Node outgoing;  // Not ended.
  Node incoming;  // Not over.
  Node done;      // Over, not yet released.
  std::size_t outgoing_open = 0;
  std::size_t incoming_unfinished = 0;
  std::vector<loop::Event*> drains;
  call::LinkStats stats;
  bool closed = false;
  bool blocked = false;  // The carrier took less than all.
  Status why;            // Once closed.
  int refs = 1;          // The link, and whoever is on the stack.

  wire::OpenFrame open_frame;  // Reused, for the capacity of its metadata.
  wire::MetadataView views;

  /// Keeps the state while it is on the stack: whoever is told something may destroy the link.
  class Keep {
   public:
    explicit Keep(State& state) : state_(state) { state_.refs++; }
    Keep(const Keep&) = delete;
    Keep& operator=(const Keep&) = delete;
    ~Keep() { state_.unref(); }

   private:
    State& state_;
  };

  State(loop::Loop& on, Own<Carrier> by, call::Service& to, LinkOwner& told, MuxLinkOptions with)
      : loop(on),
        service(to),
        owner(&told),
        options(std::move(with)),
        carrier(std::move(by)),
        mux(options.side, mux_limits(options.limits), options.hello, *this),
        peer_name(options.peer.service) {}

  static wire::MuxLimits mux_limits(const call::LinkLimits& limits) {
    return {limits.message_bytes_max, limits.calls_max, limits.metadata_bytes_max, limits.stream_credit,
            limits.link_bytes_max};
  }

  void unref() {
#ifndef __clang_analyzer__  // It does not follow the count, and would see every Keep free the state.
    if (--refs == 0) delete this;
#endif
  }

  [[nodiscard]] std::string_view peer() const { return peer_name.empty() ? "the peer" : std::string_view(peer_name); }

  // --- Writing: gathered in a turn, written once at its end ---

  void schedule() {
    if (!closed && !blocked && mux.has_output()) loop.flush(*this);
  }

  void run() override {
    Keep keep(*this);
    write();
  }

  void write() {
    while (!closed && !blocked && mux.has_output()) {
      iovec vectors[64];
      int count = mux.output(vectors, 64);
      if (count == 0) break;
      std::size_t size = 0;
      for (int i = 0; i < count; i++) size += vectors[i].iov_len;
      std::size_t taken = carrier->write(vectors, count);
      SHUNT_ASSERT(taken <= size);
      mux.written(taken);
      stats.bytes_sent += taken;
      blocked = taken < size;
    }
    check_drained();
  }

  // --- What the carrier tells ---

  void on_bytes(Bytes chunk) override {
    if (closed) return;
    Keep keep(*this);
    stats.bytes_received += chunk.size();
    auto received = mux.receive(std::move(chunk));
    if (closed) return;
    if (!received) {
      // The other side's author wants to know.
      mux.goaway(received.error().message());
      write();
      Status told(Code::unavailable, "S1008",
                  fmt::format("closed the link to {}: {}", peer(), received.error().message()));
      die(std::move(told).with_retry(Retry::reconnect), std::move(received).error());
      return;
    }
    schedule();
  }

  void on_writable() override {
    if (closed) return;
    Keep keep(*this);
    blocked = false;
    write();
  }

  void on_closed(Status reason) override {
    if (closed) return;
    Status told(Code::unavailable, "S1008", fmt::format("lost {}: {}", peer(), reason.message()));
    die(std::move(told).with_retry(Retry::reconnect), std::move(reason));
  }

  /// Ends the link: calls end as `told`, the owner hears `reason`.
  void die(Status told, Status reason) {
    if (closed) return;
    Keep keep(*this);
    closed = true;
    why = std::move(told);
    Runnable::unlink();
    carrier->close();
    end_calls(why, Cancel::caller);
    for (auto* drain : drains) drain->set();
    if (owner != nullptr) owner->on_closed(reason);
  }

  /// Ends what is open now; what events open meanwhile is not (a closed or draining link opens nothing).
  void end_calls(const Status& status, Cancel reason) {
    Keep keep(*this);
    while (outgoing.next != &outgoing) end(static_cast<OutCall&>(*outgoing.next), status, {});
    while (incoming.next != &incoming) {
      auto& call = static_cast<InCall&>(*incoming.next);
      end_incoming(call);
      if (call.events != nullptr) call.events->on_cancel(reason);
    }
  }

  // --- The ends of calls. The call may be gone when they return. ---

  void end(OutCall& call, Status status, Metadata trailers) {
    call.over = true;
    call.Timer::disarm();
    call.waiting = {};
    call.has_waiting = false;
    call.move_to(done);
    outgoing_open--;
    Keep keep(*this);
    call.events.on_end(std::move(status), std::move(trailers));
    check_drained();
  }

  void end_incoming(InCall& call) {
    call.over = true;
    call.Timer::disarm();
    call.move_to(done);
  }

  void check_drained() {
    if (drains.empty() || !is_drained()) return;
    for (auto* drain : drains) drain->set();
  }
  [[nodiscard]] bool is_drained() const {
    return closed || (outgoing_open == 0 && incoming_unfinished == 0 && !mux.has_output());
  }

  // --- What the mux tells. Once closed, the mux may know calls that are gone. ---

  static OutCall& out_call(void* user) { return static_cast<OutCall&>(*static_cast<Node*>(user)); }
  static InCall& in_call(void* user) { return static_cast<InCall&>(*static_cast<Node*>(user)); }
  [[nodiscard]] bool is_outgoing(wire::CallId id) const {
    return (id & 1) == (options.side == wire::Side::dialler ? 1 : 0);
  }

  void on_hello(const wire::Hello& hello) override {
    if (closed) return;
    if (!hello.name.empty()) peer_name = hello.name;
    if (!mux.same_clock()) {
      Instant now = loop.refresh_now();
      mux.rewrite_deadlines([now](std::int64_t at) { return at == INT64_MAX ? at : at - now.ns; });
    }
    if (owner != nullptr) owner->on_open(hello);
  }

  [[nodiscard]] std::int64_t wire_deadline(Deadline deadline) const {
    if (deadline.is_never()) return INT64_MAX;
    return mux.same_clock() ? deadline.at().ns : deadline.at().ns - loop.now().ns;
  }
  [[nodiscard]] Deadline read_deadline(std::int64_t ns) const {
    if (ns == INT64_MAX) return Deadline::never();
    if (mux.same_clock()) return Deadline(Instant{ns});
    return Deadline::after(loop.now(), Duration(ns));
  }

  void on_open(wire::CallId id, const wire::OpenFrame& frame, Bytes* first, bool last) override {
    if (closed) return;
    Deadline deadline = read_deadline(frame.deadline_ns);
    if (deadline.passed(loop.now())) {
      finish_unbegun(id, Code::deadline_exceeded, "S1004", "the deadline had passed when the call arrived");
      return;
    }
    call::Principal principal;
    const call::Principal* who = &options.peer;
    if (options.trust_principal) {
      auto kind = frame.principal_kind <= static_cast<std::uint8_t>(call::PrincipalKind::node)
                      ? static_cast<call::PrincipalKind>(frame.principal_kind)
                      : call::PrincipalKind::none;
      principal = {kind, std::string(frame.principal_service), std::string(frame.principal_user),
                   std::string(frame.token.substr(0, call::token_bytes_max))};
      who = &principal;
    } else if (!frame.token.empty()) {
      // The token is signed, so it may be handed on by somebody who is not believed.
      principal = options.peer;
      principal.token = frame.token.substr(0, call::token_bytes_max);
      who = &principal;
    }
    Metadata metadata = owned(frame.metadata);

    auto* call = new InCall(*this);
    call->id = id;
    mux.set_user(id, static_cast<Node*>(call));
    stats.calls_opened++;
    call::Open open;
    open.service = frame.service;
    open.command = frame.command;
    open.metadata = metadata.empty() ? nullptr : &metadata;
    open.deadline = deadline;
    open.principal = who;
    open.grant = frame.grant;
    open.hops = frame.hops;
    open.encoding = frame.encoding == 1 ? call::Encoding::proto : call::Encoding::json;
    call::Opening opening;
    if (first != nullptr) {
      opening.message = Message(std::move(*first));
      opening.has_message = true;
    }
    opening.last = last ? Last::yes : Last::no;

    bool gone = false;
    call->gone = &gone;
    service.begin(call::IncomingHandle(call), open, std::move(opening));
    if (gone) return;
    call->gone = nullptr;
    call->beginning = false;
    if (!call->over && !call->finished && !deadline.is_never()) loop.arm(*call, deadline.at());
  }

  void finish_unbegun(wire::CallId id, Code code, std::string_view error, std::string_view message) {
    wire::StatusFrame status;
    status.code = code;
    status.id = error;
    status.message = message;
    mux.finish(id, status);
  }

  void on_metadata(wire::CallId, void* user, const wire::MetadataView& metadata) override {
    if (closed) return;
    out_call(user).events.on_metadata(owned(metadata));
  }

  void on_message(wire::CallId id, void* user, Bytes message) override {
    if (closed) return;
    if (is_outgoing(id)) {
      out_call(user).events.on_message(Message(std::move(message)));
    } else if (auto& call = in_call(user); call.events != nullptr) {
      call.events->on_message(Message(std::move(message)));
    }
  }

  void on_half_close(wire::CallId, void* user) override {
    if (closed) return;
    if (auto& call = in_call(user); call.events != nullptr) call.events->on_half_close();
  }

  void on_status(wire::CallId, void* user, const wire::StatusFrame& frame) override {
    if (closed) return;
    Status status = status_of(frame);
    // Only REFUSED says that a call never started; a handler that hands on what it was told must not.
    if (status.retry() == Retry::elsewhere) status.with_retry(Retry::later);
    end(out_call(user), std::move(status), owned(frame.trailers));
  }

  void on_refused(wire::CallId, void* user, const wire::StatusFrame& frame) override {
    if (closed) return;
    end(out_call(user), status_of(frame).with_retry(Retry::elsewhere), {});
  }

  void on_cancel(wire::CallId, void* user, std::uint8_t reason) override {
    if (closed) return;
    auto& call = in_call(user);
    end_incoming(call);
    if (call.events != nullptr) call.events->on_cancel(cancel_of(reason));
  }

  void on_credit(wire::CallId id, void* user) override {
    if (closed) return;
    if (is_outgoing(id)) {
      out_call(user).on_credit();
    } else if (auto& call = in_call(user); call.events != nullptr) {
      call.events->on_credit();
    }
  }

  void on_pong(std::uint64_t number) override {
    if (!closed && owner != nullptr) owner->on_pong(number);
  }
  void on_goaway(std::string_view reason) override {
    if (!closed && owner != nullptr) owner->on_goaway(reason);
  }
  void on_wait(std::uint64_t ticket, const wire::WaitFrame& frame) override {
    if (closed || owner == nullptr) return;
    wire::WaitFrame wait = frame;
    // The owner gets it as an Instant of this clock.
    wait.deadline_ns = read_deadline(frame.deadline_ns).at().ns;
    owner->on_wait(ticket, wait);
  }
  void on_grant(std::uint64_t ticket, const wire::GrantFrame& grant) override {
    if (!closed && owner != nullptr) owner->on_grant(ticket, grant);
  }
  void on_load(const wire::LoadFrame& load) override {
    if (!closed && owner != nullptr) owner->on_load(load);
  }

  // --- Drain ---

  static loop::Task<void> drain(State& state, Deadline deadline) {
    Keep keep(state);
    struct Waiting {
      State& state;
      loop::Event event;
      explicit Waiting(State& in) : state(in), event(in.loop) { state.drains.push_back(&event); }
      ~Waiting() { std::erase(state.drains, &event); }
    } waiting(state);
    if (!state.closed) {
      state.mux.goaway("draining");
      state.schedule();
    }
    while (!state.is_drained()) {
      if (co_await waiting.event.wait(deadline)) continue;
      state.shut_down_calls();
      // Best effort: the owner may destroy the link as soon as this task has ended.
      state.write();
      break;
    }
  }

  void shut_down_calls() {
    Keep keep(*this);
    Status status = call::cancel_status(Cancel::shutdown);
    while (!closed && outgoing.next != &outgoing) {
      auto& call = static_cast<OutCall&>(*outgoing.next);
      mux.cancel(call.id, static_cast<std::uint8_t>(Cancel::shutdown));
      end(call, status, {});
    }
    while (!closed && incoming.next != &incoming) {
      static_cast<InCall&>(*incoming.next).abort(status, Cancel::shutdown);
    }
  }
};

// --- OutCall ---------------------------------------------------------------------------------------------------------

MuxLink::OutCall::OutCall(State& link, call::CallerEvents& ear) : events(ear) {
  state = &link;
  move_to(link.outgoing);
  link.outgoing_open++;
  link.stats.calls_opened++;
}

Sent MuxLink::OutCall::send(Message message, Last last) {
  if (over || has_waiting) return Sent::ended;
  const Bytes& bytes = message.bytes();
  if (auto limit = state->mux.limits().message_bytes_max; bytes.size() > limit) {
    State::Keep keep(*state);
    State& link = *state;
    link.mux.cancel(id, static_cast<std::uint8_t>(Cancel::protocol));
    link.end(*this, too_large(bytes.size(), limit), {});
    link.schedule();
    return Sent::ended;
  }
  if (opening_held) {
    waiting = bytes;
    waiting_last = last;
    has_waiting = true;
    return Sent::held;
  }
  Sent sent = sent_of(state->mux.send(id, bytes, last == Last::yes));
  state->schedule();
  return sent;
}

void MuxLink::OutCall::half_close() {
  if (over) return;
  if (has_waiting) {
    waiting_last = Last::yes;
    return;
  }
  state->mux.half_close(id);
  state->schedule();
}

void MuxLink::OutCall::on_credit() {
  bool untold = std::exchange(opening_held, false);
  if (!std::exchange(has_waiting, false)) {
    // Whoever was not told to wait is not told to go on.
    if (!untold) events.on_credit();
    return;
  }
  auto sent = state->mux.send(id, std::exchange(waiting, {}), waiting_last == Last::yes);
  state->schedule();
  if (sent == wire::MuxSent::more && waiting_last == Last::no) events.on_credit();
}

void MuxLink::OutCall::consumed(std::size_t cost) {
  if (over) return;
  state->mux.consumed(id, cost);
  state->schedule();
}

void MuxLink::OutCall::cancel(Cancel reason) {
  if (over) return;
  State& link = *state;
  State::Keep keep(link);
  link.mux.cancel(id, static_cast<std::uint8_t>(reason));
  link.end(*this, call::cancel_status(reason), {});
  link.schedule();
}

void MuxLink::OutCall::release() {
  State* link = state;
  bool open = !over;
  wire::CallId call = id;
  delete this;
  if (link == nullptr || !open) return;
  State::Keep keep(*link);
  link->outgoing_open--;
  if (!link->closed) link->mux.cancel(call, static_cast<std::uint8_t>(Cancel::caller));
  link->schedule();
  link->check_drained();
}

void MuxLink::OutCall::fire() {
  State& link = *state;
  State::Keep keep(link);
  link.mux.cancel(id, static_cast<std::uint8_t>(Cancel::deadline));
  link.end(*this,
           {Code::deadline_exceeded, "S1004", fmt::format("the deadline passed before {} had answered", link.peer())},
           {});
  link.schedule();
}

// --- InCall ----------------------------------------------------------------------------------------------------------

MuxLink::InCall::InCall(State& link) {
  state = &link;
  move_to(link.incoming);
  link.incoming_unfinished++;
}

void MuxLink::InCall::abort(const Status& status, Cancel reason) {
  if (over) return;
  State& link = *state;
  wire::StatusFrame frame;
  frame.code = status.code();
  frame.retry = status.retry();
  frame.id = status.id();
  frame.message = status.message();
  link.mux.finish(id, frame, wire::Unsent::drop);
  link.end_incoming(*this);
  link.schedule();
  if (events != nullptr) events->on_cancel(reason);
}

void MuxLink::InCall::fire() {
  abort({Code::deadline_exceeded, "S1004", "the deadline passed while the call ran"}, Cancel::deadline);
}

void MuxLink::InCall::send_metadata(Metadata metadata) {
  if (over || finished) return;
  State& link = *state;
  if (auto viewed = view(metadata, link.mux.limits().metadata_bytes_max, link.views); !viewed) {
    abort(viewed.error(), Cancel::protocol);
    return;
  }
  link.mux.metadata(id, link.views);
  link.schedule();
}

Sent MuxLink::InCall::send(Message message) {
  if (over || finished) return Sent::ended;
  State& link = *state;
  const Bytes& bytes = message.bytes();
  if (auto limit = link.mux.limits().message_bytes_max; bytes.size() > limit) {
    abort(too_large(bytes.size(), limit), Cancel::protocol);
    return Sent::ended;
  }
  Sent sent = sent_of(link.mux.send(id, bytes, false));
  link.schedule();
  return sent;
}

void MuxLink::InCall::consumed(std::size_t cost) {
  if (over || finished) return;
  state->mux.consumed(id, cost);
  state->schedule();
}

void MuxLink::InCall::finish(Status status, Metadata trailers) {
  if (finished || state == nullptr) return;
  finished = true;
  State& link = *state;
  State::Keep keep(link);
  link.incoming_unfinished--;
  if (!link.closed) {
    if (!over) {
      if (auto viewed = view(trailers, link.mux.limits().metadata_bytes_max, link.views); !viewed) {
        status = std::move(viewed).error();
      }
    } else {
      link.views.clear();
    }
    wire::StatusFrame frame;
    frame.code = status.code();
    frame.retry = status.retry();
    frame.id = status.id();
    frame.message = status.message();
    frame.details = status.details();
    std::swap(frame.trailers, link.views);
    if (beginning && !status.is_ok() && status.retry() == Retry::elsewhere) {
      link.mux.refuse(id, frame);
    } else {
      // Begun, so not safe to move, whatever the status says that the handler hands on.
      if (frame.retry == Retry::elsewhere) frame.retry = Retry::later;
      link.mux.finish(id, frame);
    }
    std::swap(frame.trailers, link.views);
    link.schedule();
  }
  if (!over) link.end_incoming(*this);
  link.check_drained();
}

void MuxLink::InCall::finish_with(Message message) {
  if (finished) return;
  if (!over) {
    const Bytes& bytes = message.bytes();
    if (auto limit = state->mux.limits().message_bytes_max; bytes.size() > limit) {
      finish(too_large(bytes.size(), limit), {});
      return;
    }
    state->mux.send(id, bytes, true);
  }
  finish({}, {});
}

void MuxLink::InCall::release() {
  if (!finished) finish({Code::internal, "S1013", "the service let go of the call without finishing it"}, {});
  delete this;
}

// --- MuxLink ---------------------------------------------------------------------------------------------------------

Own<MuxLink> MuxLink::create(loop::Loop& loop, Own<Carrier> carrier, call::Service& service, LinkOwner& owner,
                             MuxLinkOptions options) {
  auto* state = new State(loop, std::move(carrier), service, owner, std::move(options));
  auto link = Own<MuxLink>(new MuxLink(state));
  state->carrier->start(*state);
  state->schedule();
  return link;
}

MuxLink::MuxLink(State* state) : state_(state) {}

MuxLink::~MuxLink() {
  State& state = *state_;
  state.owner = nullptr;
  state.die(Status(Code::unavailable, "S1008", fmt::format("the link to {} was dropped", state.peer()))
                .with_retry(Retry::reconnect),
            {});
  // Ends that are still held outlive the link: only release() is left to them.
  for (Node* list : {&state.outgoing, &state.incoming, &state.done}) {
    while (list->next != list) {
      list->next->state = nullptr;
      list->next->unlink();
    }
  }
  state.unref();
}

call::OutgoingHandle MuxLink::open(const call::Open& open, call::CallerEvents& events, call::Opening opening) {
  State& state = *state_;
  State::Keep keep(state);
  if (state.closed) return call::end_unopened(events, state.why);
  if (open.deadline.passed(state.loop.now())) {
    return call::end_unopened(events,
                              {Code::deadline_exceeded, "S1004", "the deadline had passed before the call was sent"});
  }
  const auto& limits = state.mux.limits();
  wire::OpenFrame& frame = state.open_frame;
  frame.metadata.clear();
  if (open.metadata != nullptr) {
    if (auto viewed = view(*open.metadata, limits.metadata_bytes_max, frame.metadata); !viewed) {
      return call::end_unopened(events, std::move(viewed).error());
    }
  }
  Bytes first;
  if (opening.has_message) {
    first = opening.message.bytes();
    if (first.size() > limits.message_bytes_max)
      return call::end_unopened(events, too_large(first.size(), limits.message_bytes_max));
  }
  frame.service = open.service;
  frame.command = open.command;
  frame.deadline_ns = state.wire_deadline(open.deadline);
  frame.grant = open.grant;
  frame.hops = open.hops;
  frame.encoding = open.encoding == call::Encoding::proto ? 1 : 0;
  static const call::Principal nobody;
  const call::Principal& principal = open.principal != nullptr ? *open.principal : nobody;
  frame.principal_kind = static_cast<std::uint8_t>(principal.kind);
  frame.principal_service = principal.service;
  frame.principal_user = principal.user;
  frame.token = principal.token;

  bool last = opening.last == Last::yes;
  wire::CallId id = state.mux.open(frame, last && !opening.has_message, nullptr);
  if (id == 0) {
    auto text = state.mux.is_draining() ? fmt::format("the link to {} is draining and takes no new calls", state.peer())
                                        : fmt::format("{} calls are open on the link to {}, which is its limit",
                                                      limits.calls_max, state.peer());
    return call::end_unopened(events, Status(Code::unavailable, "S1015", std::move(text)).with_retry(Retry::elsewhere));
  }
  auto* call = new OutCall(state, events);
  call->id = id;
  state.mux.set_user(id, static_cast<Node*>(call));
  if (opening.has_message) {
    call->opening_held = state.mux.send(id, std::move(first), last) == wire::MuxSent::held && !last;
  }
  if (!open.deadline.is_never()) state.loop.arm(*call, open.deadline.at());
  state.schedule();
  return call::OutgoingHandle(call);
}

loop::Task<void> MuxLink::drain(Deadline deadline) { return State::drain(*state_, deadline); }

call::LinkStats MuxLink::stats() const {
  auto stats = state_->stats;
  stats.calls_open = state_->outgoing_open + state_->incoming_unfinished;
  return stats;
}

bool MuxLink::is_closed() const { return state_->closed; }

bool MuxLink::has_unsent() const { return !state_->closed && state_->mux.has_output(); }

void MuxLink::ping(std::uint64_t number) {
  if (state_->closed) return;
  state_->mux.ping(number);
  state_->schedule();
}

void MuxLink::goaway(std::string_view reason) {
  if (state_->closed) return;
  state_->mux.goaway(reason);
  state_->schedule();
}

void MuxLink::wait(std::uint64_t ticket, const wire::WaitFrame& wait) {
  if (state_->closed) return;
  wire::WaitFrame frame = wait;
  frame.deadline_ns = state_->wire_deadline(Deadline(Instant{wait.deadline_ns}));
  state_->mux.wait(ticket, frame);
  state_->schedule();
}

void MuxLink::grant(std::uint64_t ticket, const wire::GrantFrame& grant) {
  if (state_->closed) return;
  state_->mux.grant(ticket, grant);
  state_->schedule();
}

void MuxLink::load(const wire::LoadFrame& load) {
  if (state_->closed) return;
  state_->mux.load(load);
  state_->schedule();
}

void MuxLink::close(Status why) {
  Status told = why;
  state_->die(std::move(told), std::move(why));
}

}  // namespace shunt::link
