#pragma once
// LocalLink: calls to a service of this process, on this loop. The handler is called: no serialization, no thread, no
// queue; and yet the contract of every link holds: deadlines, cancellation, credit, limits.

#include <memory>

#include "base/own.h"
#include "call/link.h"
#include "loop/loop.h"

namespace shunt::link {

class LocalLink final : public call::Link {
 public:
  /// `service` and `loop` must outlive the link.
  static Own<LocalLink> create(loop::Loop& loop, call::Service& service, call::LinkLimits limits = {});
  ~LocalLink() override;

  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& events, call::Opening opening) override;
  loop::Task<void> drain(Deadline deadline) override;
  call::LinkStats stats() const override;
  std::shared_ptr<call::DirectPort> direct() const override;

 private:
  class Call;
  explicit LocalLink(std::shared_ptr<call::DirectPort> port);
  std::shared_ptr<call::DirectPort> port_;  // Owners: this, and direct routes to the service.
};

}  // namespace shunt::link
