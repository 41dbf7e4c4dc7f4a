#pragma once
// NodeLink: a worker's link to its node, as the host sees it. The host is given a maker of them, since it knows no carrier:
// the wiring makes a MuxLink over a unix socket.

#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "call/link.h"
#include "os/fd.h"
#include "wire/broker_message.h"
#include "wire/frame.h"

namespace shunt::worker {

/// What a link tells. Called on its loop.
class NodeLinkEvents {
 public:
  virtual void on_open(const wire::Hello& node) = 0;
  /// The link has ended. It may be destroyed, but not from inside.
  virtual void on_closed(const Status& why) = 0;
  virtual void on_goaway(std::string_view reason) = 0;
  virtual void on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) = 0;

 protected:
  ~NodeLinkEvents() = default;
};

/// Threads: the loop's.
class NodeLink {
 public:
  virtual ~NodeLink() = default;
  virtual call::Link& calls() = 0;
  virtual void grant(std::uint64_t ticket, const wire::GrantFrame& grant) = 0;
  virtual void load(const wire::LoadFrame& load) = 0;
  /// What was sent has not all left this process yet.
  [[nodiscard]] virtual bool has_unsent() const = 0;
  /// Ends it now: its calls end as `why`, on_closed comes.
  virtual void close(Status why) = 0;
};

/// One side of a direct link, as it came over the broker socket.
struct DirectEnd {
  wire::BrokerCarrier carrier{};
  std::vector<os::Fd> descriptors;
};
/// What it is for, and who is at its other end: a service's full name, or nothing for the node.
struct DirectPeer {
  wire::BrokerRole role{};
  std::string service;
};

class NodeLinkMaker {
 public:
  virtual ~NodeLinkMaker() = default;
  /// What it can attach, for the broker: a set of wire::broker_can bits.
  [[nodiscard]] virtual std::uint64_t can() const { return 0; }
  /// A link over one side of a direct link, as make() says. The principal of calls that come in is the peer's service, whatever
  /// their frames say; from the node, what they say.
  virtual Result<Own<NodeLink>> make_direct(DirectEnd end, const DirectPeer& peer, call::Service& service,
                                            NodeLinkEvents& events, const wire::Hello& hello) {
    (void)end, (void)peer, (void)service, (void)events, (void)hello;
    return fail(Code::unimplemented, "direct links can't be made here");
  }
  /// Calls that come in go to `service`; a finish() with Retry::elsewhere on a call that has sent nothing must become a REFUSED frame. Both references outlive the link.
  virtual Result<Own<NodeLink>> make(os::Fd socket, call::Service& service, NodeLinkEvents& events,
                                     const wire::Hello& hello) = 0;
};

}  // namespace shunt::worker
