// What goes out: frames are lined up, control frames first, calls in turns, and handed out as vectors.

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/mux_state.h"

namespace shunt::wire {

namespace {

/// How much output() lines up at once. What is lined up keeps its order, so a control frame waits behind this at most.
constexpr std::size_t commit_bytes = 128 << 10;
/// A string kept for reuse must not hold more than this.
constexpr std::size_t spare_bytes_max = 256 << 10;

}  // namespace

MuxSent Mux::State::send(CallState& call, Bytes message, bool last) {
  if (call.dead || call.finished || call.local_closed) return MuxSent::ended;
  bool final = last && !call.outgoing;
  if (call.send_credit <= 0 && !final) return MuxSent::ended;
  call.send_credit -= static_cast<std::int64_t>(message.size() + message_overhead);
  if (!call.outgoing) call.answered = true;
  if (last) call.local_closed = true;
  if (call.outbox == nullptr && message.size() <= inline_bytes_max && backlog() < direct_backlog_bytes_max) {
    control_frame(FrameType::message, call.id, message.view(), final ? flag::final_ : last ? flag::last : 0);
  } else {
    if (call.outbox == nullptr) call.outbox = make_own<Outbox>();
    call.outbox->messages.push_back(std::move(message));
    call.outbox->close_after = last && !final;
    call.outbox->final_after = final;
    take_turn(call);
  }
  if (call.send_credit > 0) return MuxSent::more;
  call.held = !last;
  return MuxSent::held;
}

void Mux::State::give_credit(CallState& call) {
  // A caller that has closed sends nothing more.
  if (call.remote_closed || call.dead || call.finished) return;
  call.receive_credit += static_cast<std::int64_t>(call.credit_owed);
  char bytes[8];
  std::memcpy(bytes, &call.credit_owed, 8);
  call.credit_owed = 0;
  owed_answers++;
  control_frame(FrameType::credit, call.id, {bytes, 8});
}

void Mux::State::commit() {
  if (!open) return;
  std::string text;
  if (!control.empty()) {
    text = std::exchange(control, take_spare());
    owed_answers = 0;
  } else if (turns.empty() || segment_bytes >= commit_bytes) {
    return;
  } else {
    text = take_spare();
  }
  auto push_text = [&] {
    if (text.empty()) return;
    segment_bytes += text.size();
    segments.push_back({std::exchange(text, take_spare()), {}, 0});
  };
  while (!turns.empty() && segment_bytes + text.size() < commit_bytes) {
    CallId id = turns.front();
    turns.pop_front();
    CallState* call = calls.find(id);
    if (call == nullptr || !call->in_ready) continue;
    call->in_ready = false;
    if (call->outbox == nullptr) continue;
    auto& outbox = *call->outbox;

    if (!outbox.messages.empty()) {
      auto& message = outbox.messages.front();
      std::size_t left = message.size() - outbox.offset;
      std::size_t size = std::min(left, fragment_bytes_max);
      bool whole = size == left;
      bool closes = whole && outbox.messages.size() == 1 && outbox.close_after;
      bool final = outbox.messages.size() == 1 && outbox.final_after;
      char header[header_bytes];
      encode_header(
          {static_cast<std::uint32_t>(size), FrameType::message,
           static_cast<std::uint8_t>((whole ? 0 : flag::more) | (closes ? flag::last : 0) | (final ? flag::final_ : 0)),
           id},
          header);
      text.append(header, header_bytes);
      if (size <= inline_bytes_max) {
        text.append(message.data() + outbox.offset, size);
      } else {
        push_text();
        segment_bytes += size;
        segments.push_back({{}, message.slice(outbox.offset, size), 0});
      }
      if (whole) {
        outbox.messages.pop_front();
        outbox.offset = 0;
        if (closes) outbox.close_after = false;
      } else {
        outbox.offset += size;
      }
    }
    if (outbox.messages.empty()) {
      if (outbox.status) {
        append_frame(text, FrameType::status, id, *outbox.status);
        forget(*call);
      } else {
        call->outbox.reset();
      }
    } else {
      take_turn(*call);
    }
  }
  push_text();
  if (text.capacity() > 0 && spares.size() < 4) spares.push_back(std::move(text));
}

std::string Mux::State::take_spare() {
  if (spares.empty()) return {};
  auto spare = std::move(spares.back());
  spares.pop_back();
  spare.clear();
  return spare;
}

bool Mux::has_output() const {
  const auto& state = *state_;
  return !state.segments.empty() || (state.open && (!state.control.empty() || !state.turns.empty()));
}

int Mux::output(iovec* vectors, int count) {
  auto& state = *state_;
  state.commit();
  int filled = 0;
  for (auto& segment : state.segments) {
    if (filled == count) break;
    auto left = segment.view().substr(segment.done);
    vectors[filled++] = {const_cast<char*>(left.data()), left.size()};
  }
  return filled;
}

void Mux::written(std::size_t bytes) {
  auto& state = *state_;
  SHUNT_ASSERT(bytes <= state.segment_bytes);
  state.segment_bytes -= bytes;
  while (bytes > 0) {
    auto& segment = state.segments.front();
    std::size_t left = segment.view().size() - segment.done;
    if (bytes < left) {
      segment.done += bytes;
      return;
    }
    bytes -= left;
    if (segment.text.capacity() > 0 && segment.text.capacity() <= spare_bytes_max && state.spares.size() < 4) {
      state.spares.push_back(std::move(segment.text));
    }
    state.segments.pop_front();
  }
}

}  // namespace shunt::wire
