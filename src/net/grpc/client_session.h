#pragma once
// A gRPC client without sockets: calls on one HTTP/2 connection, all four shapes. Bytes go in, messages and statuses come
// out. It knows no clock (whoever owns it keeps deadlines and asks for pings), no names and no call::Link.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/own.h"
#include "base/result.h"
#include "base/status.h"
#include "base/time.h"
#include "net/grpc/text.h"
#include "net/http2/session.h"

namespace shunt::net {

struct GrpcClientOptions {
  std::string authority;                      ///< :authority, "host:port".
  std::string scheme = "http";                ///< "https" over TLS.
  std::string user_agent = "grpc-c++-shunt";  ///< What servers log.
  std::size_t message_bytes_max = 16u << 20;  ///< Of an answer, decompressed: beyond it resource_exhausted, S1007.
  Http2Limits http2 = {};
};

struct GrpcRequest {
  std::string_view path;  ///< "/package.Service/Method"
  GrpcCodec codec = GrpcCodec::proto;
  const GrpcMetadata* metadata = nullptr;  ///< What may not travel as metadata is left out.
  std::optional<Duration> timeout = {};    ///< Told to the server; keeping it is the owner's.
  bool compress = false;                   ///< Messages are sent in gzip where that makes them smaller.
};

/// What one call hears. Inside an event any action is allowed, but not GrpcClientSession::receive().
class GrpcCallEvents {
 public:
  virtual void on_metadata(GrpcMetadata metadata) { (void)metadata; }
  /// Counts against the window until consumed().
  virtual void on_message(Bytes message) = 0;
  /// unsent() has fallen to half of Http2Stream::high_mark, after it had been above it.
  virtual void on_drained() {}
  /// Once, last; the GrpcCall must not be used after it.
  virtual void on_end(Status status, GrpcMetadata trailers) = 0;

 protected:
  ~GrpcCallEvents() = default;
};

/// One call, owned by its session; usable until on_end or drop().
class GrpcCall {
 public:
  virtual void send(const Bytes& message, bool last) = 0;
  virtual void half_close() = 0;
  /// Gives back window; `bytes` may be more than what on_message told, by some overhead for each.
  virtual void consumed(std::size_t bytes) = 0;
  /// Ends the call (RST_STREAM with CANCEL). No event comes after it.
  virtual void drop() = 0;
  [[nodiscard]] virtual std::size_t unsent() const = 0;

 protected:
  ~GrpcCall() = default;
};

/// What the session tells its owner.
class GrpcClientOwner {
 public:
  /// There is something to collect(). Never from inside receive().
  virtual void on_output() = 0;
  /// The server takes no new calls on this connection; open ones go on.
  virtual void on_goaway() {}
  virtual void on_ping_answer() {}

 protected:
  ~GrpcClientOwner() = default;
};

/// Threads: one. Lifetime: destruction ends open calls as unavailable (Retry::reconnect).
class GrpcClientSession {
 public:
  static Own<GrpcClientSession> create(GrpcClientOwner& owner, GrpcClientOptions options);
  virtual ~GrpcClientSession() = default;

  /// Errors: unavailable, Retry::elsewhere, after GOAWAY or beyond the server's limit of streams: nothing was sent.
  virtual Result<GrpcCall*> start(const GrpcRequest& request, GrpcCallEvents& events) = 0;

  /// As Http2Session's.
  virtual Result<void> receive(std::string_view bytes, std::int64_t now_ns) = 0;
  virtual bool collect(std::string& out, std::size_t bytes_max) = 0;
  virtual void ping() = 0;
  virtual void shut_down() = 0;
  /// The connection broke: every call ends as unavailable with that reason, and nothing happens any more. Not inside an
  /// event.
  virtual void fail(std::string_view why) = 0;
  [[nodiscard]] virtual std::size_t calls() const = 0;
  [[nodiscard]] virtual bool is_done() const = 0;
};

/// What a reset of a stream means, as gRPC maps it.
Status grpc_status_of_reset(Http2Error error);

}  // namespace shunt::net
