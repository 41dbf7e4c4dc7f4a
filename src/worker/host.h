#pragma once
// WorkerHost: what runs inside every worker process, whatever its language. It holds the links to the node, hands the
// calls that come in to one Service, refuses those beyond its room, keeps slots for those who wait, drains when it is told
// to, and takes fresh links when the node was restarted. Calls that go out are placed through it: it is a Caller.
//
// It knows neither carriers (node_link.h) nor languages, and reads no environment (environment.h).

#include <cstdint>
#include <string>

#include "base/own.h"
#include "base/result.h"
#include "call/caller.h"
#include "call/ends.h"
#include "loop/epoll_loop.h"
#include "worker/direct_links.h"
#include "worker/environment.h"
#include "worker/node_link.h"

namespace shunt::worker {

struct HostOptions {
  /// Calls at once; one more is refused, unstarted. 0: what the node says in its HELLO; that may be 0 too: no limit.
  std::uint32_t concurrency = 0;
  /// How long a slot that was granted is kept. Longer than any delay between a GRANT and its OPEN on one machine.
  Duration reservation = std::chrono::seconds(5);
  /// Tickets that wait for a slot. One more is answered resource_exhausted.
  std::size_t waits_max = 1024;
  /// LOAD is told at most so often. It is a hint: exactness would cost a frame for each call.
  Duration load_every = std::chrono::milliseconds(100);
  DirectOptions direct;            ///< Of calls to other workers without the node in between.
  std::string software = "shunt";  ///< "python 0.1.0", for HELLO.
  std::string definition;          ///< The service as JSON, for HELLO; may be empty.
};

/// What the host tells the runtime that it serves. Called on the loop; the host may not be destroyed from inside.
class HostEvents {
 public:
  /// No new calls will come.
  virtual void on_drain() = 0;
  /// Draining, the last call has ended, and what was sent has left the process: there is nothing left to do. How long that
  /// may take is for the node to say, which ends a process that does not end.
  virtual void on_drained() = 0;
  /// Node and supervisor are gone. What still runs was cancelled.
  virtual void on_lost() = 0;

 protected:
  ~HostEvents() = default;
};

/// Threads:   the loop's.
/// Lifetime:  loop, maker, service and events outlive it. Ends that are still held when it is destroyed may be released
///            after it, and do nothing else.
class WorkerHost final : public call::Caller {
 public:
  /// Opens the links and says HELLO.
  static Result<Own<WorkerHost>> create(loop::EpollLoop& loop, NodeLinkMaker& maker, call::Service& service,
                                        HostEvents& events, Environment environment, HostOptions options);
  ~WorkerHost() override;

  /// Places a call: the node routes it. It goes over the link on which the last call came in.
  call::OutgoingHandle start(const call::CallStart& start, call::CallerEvents& events, call::Opening opening) override;
  /// The same, over the link on which `parent` came in: an end that this host's service was given.
  call::OutgoingHandle start_beside(const call::Incoming& parent, const call::CallStart& start,
                                    call::CallerEvents& events, call::Opening opening);

  /// Takes no new calls from now on, as if the node had said so.
  void drain();

  [[nodiscard]] bool is_draining() const;
  [[nodiscard]] bool is_lost() const;
  [[nodiscard]] std::uint32_t running() const;   ///< Calls that came in and have not finished.
  [[nodiscard]] std::uint32_t reserved() const;  ///< Slots that were granted and not yet taken.
  [[nodiscard]] std::uint32_t capacity() const;  ///< 0: no limit.
  [[nodiscard]] std::size_t links_open() const;
  /// What was sent has not all left this process yet: who ends now, after the last finish(), should turn the loop on.
  [[nodiscard]] bool has_unsent() const;

 private:
  struct State;
  struct HostLink;
  struct Served;
  struct Placed;
  explicit WorkerHost(Own<State> state);
  Own<State> state_;
};

}  // namespace shunt::worker
