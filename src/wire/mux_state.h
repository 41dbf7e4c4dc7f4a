#pragma once
// What a Mux keeps, shared by the files that implement it: mux.cpp (what is asked of it), mux_send.cpp (what goes out) and
// mux_receive.cpp (what comes in). Nobody else includes this.

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wire/call_frame.h"
#include "wire/call_table.h"
#include "wire/mux.h"
#include "wire/out_buffer.h"

namespace shunt::wire {

/// A message up to this is copied beside its header; a larger one is written from where it lies.
inline constexpr std::size_t inline_bytes_max = 4 << 10;
/// While no more than this waits to be written, small messages and statuses need no turn of their own.
inline constexpr std::size_t direct_backlog_bytes_max = 64 << 10;

/// Messages of one call that wait for their turn, and its end behind them. Kept and used again.
struct Outbox {
  std::deque<Bytes> messages;
  std::size_t offset = 0;             ///< Of the first message: what has been lined up.
  bool close_after = false;           ///< The last message half-closes.
  bool final_after = false;           ///< The last message is the callee's last.
  bool ok_after = false;              ///< And says that the call has ended as ok.
  std::optional<std::string> status;  ///< The payload.

  void reset() {
    messages.clear();
    offset = 0;
    close_after = final_after = ok_after = false;
    status.reset();
  }
};

/// A message that comes in fragments.
struct Partial {
  BytesBuilder bytes;
  std::size_t charged = 0;   ///< Of its call's credit and the link's budget.
  std::size_t reserved = 0;  ///< For what the peer has said of its size.
};

struct CallState {
  CallId id = 0;
  void* user = nullptr;
  std::int64_t send_credit = 0;
  std::int64_t receive_credit = 0;
  std::uint64_t unconsumed = 0;   ///< Of what was received; counted in the link's total.
  std::uint64_t credit_owed = 0;  ///< Consumed, not yet told to the peer.
  Own<Partial> partial;
  Own<Outbox> outbox;
  bool outgoing = false;
  bool local_closed = false;   ///< Outgoing: we half-closed.
  bool remote_closed = false;  ///< Incoming: the caller half-closed.
  bool in_partial = false;     ///< Fragments of a message have come, and not its last.
  bool in_ready = false;
  bool held = false;
  bool got_final = false;  ///< Outgoing: the callee's last message has begun.
  bool answered = false;   ///< Metadata or a message went (incoming) or came (outgoing).
  bool dead = false;       ///< Incoming, over on the wire; finish() is still owed.
  bool finished = false;   ///< Incoming, finish() came; its status waits behind its messages.

  void reset() {
    id = 0;
    user = nullptr;
    send_credit = receive_credit = 0;
    unconsumed = credit_owed = 0;
    if (partial) partial.reset();
    if (outbox) outbox.reset();
    outgoing = local_closed = remote_closed = in_partial = in_ready = held = got_final = answered = dead = finished =
        false;
  }
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
  std::uint64_t frames_received = 0;
  std::uint16_t minor;  // Before the peer's HELLO: ours. After it: the smaller one.

  CallTable<CallState> calls;
  std::size_t outgoing_open = 0;
  std::size_t incoming_open = 0;
  CallId next_id;
  CallId last_peer_id = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t reserved_bytes = 0;  // Of all partial messages, ahead of what has come.

  // --- What is to be written: lined up segments, control frames that are not yet, calls with data that take turns ---

  /// Frames as they are, or the header of one and the part of a message that is its payload.
  struct Segment {
    OutBuffer frames;
    char header[header_bytes];
    Bytes payload;  ///< Used when frames has no memory.
    std::size_t done = 0;
    [[nodiscard]] bool is_fragment() const { return frames.capacity() == 0; }
    [[nodiscard]] std::size_t size() const { return is_fragment() ? header_bytes + payload.size() : frames.size(); }
  };
  std::deque<Segment> segments;
  std::size_t segment_bytes = 0;
  OutBuffer control;
  std::deque<CallId> turns;
  std::vector<OutBuffer> spares;
  std::vector<Own<Outbox>> outboxes_free;
  std::vector<std::size_t> early_opens;  // Where in `control` an OPEN's deadline stands, before the HELLO.
  std::string encoded;                   // A payload that is being written.
  std::size_t owed_answers = 0;
  std::vector<Path> paths_told;
  std::uint16_t last_path = 0;  // Mostly the next call takes it too.

  // --- What has come ---

  std::string stash;             // A frame that has come in part.
  std::size_t stash_wanted = 0;  // How many bytes make it whole, once its header is there; else 0.
  std::size_t rest_bytes = 0;    // Of a MESSAGE of which the front has been dealt with: what is still to come.
  CallId rest_call = 0;          // Whose; 0: nobody's.
  std::uint8_t rest_flags = 0;
  std::string private_copy;  // What is decoded, out of the reach of a peer that shares the memory.
  OpenFrame open_frame;      // Reused, for the capacity of its metadata.
  std::vector<Path> paths_heard;

  State(Side side, MuxLimits limits, std::uint16_t minor, MuxEvents& events)
      : side(side), limits(limits), events(events), minor(minor), next_id(side == Side::dialler ? 1 : 2) {}

  [[nodiscard]] bool is_ours(CallId id) const { return (id & 1) == (side == Side::dialler ? 1 : 0); }
  /// Whether a call of that id ever was: then a frame for it comes late, which is no fault.
  [[nodiscard]] bool was_opened(CallId id) const {
    return id != 0 && (is_ours(id) ? id < next_id : id <= last_peer_id);
  }
  [[nodiscard]] std::size_t backlog() const { return segment_bytes + control.size(); }
  /// The peer knows PATH, CALL, SIZE and the flag ok.
  [[nodiscard]] bool is_compact() const { return open && minor >= minor_with_paths; }
  [[nodiscard]] bool is_direct(std::size_t message_bytes) const {
    return message_bytes <= inline_bytes_max && backlog() < direct_backlog_bytes_max;
  }

