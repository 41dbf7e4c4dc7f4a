#pragma once
// Scope: the owner of tasks that nobody awaits. Dropping it cancels them all; there is no detach. The last member of
// its class, so that the tasks are gone before what they use.

#include <cstddef>

#include "base/own.h"
#include "loop/loop.h"
#include "loop/task.h"

namespace shunt::loop {

/// Threads: the loop's only. Lifetime: destruction destroys every task where it waits, newest first.
class Scope {
 public:
  explicit Scope(Loop& loop);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  /// Starts the task now, inside the caller's stack, up to its first wait. A finished task is freed by the end of the
  /// turn. A task may spawn, and may cancel() its own scope: it is then freed when it next waits.
  void spawn(Task<void> task);
  /// Destroys every task. A task that is running is destroyed when it next waits or ends.
  void cancel();
  [[nodiscard]] std::size_t size() const;
  /// Ends when no task is left. One waiter at a time.
  Task<void> join();

 private:
  struct State;
  Own<State> state_;
};

}  // namespace shunt::loop
