#pragma once
// GrpcCarrier: a link's bytes over one gRPC stream to another node: the dialler's side. It connects (clear or TLS), opens
// /shunt.interconnect.v1.Interconnect/Link, shakes hands (handshake.h), and is a Carrier from then on. The acceptor's
// side is a stream of the gateway's; what is written into the messages is link_message.h for both.
//
// It dials once and never again: who keeps a peer makes another. It resolves no names, so that no loop waits for them.

#include <cstdint>
#include <string>

#include "base/own.h"
#include "base/time.h"
#include "link/carrier.h"
#include "link/grpc/handshake.h"
#include "loop/epoll_loop.h"
#include "net/tls/tls_context.h"
#include "os/socket.h"

namespace shunt::link {

struct GrpcDialOptions {
  os::TcpAddress address;                ///< In numbers.
  std::string authority;                 ///< :authority; empty: the address.
  const net::TlsContext* tls = nullptr;  ///< Its ALPN must offer "h2"; nullptr: in clear. Used inside dial() only.
  std::string tls_host;                  ///< Whom the certificate must name; empty: the address's host.
  Introduction self;                     ///< With a fresh challenge; keyed when there is a key.
  std::string key;                       ///< A secret; empty: only peers that ask for none.

  Duration connect_timeout = std::chrono::seconds(10);  ///< For everything before on_ready().
  Duration ping_interval = std::chrono::seconds(10);    ///< Without a word from the peer: a PING.
  Duration ping_timeout = std::chrono::seconds(5);      ///< Without an answer to it: closed.
  std::uint32_t window = 8u << 20;                      ///< HTTP/2: sent by the peer and not read by us yet.
};

/// What becomes of a dial. The carrier may be destroyed inside each of them.
class GrpcDialEvents {
 public:
  /// Hands are shaken: start() may be called, now or later.
  virtual void on_ready(const NodeIdentity& peer) = 0;
  /// Instead of on_ready(): unauthenticated when the keys differ, unavailable for most others. Nothing comes after.
  virtual void on_failed(Status why) = 0;
  /// After on_ready(): the connection takes no new streams (a proxy renews it, or the peer is ending); this one goes on.
  virtual void on_goaway() {}

 protected:
  ~GrpcDialEvents() = default;
};

/// Threads: its loop's. Lifetime: the loop and `events` outlive it.
class GrpcCarrier : public Carrier {
 public:
  /// Begins; the events come later.
  static Own<GrpcCarrier> dial(loop::EpollLoop& loop, GrpcDialOptions options, GrpcDialEvents& events);
};

}  // namespace shunt::link
