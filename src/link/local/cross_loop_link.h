#pragma once
// CrossLoopLink: calls to something that lives on another loop of this process: a module with threads of its own, or a
// worker whose only link belongs to the control loop. What is said travels as closures posted between the two loops.

#include <functional>

#include "base/own.h"
#include "call/link.h"
#include "loop/loop.h"

namespace shunt::link {

class CrossLoopLink final : public call::Link {
 public:
  /// Asked on the far loop for each call: the link there, or nullptr when it is gone. Shared by calls that may outlive
  /// this link, so it must not refer to what may be gone: it answers nullptr instead.
  using Target = std::function<call::Link*()>;

  /// Belongs to `near`. Both loops must outlive every call.
  static Own<CrossLoopLink> create(loop::Loop& near, loop::Loop& far, Target target, call::LinkLimits limits = {});
  ~CrossLoopLink() override;

  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& events, call::Opening opening) override;
  loop::Task<void> drain(Deadline deadline) override;
  call::LinkStats stats() const override;

 private:
  struct State;
  class Call;
  explicit CrossLoopLink(Own<State> state);
  Own<State> state_;
};

}  // namespace shunt::link