  void forget(CallState& call) {
    held_bytes -= call.unconsumed;
    (call.outgoing ? outgoing_open : incoming_open)--;
    if (call.partial) drop_partial(call);
    if (call.outbox) drop_outbox(call);
    // Its place among the turns, if it has one, is found empty when it comes up.
    calls.remove(call);
  }

  void drop_partial(CallState& call) {
    reserved_bytes -= call.partial->reserved;
    call.partial.reset();
  }
  void drop_outbox(CallState& call);
  Outbox& take_outbox(CallState& call);

  void take_turn(CallState& call) {
    if (call.in_ready) return;
    call.in_ready = true;
    turns.push_back(call.id);
  }

  void control_frame(FrameType type, CallId call, std::string_view payload, std::uint8_t flags = 0) {
    char* at = control.room(header_bytes + payload.size());
    write_header(at, payload.size(), type, flags, call);
    if (!payload.empty()) std::memcpy(at + header_bytes, payload.data(), payload.size());
    control.took(header_bytes + payload.size());
  }
  template <typename Encode>
  void control_frame_with(FrameType type, CallId call, Encode encode, std::uint8_t flags = 0) {
    encoded.clear();
    encode(encoded);
    control_frame(type, call, encoded, flags);
  }

  void answer_status(FrameType type, CallId call, Code code, Retry retry, std::string_view id, std::string_view text);

  void send_cancel(CallId call, std::uint8_t reason) {
    char byte = static_cast<char>(reason);
    control_frame(FrameType::cancel, call, {&byte, 1});
  }

  /// An incoming call has finished, and its end waits behind its messages.
  void finish_later(CallState& call) {
    call.finished = true;
    call.in_partial = false;
    if (call.partial) drop_partial(call);
    held_bytes -= std::exchange(call.unconsumed, 0);
  }

  // --- Lining up ---

  OutBuffer take_spare();
  void keep_spare(OutBuffer spare);
  void commit();
  /// The next fragment of the call's first message, onto `frames` or as a segment of its own.
  void line_up_fragment(CallState& call, OutBuffer& frames);
  void push_frames(OutBuffer& frames);

  // --- Sending ---

  /// Makes last_path the number of the opening's names, and tells the peer where it does not know it.
  void tell_path(const OpenFrame& open);
  /// Begins a call by CALL. Whether the message was taken along: else it goes by send().
  bool open_by_path(CallState& call, const OpenFrame& open, const Bytes* first, bool last);
  /// Incoming calls: `last` says that the status follows, which needs no credit.
  MuxSent send(CallState& call, Bytes message, bool last);
  void give_credit(CallState& call);

  // --- Receiving ---

  /// A message that can't be taken: the call ends on both sides, the link lives.
  void overrun(CallState& call, Code code, Retry retry, std::string_view error, const std::string& text);
  /// Nothing more goes or comes; finish() is owed.
  void end_incoming(CallState& call);

  void charge(CallState& call, std::size_t cost) {
    call.receive_credit -= static_cast<std::int64_t>(cost);
    call.unconsumed += cost;
    held_bytes += cost;
  }
  void uncharge(CallState& call, std::size_t cost) {
    call.unconsumed -= cost;
    held_bytes -= cost;
  }
  /// The payload where nobody changes it; holds until the next one.
  std::string_view own(std::string_view payload);

  Result<void> receive(std::string_view bytes);
  [[nodiscard]] bool is_read_in_parts(const FrameHeader& header) const;
  /// A MESSAGE of which only the front has come: what there is of it is taken.
  Result<void> begin_rest(const FrameHeader& header, std::string_view front);
  void continue_rest(std::string_view& bytes);

  /// One frame. Returns how many of the bytes after it were used too.
  Result<std::size_t> on_frame(const FrameHeader& header, std::string_view payload, std::string_view next);
  Result<void> on_call_frame(CallState& call, const FrameHeader& header, std::string_view payload);
  Result<void> on_hello(std::string_view payload);
  /// `next`: the bytes that follow, to find the first message there. Returns how much of it was used.
  Result<std::size_t> on_open(const FrameHeader& header, std::string_view payload, std::string_view next);
  Result<void> on_path(std::uint64_t number, std::string_view payload);
  Result<void> on_call(const FrameHeader& header, std::string_view payload);
  /// Checks an opening, and adds its call; nullptr: it was answered already.
  Result<CallState*> admit(CallId id, std::uint8_t flags);
  [[nodiscard]] bool has_room_for(std::size_t message_bytes) const {
    return message_bytes <= limits.message_bytes_max &&
           held_bytes + message_bytes + message_overhead <= limits.link_bytes_max;
  }

  Result<void> on_message(const FrameHeader& header, std::string_view payload);
  /// Checks a fragment by its header. nullptr: it is for nobody any more.
  Result<CallState*> begin_fragment(const FrameHeader& header);
  Partial& partial_of(CallState& call);
  void reserve(CallState& call, std::uint64_t size);
  /// A whole message is there.
  void deliver(CallState& call, std::uint8_t flags, Bytes message);
  Result<void> on_status(CallState& call, const FrameHeader& header, std::string_view payload);

  static std::string_view frame_name(FrameType type);
  static std::unexpected<Status> never_opened(const FrameHeader& header);
  [[nodiscard]] std::string too_large_text() const;
  [[nodiscard]] std::string budget_text() const;
};

}  // namespace shunt::wire
