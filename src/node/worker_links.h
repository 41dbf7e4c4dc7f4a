#pragma once
// WorkerLinks: how a pool's links are made: a MuxLink over a unix socket, whose calls from the worker go to the loop's
// router as the worker's service, and whose end tells how the worker ended.

#include "call/principal.h"
#include "node/loops.h"
#include "pool/wiring.h"
#include "worker/node_link.h"

namespace shunt::node {

class Broker;

/// Threads: as pool::LinkFactory says. Lifetime: loops outlive it, and it the pool.
class WorkerLinks final : public pool::LinkFactory {
 public:
  /// `service`: the full name of the service that the workers serve. `concurrency` is told to them in HELLO.
  /// `wants_rings`: what it says of "link".
  WorkerLinks(Loops& loops, Broker& broker, std::string service, std::uint32_t concurrency, bool wants_rings = true)
      : loops_(loops),
        broker_(broker),
        service_(std::move(service)),
        concurrency_(concurrency),
        wants_rings_(wants_rings) {}

  Own<pool::WorkerLink> make_link(std::size_t loop_index, os::Fd socket, const pool::WorkerIdentity& worker,
                                  pool::WorkerLinkEvents& events) override;
  Own<call::Link> make_crossing(std::size_t loop_index, std::function<call::Link*()> target) override;
  void open_broker(const std::shared_ptr<pool::WorkerInstance>& instance, os::Fd socket) override;
  void close_broker(const pool::WorkerInstance& instance) override;
  /// The same as make_link() over one side of a direct link; nullptr when it is not what it must be.
  Own<pool::WorkerLink> make_direct_link(std::size_t loop_index, worker::DirectEnd end, pool::WorkerLinkEvents& events);

 private:
  Loops& loops_;
  Broker& broker_;
  const std::string service_;
  const std::uint32_t concurrency_;
  const bool wants_rings_;
};

}  // namespace shunt::node
