#include "node/hosted_instance.h"

#include "base/check.h"
#include "call/direct.h"
#include "link/local/cross_loop_link.h"
#include "link/local/local_link.h"
#include "node/loops.h"

namespace shunt::node {

std::shared_ptr<HostedInstance> HostedInstance::on_loops(Loops& loops, std::string name,
                                                         std::vector<call::Service*> at_home) {
  // Owners: routing snapshots and the house.
  auto instance = std::shared_ptr<HostedInstance>(new HostedInstance(std::move(name)));
  instance->links_.resize(loops.all());
  std::size_t home = loops.all();
  for (std::size_t i = 0; i < loops.all(); i++) {
    if (at_home[i] == nullptr) continue;
    instance->links_[i] = link::LocalLink::create(loops.at(i).loop, *at_home[i]);
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
  instance->home_ = link::LocalLink::create(home, service);
  call::Link* target = instance->home_.get();
  for (std::size_t i = 0; i < loops.all(); i++) {
    instance->links_.push_back(link::CrossLoopLink::create(loops.at(i).loop, home, [target] { return target; }));
  }
  return instance;
}

std::uint64_t HostedInstance::served_in_all() const {
  std::uint64_t sum = served.load(std::memory_order_relaxed);
  for (const auto& link : links_) {
    if (auto port = link->direct()) sum += port->served.load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace shunt::node
