#pragma once
// The two ends of a call, and what each hears from the other. Every link implements Outgoing and Incoming; every caller
// and callee is one of the two kinds of events. This file and link.h are all that the floors above share.
//
//   caller --- Outgoing ---> link ---> CalleeEvents --- callee
//   caller <-- CallerEvents-- link <--- Incoming   <--- callee
//
// Rules that hold on every link (tests/conformance proves them):
// - An end and its events belong to one loop. Events come on that loop.
// - Events may come from inside open(), send() or any other action, so an end must be ready to hear before it acts.
// - Inside an event any action is allowed, release() too.
// - After release() no event comes. After on_end() no other event comes; release() is still owed.
// - Messages never alias: what the caller changes after send(), the callee never sees.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "base/time.h"
#include "call/contract.h"
#include "call/message.h"
#include "call/metadata.h"
#include "call/principal.h"

namespace shunt::call {

/// Why a call was cancelled. On the wire as one byte.
enum class Cancel : std::uint8_t {
  caller = 1,    ///< The caller gave up, or vanished.
  deadline = 2,  ///< Its deadline passed.
  overload = 3,  ///< It was shed.
  shutdown = 4,  ///< The side that runs it is ending.
  protocol = 5,  ///< A message broke a limit or the protocol.
};
std::string_view cancel_name(Cancel reason);
/// What the cancelled side answers: deadline_exceeded for a deadline, else cancelled, with the reason in words.
Status cancel_status(Cancel reason);

/// What became of a message given to send().
enum class Sent : std::uint8_t {
  more,   ///< Taken; there is credit for another.
  held,   ///< Taken; wait for on_credit() before the next.
  ended,  ///< Not taken: the call has ended, or there was no credit and on_credit() was not waited for.
};

enum class Last : bool { no, yes };

/// How a call begins. Borrowed: views and pointers hold during open() and begin() only; who keeps copies.
struct Open {
  std::string_view service;  ///< The callee's full name.
  std::string_view command;
  const Metadata* metadata = nullptr;  ///< nullptr: none.
  Deadline deadline;
  const Principal* principal = nullptr;  ///< nullptr: nobody.
  std::uint64_t grant = 0;               ///< The slot that GRANT reserved, or 0.
  std::uint8_t hops = 0;                 ///< How many services this chain of calls has passed; bounded by hops_max.
  bool blocking = false;                 ///< The command runs synchronously in its worker.
  Encoding encoding = Encoding::json;    ///< How the messages are written, both ways.
};
inline constexpr std::uint8_t hops_max = 32;

/// The caller's ear.
class CallerEvents {
 public:
  /// At most once, before any message.
  virtual void on_metadata(Metadata metadata) { (void)metadata; }
  virtual void on_message(Message message) = 0;
  /// There is credit again after Sent::held.
  virtual void on_credit() {}
  /// The call has ended, with everything received before it. Once.
  virtual void on_end(Status status, Metadata trailers) = 0;

  /// A unary answer is a message and an ok end in one. Who says true here may hear it as one on_answer() in place of
  /// on_message() and on_end(): half the way for the commonest call.
  [[nodiscard]] virtual bool wants_answer() const { return false; }
  virtual void on_answer(Message message) { (void)message; }

 protected:
  ~CallerEvents() = default;
};

/// The caller's end.
class Outgoing {
 public:
  virtual Sent send(Message message, Last last) = 0;
  /// No more messages from the caller. Once; send(..., Last::yes) says it too.
  virtual void half_close() = 0;
  /// Gives back credit for messages that were dealt with: the sum of their cost().
  virtual void consumed(std::size_t cost) = 0;
  /// Ends the call: on_end comes (now or later in this turn), the callee hears on_cancel.
  virtual void cancel(Cancel reason) = 0;
  /// Lets go. A call that has not ended is cancelled; no event comes after. The object must not be used again.
  virtual void release() = 0;

 protected:
  ~Outgoing() = default;
};

/// The callee's ear.
class CalleeEvents {
 public:
  virtual void on_message(Message message) = 0;
  /// The caller sends no more.
  virtual void on_half_close() = 0;
  /// The caller has gone or the deadline has passed: what is sent from here on is thrown away, finish() is still owed.
  virtual void on_cancel(Cancel reason) = 0;
  virtual void on_credit() {}

 protected:
  ~CalleeEvents() = default;
};

/// The callee's end.
class Incoming {
 public:
  /// Who listens from now on. The callee calls this inside Service::begin() unless it finishes there; what came with
  /// the opening is not told again.
  virtual void listen(CalleeEvents& events) = 0;
  /// At most once, before any message.
  virtual void send_metadata(Metadata metadata) = 0;
  virtual Sent send(Message message) = 0;
  virtual void consumed(std::size_t cost) = 0;
  /// Ends the call. Once. No event comes after it.
  virtual void finish(Status status, Metadata trailers) = 0;
  /// send(message) and finish(ok) in one step: the answer of a unary call.
  virtual void finish_with(Message message) = 0;
  /// Lets go; a call that was not finished ends as `internal`. The object must not be used again.
  virtual void release() = 0;

 protected:
  ~Incoming() = default;
};

struct Releaser {
  template <typename End>
  void operator()(End* end) const {
    end->release();
  }
};
/// The one holder of an end: releases it when dropped.
using OutgoingHandle = std::unique_ptr<Outgoing, Releaser>;
using IncomingHandle = std::unique_ptr<Incoming, Releaser>;

/// The end of a call that could not begin: tells on_end() at once, and gives a handle that does nothing.
OutgoingHandle end_unopened(CallerEvents& events, Status why);

/// What comes with the opening: the first message, if the caller had it at hand, and whether it was the last.
struct Opening {
  Message message;
  bool has_message = false;
  Last last = Last::no;

  static Opening empty() { return {}; }
  static Opening unary(Message message) { return {std::move(message), true, Last::yes}; }
  static Opening first(Message message) { return {std::move(message), true, Last::no}; }
};

/// Where calls arrive: a module, a worker's host, the node's dispatcher.
class Service {
 public:
  virtual ~Service() = default;
  /// Begins a call. Either finishes and releases `call` here, or keeps the handle, calls listen() before it returns, and
  /// finishes and releases later. The credit of a message in `opening` is given back by the callee with consumed() (not
  /// needed when it finishes).
  virtual void begin(IncomingHandle call, const Open& open, Opening opening) = 0;
};

}  // namespace shunt::call
