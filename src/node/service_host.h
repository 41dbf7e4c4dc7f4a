#pragma once
// ServiceHost: what keeps one service callable: a module in this process, or a pool of workers. The house knows services by
// this only; module_host.h and pool_host.h know how.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/instance.h"
#include "loop/task.h"
#include "module/manager.h"

namespace shunt::node {

class ServiceHost {
 public:
  virtual ~ServiceHost() = default;

  /// Where it can be called now, nearest first. What is returned may be starting: Instance::closed says so.
  virtual std::vector<std::shared_ptr<call::Instance>> instances() = 0;
  /// nullptr: it never refuses.
  virtual std::shared_ptr<call::Admission> admission() = 0;
  /// True when every instance that it keeps up answers.
  virtual bool is_ready() = 0;
  /// Why it can't be called, while it can't.
  virtual std::string why_absent() = 0;
  virtual void report(module::ServiceReport& to) = 0;
  /// Ends what it hosts; what is open at the deadline is cut off.
  virtual loop::Task<void> stop(Deadline deadline) = 0;
  /// The same while the node lives on: routing has left it on every loop, callers that still wait at it are sent to where
  /// the routing leads now. When the task has ended, nothing of it is left on any loop.
  virtual loop::Task<void> retire(Deadline deadline) = 0;
  /// Gives a stop() or retire() that is under way no longer than until then.
  virtual void hurry(Deadline deadline) { (void)deadline; }
};

/// Told on the control loop when instances(), is_ready() or why_absent() may have changed.
using HostChanged = std::function<void()>;

}  // namespace shunt::node
