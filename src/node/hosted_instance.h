#pragma once
// HostedInstance: a service of this process as routing sees it. On the loops where it lives it is called directly; from
// the others calls cross over.

#include <functional>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/instance.h"
#include "loop/loop.h"
#include "loop/task.h"

namespace shunt::node {

class Loops;

class HostedInstance final : public call::Instance {
 public:
  /// `at_home[i]` is the service on loop i, or nullptr; at least one is not. Services and loops outlive it.
  static std::shared_ptr<HostedInstance> on_loops(Loops& loops, std::string name, std::vector<call::Service*> at_home);
  /// Lives on one loop that serves nothing else: a thread of the service's own.
  static std::shared_ptr<HostedInstance> on_own_loop(Loops& loops, std::string name, loop::Loop& home,
                                                     call::Service& service);

  /// Takes its links off their loops, in the order in which they know each other; calls that are still open end as
  /// unavailable. Then nothing refers to the services any more. Loops must run.
  loop::Task<void> close(Loops& loops);
  /// The last of it, for one that lives on a loop of its own: on that loop, after close().
  void close_home() { home_ = nullptr; }

  call::Link* link(std::size_t loop_index) override { return links_[loop_index].get(); }
  [[nodiscard]] call::Distance distance() const override { return call::Distance::local; }
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] bool is_pooled() const override { return false; }
  /// With the calls that came by the direct way, which count by loop. Threads: any.
  [[nodiscard]] std::uint64_t served_in_all() const;
  [[nodiscard]] bool may_be_lost() const override { return !why_.empty(); }
  [[nodiscard]] std::string why() const override { return why_; }

 private:
  explicit HostedInstance(std::string name) : name_(std::move(name)) {}
  std::string name_;
  std::vector<bool> at_home_;           ///< By loop index: it lives there.
  std::string why_;                     ///< --as-if-remote only.
  Own<call::Link> home_;                ///< on_own_loop only: the link on that loop.
  std::vector<Own<call::Link>> links_;  ///< By loop index.
};

}  // namespace shunt::node
