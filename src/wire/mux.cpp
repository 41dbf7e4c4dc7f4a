#include "wire/mux.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "base/check.h"
#include "wire/call_table.h"

namespace shunt::wire {

namespace {

/// A message up to this is copied beside its header; a larger one is written from where it lies.
constexpr std::size_t inline_bytes_max = 4 << 10;
/// While no more than this waits to be written, small messages and statuses need no turn of their own.
constexpr std::size_t direct_backlog_bytes_max = 64 << 10;
/// How much output() lines up at once. What is lined up keeps its order, so a control frame waits behind this at most.
constexpr std::size_t commit_bytes = 128 << 10;
/// A string kept for reuse must not hold more than this.
constexpr std::size_t spare_bytes_max = 256 << 10;
/// Answers that the mux owes a peer which sends but does not read (PONG, REFUSED, CREDIT, STATUS of its own).
constexpr std::size_t owed_answers_max = 100'000;
/// A message larger than a frame is put together; the first reservation. Later ones double.
constexpr std::size_t partial_bytes_first = 64 << 10;
/// Metadata must fit into a frame together with everything else there.
constexpr std::uint32_t metadata_bytes_ceiling = 512 << 10;
constexpr std::int64_t credit_ceiling = std::int64_t{1} << 48;
constexpr std::uint8_t cancel_protocol = 5;  // call::Cancel::protocol

std::unexpected<Status> broken(std::string text) {
  return fail(Code::data_loss, "S1022", fmt::format("wire: {}", text));
}

/// Messages of one call that wait for their turn, and its end behind them.
struct Outbox {
  std::deque<Bytes> messages;
  std::size_t offset = 0;             ///< Of the first message: what has been lined up.
  bool close_after = false;           ///< The last message half-closes.
  bool final_after = false;           ///< The last message is the callee's last.
  std::optional<std::string> status;  ///< The payload.
};

struct CallState {
  CallId id = 0;
  void* user = nullptr;
  std::int64_t send_credit = 0;
  std::int64_t receive_credit = 0;
  std::uint64_t unconsumed = 0;   ///< Of what was received; counted in the link's total.
  std::uint64_t credit_owed = 0;  ///< Consumed, not yet told to the peer.
  std::string partial;            ///< The message that is being put together.
  Own<Outbox> outbox;
  bool outgoing = false;
  bool local_closed = false;   ///< Outgoing: we half-closed.
  bool remote_closed = false;  ///< Incoming: the caller half-closed.
  bool in_partial = false;
  bool in_ready = false;
  bool held = false;
  bool got_final = false;  ///< Outgoing: the callee's last message has begun.
  bool answered = false;   ///< Metadata or a message went (incoming) or came (outgoing).
  bool dead = false;       ///< Incoming, over on the wire; finish() is still owed.
  bool finished = false;   ///< Incoming, finish() came; its status waits behind its messages.

  void reset() { *this = CallState(); }
};

}  // namespace

struct Mux::State {
  Side side;
  MuxLimits limits;
  MuxEvents& events;
  std::string own_clock;

  bool open = false;  // The peer's HELLO has come.
  bool same_clock = true;
  bool goaway_sent = false;
  bool goaway_came = false;
  bool receiving = false;

  CallTable<CallState> calls;
  std::size_t outgoing_open = 0;
  std::size_t incoming_open = 0;
  CallId next_id;
  CallId last_peer_id = 0;
  std::uint64_t held_bytes = 0;

  // What is to be written: lined up segments, control frames that are not yet, calls with data that take turns.
  struct Segment {
    std::string text;
    Bytes bytes;  ///< Used when text is empty.
    std::size_t done = 0;
    [[nodiscard]] std::string_view view() const { return text.empty() ? bytes.view() : std::string_view(text); }
  };
  std::deque<Segment> segments;
  std::size_t segment_bytes = 0;
  std::string control;
  std::deque<CallId> turns;
  std::vector<std::string> spares;
  std::vector<std::size_t> early_opens;  // Where in `control` an OPEN's deadline stands, before the HELLO.
  std::size_t owed_answers = 0;

