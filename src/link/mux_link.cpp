#include "link/mux_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "link/mux_link_state.h"

namespace shunt::link {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;

void MuxLink::State::write() {
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

void MuxLink::State::on_bytes(std::string_view bytes) {
  if (closed) return;
  Keep keep(*this);
  stats.bytes_received += bytes.size();
  auto received = mux.receive(bytes);
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

void MuxLink::State::on_closed(Status reason) {
  if (closed) return;
  Status told(Code::unavailable, "S1008", fmt::format("lost {}: {}", peer(), reason.message()));
  die(std::move(told).with_retry(Retry::reconnect), std::move(reason));
}

void MuxLink::State::die(Status told, Status reason) {
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

void MuxLink::State::end_calls(const Status& status, Cancel reason) {
  Keep keep(*this);
  while (outgoing.next != &outgoing) {
    auto& call = static_cast<OutCall&>(*outgoing.next);
    Status told = status;
    // The carrier has taken nothing since it was opened: the peer can't have begun it.
    if (call.sent_before == stats.bytes_sent && told.code() == Code::unavailable) told.with_retry(Retry::elsewhere);
    end(call, std::move(told), {});
  }
  while (incoming.next != &incoming) {
    auto& call = static_cast<InCall&>(*incoming.next);
    end_incoming(call);
    if (call.events != nullptr) call.events->on_cancel(reason);
  }
}

void MuxLink::State::end(OutCall& call, Status status, Metadata trailers) {
  end_silently(call);
  Keep keep(*this);
  call.events.on_end(std::move(status), std::move(trailers));
  check_drained();
}

void MuxLink::State::shut_down_calls() {
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

loop::Task<void> MuxLink::State::drain(State& state, Deadline deadline) {
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

Status MuxLink::State::no_room() const {
  auto text = mux.is_draining() ? fmt::format("the link to {} is draining and takes no new calls", peer())
                                : fmt::format("{} calls are open on the link to {}, which is its limit",
                                              mux.limits().calls_max, peer());
  return Status(Code::unavailable, "S1015", std::move(text)).with_retry(Retry::elsewhere);
}

// --- MuxLink ---

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
    first = opening.message.take_bytes();
    if (first.size() > limits.message_bytes_max)
      return call::end_unopened(events, too_large(first.size(), limits.message_bytes_max));
  }
  if (!state.mux.can_open()) return call::end_unopened(events, state.no_room());
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
  auto* call = new OutCall(state, events);
  auto opened = state.mux.open(frame, opening.has_message ? &first : nullptr, last, static_cast<Node*>(call));
  call->id = opened.id;
  call->opening_held = opened.sent == wire::MuxSent::held && !last;
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
