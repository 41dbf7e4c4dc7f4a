// What comes in: bytes become frames, frames are checked against everything that the protocol says, and told.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "wire/codec.h"
#include "wire/mux_state.h"

namespace shunt::wire {

namespace {

/// Answers that the mux owes a peer which sends but does not read (PONG, REFUSED, CREDIT, STATUS of its own).
constexpr std::size_t owed_answers_max = 100'000;
/// A message larger than a frame is put together; the first reservation. Later ones double.
constexpr std::size_t partial_bytes_first = 64 << 10;
/// A buffer for frames that come in parts is kept up to this size.
constexpr std::size_t stash_kept_max = 64 << 10;
/// A MESSAGE of which not all has come is taken in parts from here on; a smaller one waits until it is whole.
constexpr std::size_t rest_bytes_min = 512;
constexpr std::int64_t credit_ceiling = std::int64_t{1} << 48;
constexpr std::uint8_t cancel_protocol = 5;  // call::Cancel::protocol

}  // namespace

Result<void> Mux::receive(std::string_view bytes) {
  SHUNT_ASSERT(!state_->receiving);
  state_->receiving = true;
  auto result = state_->receive(bytes);
  state_->receiving = false;
  return result;
}

// --- Frames ---

std::unexpected<Status> Mux::State::never_opened(const FrameHeader& header) {
  return broken(fmt::format("{} for call {}, which was never opened", frame_name(header.type), header.call));
}

std::string Mux::State::too_large_text() const {
  return fmt::format("a message is larger than the link's limit of {} bytes; send it as a stream of smaller ones",
                     limits.message_bytes_max);
}

std::string Mux::State::budget_text() const {
  return fmt::format("{} bytes that came over the link wait to be dealt with, which is its limit",
                     limits.link_bytes_max);
}

std::string_view Mux::State::own(std::string_view payload) {
  private_copy.assign(payload);
  // The compiler may not look at the peer's memory again in place of the copy.
  asm volatile("" : : : "memory");
  return private_copy;
}

std::uint64_t Mux::frames_received() const { return state_->frames_received; }

Result<void> Mux::State::receive(std::string_view bytes) {
  if (rest_bytes > 0) continue_rest(bytes);
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
        if (is_read_in_parts(header)) {
          stash.clear();
          SHUNT_CHECK(begin_rest(header, {}));
          continue_rest(bytes);
        } else {
          stash_wanted = header_bytes + header.length;
          stash.reserve(stash_wanted);
        }
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
      FrameHeader header;
      if (!read_header(bytes.data(), header)) return header_error(header);
      bytes.remove_prefix(header_bytes);
      if (bytes.size() < header.length) {
        if (is_read_in_parts(header)) return begin_rest(header, bytes);
        stash_wanted = header_bytes + header.length;
        stash.resize(header_bytes);
        encode_header(header, std::span<char, header_bytes>(stash.data(), header_bytes));
        stash.reserve(stash_wanted);
        stash.append(bytes);
        return {};
      }
      auto payload = bytes.substr(0, header.length);
      bytes.remove_prefix(header.length);
      if (open && header.type == FrameType::message) {
        SHUNT_CHECK(on_message(header, payload));
      } else {
        SHUNT_TRY(std::size_t used, on_frame(header, payload, bytes));
        bytes.remove_prefix(used);
      }
    }
    frames_received++;
    if (owed_answers > owed_answers_max) {
      return fail(Code::resource_exhausted, "S1022",
                  fmt::format("wire: the peer is owed {} answers and reads none", owed_answers));
    }
  }
  return {};
}

bool Mux::State::is_read_in_parts(const FrameHeader& header) const {
  return open && header.type == FrameType::message && header.length >= rest_bytes_min;
}

Result<void> Mux::State::begin_rest(const FrameHeader& header, std::string_view front) {
  SHUNT_TRY(CallState * call, begin_fragment(header));
  rest_bytes = header.length;
  rest_call = call != nullptr ? call->id : 0;
  rest_flags = header.flags;
  if (call != nullptr && !call->in_partial) {
    bool more = (header.flags & flag::more) != 0;
    reserve(*call, more ? partial_bytes_first : header.length);
    if (!more) call->partial->charged = header.length + message_overhead;
    call->in_partial = true;
  }
  continue_rest(front);
  return {};
}

