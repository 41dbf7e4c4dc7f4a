#pragma once
// What a Mux keeps, shared by the files that implement it: mux.cpp (what is asked of it), mux_send.cpp (what goes out) and
// mux_receive.cpp (what comes in). Nobody else includes this.

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wire/call_table.h"
#include "wire/mux.h"

namespace shunt::wire {

/// A message up to this is copied beside its header; a larger one is written from where it lies.
inline constexpr std::size_t inline_bytes_max = 4 << 10;
/// While no more than this waits to be written, small messages and statuses need no turn of their own.
inline constexpr std::size_t direct_backlog_bytes_max = 64 << 10;

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

  void answer_status(FrameType type, CallId call, Code code, Retry retry, std::string_view id, std::string_view text);

  void send_cancel(CallId call, std::uint8_t reason) {
    char byte = static_cast<char>(reason);
    control_frame(FrameType::cancel, call, {&byte, 1});
  }

  // --- Lining up ---

  std::string take_spare();

  void commit();

  // --- Sending ---

  /// Incoming calls: `last` says that the status follows, which needs no credit.
  MuxSent send(CallState& call, Bytes message, bool last);

  void give_credit(CallState& call);

  // --- Receiving ---

  /// A message that can't be taken: the call ends on both sides, the link lives.
  void overrun(CallState& call, Code code, Retry retry, std::string_view error, const std::string& text);

  /// Nothing more goes or comes; finish() is owed.
  void end_incoming(CallState& call);

  Result<void> on_hello(std::string_view payload);

  /// `next`: the bytes that follow, to find the first message there. Returns how much of it was used.
  Result<std::size_t> on_open(const FrameHeader& header, std::string_view payload, std::string_view next);

  void charge(CallState& call, std::size_t cost) {
    call.receive_credit -= static_cast<std::int64_t>(cost);
    call.unconsumed += cost;
    held_bytes += cost;
  }

  void uncharge(CallState& call, std::size_t cost) {
    call.unconsumed -= cost;
    held_bytes -= cost;
  }

  Result<void> on_message(CallState& call, const FrameHeader& header, std::string_view payload);

  Result<void> on_status(CallState& call, const FrameHeader& header, std::string_view payload);

  static std::string_view frame_name(FrameType type);

  /// One frame. Returns how many of the bytes after it were used too.
  Result<std::size_t> on_frame(const FrameHeader& header, std::string_view payload, std::string_view next);

  Result<void> on_call_frame(CallState& call, const FrameHeader& header, std::string_view payload);

  Result<void> receive(std::string_view bytes);
};

}  // namespace shunt::wire