  std::string stash;             // A frame that has come in part.
  std::size_t stash_wanted = 0;  // How many bytes make it whole, once its header is there; else 0.

  State(Side side, MuxLimits limits, MuxEvents& events)
      : side(side), limits(limits), events(events), next_id(side == Side::dialler ? 1 : 2) {}

  [[nodiscard]] bool is_ours(CallId id) const { return (id & 1) == (side == Side::dialler ? 1 : 0); }
  /// Whether a call of that id ever was: then a frame for it comes late, which is no fault.
  [[nodiscard]] bool was_opened(CallId id) const {
    return id != 0 && (is_ours(id) ? id < next_id : id <= last_peer_id);
  }
  [[nodiscard]] std::size_t backlog() const { return segment_bytes + control.size(); }

  void forget(CallState& call) {
    held_bytes -= call.unconsumed;
    (call.outgoing ? outgoing_open : incoming_open)--;
    // Its place among the turns, if it has one, is found empty when it comes up.
    calls.remove(call);
  }

  void take_turn(CallState& call) {
    if (call.in_ready) return;
    call.in_ready = true;
    turns.push_back(call.id);
  }

  void control_frame(FrameType type, CallId call, std::string_view payload, std::uint8_t flags = 0) {
    append_frame(control, type, call, payload, flags);
  }
  template <typename Encode>
  void control_frame_with(FrameType type, CallId call, Encode encode, std::uint8_t flags = 0) {
    auto begin = begin_frame(control);
    encode(control);
    end_frame(control, begin, type, call, flags);
  }