void Mux::State::continue_rest(std::string_view& bytes) {
  std::size_t take = std::min(rest_bytes, bytes.size());
  auto part = bytes.substr(0, take);
  bytes.remove_prefix(take);
  rest_bytes -= take;
  CallState* call = rest_call != 0 ? calls.find(rest_call) : nullptr;
  if (call == nullptr || !call->in_partial) return;  // It ended meanwhile.
  auto& partial = partial_of(*call);
  partial.bytes.append(part);
  if (rest_bytes == 0 && (rest_flags & flag::more) == 0) deliver(*call, rest_flags, partial.bytes.take());
}

Result<std::size_t> Mux::State::on_frame(const FrameHeader& header, std::string_view payload, std::string_view next) {
  if (!open) {
    if (header.type != FrameType::hello) {
      return broken(fmt::format("the peer began with {}, not with HELLO", frame_name(header.type)));
    }
    SHUNT_CHECK(on_hello(own(payload)));
    return 0;
  }
  switch (header.type) {
    case FrameType::hello:
      return broken("a second HELLO");
    case FrameType::open:
      return on_open(header, payload, next);
    case FrameType::call:
      SHUNT_CHECK(on_call(header, payload));
      return 0;
    case FrameType::path:
      SHUNT_CHECK(on_path(header.call, own(payload)));
      return 0;
    case FrameType::message:
      SHUNT_CHECK(on_message(header, payload));
      return 0;
    case FrameType::metadata:
    case FrameType::half_close:
    case FrameType::status:
    case FrameType::cancel:
    case FrameType::credit:
    case FrameType::size:
    case FrameType::refused: {
      CallState* call = calls.find(header.call);
      if (call == nullptr) {
        if (was_opened(header.call)) return 0;
        return never_opened(header);
      }
      SHUNT_CHECK(on_call_frame(*call, header, own(payload)));
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
      events.on_goaway(own(payload));
      return 0;
    case FrameType::wait: {
      SHUNT_TRY(WaitFrame wait, decode_wait(own(payload)));
      events.on_wait(header.call, wait);
      return 0;
    }
    case FrameType::grant: {
      SHUNT_TRY(GrantFrame grant, decode_grant(own(payload)));
      events.on_grant(header.call, grant);
      return 0;
    }
    case FrameType::load: {
      SHUNT_TRY(LoadFrame load, decode_load(own(payload)));
      events.on_load(load);
      return 0;
    }
  }
  if ((header.flags & flag::skip) != 0) return 0;
  return broken(
      fmt::format("a frame of the unknown type {} that must not be passed over", static_cast<unsigned>(header.type)));
}

// --- Openings ---

Result<CallState*> Mux::State::admit(CallId id, std::uint8_t flags) {
  if (id == 0 || is_ours(id)) return broken(fmt::format("OPEN with id {}, which is not the peer's to give", id));
  if (id <= last_peer_id) return broken(fmt::format("OPEN with id {} after {}: ids must grow", id, last_peer_id));
  last_peer_id = id;
  if (goaway_sent || goaway_came) {
    answer_status(FrameType::refused, id, Code::unavailable, Retry::elsewhere, "S1015",
                  "the link is draining and takes no new calls");
    return nullptr;
  }
  if (incoming_open >= limits.calls_max) {
    answer_status(FrameType::refused, id, Code::unavailable, Retry::elsewhere, "S1015",
                  fmt::format("{} calls are open on the link, which is its limit", limits.calls_max));
    return nullptr;
  }
  if (!open_frame.metadata.empty()) {
    if (auto cost = metadata_cost(open_frame.metadata); cost > limits.metadata_bytes_max) {
      answer_status(
          FrameType::status, id, Code::resource_exhausted, Retry::no, "S1021",
          fmt::format("the metadata costs {} bytes; the link's limit is {}", cost, limits.metadata_bytes_max));
      return nullptr;
    }
  }
  CallState& call = calls.add(id);
  incoming_open++;
  call.send_credit = limits.stream_credit;
  call.receive_credit = limits.stream_credit;
  call.remote_closed = (flags & flag::last) != 0;
  return &call;
}

Result<std::size_t> Mux::State::on_open(const FrameHeader& header, std::string_view payload, std::string_view next) {
  CallId id = header.call;
  SHUNT_TRY(open_frame, decode_open(own(payload)));
  SHUNT_TRY(CallState * admitted, admit(id, header.flags));
  if (admitted == nullptr) return 0;
  CallState& call = *admitted;

  // The first message mostly follows at once: then the call begins with it.
  Bytes first;
  bool has_first = false;
  std::size_t used = 0;
  FrameHeader ahead;
  if (!call.remote_closed && next.size() >= header_bytes && read_header(next.data(), ahead)) {
    if (ahead.type == FrameType::message && ahead.call == id && (ahead.flags & flag::more) == 0 &&
        next.size() - header_bytes >= ahead.length && has_room_for(ahead.length)) {
      has_first = true;
      first = Bytes::copy_of(next.substr(header_bytes, ahead.length));
      used = header_bytes + ahead.length;
      charge(call, ahead.length + message_overhead);
      call.remote_closed = (ahead.flags & flag::last) != 0;
    }
  }
  events.on_open(id, open_frame, has_first ? &first : nullptr, call.remote_closed);
  return used;
}

Result<void> Mux::State::on_path(std::uint64_t number, std::string_view payload) {
  if (number == 0 || number > paths_max) {
    return broken(fmt::format("PATH with number {}; they go from 1 to {}", number, paths_max));
  }
  if (paths_heard.empty()) paths_heard.resize(paths_max + 1);
  SHUNT_TRY(paths_heard[number], decode_path(payload));
  events.on_path(static_cast<std::uint16_t>(number));
  return {};
}

Result<void> Mux::State::on_call(const FrameHeader& header, std::string_view payload) {
  if (payload.size() < call_fields_bytes) return broken("CALL ends too early");
  CallFields fields;
  std::memcpy(&fields, payload.data(), call_fields_bytes);
  asm volatile("" : "+m"(fields) : : "memory");  // Read once: see read_header().
  payload.remove_prefix(call_fields_bytes);
  if (fields.extra_bytes > payload.size()) return broken("CALL ends too early");
  if (fields.path == 0 || fields.path >= paths_heard.size() || !paths_heard[fields.path].given) {
    return broken(fmt::format("CALL by path {}, which no PATH has given", fields.path));
  }
  const Path& path = paths_heard[fields.path];
  open_frame.service = path.service;
  open_frame.command = path.command;
  open_frame.principal_service = path.principal_service;
  open_frame.principal_kind = path.principal_kind;
  open_frame.path = fields.path;
  open_frame.deadline_ns = fields.deadline_ns;
  open_frame.hops = fields.hops;
  open_frame.encoding = fields.encoding;
  open_frame.grant = 0;
  open_frame.principal_user = open_frame.token = {};
  open_frame.metadata.clear();
  if (fields.extra_bytes > 0) SHUNT_CHECK(decode_extra(own(payload.substr(0, fields.extra_bytes)), open_frame));
  payload.remove_prefix(fields.extra_bytes);

  SHUNT_TRY(CallState * call, admit(header.call, header.flags));
  if (call == nullptr) return {};
  if ((header.flags & flag::with) == 0) {
    events.on_open(header.call, open_frame, nullptr, call->remote_closed);
    return {};
  }
  if (!has_room_for(payload.size())) {
    forget(*call);
    bool too_large = payload.size() > limits.message_bytes_max;
    answer_status(FrameType::status, header.call, Code::resource_exhausted, too_large ? Retry::no : Retry::later,
                  too_large ? "S1007" : "S1020", too_large ? too_large_text() : budget_text());
    return {};
  }
  Bytes first = Bytes::copy_of(payload);
  charge(*call, payload.size() + message_overhead);
  events.on_open(header.call, open_frame, &first, call->remote_closed);
  return {};
}

// --- Messages ---

Result<CallState*> Mux::State::begin_fragment(const FrameHeader& header) {
  CallId id = header.call;
  CallState* found = calls.find(id);
  if (found == nullptr) {
    if (was_opened(id)) return nullptr;
    return never_opened(header);
  }
  CallState& call = *found;
  bool more = (header.flags & flag::more) != 0;
  bool last = (header.flags & flag::last) != 0;
  if (call.remote_closed) return broken(fmt::format("a message of call {} after its half-close", id));
  if (last && call.outgoing) return broken(fmt::format("a half-close of call {} by its callee", id));
  if (last && more) return broken(fmt::format("call {} half-closes inside a message", id));
  if (last) call.remote_closed = true;
  if (call.dead || call.finished) return nullptr;

  std::size_t cost = header.length;
  std::size_t size = header.length;
  if (!call.in_partial) {
    bool final = call.outgoing && (header.flags & flag::final_) != 0;
    if (call.got_final) return broken(fmt::format("a message of call {} after its last", id));
    call.got_final = final;
    if (call.receive_credit <= 0 && !final) {
      return broken(fmt::format("call {} began a message without credit (it owes {} bytes)", id, -call.receive_credit));
    }
    cost += message_overhead;
  } else {
    size += call.partial->bytes.size();
  }
  if (size > limits.message_bytes_max) {
    overrun(call, Code::resource_exhausted, Retry::no, "S1007", too_large_text());
    return nullptr;
  }
  if (held_bytes + cost > limits.link_bytes_max) {
    overrun(call, Code::resource_exhausted, Retry::later, "S1020", budget_text());
    return nullptr;
  }
  charge(call, cost);
  if (call.in_partial || more) partial_of(call).charged += cost;
  return &call;
}

Result<void> Mux::State::on_message(const FrameHeader& header, std::string_view payload) {
  SHUNT_TRY(CallState * call, begin_fragment(header));
  if (call == nullptr) return {};
  bool more = (header.flags & flag::more) != 0;
  if (!more && !call->in_partial) {
    deliver(*call, header.flags, Bytes::copy_of(payload));
    return {};
  }
  auto& partial = partial_of(*call);
  if (!call->in_partial) reserve(*call, partial_bytes_first);
  call->in_partial = true;
  partial.bytes.append(payload);
  if (!more) deliver(*call, header.flags, partial.bytes.take());
  return {};
}

Partial& Mux::State::partial_of(CallState& call) {
  if (call.partial == nullptr) call.partial = make_own<Partial>();
  return *call.partial;
}

void Mux::State::reserve(CallState& call, std::uint64_t size) {
  auto& partial = partial_of(call);
  partial.bytes.reserve(std::max<std::uint64_t>(size, partial.reserved));
}

void Mux::State::deliver(CallState& call, std::uint8_t flags, Bytes message) {
  CallId id = call.id;
  void* user = call.user;
  call.in_partial = false;
  if (call.partial) drop_partial(call);
  if (call.outgoing) {
    call.answered = true;
    if (call.got_final && (flags & flag::ok) != 0 && minor >= minor_with_paths) {
      forget(call);
      events.on_answer(id, user, std::move(message));
    } else {
      events.on_message(id, user, std::move(message));
    }
    return;
  }
  events.on_message(id, user, std::move(message));
  if ((flags & flag::last) != 0) {
    CallState* again = calls.find(id);
    if (again != nullptr && !again->dead && !again->finished) events.on_half_close(id, again->user);
  }
}

void Mux::State::end_incoming(CallState& call) {
  call.dead = true;
  drop_outbox(call);
  call.in_ready = false;
  call.held = false;
  // What was put together so far is thrown away, and no longer counts.
  if (call.partial) {
    uncharge(call, call.partial->charged);
    drop_partial(call);
  }
  call.in_partial = false;
}

Result<void> Mux::State::on_hello(std::string_view payload) {
  SHUNT_TRY(Hello hello, decode_hello(payload));
  limits.message_bytes_max = std::min(limits.message_bytes_max, hello.message_bytes_max);
  limits.calls_max = std::min(limits.calls_max, hello.calls_max);
  limits.metadata_bytes_max = std::min(limits.metadata_bytes_max, hello.metadata_bytes_max);
  limits.stream_credit = std::min(limits.stream_credit, hello.stream_credit);
  minor = std::min(minor, hello.version_minor);
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
    case FrameType::size: {
      std::uint64_t size = 0;
      if (payload.size() < sizeof size || call.in_partial || call.dead || call.finished) return {};
      std::memcpy(&size, payload.data(), sizeof size);
      // A hint, believed as far as the link's budget goes.
      if (call.partial) drop_partial(call);
      if (size > limits.message_bytes_max || reserved_bytes + size > limits.link_bytes_max) return {};
      reserved_bytes += size;
      partial_of(call).reserved = size;
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
  static constexpr std::array<std::string_view, 19> names = {
      "nothing", "HELLO", "OPEN",   "METADATA", "MESSAGE", "HALF_CLOSE", "STATUS", "CANCEL", "CREDIT", "REFUSED",
      "PING",    "PONG",  "GOAWAY", "WAIT",     "GRANT",   "LOAD",       "PATH",   "CALL",   "SIZE"};
  auto index = static_cast<std::size_t>(type);
  return index < names.size() ? names[index] : "a frame";
}

}  // namespace shunt::wire
