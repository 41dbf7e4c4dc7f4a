#include "node/loops.h"

#include <fmt/format.h>

#include "loop/event.h"
#include "loop/scope.h"
#include "os/random.h"

namespace shunt::node {

namespace {

// Shared by whoever waits and whoever does the work: either may go first.
struct Done {
  explicit Done(loop::Loop& loop) : event(loop) {}
  loop::Event event;
  bool waiting = true;
};

// A task on a far loop, with the scope that keeps it there.
struct FarTask {
  FarTask(loop::Loop& loop) : scope(loop) {}
  loop::Scope scope;
};

loop::Task<void> run_and_tell(std::move_only_function<loop::Task<void>()> make, loop::Closure ended) {
  co_await make();
  ended();
}

}  // namespace

Result<Own<Loops>> Loops::create(loop::EpollLoop& control, std::size_t serving, supervisor::ActivityPage* activity) {
  os::SystemRandom random;
  auto loops = Own<Loops>(new Loops(control, serving, random.next()));
  for (std::size_t i = 0; i < serving; i++) {
    SHUNT_TRY(auto loop, loop::EpollLoop::create({.name = fmt::format("loop-{}", i)}));
    loops->serving_.push_back(make_own<Serving>(std::move(loop), i, random.next()));
  }
  for (std::size_t i = 0; i < serving; i++) {
    auto* own = loops->serving_[i].get();
    own->thread = std::thread([own, activity, i] {
      pthread_setname_np(pthread_self(), fmt::format("loop-{}", i).c_str());
      std::optional<supervisor::ThreadActivity> note;
      if (activity != nullptr) note.emplace(*activity, i);
      own->loop->run();
    });
  }
  return loops;
}

Loops::~Loops() { stop(); }

void Loops::stop() {
  for (auto& one : serving_) {
    if (!one->thread.joinable()) continue;
    one->loop->stop();
    one->thread.join();
  }
}

void Loops::forget_routing() {
  auto none = std::make_shared<const call::Routing>();
  for (auto& one : serving_) one->routing.router.install(none);
  control_.router.install(none);
}

loop::Task<void> Loops::run_on(std::size_t index, loop::Closure closure) {
  auto done = std::make_shared<Done>(control_.loop);
  at(index).loop.post([closure = std::move(closure), done, &control = control_.loop]() mutable {
    closure();
    closure = nullptr;
    control.post([done = std::move(done)] { done->event.set(); });
  });
  co_await done->event.wait();
}

loop::Task<void> Loops::run_task_on(std::size_t index, std::move_only_function<loop::Task<void>()> make) {
  auto done = std::make_shared<Done>(control_.loop);
  auto& far = at(index).loop;
  far.post([make = std::move(make), done, &far, &control = control_.loop]() mutable {
    auto* task = new FarTask(far);
    // The scope can't be destroyed from inside its own task, so it goes in a turn of its own.
    auto ended = [task, done = std::move(done), &far, &control]() mutable {
      far.post([task] { delete task; });
      control.post([done = std::move(done)] { done->event.set(); });
    };
    task->scope.spawn(run_and_tell(std::move(make), std::move(ended)));
  });
  co_await done->event.wait();
}

void Loops::install(std::shared_ptr<const call::Routing> routing) {
  for (auto& one : serving_) {
    one->loop->post([own = one.get(), routing] { own->routing.router.install(routing); });
  }
  control_.router.install(std::move(routing));
}

}  // namespace shunt::node
