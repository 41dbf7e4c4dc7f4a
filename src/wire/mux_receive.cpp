// What comes in: bytes become frames, frames are checked against everything that the protocol says, and told.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "wire/mux_state.h"

namespace shunt::wire {

namespace {

/// Answers that the mux owes a peer which sends but does not read (PONG, REFUSED, CREDIT, STATUS of its own).
constexpr std::size_t owed_answers_max = 100'000;
/// A message larger than a frame is put together; the first reservation. Later ones double.
constexpr std::size_t partial_bytes_first = 64 << 10;
/// A buffer for frames that come in parts is kept up to this size.
constexpr std::size_t stash_kept_max = 64 << 10;
constexpr std::int64_t credit_ceiling = std::int64_t{1} << 48;
constexpr std::uint8_t cancel_protocol = 5;  // call::Cancel::protocol

std::unexpected<Status> broken(std::string text) {
  return fail(Code::data_loss, "S1022", fmt::format("wire: {}", text));
}

}  // namespace

Result<void> Mux::receive(std::string_view bytes) {
  SHUNT_ASSERT(!state_->receiving);
  state_->receiving = true;
  auto result = state_->receive(bytes);
  state_->receiving = false;
  return result;
}

Result<void> Mux::State::receive(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!stash.empty()) {
      // The rest of a frame that began in an earlier chunk.
      std::size_t wanted = stash_wanted > 0 ? stash_wanted : header_bytes;
      std::size_t take = std::min(wanted - stash.size(), bytes.size());
      stash.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      if (stash.size() < wanted) return {};
      SHUNT_TRY(FrameHeader header, decode_header(std::span<const char, header_bytes>(stash.data(), header_bytes)));
      if (stash_wanted == 0 && header.length > 0) {
        stash_wanted = header_bytes + header.length;
        stash.reserve(stash_wanted);
        continue;
      }
      stash_wanted = 0;
      std::string whole = std::exchange(stash, {});
      SHUNT_TRY(std::size_t used, on_frame(header, std::string_view(whole).substr(header_bytes), bytes));
      bytes.remove_prefix(used);
      if (whole.capacity() <= stash_kept_max) {
        stash = std::move(whole);
        stash.clear();
      }
    } else {
      if (bytes.size() < header_bytes) {
        stash.assign(bytes);
        return {};
      }
      SHUNT_TRY(FrameHeader header, decode_header(std::span<const char, header_bytes>(bytes.data(), header_bytes)));
      std::size_t size = header_bytes + header.length;
      if (bytes.size() < size) {
        stash_wanted = size;
        stash.reserve(size);
        stash.assign(bytes);
        return {};
      }
      auto payload = bytes.substr(header_bytes, header.length);
      bytes.remove_prefix(size);
      SHUNT_TRY(std::size_t used, on_frame(header, payload, bytes));
      bytes.remove_prefix(used);
    }
    if (owed_answers > owed_answers_max) {
      return fail(Code::resource_exhausted, "S1022",
                  fmt::format("wire: the peer is owed {} answers and reads none", owed_answers));
    }
  }
  return {};
}

Result<std::size_t> Mux::State::on_frame(const FrameHeader& header, std::string_view payload, std::string_view next) {
  if (!open) {
    if (header.type != FrameType::hello) {
      return broken(fmt::format("the peer began with {}, not with HELLO", frame_name(header.type)));
    }
    SHUNT_CHECK(on_hello(payload));
    return 0;
  }
  switch (header.type) {
    case FrameType::hello:
      return broken("a second HELLO");
    case FrameType::open:
      return on_open(header, payload, next);
    case FrameType::metadata:
    case FrameType::message:
    case FrameType::half_close:
    case FrameType::status:
    case FrameType::cancel:
    case FrameType::credit:
    case FrameType::refused: {
      CallState* call = calls.find(header.call);
      if (call == nullptr) {
        if (was_opened(header.call)) return 0;
        return broken(fmt::format("{} for call {}, which was never opened", frame_name(header.type), header.call));
      }
      if (header.type == FrameType::message) {
        SHUNT_CHECK(on_message(*call, header, payload));
      } else {
        SHUNT_CHECK(on_call_frame(*call, header, payload));
      }
      return 0;
    }
    case FrameType::ping:
      owed_answers++;
      control_frame(FrameType::pong, header.call, {});
      return 0;
    case FrameType::pong:
      events.on_pong(header.call);
      return 0;
    case FrameType::goaway:
      goaway_came = true;
      events.on_goaway(payload);
      return 0;
    case FrameType::wait: {
      SHUNT_TRY(WaitFrame wait, decode_wait(payload));
      events.on_wait(header.call, wait);
      return 0;
    }
    case FrameType::grant: {
      SHUNT_TRY(GrantFrame grant, decode_grant(payload));
      events.on_grant(header.call, grant);
      return 0;
    }
    case FrameType::load: {
      SHUNT_TRY(LoadFrame load, decode_load(payload));
      events.on_load(load);
      return 0;
    }
  }
  if ((header.flags & flag::skip) != 0) return 0;
  return broken(
      fmt::format("a frame of the unknown type {} that must not be passed over", static_cast<unsigned>(header.type)));
}

