#pragma once
// What direct links run over: rings in shared memory, or where there can be none a pair of unix sockets. The node makes both
// sides of one (make_direct_ends) and hands them out; each side opens its own (open_direct_end).

#include "base/own.h"
#include "base/result.h"
#include "link/carrier.h"
#include "loop/epoll_loop.h"
#include "wire/mux.h"
#include "worker/node_link.h"

namespace shunt::worker_links {

struct DirectPair {
  worker::DirectEnd dialler;
  worker::DirectEnd acceptor;
  std::size_t bytes = 0;  ///< Of memory that it takes.
};

/// How much memory a link of that carrier takes.
std::size_t direct_bytes(wire::BrokerCarrier carrier);
/// Errors: resource_exhausted and what else the system says; unimplemented for a carrier that is not known.
Result<DirectPair> make_direct_ends(wire::BrokerCarrier carrier);
/// Takes the descriptors, which came from somebody who is not believed. Errors: invalid_argument, failed_precondition when
/// they are not what they must be.
Result<Own<link::Carrier>> open_direct_end(loop::EpollLoop& loop, worker::DirectEnd end, wire::Side side);

}  // namespace shunt::worker_links
