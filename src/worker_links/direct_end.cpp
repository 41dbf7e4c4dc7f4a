#include "worker_links/direct_end.h"

#include "link/unix/socket_carrier.h"
#include "os/socket.h"

#if __has_include("link/shm/ring_carrier.h")
#include "link/shm/ring_carrier.h"
#define SHUNT_HAS_RINGS 1
#else
#define SHUNT_HAS_RINGS 0
#endif

namespace shunt::worker_links {

namespace {

Result<DirectPair> make_sockets() {
  SHUNT_TRY(auto sockets, os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::no));
  DirectPair pair;
  pair.dialler.carrier = pair.acceptor.carrier = wire::BrokerCarrier::stream;
  pair.dialler.descriptors.push_back(std::move(sockets.first));
  pair.acceptor.descriptors.push_back(std::move(sockets.second));
  return pair;
}

#if SHUNT_HAS_RINGS
worker::DirectEnd end_of(link::RingEnds ends) {
  worker::DirectEnd end;
  end.carrier = wire::BrokerCarrier::ring;
  end.descriptors.push_back(std::move(ends.memory));
  end.descriptors.push_back(std::move(ends.wakes));
  end.descriptors.push_back(std::move(ends.woken));
  return end;
}

Result<DirectPair> make_rings() {
  SHUNT_TRY(auto ends, link::make_ring_pair(link::RingOptions{}));
  DirectPair pair;
  pair.dialler = end_of(std::move(ends[0]));
  pair.acceptor = end_of(std::move(ends[1]));
  pair.bytes = direct_bytes(wire::BrokerCarrier::ring);
  return pair;
}
#endif

}  // namespace

bool has_rings() { return SHUNT_HAS_RINGS != 0; }

std::size_t direct_bytes(wire::BrokerCarrier carrier) {
#if SHUNT_HAS_RINGS
  if (carrier == wire::BrokerCarrier::ring) return 2 * link::RingOptions{}.ring_bytes + 4096;
#endif
  (void)carrier;
  return 0;
}

Result<DirectPair> make_direct_ends(wire::BrokerCarrier carrier) {
  if (carrier == wire::BrokerCarrier::stream) return make_sockets();
#if SHUNT_HAS_RINGS
  if (carrier == wire::BrokerCarrier::ring) return make_rings();
#endif
  return fail(Code::unimplemented, "direct links of that kind are not known here");
}

Result<Own<link::Carrier>> open_direct_end(loop::EpollLoop& loop, worker::DirectEnd end, wire::Side side) {
  if (end.carrier == wire::BrokerCarrier::stream && end.descriptors.size() == 1) {
    SHUNT_CHECK(os::set_blocking(end.descriptors[0].get(), os::Blocking::no));
    return link::make_socket_carrier(loop, std::move(end.descriptors[0]));
  }
#if SHUNT_HAS_RINGS
  if (end.carrier == wire::BrokerCarrier::ring && end.descriptors.size() == 3) {
    link::RingEnds ends{.memory = std::move(end.descriptors[0]),
                        .wakes = std::move(end.descriptors[1]),
                        .woken = std::move(end.descriptors[2])};
    return link::make_ring_carrier(loop, std::move(ends),
                                   side == wire::Side::dialler ? link::RingSide::first : link::RingSide::second);
  }
#endif
  (void)side;
  return fail(Code::invalid_argument, "a direct link came with descriptors that it does not take");
}

}  // namespace shunt::worker_links
