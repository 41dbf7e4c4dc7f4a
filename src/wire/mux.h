#pragma once
// Mux: many calls over one byte stream, without I/O. It is fed what was read and asked for what to write; it checks
// everything that the protocol says (spec/wire.md), so that whoever sits above hears only legal things.
//
// It keeps for each call: its state, both credits, the message being put together, the messages waiting for credit.
// Control frames are written before data; data of different calls takes turns, a fragment each.

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/bytes.h"
#include "base/own.h"
#include "base/result.h"
#include "wire/frame.h"

namespace shunt::wire {

enum class Side : std::uint8_t { dialler, acceptor };  ///< Odd call ids are the dialler's.

struct MuxLimits {
  std::uint64_t message_bytes_max = 16ull << 20;
  std::uint32_t calls_max = 65536;
  std::uint32_t metadata_bytes_max = 64u << 10;
  std::uint32_t stream_credit = 256u << 10;
  std::uint64_t link_bytes_max = 64ull << 20;  ///< Received, not yet consumed, all calls. Not agreed: each side's own.
};

/// What the mux tells. Called from inside receive() only; inside an event any method but receive() and output() may be
/// called. `user` is what open() or set_user() gave the call.
class MuxEvents {
 public:
  virtual void on_hello(const Hello& hello) = 0;
  /// A call comes in; set_user() is to be called here, unless it is finished here. `first`: its first message, where
  /// that came right behind the opening (its cost too is to be given back). `last`: the caller has half-closed, which
  /// is not told again. Not told while draining or beyond calls_max: the mux refuses by itself.
  virtual void on_open(CallId call, const OpenFrame& open, Bytes* first, bool last) = 0;
  virtual void on_metadata(CallId call, void* user, const MetadataView& metadata) = 0;
  /// A whole message. Its size + message_overhead is to be given back by consumed().
  virtual void on_message(CallId call, void* user, Bytes message) = 0;
  virtual void on_half_close(CallId call, void* user) = 0;
  /// An outgoing call has ended; the mux has forgotten it.
  virtual void on_status(CallId call, void* user, const StatusFrame& status) = 0;
  /// The answer of a unary call: a message and the end as ok in one. The mux has forgotten the call.
  virtual void on_answer(CallId call, void* user, Bytes message) {
    on_message(call, user, std::move(message));
    on_status(call, user, {});
  }
  /// The names behind a path's number are others from now on: OpenFrame::path.
  virtual void on_path(std::uint16_t number) { (void)number; }
  /// An outgoing call was refused, never started; the mux has forgotten it.
  virtual void on_refused(CallId call, void* user, const StatusFrame& status) = 0;
  /// An incoming call was cancelled (reason as in call::Cancel). finish() is still owed, and sends nothing.
  virtual void on_cancel(CallId call, void* user, std::uint8_t reason) = 0;
  /// There is credit again after send() answered held.
  virtual void on_credit(CallId call, void* user) = 0;
  virtual void on_pong(std::uint64_t number) = 0;
  virtual void on_goaway(std::string_view reason) = 0;
  virtual void on_wait(std::uint64_t ticket, const WaitFrame& wait) = 0;
  virtual void on_grant(std::uint64_t ticket, const GrantFrame& grant) = 0;
  virtual void on_load(const LoadFrame& load) = 0;

 protected:
  ~MuxEvents() = default;
};

/// What becomes of messages that finish() finds unsent.
enum class Unsent : std::uint8_t { flush, drop };

enum class MuxSent : std::uint8_t { more, held, ended };

/// Threads: one at a time. Lifetime: events must outlive it.
class Mux {
 public:
  /// Says HELLO at once (it is in the output).
  Mux(Side side, MuxLimits limits, const Hello& hello, MuxEvents& events);
  ~Mux();

  // --- Calls that go out ---
  /// False when the link is draining or calls_max are open.
  [[nodiscard]] bool can_open() const;
  /// Begins a call. Returns 0 when it can't (nothing is sent).
  CallId open(const OpenFrame& open, bool last, void* user);
  struct Opened {
    CallId id = 0;
    MuxSent sent = MuxSent::ended;
  };
  /// The same with the first message, which costs less than a send() after it; nullptr: none. `last`: half-closes.
  Opened open(const OpenFrame& open, Bytes* first, bool last, void* user);
  // --- Calls that came in ---
  /// Gives an incoming call its user pointer.
  void set_user(CallId call, void* user);
  void metadata(CallId call, const MetadataView& metadata);
  /// Ends an incoming call; what was sent before goes first, credit permitting or not needed: STATUS waits behind the
  /// messages of its call, never behind those of another.
  /// Unsent::drop: what was not yet written is thrown away (the status must not be ok).
  void finish(CallId call, const StatusFrame& status, Unsent unsent = Unsent::flush);
  /// send() and finish() as ok in one step: the end of a unary call. The message needs no credit.
  void answer(CallId call, Bytes message);
  /// Instead of anything else: the call was never started. Where something was sent already, the same as finish().
  void refuse(CallId call, const StatusFrame& status);
  // --- Both ---
  /// Takes the message. `held`: no credit is left, wait for on_credit. `ended`: not taken. `last`: a caller half-closes
  /// with it; a callee calls finish() next, and needs no credit for it.
  MuxSent send(CallId call, Bytes message, bool last);
  void half_close(CallId call);
  /// Gives credit back.
  void consumed(CallId call, std::size_t cost);
  /// Ends an outgoing call at once on this side; the mux forgets it and drops what the peer still sends for it.
  void cancel(CallId call, std::uint8_t reason);

  // --- The link ---
  void ping(std::uint64_t number);
  void goaway(std::string_view reason);
  void wait(std::uint64_t ticket, const WaitFrame& wait);
  void grant(std::uint64_t ticket, const GrantFrame& grant);
  void load(const LoadFrame& load);

  // --- Bytes ---
  /// Takes what was read. An error is the end of the link: data_loss (a broken frame), resource_exhausted (a limit of the
  /// link), failed_precondition (another version). `bytes` are read once and not kept: they need to hold during the call only.
  Result<void> receive(std::string_view bytes);
  /// How many frames have come so far.
  [[nodiscard]] std::uint64_t frames_received() const;
  [[nodiscard]] bool has_output() const;
  /// Fills up to `count` vectors with what to write next; returns how many. They hold until written(). Before the peer's
  /// HELLO has come there is nothing but our own.
  int output(iovec* vectors, int count);
  void written(std::size_t bytes);

  /// What both sides agreed on; before the peer's HELLO, our own.
  [[nodiscard]] const MuxLimits& limits() const;
  /// True when the peer's clock is ours: deadlines on the wire are absolute. Before its HELLO: true.
  [[nodiscard]] bool same_clock() const;
  [[nodiscard]] bool is_open() const;      ///< HELLO has come.
  [[nodiscard]] bool is_draining() const;  ///< GOAWAY was sent or came.
  [[nodiscard]] std::size_t calls_open() const;
  /// Received and not given back, all calls.
  [[nodiscard]] std::uint64_t bytes_held() const;
  /// For on_hello(): changes the deadline of every OPEN that was called for before the HELLO and is not written yet.
  void rewrite_deadlines(const std::function<std::int64_t(std::int64_t)>& rewrite);
  /// Visits every open call: for a link that died. The callback must not call the mux.
  void for_each_call(const std::function<void(CallId, void* user, bool outgoing)>& visit);

 private:
  struct State;
  Own<State> state_;
};

}  // namespace shunt::wire
