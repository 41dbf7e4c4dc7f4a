#pragma once
// WorkerLinks: how a pool's links are made: a MuxLink over a unix socket, whose calls from the worker go to the loop's
// router as the worker's service, and whose end tells how the worker ended.

#include "call/principal.h"
#include "node/loops.h"
#include "pool/wiring.h"

namespace shunt::node {

/// Threads: as pool::LinkFactory says. Lifetime: loops outlive it, and it the pool.
class WorkerLinks final : public pool::LinkFactory {
 public:
  /// `service`: the full name of the service that the workers serve. `concurrency` is told to them in HELLO.
  WorkerLinks(Loops& loops, std::string service, std::uint32_t concurrency)
      : loops_(loops), service_(std::move(service)), concurrency_(concurrency) {}

  Own<pool::WorkerLink> make_link(std::size_t loop_index, os::Fd socket, const pool::WorkerIdentity& worker,
                                  pool::WorkerLinkEvents& events) override;
  Own<call::Link> make_crossing(std::size_t loop_index, std::function<call::Link*()> target) override;

 private:
  Loops& loops_;
  const std::string service_;
  const std::uint32_t concurrency_;
};

}  // namespace shunt::node
