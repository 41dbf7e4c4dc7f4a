#pragma once
// Caller: whatever can start a call by name. In a node it is the loop's Router; in a worker it is the link to the node,
// which routes for it. Who places calls for a module knows only this.

#include <cstdint>
#include <string_view>

#include "base/time.h"
#include "call/contract.h"
#include "call/distance.h"
#include "call/ends.h"

namespace shunt::call {

/// What a caller asks for.
struct CallStart {
  std::string_view service;  ///< Short or full.
  std::string_view command;
  const Metadata* metadata = nullptr;
  Deadline deadline;                     ///< never: the command's default applies.
  const Principal* principal = nullptr;  ///< Who asks; must outlive the call.
  std::uint8_t hops = 0;
  Distance farthest = Distance::grpc;  ///< How far it may go; unix_ for what another node handed to us.
  Encoding encoding = Encoding::json;  ///< How the caller writes its messages, and wants to read the answers.
};

class DirectRoute;

/// Threads: one loop's.
class Caller {
 public:
  virtual ~Caller() = default;
  /// Starts a call. Always a handle; a call that can't start ends with on_end, perhaps before this returns.
  virtual OutgoingHandle start(const CallStart& start, CallerEvents& events, Opening opening) = 0;

  /// The direct way (direct.h) to a command, for that caller; nullptr where there is none now: start() is always right.
  virtual DirectRoute* direct(const Principal& principal, std::string_view service, std::string_view command) {
    (void)principal, (void)service, (void)command;
    return nullptr;
  }
  /// Another number than before means that what direct() answered is void. nullptr: it never answers.
  [[nodiscard]] virtual const std::uint64_t* direct_revision() const { return nullptr; }
};

}  // namespace shunt::call
