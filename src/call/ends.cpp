#include "call/ends.h"

#include <fmt/format.h>

#include <utility>

namespace shunt::call {

namespace {

// Stateless, so one serves all calls that never began.
class UnopenedCall final : public Outgoing {
 public:
  Sent send(Message, Last) override { return Sent::ended; }
  void half_close() override {}
  void consumed(std::size_t) override {}
  void cancel(Cancel) override {}
  void release() override {}
};

}  // namespace

OutgoingHandle end_unopened(CallerEvents& events, Status why) {
  static UnopenedCall shared;
  events.on_end(std::move(why), {});
  return OutgoingHandle(&shared);
}

std::string_view cancel_name(Cancel reason) {
  switch (reason) {
    case Cancel::caller:
      return "the caller gave up";
    case Cancel::deadline:
      return "its deadline passed";
    case Cancel::overload:
      return "it was shed under overload";
    case Cancel::shutdown:
      return "the side that ran it is shutting down";
    case Cancel::protocol:
      return "a message broke a limit";
  }
  return "for a reason that this version does not know";
}

Status cancel_status(Cancel reason) {
  switch (reason) {
    case Cancel::deadline:
      return {Code::deadline_exceeded, "S1004", "the deadline passed"};
    case Cancel::overload:
      return Status(Code::resource_exhausted, "S1012", "the call was shed under overload").with_retry(Retry::later);
    case Cancel::shutdown:
      return Status(Code::unavailable, "S1015", "the side that ran the call is shutting down").with_retry(Retry::later);
    default:
      return {Code::cancelled, "S1012", fmt::format("the call was cancelled: {}", cancel_name(reason))};
  }
}

}  // namespace shunt::call
