#pragma once
// MuxNodeLink: a worker's link to its node as it is in life: a MuxLink over a unix socket. Wiring, shared by libshunt and by
// the process that hosts a C++ module outside of the node: neither link/ nor worker/ knows the other.

#include "loop/epoll_loop.h"
#include "worker/node_link.h"

namespace shunt::worker_links {

class MuxNodeLinkMaker final : public worker::NodeLinkMaker {
 public:
  explicit MuxNodeLinkMaker(loop::EpollLoop& loop) : loop_(loop) {}
  Result<Own<worker::NodeLink>> make(os::Fd socket, call::Service& service, worker::NodeLinkEvents& events,
                                     const wire::Hello& hello) override;
  [[nodiscard]] std::uint64_t can() const override;
  Result<Own<worker::NodeLink>> make_direct(worker::DirectEnd end, const worker::DirectPeer& peer,
                                            call::Service& service, worker::NodeLinkEvents& events,
                                            const wire::Hello& hello) override;

 private:
  loop::EpollLoop& loop_;
};

}  // namespace shunt::worker_links
