#pragma once
// GrpcClient: a call::Link to a gRPC server that is not ours, over TCP in clear or TLS. A call of service "package.Service",
// command "Method" goes to "/package.Service/Method".
//
// It dials when the first call comes, and again after a connection was lost, with growing, jittered pauses between attempts
// that fail. Who calls during a pause hears so at once. It knows no routing, no contract and no names but the one it dials.

#include <string>

#include "base/own.h"
#include "base/random.h"
#include "call/contract.h"
#include "call/link.h"
#include "loop/epoll_loop.h"
#include "net/grpc/client_session.h"
#include "net/tls/tls_context.h"
#include "os/socket.h"

namespace shunt::remote {

struct GrpcClientOptions {
  os::TcpAddress address;
  std::string authority;                            ///< :authority; empty: the address.
  call::Encoding encoding = call::Encoding::proto;  ///< What messages are written in: application/grpc, or +json.
  bool compress = false;                            ///< Requests in gzip. Answers may be, always.
  call::LinkLimits limits;

  const net::TlsContext* tls = nullptr;  ///< Outlives the client; its ALPN must offer "h2". nullptr: in clear.
  std::string tls_host;                  ///< Whom the certificate must name; empty: the address's host.

  Duration connect_timeout = std::chrono::seconds(20);  ///< For TCP, TLS and the server's first bytes.
  Duration pause_min = std::chrono::milliseconds(200);  ///< After a failed attempt; each next is 1.6 times as long,
  Duration pause_max = std::chrono::seconds(30);        ///< up to this; all of them ± 20 %.
  Duration ping_interval = std::chrono::seconds(30);  ///< Without a word from the server while calls are open: a PING.
  Duration ping_timeout = std::chrono::seconds(20);   ///< Without an answer to it the connection is lost.
};

/// Threads: its loop's. As call::Link; further: a call whose connection is lost ends as unavailable with Retry::reconnect,
/// one that comes during a pause with Retry::later.
class GrpcClient final : public call::Link {
 public:
  static Own<GrpcClient> create(loop::EpollLoop& loop, Random& random, GrpcClientOptions options);
  ~GrpcClient() override;

  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& events, call::Opening opening) override;
  loop::Task<void> drain(Deadline deadline) override;
  [[nodiscard]] call::LinkStats stats() const override;

 private:
  struct State;
  struct Waiter;
  class Call;
  explicit GrpcClient(Own<State> state);
  Own<State> state_;
};

}  // namespace shunt::remote
