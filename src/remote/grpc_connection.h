#pragma once
// One connection to a gRPC server: the socket, TLS if there is, keep-alive. Only for remote/'s own files.

#include <string>
#include <string_view>

#include "base/own.h"
#include "base/result.h"
#include "loop/epoll_loop.h"
#include "net/grpc/client_session.h"
#include "net/tls/tls_session.h"
#include "os/fd.h"
#include "remote/grpc_client.h"

namespace shunt::remote {

class GrpcConnection;

/// What a connection tells its client. It may be given up inside, but not destroyed.
class GrpcConnectionOwner {
 public:
  /// The server has answered: calls may begin.
  virtual void on_connected(GrpcConnection& connection) = 0;
  virtual void on_goaway(GrpcConnection& connection) = 0;
  /// It has ended, and its calls with it. `was_connected`: the server had answered.
  virtual void on_lost(GrpcConnection& connection, const Status& why, bool was_connected) = 0;

 protected:
  ~GrpcConnectionOwner() = default;
};

/// Threads: its loop's. Lifetime: not destroyed inside an event of it.
class GrpcConnection final : private loop::Watch,
                             private loop::Timer,
                             private loop::Runnable,
                             private net::GrpcClientOwner {
 public:
  GrpcConnection(loop::EpollLoop& loop, const GrpcClientOptions& options, GrpcConnectionOwner& owner);
  ~GrpcConnection();
  GrpcConnection(const GrpcConnection&) = delete;
  GrpcConnection& operator=(const GrpcConnection&) = delete;

  /// Begins to dial. Errors: it failed at once.
  Result<void> dial();
  [[nodiscard]] net::GrpcClientSession& session() { return *session_; }
  /// Takes no new calls: ends when the open ones have.
  void retire();
  [[nodiscard]] bool is_connected() const { return heard_anything_; }
  [[nodiscard]] std::uint64_t sent() const { return sent_bytes_; }
  [[nodiscard]] std::uint64_t received() const { return received_bytes_; }

 private:
  void on_ready(bool readable, bool writable) override;
  void fire() override;  // time limits, pings
  void run() override;   // the end of the turn: send
  void on_output() override;
  void on_goaway() override;
  void on_ping_answer() override { waits_for_ping_ = false; }

  void read();
  Result<void> take(std::string_view bytes);
  void send();
  void lose(Status why);

  loop::EpollLoop& loop_;
  const GrpcClientOptions& options_;
  GrpcConnectionOwner& owner_;
  os::Fd socket_;
  Own<net::TlsSession> tls_;
  std::string plain_;   // TLS: what comes and goes, used again
  std::string buffer_;  // what recv() fills
  std::string out_;
  std::size_t sent_ = 0;  // of out_
  std::uint64_t sent_bytes_ = 0;
  std::uint64_t received_bytes_ = 0;
  Instant heard_{0};
  Instant ping_sent_{0};
  bool is_open_ = false;  // the socket is connected
  bool heard_anything_ = false;
  bool waits_for_ping_ = false;
  bool retired_ = false;
  bool lost_ = false;
  Own<net::GrpcClientSession> session_;
};

}  // namespace shunt::remote
