#include "call/ends.h"

#include <fmt/format.h>

namespace shunt::call {

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