Result<void> Mux::State::on_hello(std::string_view payload) {
  SHUNT_TRY(Hello hello, decode_hello(payload));
  limits.message_bytes_max = std::min(limits.message_bytes_max, hello.message_bytes_max);
  limits.calls_max = std::min(limits.calls_max, hello.calls_max);
  limits.metadata_bytes_max = std::min(limits.metadata_bytes_max, hello.metadata_bytes_max);
  limits.stream_credit = std::min(limits.stream_credit, hello.stream_credit);
  same_clock = !own_clock.empty() && own_clock == hello.clock;
  open = true;
  std::vector<CallId> waiting;
  calls.for_each([&](CallState& call) {
    call.receive_credit = limits.stream_credit;
    // Until now one message was allowed; that is credit of 1, which it may have overdrawn.
    call.send_credit += limits.stream_credit - 1;
    if (call.held && call.send_credit > 0) waiting.push_back(call.id);
  });
  events.on_hello(hello);
  early_opens.clear();
  std::ranges::sort(waiting);
  for (CallId id : waiting) {
    CallState* call = calls.find(id);
    if (call == nullptr || !call->held) continue;
    call->held = false;
    events.on_credit(id, call->user);
  }
  return {};
}

Result<std::size_t> Mux::State::on_open(const FrameHeader& header, std::string_view payload, std::string_view next) {
  CallId id = header.call;
  if (id == 0 || is_ours(id)) return broken(fmt::format("OPEN with id {}, which is not the peer's to give", id));
  if (id <= last_peer_id) return broken(fmt::format("OPEN with id {} after {}: ids must grow", id, last_peer_id));
  last_peer_id = id;
  SHUNT_TRY(OpenFrame frame, decode_open(payload));
  if (goaway_sent || goaway_came) {
    answer_status(FrameType::refused, id, Code::unavailable, Retry::elsewhere, "S1015",
                  "the link is draining and takes no new calls");
    return 0;
  }
  if (incoming_open >= limits.calls_max) {
    answer_status(FrameType::refused, id, Code::unavailable, Retry::elsewhere, "S1015",
                  fmt::format("{} calls are open on the link, which is its limit", limits.calls_max));
    return 0;
  }
  if (auto cost = metadata_cost(frame.metadata); cost > limits.metadata_bytes_max) {
    answer_status(FrameType::status, id, Code::resource_exhausted, Retry::no, "S1021",
                  fmt::format("the metadata costs {} bytes; the link's limit is {}", cost, limits.metadata_bytes_max));
    return 0;
  }
  CallState& call = calls.add(id);
  incoming_open++;
  call.send_credit = limits.stream_credit;
  call.receive_credit = limits.stream_credit;
  call.remote_closed = (header.flags & flag::last) != 0;

  // The first message mostly follows at once: then the call begins with it.
  Bytes first;
  bool has_first = false;
  std::size_t used = 0;
  if (!call.remote_closed && next.size() >= header_bytes) {
    auto ahead = decode_header(std::span<const char, header_bytes>(next.data(), header_bytes));
    if (ahead && ahead->type == FrameType::message && ahead->call == id && (ahead->flags & flag::more) == 0 &&
        next.size() - header_bytes >= ahead->length && ahead->length <= limits.message_bytes_max &&
        held_bytes + ahead->length + message_overhead <= limits.link_bytes_max) {
      has_first = true;
      first = Bytes::copy_of(next.substr(header_bytes, ahead->length));
      used = header_bytes + ahead->length;
      charge(call, ahead->length + message_overhead);
      call.remote_closed = (ahead->flags & flag::last) != 0;
    }
  }
  events.on_open(id, frame, has_first ? &first : nullptr, call.remote_closed);
  return used;
}

