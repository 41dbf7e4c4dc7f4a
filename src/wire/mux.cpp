#include "wire/mux.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/mux_state.h"

namespace shunt::wire {

namespace {

/// Metadata must fit into a frame together with everything else there.
constexpr std::uint32_t metadata_bytes_ceiling = 512 << 10;

}  // namespace

Mux::Mux(Side side, MuxLimits limits, const Hello& hello, MuxEvents& events) {
  limits.metadata_bytes_max = std::min(limits.metadata_bytes_max, metadata_bytes_ceiling);
  limits.stream_credit = std::max<std::uint32_t>(limits.stream_credit, 1);
  state_ = make_own<State>(side, limits, hello.version_minor, events);
  state_->own_clock = hello.clock;
  Hello said = hello;
  said.message_bytes_max = limits.message_bytes_max;
  said.calls_max = limits.calls_max;
  said.metadata_bytes_max = limits.metadata_bytes_max;
  said.stream_credit = limits.stream_credit;
  std::string text;
  append_frame(text, FrameType::hello, 0, encode_hello(said));
  state_->segment_bytes = text.size();
  state_->segments.emplace_back().frames.append(text);
}

Mux::~Mux() = default;

bool Mux::can_open() const {
  return !state_->goaway_sent && !state_->goaway_came && state_->outgoing_open < state_->limits.calls_max;
}

CallId Mux::open(const OpenFrame& open, bool last, void* user) { return this->open(open, nullptr, last, user).id; }

Mux::Opened Mux::open(const OpenFrame& open, Bytes* first, bool last, void* user) {
  auto& state = *state_;
  if (!can_open()) return {};
  CallId id = state.next_id;
  state.next_id += 2;
  CallState& call = state.calls.add(id);
  state.outgoing_open++;
  call.user = user;
  call.outgoing = true;
  // Before the HELLO nobody knows what the peer allows; one message always is.
  call.send_credit = state.open ? state.limits.stream_credit : 1;
  call.receive_credit = state.limits.stream_credit;
  if (state.is_compact() &&
      open.service.size() + open.command.size() + open.principal_service.size() <= path_bytes_max) {
    if (state.open_by_path(call, open, first, last)) {
      call.send_credit -= static_cast<std::int64_t>(first->size() + message_overhead);
      call.held = call.send_credit <= 0 && !last;
      return {id, call.send_credit > 0 ? MuxSent::more : MuxSent::held};
    }
  } else {
    call.local_closed = last && first == nullptr;
    if (!state.open) state.early_opens.push_back(state.control.size() + header_bytes);
    state.control_frame_with(
        FrameType::open, id, [&](std::string& out) { encode_open(open, out); }, call.local_closed ? flag::last : 0);
  }
  if (first == nullptr) return {id, MuxSent::more};
  return {id, state.send(call, std::move(*first), last)};
}

void Mux::set_user(CallId id, void* user) {
  if (CallState* call = state_->calls.find(id)) call->user = user;
}

void Mux::metadata(CallId id, const MetadataView& metadata) {
  CallState* call = state_->calls.find(id);
  if (call == nullptr || call->outgoing || call->dead || call->finished || call->answered) return;
  call->answered = true;
  state_->control_frame_with(FrameType::metadata, id, [&](std::string& out) { encode_metadata(metadata, out); });
}

void Mux::finish(CallId id, const StatusFrame& status, Unsent unsent) {
  auto& state = *state_;
  CallState* call = state.calls.find(id);
  if (call == nullptr || call->outgoing || call->finished) return;
  if (call->dead) {
    state.forget(*call);
    return;
  }
  if (unsent == Unsent::drop) {
    SHUNT_ASSERT(status.code != Code::ok);
    state.drop_outbox(*call);
    call->in_ready = false;
  }
  if (call->outbox == nullptr && state.backlog() < direct_backlog_bytes_max) {
    state.control_frame_with(FrameType::status, id, [&](std::string& out) { encode_status(status, out); });
    state.forget(*call);
    return;
  }
  state.finish_later(*call);
  Outbox& outbox = state.take_outbox(*call);
  outbox.ok_after = state.is_compact() && outbox.final_after && !outbox.messages.empty() && status.code == Code::ok &&
                    status.trailers.empty();
  if (!outbox.ok_after) {
    outbox.status.emplace();
    encode_status(status, *outbox.status);
  }
  state.take_turn(*call);
}

void Mux::answer(CallId id, Bytes message) {
  auto& state = *state_;
  CallState* call = state.calls.find(id);
  if (call == nullptr || call->outgoing || call->finished) return;
  if (call->dead) {
    state.forget(*call);
  } else if (call->local_closed) {
    finish(id, {});  // Its last message went already.
  } else if (!state.is_compact()) {
    state.send(*call, std::move(message), true);
    finish(id, {});
  } else if (call->outbox == nullptr && state.is_direct(message.size())) {
    state.control_frame(FrameType::message, id, message.view(), flag::final_ | flag::ok);
    state.forget(*call);
  } else {
    state.finish_later(*call);
    Outbox& outbox = state.take_outbox(*call);
    outbox.messages.push_back(std::move(message));
    outbox.final_after = outbox.ok_after = true;
    state.take_turn(*call);
  }
}

void Mux::refuse(CallId id, const StatusFrame& status) {
  CallState* call = state_->calls.find(id);
  if (call == nullptr || call->outgoing) return;
  if (call->answered || call->dead || call->finished) {
    finish(id, status);
    return;
  }
  state_->control_frame_with(FrameType::refused, id, [&](std::string& out) { encode_status(status, out); });
  state_->forget(*call);
}

MuxSent Mux::send(CallId id, Bytes message, bool last) {
  CallState* call = state_->calls.find(id);
  if (call == nullptr) return MuxSent::ended;
  return state_->send(*call, std::move(message), last);
}

void Mux::half_close(CallId id) {
  CallState* call = state_->calls.find(id);
  if (call == nullptr || !call->outgoing || call->local_closed) return;
  call->local_closed = true;
  if (call->outbox != nullptr && !call->outbox->messages.empty()) {
    call->outbox->close_after = true;
  } else {
    state_->control_frame(FrameType::half_close, id, {});
  }
}

void Mux::consumed(CallId id, std::size_t cost) {
  auto& state = *state_;
  CallState* call = state.calls.find(id);
  if (call == nullptr) return;
  std::uint64_t given = std::min<std::uint64_t>(cost, call->unconsumed);
  call->unconsumed -= given;
  state.held_bytes -= given;
  call->credit_owed += given;
  // In portions: a frame for each small message would double the traffic. The sender stands still only when all its
  // credit is used, and then what is owed and what is unconsumed make up the whole of it.
  if (call->credit_owed > 0 && call->credit_owed >= state.limits.stream_credit / 4) state.give_credit(*call);
}

void Mux::cancel(CallId id, std::uint8_t reason) {
  CallState* call = state_->calls.find(id);
  if (call == nullptr || !call->outgoing) return;
  state_->forget(*call);
  state_->send_cancel(id, reason);
}

void Mux::ping(std::uint64_t number) { state_->control_frame(FrameType::ping, number, {}); }

void Mux::goaway(std::string_view reason) {
  if (std::exchange(state_->goaway_sent, true)) return;
  state_->control_frame(FrameType::goaway, 0, reason.substr(0, 4096));
}

void Mux::wait(std::uint64_t ticket, const WaitFrame& wait) {
  state_->control_frame_with(FrameType::wait, ticket, [&](std::string& out) { encode_wait(wait, out); });
}

void Mux::grant(std::uint64_t ticket, const GrantFrame& grant) {
  state_->control_frame_with(FrameType::grant, ticket, [&](std::string& out) { encode_grant(grant, out); });
}

void Mux::load(const LoadFrame& load) {
  state_->control_frame_with(FrameType::load, 0, [&](std::string& out) { encode_load(load, out); }, flag::skip);
}

const MuxLimits& Mux::limits() const { return state_->limits; }
bool Mux::same_clock() const { return state_->same_clock; }
bool Mux::is_open() const { return state_->open; }
bool Mux::is_draining() const { return state_->goaway_sent || state_->goaway_came; }
std::size_t Mux::calls_open() const { return state_->calls.size(); }
std::uint64_t Mux::bytes_held() const { return state_->held_bytes; }

void Mux::rewrite_deadlines(const std::function<std::int64_t(std::int64_t)>& rewrite) {
  for (std::size_t at : state_->early_opens) {
    std::int64_t deadline = 0;
    char* place = state_->control.data() + at;
    std::memcpy(&deadline, place, 8);
    deadline = rewrite(deadline);
    std::memcpy(place, &deadline, 8);
  }
}

void Mux::for_each_call(const std::function<void(CallId, void* user, bool outgoing)>& visit) {
  state_->calls.for_each([&](CallState& call) { visit(call.id, call.user, call.outgoing); });
}

}  // namespace shunt::wire
