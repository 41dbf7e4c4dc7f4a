#pragma once
// ControlSocket: a worker's line to the supervisor. It outlives nodes: a node that was restarted has its fresh links
// brought over it. A message is one byte and descriptors; 'B' brings a broker socket, 'L' links,
// in this order; others are for later versions.

#include <vector>

#include "loop/epoll_loop.h"
#include "os/fd.h"

namespace shunt::worker {

class ControlEvents {
 public:
  /// Fresh links to a restarted node.
  virtual void on_fresh_links(std::vector<os::Fd> descriptors) = 0;
  /// A fresh broker socket to a restarted node; its links follow.
  virtual void on_fresh_broker(os::Fd descriptor) { (void)descriptor; }
  /// The supervisor is gone.
  virtual void on_supervisor_gone() = 0;

 protected:
  ~ControlEvents() = default;
};

/// Threads: the loop's. Lifetime: loop and events outlive it.
class ControlSocket final : private loop::Watch {
 public:
  ControlSocket(os::Fd socket, ControlEvents& events) : socket_(std::move(socket)), events_(events) {}
  ~ControlSocket() { unwatch(); }
  Result<void> start(loop::EpollLoop& loop) { return loop.watch(*this, socket_.get()); }

 private:
  void on_ready(bool readable, bool writable) override;

  os::Fd socket_;
  ControlEvents& events_;
};

}  // namespace shunt::worker
