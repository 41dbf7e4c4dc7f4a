#pragma once
// Loops: the threads of a node. The control loop is the main thread's; each serving loop has a thread, a router and, when
// the house is up, a gateway. What belongs to a serving loop is made before its thread starts or by run_on(), and destroyed
// after its thread has ended.

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/own.h"
#include "base/random.h"
#include "base/result.h"
#include "call/forwarder.h"
#include "call/router.h"
#include "link/remote_like/as_if_remote.h"
#include "loop/epoll_loop.h"
#include "loop/task.h"
#include "supervisor/activity_page.h"

namespace shunt::node {

/// One loop with what routes calls on it.
struct RoutingLoop {
  RoutingLoop(loop::EpollLoop& on, std::size_t at, std::uint64_t seed)
      : loop(on), index(at), random(seed), router(on, at, random), forwarder(router) {}
  loop::EpollLoop& loop;
  const std::size_t index;  ///< What Instance::link() is asked with.
  SeededRandom random;      ///< For choosing among equals; not for secrets.
  call::Router router;
  call::Forwarder forwarder;  ///< Takes the calls that workers make over links of this loop.
};

/// Threads: the control loop's.
class Loops {
 public:
  /// Makes `serving` loops and starts their threads. `activity`: where each notes what it runs; slot = loop index.
  static Result<Own<Loops>> create(loop::EpollLoop& control, std::size_t serving, supervisor::ActivityPage* activity);
  /// stop() if that was not called.
  ~Loops();

  [[nodiscard]] std::size_t serving() const { return serving_.size(); }
  /// Serving loops first; the last index, serving(), is the control loop.
  [[nodiscard]] std::size_t all() const { return serving_.size() + 1; }
  RoutingLoop& at(std::size_t index) { return index < serving_.size() ? serving_[index]->routing : control_; }
  RoutingLoop& control() { return control_; }

  /// With it, services of this process are called over a wire. Set before any is hosted.
  void set_as_if_remote(const link::AsIfRemote& like) { as_if_remote_ = like; }
  [[nodiscard]] const std::optional<link::AsIfRemote>& as_if_remote() const { return as_if_remote_; }

  /// Runs the closure on that loop and ends when it has run. Dropping the task does not stop the closure.
  loop::Task<void> run_on(std::size_t index, loop::Closure closure);
  /// Runs a task on that loop to its end. `make` is called there; what it returns is destroyed there.
  loop::Task<void> run_task_on(std::size_t index, std::move_only_function<loop::Task<void>()> make);
  /// Gives every router the routing.
  void install(std::shared_ptr<const call::Routing> routing);

  /// Ends the threads. What is posted after it is never run.
  void stop();
  /// After stop(): lets go of the routing, and so of instances that have links to the loops.
  void forget_routing();

 private:
  struct Serving {
    Serving(Own<loop::EpollLoop> own, std::size_t index, std::uint64_t seed)
        : loop(std::move(own)), routing(*loop, index, seed) {}
    Own<loop::EpollLoop> loop;
    RoutingLoop routing;
    std::thread thread;
  };
  explicit Loops(loop::EpollLoop& control, std::size_t serving, std::uint64_t seed)
      : control_(control, serving, seed) {}

  std::optional<link::AsIfRemote> as_if_remote_;
  std::vector<Own<Serving>> serving_;
  RoutingLoop control_;
};

}  // namespace shunt::node
