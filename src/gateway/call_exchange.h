#pragma once
// What every exchange that makes a call has in common: the call's start, the credit that is given back as the client reads,
// and the end, with its line in the access log. Only for gateway/'s own files.

#include <cstddef>
#include <optional>
#include <string>

#include "call/caller.h"
#include "call/ends.h"
#include "gateway/admission.h"
#include "gateway/carrier.h"
#include "gateway/shared.h"
#include "loop/loop.h"

namespace shunt::gateway {

/// Threads: the loop's.
class CallExchange : public Exchange, protected call::CallerEvents {
 public:
  void drained() override;
  void abandon() override;
  void shut_down() override;

 protected:
  explicit CallExchange(Carrier& carrier) : Exchange(carrier), credit_timer_(*this) {}
  ~CallExchange() override = default;

  /// A request has come: from here on is_over() is false.
  void open(const Request& request);
  /// Starts the call of target_ with what the request said. Its events may come, and end it, before this returns.
  void start_call(call::Encoding encoding, call::Opening opening);
  /// The same for a call that `start` places: it is given what hears the events.
  template <typename Start>
  void start_call_by(Start start) {
    calling_ = starting_ = true;
    call::OutgoingHandle handle = start(static_cast<call::CallerEvents&>(*this));
    starting_ = false;
    if (!over_ && calling_) keep(std::move(handle));
  }
  /// Lets the callee go on as far as the client has read.
  void give_credit();
  /// Has on_room() called, in a turn of its own: an endless stream must not keep the loop from everybody else.
  void wait_for_room();
  virtual void on_room() { give_credit(); }
  /// Said and not yet taken by the client.
  [[nodiscard]] virtual std::size_t unsent() const { return carrier_.unsent(); }
  /// `held`: what is kept of messages that are not whole yet, or wait. All of a loop's are bounded together: beyond it
  /// fail(503) is called, and false returned.
  bool count_collected(std::size_t held);
  void release_collected() { carrier_.shared().collected_bytes -= std::exchange(collected_, 0); }
  /// What a call's end means to the client: a unary answer without its one message is the service's mistake, and a call
  /// that a shutdown ended may be tried again.
  [[nodiscard]] Status judge(Status status, bool lacks_message) const;
  /// The answer is written: nothing is owed to anybody any more. `counted`: as an answer of plain HTTP.
  void close(int http_status, bool counted = true, std::optional<Code> grpc_status = std::nullopt);

  TargetPtr target_;
  call::Metadata request_metadata_;
  call::Metadata metadata_;  ///< Of the answer.
  call::Principal principal_;
  Deadline deadline_ = Deadline::never();
  Instant began_;
  call::OutgoingHandle call_;
  std::size_t owed_ = 0;       ///< Credit not given back yet.
  bool starting_ = false;      ///< Inside start_call(): there is no handle yet.
  bool has_too_many_ = false;  ///< Messages for a unary answer.
  bool is_shutting_down_ = false;

 private:
  struct CreditTimer final : loop::Timer {
    explicit CreditTimer(CallExchange& of) : exchange(of) {}
    void fire() override { exchange.on_room(); }
    CallExchange& exchange;
  };
  void keep(call::OutgoingHandle handle);

  std::size_t collected_ = 0;  // what is counted in Shared::collected_bytes
  bool giving_credit_ = false;
  std::string log_method_;  // only with an access log
  std::string log_target_;
  CreditTimer credit_timer_;
};

}  // namespace shunt::gateway