Result<void> Mux::State::on_message(CallState& call, const FrameHeader& header, std::string_view payload) {
  bool more = (header.flags & flag::more) != 0;
  bool last = (header.flags & flag::last) != 0;
  CallId id = call.id;
  if (call.remote_closed) return broken(fmt::format("a message of call {} after its half-close", id));
  if (last && call.outgoing) return broken(fmt::format("a half-close of call {} by its callee", id));
  if (last && more) return broken(fmt::format("call {} half-closes inside a message", id));
  if (last) call.remote_closed = true;
  if (call.dead || call.finished) return {};

  if (!call.in_partial) {
    bool final = call.outgoing && (header.flags & flag::final_) != 0;
    if (call.got_final) return broken(fmt::format("a message of call {} after its last", id));
    call.got_final = final;
    if (call.receive_credit <= 0 && !final) {
      return broken(fmt::format("call {} began a message without credit (it owes {} bytes)", id, -call.receive_credit));
    }
    charge(call, message_overhead);
  }
  bool began = std::exchange(call.in_partial, true);
  std::size_t size = call.partial.size() + payload.size();
  if (size > limits.message_bytes_max) {
    overrun(call, Code::resource_exhausted, Retry::no, "S1007",
            fmt::format("a message is larger than the link's limit of {} bytes; send it as a stream of smaller ones",
                        limits.message_bytes_max));
    return {};
  }
  if (held_bytes + payload.size() > limits.link_bytes_max) {
    overrun(call, Code::resource_exhausted, Retry::later, "S1020",
            fmt::format("{} bytes that came over the link wait to be dealt with, which is its limit",
                        limits.link_bytes_max));
    return {};
  }
  charge(call, payload.size());
  if (more) {
    if (!began) call.partial.reserve(partial_bytes_first);
    call.partial.append(payload);
    return {};
  }
  call.in_partial = false;
  Bytes message;
  if (began) {
    call.partial.append(payload);
    message = Bytes::adopt(std::exchange(call.partial, {}));
  } else {
    message = Bytes::copy_of(payload);
  }
  if (call.outgoing) call.answered = true;
  events.on_message(id, call.user, std::move(message));
  if (last) {
    CallState* again = calls.find(id);
    if (again != nullptr && !again->dead && !again->finished) events.on_half_close(id, again->user);
  }
  return {};
}

Result<void> Mux::State::on_status(CallState& call, const FrameHeader& header, std::string_view payload) {
  CallId id = call.id;
  if (!call.outgoing) return broken(fmt::format("{} of call {} by its caller", frame_name(header.type), id));
  SHUNT_TRY(StatusFrame status, decode_status(payload));
  if (header.type == FrameType::refused) {
    if (call.answered || call.in_partial) {
      return broken(fmt::format("call {} was refused after it had answered", id));
    }
    if (status.code == Code::ok) return broken(fmt::format("call {} was refused as ok", id));
  }
  if (status.code == Code::ok && call.in_partial)
    return broken(fmt::format("call {} ended as ok inside a message", id));
  StatusFrame too_large;
  if (auto cost = metadata_cost(status.trailers); cost > limits.metadata_bytes_max) {
    too_large.code = Code::resource_exhausted;
    too_large.id = "S1021";
    too_large.message = "the call's trailers are larger than the link's limit for metadata";
    status = too_large;
  }
  void* user = call.user;
  forget(call);
  if (header.type == FrameType::refused) {
    events.on_refused(id, user, status);
  } else {
    events.on_status(id, user, status);
  }
  return {};
}

