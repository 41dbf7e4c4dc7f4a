#pragma once
// SocketCarrier: a link's bytes over a connected stream socket, watched by an EpollLoop. Knows nothing of frames.

#include "base/own.h"
#include "link/mux_link.h"
#include "loop/epoll_loop.h"
#include "os/fd.h"

namespace shunt::link {

/// Takes over a connected, non-blocking SOCK_STREAM socket. `loop` must outlive the carrier.
Own<Carrier> make_socket_carrier(loop::EpollLoop& loop, os::Fd socket);

}  // namespace shunt::link
