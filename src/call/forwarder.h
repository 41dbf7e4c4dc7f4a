#pragma once
// Forwarder: a Service that hands every call on to a Caller: what the node does with calls that its workers make. Both
// directions keep their own credit, so a slow reader on one side holds up the sender on the other and nobody else.

#include "call/caller.h"
#include "loop/loop.h"

namespace shunt::call {

/// Threads: one loop's. Lifetime: outlives its calls; the Caller outlives it.
class Forwarder final : public Service {
 public:
  explicit Forwarder(Caller& caller) : caller_(caller) {}
  void begin(IncomingHandle call, const Open& open, Opening opening) override;

 private:
  Caller& caller_;
};

}  // namespace shunt::call