  void answer_status(FrameType type, CallId call, Code code, Retry retry, std::string_view id, std::string_view text) {
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

  void send_cancel(CallId call, std::uint8_t reason) {
    char byte = static_cast<char>(reason);
    control_frame(FrameType::cancel, call, {&byte, 1});
  }

  // --- Lining up ---

  std::string take_spare() {
    if (spares.empty()) return {};
    auto spare = std::move(spares.back());
    spares.pop_back();
    spare.clear();
    return spare;
  }

  void commit() {
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
        encode_header({static_cast<std::uint32_t>(size), FrameType::message,
                       static_cast<std::uint8_t>((whole ? 0 : flag::more) | (closes ? flag::last : 0) |
                                                 (final ? flag::final_ : 0)),
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

  // --- Sending ---

  /// Incoming calls: `last` says that the status follows, which needs no credit.
  MuxSent send(CallState& call, Bytes message, bool last) {
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

  void give_credit(CallState& call) {
    // A caller that has closed sends nothing more.
    if (call.remote_closed || call.dead || call.finished) return;
    call.receive_credit += static_cast<std::int64_t>(call.credit_owed);
    char bytes[8];
    std::memcpy(bytes, &call.credit_owed, 8);
    call.credit_owed = 0;
    owed_answers++;
    control_frame(FrameType::credit, call.id, {bytes, 8});
  }

  // --- Receiving ---

  /// A message that can't be taken: the call ends on both sides, the link lives.
  void overrun(CallState& call, Code code, Retry retry, std::string_view error, const std::string& text) {
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

  /// Nothing more goes or comes; finish() is owed.
  void end_incoming(CallState& call) {
    call.dead = true;
    call.outbox.reset();
    call.in_ready = false;
    call.held = false;
    // What was put together so far is thrown away, and no longer counts.
    if (call.in_partial) uncharge(call, call.partial.size() + message_overhead);
    call.in_partial = false;
    call.partial = {};
  }

  Result<void> on_hello(std::string_view payload) {
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

  /// `next`: what follows in the same chunk, to find the first message there. Returns how much of it was used.
  Result<std::size_t> on_open(const FrameHeader& header, std::string_view payload, const Bytes& chunk,
                              std::size_t next) {
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
      answer_status(
          FrameType::status, id, Code::resource_exhausted, Retry::no, "S1021",
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
    if (!call.remote_closed && chunk.size() - next >= header_bytes) {
      auto ahead = decode_header(std::span<const char, header_bytes>(chunk.data() + next, header_bytes));
      if (ahead && ahead->type == FrameType::message && ahead->call == id && (ahead->flags & flag::more) == 0 &&
          chunk.size() - next - header_bytes >= ahead->length && ahead->length <= limits.message_bytes_max &&
          held_bytes + ahead->length + message_overhead <= limits.link_bytes_max) {
        has_first = true;
        first = chunk.slice(next + header_bytes, ahead->length);
        used = header_bytes + ahead->length;
        charge(call, ahead->length + message_overhead);
        call.remote_closed = (ahead->flags & flag::last) != 0;
      }
    }
    events.on_open(id, frame, has_first ? &first : nullptr, call.remote_closed);
    return used;
  }

  void charge(CallState& call, std::size_t cost) {
    call.receive_credit -= static_cast<std::int64_t>(cost);
    call.unconsumed += cost;
    held_bytes += cost;
  }

  void uncharge(CallState& call, std::size_t cost) {
    call.unconsumed -= cost;
    held_bytes -= cost;
  }

  Result<void> on_message(CallState& call, const FrameHeader& header, Bytes payload) {
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
        return broken(
            fmt::format("call {} began a message without credit (it owes {} bytes)", id, -call.receive_credit));
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
      call.partial.append(payload.view());
      return {};
    }
    call.in_partial = false;
    if (began) {
      call.partial.append(payload.view());
      payload = Bytes::adopt(std::exchange(call.partial, {}));
    }
    if (call.outgoing) call.answered = true;
    events.on_message(id, call.user, std::move(payload));
    if (last) {
      CallState* again = calls.find(id);
      if (again != nullptr && !again->dead && !again->finished) events.on_half_close(id, again->user);
    }
    return {};
  }

  Result<void> on_status(CallState& call, const FrameHeader& header, std::string_view payload) {
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

  static std::string_view frame_name(FrameType type) {
    static constexpr std::array<std::string_view, 16> names = {
        "nothing", "HELLO",   "OPEN", "METADATA", "MESSAGE", "HALF_CLOSE", "STATUS", "CANCEL",
        "CREDIT",  "REFUSED", "PING", "PONG",     "GOAWAY",  "WAIT",       "GRANT",  "LOAD"};
    auto index = static_cast<std::size_t>(type);
    return index < names.size() ? names[index] : "a frame";
  }

  /// One frame. Returns how many bytes of the chunk after it were used too.
  Result<std::size_t> on_frame(const FrameHeader& header, const Bytes& source, std::size_t at, const Bytes& chunk,
                               std::size_t next) {
    auto payload = source.view().substr(at, header.length);
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
        return on_open(header, payload, chunk, next);
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
          SHUNT_CHECK(on_message(*call, header, source.slice(at, header.length)));
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

  Result<void> on_call_frame(CallState& call, const FrameHeader& header, std::string_view payload) {
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

  Result<void> receive(Bytes chunk) {
    std::size_t at = 0;
    while (at < chunk.size()) {
      if (!stash.empty() || stash_wanted > 0) {
        // The rest of a frame that began in an earlier chunk.
        std::size_t wanted = stash_wanted > 0 ? stash_wanted : header_bytes;
        std::size_t take = std::min(wanted - stash.size(), chunk.size() - at);
        stash.append(chunk.data() + at, take);
        at += take;
        if (stash.size() < wanted) return {};
        SHUNT_TRY(FrameHeader header, decode_header(std::span<const char, header_bytes>(stash.data(), header_bytes)));
        if (stash_wanted == 0 && header.length > 0) {
          stash_wanted = header_bytes + header.length;
          stash.reserve(stash_wanted);
          continue;
        }
        stash_wanted = 0;
        Bytes whole = Bytes::adopt(std::exchange(stash, {}));
        SHUNT_TRY(std::size_t used, on_frame(header, whole, header_bytes, chunk, at));
        at += used;
      } else {
        std::size_t left = chunk.size() - at;
        if (left < header_bytes) {
          stash.assign(chunk.data() + at, left);
          return {};
        }
        SHUNT_TRY(FrameHeader header,
                  decode_header(std::span<const char, header_bytes>(chunk.data() + at, header_bytes)));
        std::size_t size = header_bytes + header.length;
        if (left < size) {
          stash_wanted = size;
          stash.reserve(size);
          stash.assign(chunk.data() + at, left);
          return {};
        }
        std::size_t next = at + size;
        SHUNT_TRY(std::size_t used, on_frame(header, chunk, at + header_bytes, chunk, next));
        at = next + used;
      }
      if (owed_answers > owed_answers_max) {
        return fail(Code::resource_exhausted, "S1022",
                    fmt::format("wire: the peer is owed {} answers and reads none", owed_answers));
      }
    }
    return {};
  }
};

Mux::Mux(Side side, MuxLimits limits, const Hello& hello, MuxEvents& events) {
  limits.metadata_bytes_max = std::min(limits.metadata_bytes_max, metadata_bytes_ceiling);
  limits.stream_credit = std::max<std::uint32_t>(limits.stream_credit, 1);
  state_ = make_own<State>(side, limits, events);
  state_->own_clock = hello.clock;
  Hello said = hello;
  said.message_bytes_max = limits.message_bytes_max;
  said.calls_max = limits.calls_max;
  said.metadata_bytes_max = limits.metadata_bytes_max;
  said.stream_credit = limits.stream_credit;
  std::string text;
  append_frame(text, FrameType::hello, 0, encode_hello(said));
  state_->segment_bytes = text.size();
  state_->segments.push_back({std::move(text), {}, 0});
}

Mux::~Mux() = default;

CallId Mux::open(const OpenFrame& open, bool last, void* user) {
  auto& state = *state_;
  if (state.goaway_sent || state.goaway_came || state.outgoing_open >= state.limits.calls_max) return 0;
  CallId id = state.next_id;
  state.next_id += 2;
  CallState& call = state.calls.add(id);
  state.outgoing_open++;
  call.user = user;
  call.outgoing = true;
  call.local_closed = last;
  // Before the HELLO nobody knows what the peer allows; one message always is.
  call.send_credit = state.open ? state.limits.stream_credit : 1;
  call.receive_credit = state.limits.stream_credit;
  auto begin = begin_frame(state.control);
  if (!state.open) state.early_opens.push_back(state.control.size());
  encode_open(open, state.control);
  end_frame(state.control, begin, FrameType::open, id, last ? flag::last : 0);
  return id;
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
    call->outbox.reset();
    call->in_ready = false;
  }
  if (call->outbox == nullptr && state.backlog() < direct_backlog_bytes_max) {
    state.control_frame_with(FrameType::status, id, [&](std::string& out) { encode_status(status, out); });
    state.forget(*call);
    return;
  }
  call->finished = true;
  call->partial = {};
  state.held_bytes -= std::exchange(call->unconsumed, 0);
  if (call->outbox == nullptr) call->outbox = make_own<Outbox>();
  call->outbox->status.emplace();
  encode_status(status, *call->outbox->status);
  state.take_turn(*call);
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

Result<void> Mux::receive(Bytes chunk) {
  SHUNT_ASSERT(!state_->receiving);
  state_->receiving = true;
  auto result = state_->receive(std::move(chunk));
  state_->receiving = false;
  return result;
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

const MuxLimits& Mux::limits() const { return state_->limits; }
bool Mux::same_clock() const { return state_->same_clock; }
bool Mux::is_open() const { return state_->open; }
bool Mux::is_draining() const { return state_->goaway_sent || state_->goaway_came; }
std::size_t Mux::calls_open() const { return state_->calls.size(); }
std::uint64_t Mux::bytes_held() const { return state_->held_bytes; }

void Mux::rewrite_deadlines(const std::function<std::int64_t(std::int64_t)>& rewrite) {
  for (std::size_t at : state_->early_opens) {
    std::int64_t deadline = 0;
    std::memcpy(&deadline, state_->control.data() + at, 8);
    deadline = rewrite(deadline);
    std::memcpy(state_->control.data() + at, &deadline, 8);
  }
}

void Mux::for_each_call(const std::function<void(CallId, void* user, bool outgoing)>& visit) {
  state_->calls.for_each([&](CallState& call) { visit(call.id, call.user, call.outgoing); });
}

}  // namespace shunt::wire
