#pragma once
// ControlSocket: a worker's line to the supervisor. It outlives nodes: a node that was restarted has its fresh links
// brought over it. A message is one byte and descriptors; 'L' brings links, others are for later versions.

#include <vector>

#include "loop/epoll_loop.h"

namespace shunt::worker {

class ControlEvents {
 public:
  /// Fresh links to a restarted node: the receiver owns the descriptors (close-on-exec).
  virtual void on_fresh_links(std::vector<int> descriptors) = 0;
  /// The supervisor is gone.
  virtual void on_supervisor_gone() = 0;

 protected:
  ~ControlEvents() = default;
};

/// Ownership: of the descriptor. Threads: the loop's. Lifetime: loop and events outlive it.
class ControlSocket final : private loop::Watch {
 public:
  ControlSocket(int descriptor, ControlEvents& events) : descriptor_(descriptor), events_(events) {}
  ~ControlSocket();
  Result<void> start(loop::EpollLoop& loop) { return loop.watch(*this, descriptor_); }

 private:
  enum class Read { message, nothing_now, gone };
  void on_ready(bool readable, bool writable) override;
  Read read_one(std::vector<int>& descriptors, char& kind);

  int descriptor_;
  ControlEvents& events_;
};

}  // namespace shunt::worker
