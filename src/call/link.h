#pragma once
// A Link carries many calls to one peer: a module in this process, a worker, another node.
//
// The kernel sees transports only through this file and ends.h; src/link/ holds the implementations and
// tests/conformance is the executable definition. A Link knows nothing of manifests or pools.

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "call/ends.h"
#include "loop/task.h"

namespace shunt::call {

struct DirectPort;

/// Agreed when the link opens: each limit is the smaller of the two peers' values.
struct LinkLimits {
  std::uint64_t message_bytes_max = 16ull << 20;  ///< One message. Beyond it the call ends as resource_exhausted.
  std::uint32_t calls_max = 65536;                ///< Open at once in one direction. Beyond it: REFUSED.
  std::uint32_t metadata_bytes_max = 64u << 10;   ///< Metadata::cost of one call's opening, or of its trailers.
  std::uint32_t stream_credit = 256u << 10;       ///< What may be sent in one direction of a call before consumed().
  std::uint64_t link_bytes_max = 64ull << 20;  ///< Received but not consumed, all calls; beyond it the link is closed.
};

struct LinkStats {
  std::uint64_t calls_opened = 0;
  std::uint64_t calls_open = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
};

/// Ownership: whoever opened the link owns it.
/// Threads:   belongs to one loop.
/// Lifetime:  destruction ends its calls as `unavailable`; no end of it may be used after, handles included, except
///            release().
class Link {
 public:
  virtual ~Link() = default;

  /// Opens a call. Never waits. Where it can't be opened, on_end comes (perhaps before open returns):
  ///   unavailable, Retry::elsewhere      draining, or calls_max are open: nothing was sent
  ///   unavailable, Retry::reconnect      the peer is gone
  /// `events` must live until the handle is released.
  virtual OutgoingHandle open(const Open& open, CallerEvents& events, Opening opening) = 0;

  /// Refuses new calls in both directions, and ends when the open ones have ended. Calls still open at the deadline
  /// are cancelled with Cancel::shutdown. A second drain joins the first.
  virtual loop::Task<void> drain(Deadline deadline) = 0;

  [[nodiscard]] virtual LinkStats stats() const = 0;

  /// Where the service lives on this loop and nothing stands between: the way past open() (direct.h). Owners: the link,
  /// and routes that use it.
  [[nodiscard]] virtual std::shared_ptr<DirectPort> direct() const;
};

}  // namespace shunt::call