Result<void> Mux::State::on_call_frame(CallState& call, const FrameHeader& header, std::string_view payload) {
  CallId id = call.id;
  switch (header.type) {
    case FrameType::status:
    case FrameType::refused:
      return on_status(call, header, payload);
    case FrameType::metadata: {
      if (!call.outgoing) return broken(fmt::format("METADATA of call {} by its caller", id));
      if (call.answered || call.in_partial) {
        return broken(fmt::format("METADATA of call {} twice, or after a message", id));
      }
      call.answered = true;
      SHUNT_TRY(MetadataView metadata, decode_metadata(payload));
      if (metadata_cost(metadata) > limits.metadata_bytes_max) {
        overrun(call, Code::resource_exhausted, Retry::no, "S1021",
                "the answer's metadata is larger than the link's limit");
        return {};
      }
      events.on_metadata(id, call.user, metadata);
      return {};
    }
    case FrameType::half_close:
      if (call.outgoing) return broken(fmt::format("HALF_CLOSE of call {} by its callee", id));
      if (call.remote_closed) return broken(fmt::format("HALF_CLOSE of call {} twice", id));
      if (call.in_partial) return broken(fmt::format("HALF_CLOSE of call {} inside a message", id));
      call.remote_closed = true;
      if (!call.dead && !call.finished) events.on_half_close(id, call.user);
      return {};
    case FrameType::cancel: {
      if (call.outgoing) return broken(fmt::format("CANCEL of call {} by its callee", id));
      if (payload.empty()) return broken(fmt::format("CANCEL of call {} without a reason", id));
      if (call.dead) return {};
      if (call.finished) {
        // Its end was on the way; the caller no longer wants it.
        forget(call);
        return {};
      }
      end_incoming(call);
      events.on_cancel(id, call.user, static_cast<std::uint8_t>(payload[0]));
      return {};
    }
    case FrameType::credit: {
      if (payload.size() < 8) return broken(fmt::format("CREDIT of call {} ends too early", id));
      std::uint64_t credit = 0;
      std::memcpy(&credit, payload.data(), 8);
      if (credit > static_cast<std::uint64_t>(credit_ceiling) ||
          call.send_credit + static_cast<std::int64_t>(credit) > credit_ceiling) {
        return broken(fmt::format("CREDIT of call {} beyond all bounds", id));
      }
      call.send_credit += static_cast<std::int64_t>(credit);
      if (call.held && call.send_credit > 0) {
        call.held = false;
        if (!call.local_closed && !call.finished) events.on_credit(id, call.user);
      }
      return {};
    }
    default:
      return {};
  }
}

void Mux::State::overrun(CallState& call, Code code, Retry retry, std::string_view error, const std::string& text) {
  CallId id = call.id;
  void* user = call.user;
  if (call.outgoing) {
    forget(call);
    send_cancel(id, cancel_protocol);
    StatusFrame status;
    status.code = code;
    status.retry = retry;
    status.id = error;
    status.message = text;
    events.on_status(id, user, status);
  } else {
    end_incoming(call);
    answer_status(FrameType::status, id, code, retry, error, text);
    events.on_cancel(id, user, cancel_protocol);
  }
}

void Mux::State::end_incoming(CallState& call) {
  call.dead = true;
  call.outbox.reset();
  call.in_ready = false;
  call.held = false;
  // What was put together so far is thrown away, and no longer counts.
  if (call.in_partial) uncharge(call, call.partial.size() + message_overhead);
  call.in_partial = false;
  call.partial = {};
}

void Mux::State::answer_status(FrameType type, CallId call, Code code, Retry retry, std::string_view id,
                               std::string_view text) {
  owed_answers++;
  control_frame_with(type, call, [&](std::string& out) {
    StatusFrame status;
    status.code = code;
    status.retry = retry;
    status.id = id;
    status.message = text;
    encode_status(status, out);
  });
}

std::string_view Mux::State::frame_name(FrameType type) {
  static constexpr std::array<std::string_view, 16> names = {
      "nothing", "HELLO",   "OPEN", "METADATA", "MESSAGE", "HALF_CLOSE", "STATUS", "CANCEL",
      "CREDIT",  "REFUSED", "PING", "PONG",     "GOAWAY",  "WAIT",       "GRANT",  "LOAD"};
  auto index = static_cast<std::size_t>(type);
  return index < names.size() ? names[index] : "a frame";
}

}  // namespace shunt::wire
