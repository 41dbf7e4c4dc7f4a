#pragma once
// ClientCall: a caller's end for coroutines. What comes is queued and awaited; credit is given back as it is taken.

#include <deque>
#include <optional>

#include "call/caller.h"
#include "call/link.h"
#include "loop/event.h"
#include "loop/task.h"

namespace shunt::call {

/// Threads: one loop. Lifetime: dropping it cancels the call.
class ClientCall final : private CallerEvents {
 public:
  /// Begins through a router or a worker's host. Views in `start` are used during construction only.
  ClientCall(Caller& caller, loop::Loop& loop, const CallStart& start, Opening opening);
  /// Begins on one link: for conformance tests and the pool.
  ClientCall(loop::Loop& loop, Link& link, const Open& open, Opening opening);
  ~ClientCall();

  /// The next message; nothing at the end of the stream (status() says how it ended).
  loop::Task<std::optional<Message>> receive();
  /// Sends; waits while there is no credit. False when the call has ended.
  loop::Task<bool> send(Message message, Last last = Last::no);
  void half_close();
  void cancel(Cancel reason);
  /// Waits for the end, throwing away messages that were not received.
  loop::Task<Status> finish();

  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] const Metadata& metadata() const { return metadata_; }
  [[nodiscard]] const Metadata& trailers() const { return trailers_; }

 private:
  void on_metadata(Metadata metadata) override;
  void on_message(Message message) override;
  void on_credit() override;
  void on_end(Status status, Metadata trailers) override;

  loop::Event arrived_;
  loop::Event credit_;
  std::deque<Message> messages_;
  Metadata metadata_;
  Metadata trailers_;
  Status status_;
  bool ended_ = false;
  bool held_ = false;
  OutgoingHandle call_;
};

/// One request, one answer. Errors: the call's status; internal when the callee sent no message or more than one.
/// The views in `start` must live until the first wait.
loop::Task<Result<Message>> call_unary(Caller& caller, loop::Loop& loop, CallStart start, Message request);

}  // namespace shunt::call
