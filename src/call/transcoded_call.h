#pragma once
// TranscodedCall: a call whose caller and callee write their messages differently, JSON the one and protobuf the other.
// It stands between the caller and the RoutedCall, and turns each message as it passes. Calls whose two ends agree never
// meet it.

#include <deque>
#include <memory>
#include <utility>

#include "call/caller.h"
#include "call/routed_call.h"

namespace shunt::call {

/// Threads: its loop. Lifetime: until the caller releases it and nothing of it is on the stack.
class TranscodedCall final : public Outgoing, private CallerEvents {
 public:
  TranscodedCall(std::shared_ptr<const Transcoder> transcoder, Encoding caller, Encoding callee, CallerEvents& events)
      : transcoder_(std::move(transcoder)), caller_(caller), callee_(callee), events_(&events) {}
  /// Where the routed call is to tell what it hears.
  CallerEvents& ear() { return *this; }
  /// Turns the first message. False: it can't be turned, and the call has ended before it started: invalid_argument, as
  /// the transcoder says it.
  bool turn_opening(Opening& opening);
  /// Begins `inner`, whose events are ear().
  void begin(RoutedCall& inner, const CallStart& start, Opening opening);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  Sent send(Message message, Last last) override;
  void half_close() override;
  void consumed(std::size_t cost) override;
  void cancel(Cancel reason) override;
  void release() override;

 private:
  struct Keep;

  void on_metadata(Metadata metadata) override;
  void on_message(Message message) override;
  void on_credit() override;
  void on_end(Status status, Metadata trailers) override;
  [[nodiscard]] bool wants_answer() const override { return events_ != nullptr && events_->wants_answer(); }
  void on_answer(Message message) override;

  Result<Message> turn(Side side, Message& message) const;
  void fail(Status why);

  std::shared_ptr<const Transcoder> transcoder_;  // Owners: the routing's definition, and its calls.
  const Encoding caller_;
  const Encoding callee_;
  CallerEvents* events_;  // nullptr once it was told the end, or has let go
  OutgoingHandle inner_;
  // What was received: its cost to the caller, and what it cost of the callee's credit.
  std::deque<std::pair<std::size_t, std::size_t>> received_;
  std::size_t consumed_ = 0;
  int refs_ = 1;
};

}  // namespace shunt::call
