#include "worker_links/direct_end.h"

#include "link/shm/ring_carrier.h"
#include "link/unix/socket_carrier.h"
#include "os/socket.h"

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

}  // namespace

std::size_t direct_bytes(wire::BrokerCarrier carrier) {
  if (carrier == wire::BrokerCarrier::ring) return 2 * link::RingOptions{}.ring_bytes + 4096;
  return 0;
}

Result<DirectPair> make_direct_ends(wire::BrokerCarrier carrier) {
  if (carrier == wire::BrokerCarrier::stream) return make_sockets();
  if (carrier == wire::BrokerCarrier::ring) return make_rings();
  return fail(Code::unimplemented, "direct links of that kind are not known here");
}

Result<Own<link::Carrier>> open_direct_end(loop::EpollLoop& loop, worker::DirectEnd end, wire::Side side) {
  if (end.carrier == wire::BrokerCarrier::stream && end.descriptors.size() == 1) {
    SHUNT_CHECK(os::set_blocking(end.descriptors[0].get(), os::Blocking::no));
    return link::make_socket_carrier(loop, std::move(end.descriptors[0]));
  }
  if (end.carrier == wire::BrokerCarrier::ring && end.descriptors.size() == 3) {
    link::RingEnds ends{.memory = std::move(end.descriptors[0]),
                        .wakes = std::move(end.descriptors[1]),
                        .woken = std::move(end.descriptors[2])};
    return link::make_ring_carrier(loop, std::move(ends),
                                   side == wire::Side::dialler ? link::RingSide::first : link::RingSide::second);
  }
  return fail(Code::invalid_argument, "a direct link came with descriptors that it does not take");
}

}  // namespace shunt::worker_links
