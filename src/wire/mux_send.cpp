// What goes out: frames are lined up, control frames first, calls in turns, and handed out as vectors.

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/mux_state.h"

namespace shunt::wire {

namespace {

/// How much output() lines up at once. What is lined up keeps its order, so a control frame waits behind this at most.
constexpr std::size_t commit_bytes = 128 << 10;
/// A buffer kept for reuse must not hold more than this.
constexpr std::size_t spare_bytes_max = 256 << 10;
constexpr std::size_t spares_max = 4;
constexpr std::size_t outboxes_kept_max = 64;

}  // namespace

// --- Sending ---

void Mux::State::tell_path(const OpenFrame& open) {
  last_path = path_number(open);
  Path& path = paths_told[last_path];
  if (path.is(open)) return;
  path = {std::string(open.service), std::string(open.command), std::string(open.principal_service),
          open.principal_kind, true};
  control_frame_with(FrameType::path, last_path, [&](std::string& out) { encode_path(open, out); });
}

bool Mux::State::open_by_path(CallState& call, const OpenFrame& open, const Bytes* first, bool last) {
  if (paths_told.empty()) paths_told.resize(paths_max + 1);
  if (!paths_told[last_path].is(open)) tell_path(open);
  std::uint16_t number = last_path;
  encoded.clear();
  if (has_extra(open)) encode_extra(open, encoded);
  bool with = first != nullptr && is_direct(first->size());
  std::size_t payload = call_fields_bytes + encoded.size() + (with ? first->size() : 0);
  char* at = control.room(header_bytes + payload);
  bool closes = last && (with || first == nullptr);
  write_header(at, payload, FrameType::call,
               static_cast<std::uint8_t>((with ? flag::with : 0) | (closes ? flag::last : 0)), call.id);
  CallFields fields{open.deadline_ns, number, open.hops, open.encoding, static_cast<std::uint32_t>(encoded.size())};
  std::memcpy(at + header_bytes, &fields, call_fields_bytes);
  char* behind = at + header_bytes + call_fields_bytes;
  if (!encoded.empty()) std::memcpy(behind, encoded.data(), encoded.size());
  if (with && !first->empty()) std::memcpy(behind + encoded.size(), first->data(), first->size());
  control.took(header_bytes + payload);
  call.local_closed = closes;
  return with;
}

MuxSent Mux::State::send(CallState& call, Bytes message, bool last) {
  if (call.dead || call.finished || call.local_closed) return MuxSent::ended;
  bool final = last && !call.outgoing;
  if (call.send_credit <= 0 && !final) return MuxSent::ended;
  call.send_credit -= static_cast<std::int64_t>(message.size() + message_overhead);
  if (!call.outgoing) call.answered = true;
  if (last) call.local_closed = true;
  if (call.outbox == nullptr && is_direct(message.size())) {
    control_frame(FrameType::message, call.id, message.view(), final ? flag::final_ : last ? flag::last : 0);
  } else {
    Outbox& outbox = take_outbox(call);
    outbox.messages.push_back(std::move(message));
    outbox.close_after = last && !final;
    outbox.final_after = final;
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

Outbox& Mux::State::take_outbox(CallState& call) {
  if (call.outbox == nullptr) {
    if (outboxes_free.empty()) {
      call.outbox = make_own<Outbox>();
    } else {
      call.outbox = std::move(outboxes_free.back());
      outboxes_free.pop_back();
    }
  }
  return *call.outbox;
}

void Mux::State::drop_outbox(CallState& call) {
  auto outbox = std::move(call.outbox);
  if (outbox == nullptr || outboxes_free.size() >= outboxes_kept_max) return;
  outbox->reset();
  outboxes_free.push_back(std::move(outbox));
}

// --- Lining up ---

OutBuffer Mux::State::take_spare() {
  if (spares.empty()) return {};
  OutBuffer spare = std::move(spares.back());
  spares.pop_back();
  return spare;
}

void Mux::State::keep_spare(OutBuffer spare) {
  if (spare.capacity() == 0 || spare.capacity() > spare_bytes_max || spares.size() >= spares_max) return;
  spare.clear();
  spares.push_back(std::move(spare));
}

void Mux::State::push_frames(OutBuffer& frames) {
  if (frames.empty()) return;
  segment_bytes += frames.size();
  segments.emplace_back();
  segments.back().frames.swap(frames);
  frames = take_spare();
}

void Mux::State::line_up_fragment(CallState& call, OutBuffer& frames) {
  auto& outbox = *call.outbox;
  auto& message = outbox.messages.front();
  std::size_t left = message.size() - outbox.offset;
  std::size_t size = std::min(left, fragment_bytes_max);
  bool whole = size == left;
  bool is_last_message = outbox.messages.size() == 1;
  bool closes = whole && is_last_message && outbox.close_after;
  bool final = is_last_message && outbox.final_after;
  auto flags =
      static_cast<std::uint8_t>((whole ? 0 : flag::more) | (closes ? flag::last : 0) | (final ? flag::final_ : 0) |
                                (final && whole && outbox.ok_after ? flag::ok : 0));
  if (!whole && outbox.offset == 0 && is_compact()) {
    char* at = frames.room(header_bytes + 8);
    std::uint64_t all = message.size();
    write_header(at, 8, FrameType::size, flag::skip, call.id);
    std::memcpy(at + header_bytes, &all, 8);
    frames.took(header_bytes + 8);
  }
  if (size <= inline_bytes_max) {
    char* at = frames.room(header_bytes + size);
    write_header(at, size, FrameType::message, flags, call.id);
    if (size > 0) std::memcpy(at + header_bytes, message.data() + outbox.offset, size);
    frames.took(header_bytes + size);
  } else {
    push_frames(frames);
    auto& segment = segments.emplace_back();
    write_header(segment.header, size, FrameType::message, flags, call.id);
    segment.payload = message.slice(outbox.offset, size);
    segment_bytes += header_bytes + size;
  }
  if (whole) {
    outbox.messages.pop_front();
    outbox.offset = 0;
    if (closes) outbox.close_after = false;
  } else {
    outbox.offset += size;
  }
}

void Mux::State::commit() {
  if (!open) return;
  OutBuffer frames;
  if (!control.empty()) {
    frames.swap(control);
    control = take_spare();
    owed_answers = 0;
  } else if (turns.empty() || segment_bytes >= commit_bytes) {
    return;
  } else {
    frames = take_spare();
  }
  while (!turns.empty() && segment_bytes + frames.size() < commit_bytes) {
    CallId id = turns.front();
    turns.pop_front();
    CallState* call = calls.find(id);
    if (call == nullptr || !call->in_ready) continue;
    call->in_ready = false;
    if (call->outbox == nullptr) continue;
    auto& outbox = *call->outbox;
    if (!outbox.messages.empty()) line_up_fragment(*call, frames);
    if (!outbox.messages.empty()) {
      take_turn(*call);
    } else if (outbox.ok_after) {
      forget(*call);
    } else if (outbox.status) {
      char* at = frames.room(header_bytes + outbox.status->size());
      write_header(at, outbox.status->size(), FrameType::status, 0, id);
      std::memcpy(at + header_bytes, outbox.status->data(), outbox.status->size());
      frames.took(header_bytes + outbox.status->size());
      forget(*call);
    } else {
      drop_outbox(*call);
    }
  }
  push_frames(frames);
  keep_spare(std::move(frames));
}

// --- Handing out ---

bool Mux::has_output() const {
  const auto& state = *state_;
  return !state.segments.empty() || (state.open && (!state.control.empty() || !state.turns.empty()));
}

int Mux::output(iovec* vectors, int count) {
  auto& state = *state_;
  if (state.segments.empty() && state.turns.empty()) {
    // Mostly: small frames only, which stay where they were written.
    if (!state.open || state.control.empty() || count == 0) return 0;
    state.owed_answers = 0;
    vectors[0] = {state.control.data(), state.control.size()};
    return 1;
  }
  state.commit();
  int filled = 0;
  auto show = [&](const char* data, std::size_t size, std::size_t& skip) {
    if (skip >= size) {
      skip -= size;
    } else if (filled < count) {
      vectors[filled++] = {const_cast<char*>(data) + skip, size - skip};
      skip = 0;
    }
  };
  for (auto& segment : state.segments) {
    if (filled == count) break;
    std::size_t skip = segment.done;
    if (segment.is_fragment()) {
      show(segment.header, header_bytes, skip);
      show(segment.payload.data(), segment.payload.size(), skip);
    } else {
      show(segment.frames.data(), segment.frames.size(), skip);
    }
  }
  return filled;
}

void Mux::written(std::size_t bytes) {
  auto& state = *state_;
  if (state.segments.empty()) {
    SHUNT_ASSERT(bytes <= state.control.size());
    state.control.drop(bytes);
    if (state.control.empty() && state.control.capacity() > spare_bytes_max) state.control.free();
    return;
  }
  SHUNT_ASSERT(bytes <= state.segment_bytes);
  state.segment_bytes -= bytes;
  while (bytes > 0) {
    auto& segment = state.segments.front();
    std::size_t left = segment.size() - segment.done;
    if (bytes < left) {
      segment.done += bytes;
      return;
    }
    bytes -= left;
    if (!segment.is_fragment()) state.keep_spare(std::move(segment.frames));
    state.segments.pop_front();
  }
}

}  // namespace shunt::wire
