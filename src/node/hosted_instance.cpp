#include "node/hosted_instance.h"

#include "base/check.h"
#include "call/direct.h"
#include "link/local/cross_loop_link.h"
#include "node/home_link.h"
#include "node/loops.h"

namespace shunt::node {

std::shared_ptr<HostedInstance> HostedInstance::on_loops(Loops& loops, std::string name,
                                                         std::vector<call::Service*> at_home) {
  // Owners: routing snapshots and the house.
  auto instance = std::shared_ptr<HostedInstance>(new HostedInstance(std::move(name)));
  instance->why_ = why_home(loops, instance->name_);
  instance->links_.resize(loops.all());
  for (const auto* service : at_home) instance->at_home_.push_back(service != nullptr);
  std::size_t home = loops.all();
  for (std::size_t i = 0; i < loops.all(); i++) {
    if (at_home[i] == nullptr) continue;
    instance->links_[i] = make_home_link(loops, loops.at(i).loop, *at_home[i], instance->name_);
    home = i;
  }
  SHUNT_ASSERT(home < loops.all());
  call::Link* target = instance->links_[home].get();
  for (std::size_t i = 0; i < loops.all(); i++) {
    if (instance->links_[i] != nullptr) continue;
    instance->links_[i] =
        link::CrossLoopLink::create(loops.at(i).loop, loops.at(home).loop, [target] { return target; });
  }
  return instance;
}

std::shared_ptr<HostedInstance> HostedInstance::on_own_loop(Loops& loops, std::string name, loop::Loop& home,
                                                            call::Service& service) {
  auto instance = std::shared_ptr<HostedInstance>(new HostedInstance(std::move(name)));
  instance->at_home_.resize(loops.all(), false);
  instance->why_ = why_home(loops, instance->name_);
  instance->home_ = make_home_link(loops, home, service, instance->name_);
  call::Link* target = instance->home_.get();
  for (std::size_t i = 0; i < loops.all(); i++) {
    instance->links_.push_back(link::CrossLoopLink::create(loops.at(i).loop, home, [target] { return target; }));
  }
  return instance;
}

std::uint64_t HostedInstance::served_in_all() const {
  std::uint64_t sum = served.load(std::memory_order_relaxed);
  // What its links had counted is in there.
  if (closed.load(std::memory_order_acquire)) return sum;
  for (const auto& link : links_) {
    if (auto port = link->direct()) sum += port->served.load(std::memory_order_relaxed);
  }
  return sum;
}

loop::Task<void> HostedInstance::close(Loops& loops) {
  closed.store(true, std::memory_order_release);
  // Those that cross over first: what they have posted to the home is run before what is posted to it now.
  for (bool home : {false, true}) {
    for (std::size_t i = 0; i < links_.size(); i++) {
      if (at_home_[i] != home) continue;
      co_await loops.run_on(i, [this, i] {
        if (auto port = links_[i]->direct()) {
          served.fetch_add(port->served.load(std::memory_order_relaxed), std::memory_order_relaxed);
        }
        links_[i] = nullptr;
      });
    }
  }
}

}  // namespace shunt::node
