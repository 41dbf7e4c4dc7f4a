#pragma once
// What a MuxLink is made of, shared by the files that implement it: mux_link.cpp (the link: opening, writing, ending),
// mux_link_events.cpp (what the mux tells) and mux_calls.cpp (the ends of calls). Nobody else includes this.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "link/mux_link.h"
#include "link/mux_values.h"
#include "loop/event.h"

namespace shunt::link {

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
  ~OutCall() {
    if (gone != nullptr) *gone = true;
  }
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  call::Sent send(call::Message message, call::Last last) override;
  void half_close() override;
  void consumed(std::size_t cost) override;
  void cancel(call::Cancel reason) override;
  void release() override;
  void fire() override;
  void on_credit();

  call::CallerEvents& events;
  bool* gone = nullptr;  ///< Between an answer's message and its end: set when it is released there.
  // The opening's message may use up all credit, which open() can't tell: one message more is kept here until there is some.
  bool opening_held = false;
  bool has_waiting = false;
  std::uint64_t sent_before;  ///< Bytes that the link had sent when the call was opened.
  call::Last waiting_last = call::Last::no;
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
  void send_metadata(call::Metadata metadata) override;
  call::Sent send(call::Message message) override;
  void consumed(std::size_t cost) override;
  void finish(Status status, call::Metadata trailers) override;
  void finish_with(call::Message message) override;
  void release() override;
  void fire() override;

  /// Ends it from this side: the caller gets `status`, the callee hears `reason`.
  void abort(const Status& status, call::Cancel reason);

  call::CalleeEvents* events = nullptr;
  bool* gone = nullptr;   ///< While begin() runs: set when it is released there.
  bool beginning = true;  ///< Inside begin(): a refusal there means that nothing was started.
  bool finished = false;
};

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
  std::vector<std::optional<call::Principal>> path_principals;  // By a path's number, as they come up.

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

  /// Why no call can be opened now.
  [[nodiscard]] Status no_room() const;
  [[nodiscard]] std::string_view peer() const { return peer_name.empty() ? "the peer" : std::string_view(peer_name); }

  // --- Writing: gathered in a turn, written once at its end ---

  void schedule() {
    if (!closed && !blocked && mux.has_output()) loop.flush(*this);
  }

  void run() override {
    Keep keep(*this);
    write();
  }

  void write();

  // --- What the carrier tells ---

  void on_bytes(std::string_view bytes) override;
  [[nodiscard]] std::uint64_t frames_received() const override { return mux.frames_received(); }

  void on_writable() override {
    if (closed) return;
    Keep keep(*this);
    blocked = false;
    write();
  }

  void on_closed(Status reason) override;

  /// Ends the link: calls end as `told`, the owner hears `reason`.
  void die(Status told, Status reason);

  /// Ends what is open now; what events open meanwhile is not (a closed or draining link opens nothing).
  void end_calls(const Status& status, call::Cancel reason);

  // --- The ends of calls. The call may be gone when they return. ---

  void end(OutCall& call, Status status, call::Metadata trailers);

  /// Ends it on this side; whoever called still has to hear it.
  void end_silently(OutCall& call) {
    call.over = true;
    call.Timer::disarm();
    if (call.has_waiting) call.waiting = {};
    call.has_waiting = false;
    call.move_to(done);
    outgoing_open--;
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

  void on_hello(const wire::Hello& hello) override;

  [[nodiscard]] std::int64_t wire_deadline(Deadline deadline) const {
    if (deadline.is_never()) return INT64_MAX;
    return mux.same_clock() ? deadline.at().ns : deadline.at().ns - loop.now().ns;
  }
  [[nodiscard]] Deadline read_deadline(std::int64_t ns) const {
    if (ns == INT64_MAX) return Deadline::never();
    if (mux.same_clock()) return Deadline(Instant{ns});
    return Deadline::after(loop.now(), Duration(ns));
  }

  void on_open(wire::CallId id, const wire::OpenFrame& frame, Bytes* first, bool last) override;

  /// Hands a call to the service. What `open` borrows holds until it returns.
  void begin(wire::CallId id, const call::Open& open, call::Opening opening);

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

  [[nodiscard]] static call::Principal told_principal(const wire::OpenFrame& frame);
  /// Of openings that are alike but for their path: made once.
  [[nodiscard]] const call::Principal& principal_of_path(const wire::OpenFrame& frame);
  void on_path(std::uint16_t number) override;

  void on_message(wire::CallId id, void* user, Bytes message) override;
  void on_answer(wire::CallId id, void* user, Bytes message) override;

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

  void on_credit(wire::CallId id, void* user) override;

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

  static loop::Task<void> drain(State& state, Deadline deadline);

  void shut_down_calls();
};

}  // namespace shunt::link
