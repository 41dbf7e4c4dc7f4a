#pragma once
// Gateway: requests from outside become calls. HTTP/1.1 on sockets that listen already; each request is a call through
// the loop's Router, its answer is written back. What the paths, forms and statuses are: docs/reference/http.md.
//
// One for each serving loop. It knows sockets, HTTP and calls; it reads no manifest, knows no pool, and binds no address.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "base/time.h"
#include "call/router.h"
#include "gateway/cors.h"
#include "gateway/stats.h"
#include "gateway/tunnel.h"
#include "loop/epoll_loop.h"
#include "loop/task.h"

namespace shunt::net {
class TlsContext;
}

namespace shunt::gateway {

/// Each limit has an HTTP status, or ends the connection where there is nothing to answer.
struct GatewayLimits {
  std::size_t line_bytes_max = 8u << 10;               ///< The request line: 414.
  std::size_t header_bytes_max = 64u << 10;            ///< Request line and headers: 431.
  std::size_t headers_max = 128;                       ///< Their number: 431.
  std::size_t metadata_bytes_max = 64u << 10;          ///< Of them, what travels with the call: 431.
  std::uint64_t body_bytes_max = 16u << 20;            ///< A body, or one line of a streamed one: 413.
  std::size_t collected_bytes_max = 256u << 20;        ///< Of all bodies that are not whole yet, per loop: 503.
  std::size_t connections_max = 10'000;                ///< Of all gateways that share a GatewayStats: 503, then closed.
  Duration header_timeout = std::chrono::seconds(10);  ///< For a request's head, from its first byte on: 408.
  Duration body_timeout = std::chrono::seconds(30);    ///< Without a byte of an awaited body: 408.
  Duration idle_timeout = std::chrono::seconds(75);    ///< Between requests: closed.
  Duration write_timeout = std::chrono::seconds(60);   ///< Without the client taking a byte of its answer: closed.
  std::size_t unsent_bytes_max = 256u << 10;           ///< Beyond it a streaming command gets no credit.
  std::uint32_t streams_max = 1024;  ///< Requests at once on one connection of HTTP/2. Beyond it: REFUSED_STREAM.
  Duration ping_interval = std::chrono::seconds(30);  ///< HTTP/2: without a word while requests are open, then a PING.
  Duration ping_timeout = std::chrono::seconds(20);   ///< HTTP/2: without an answer to it: closed.
  Duration events_interval = std::chrono::seconds(15);  ///< A silent stream of events: then a comment.
  Duration socket_interval = std::chrono::seconds(20);  ///< A silent WebSocket: then a ping; as long again: closed.
  std::size_t pipelined_bytes_max = 64u << 10;          ///< Read ahead while a call runs; the rest waits in the kernel.
  Duration drain_idle = std::chrono::milliseconds(500);  ///< How long a drain lets an idle connection stay: a request
                                                         ///< that is on its way is still answered.
};

/// What may come in by one listener.
struct ListenerPolicy {
  bool dev = false;       ///< Everything is reachable, exposed or not. Routing::expose_all must be set too.
  bool loopback = false;  ///< Bound to a loopback address. With `dev` or `loopback` requests of web pages are refused.
  bool tls = false;       ///< Connections speak TLS, with what set_tls() gave.
  bool operator_socket = false;         ///< The admin socket: calls are the operator's, who may call everything.
  bool metrics = false;                 ///< /metrics answers here. It does on every dev, loopback or operator listener.
  std::vector<std::string> hosts = {};  ///< Further names that a Host header may have on a dev or loopback listener.
};

/// Bearer tokens, by the full name of the service that they open. Secrets: never logged.
struct TokenTable {
  struct Token {
    std::string user;    ///< Whom it stands for; becomes the principal's user.
    std::string secret;  ///< Compared in constant time.
  };
  std::map<std::string, std::vector<Token>, std::less<>> by_service;
  std::vector<Token> everywhere;  ///< These open every service with "auth": "token".
};

/// One answered request, for an access log. Borrowed: the views hold during the call.
struct AccessRecord {
  std::string_view method;
  std::string_view target;
  int status = 0;
  std::optional<Code> grpc_status = {};  ///< Of a gRPC call, whose HTTP status is 200.
  std::uint64_t bytes = 0;               ///< Of the answer, head and body.
  Duration took{0};
  std::string_view user;
};

/// What the wiring gives; each may be empty. Called on the gateway's loop.
struct GatewayHooks {
  std::function<std::string()> metrics;                 ///< Prometheus text, put before the gateway's own.
  std::function<std::optional<std::string>()> unready;  ///< Why /readyz answers 503, if it should.
  std::function<void(const AccessRecord&)> access_log;
  /// What proves to others that a call is that user's: becomes the principal's token.
  std::function<std::string(const std::string& user)> mint;
  std::function<void(const Status& why)> tls_failed;  ///< A handshake did, before there was a request.
  Tunnel* tunnel = nullptr;                           ///< Takes the streams of its path. Outlives the gateway.
};

/// Threads:  its loop's.
/// Lifetime: loop, router and stats outlive it. Destruction closes every connection and cancels its call.
class Gateway {
 public:
  /// `shard` is which part of `stats` this loop counts in.
  Gateway(loop::EpollLoop& loop, call::Router& router, GatewayStats& stats, std::size_t shard,
          GatewayLimits limits = {}, GatewayHooks hooks = {});
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Accepts on `fd` from now on: a listening, non-blocking TCP or unix socket. The gateway owns it.
  Result<void> listen(int fd, ListenerPolicy policy);
  /// Takes a connection that somebody else accepted; owns it.
  void adopt(int fd, const ListenerPolicy& policy);
  void set_tokens(std::shared_ptr<const TokenTable> tokens);
  /// What TLS listeners show from now on; connections that are open keep what they have.
  /// Owners: whoever made it, and the gateways that have it.
  void set_tls(std::shared_ptr<const net::TlsContext> context);
  void set_cors(std::shared_ptr<const CorsTable> cors);

  /// Accepts what the kernel has queued, closes the listeners, answers what is under way and what still comes with
  /// `Connection: close`, and ends when no connection is left. At the deadline calls are cancelled with
  /// Cancel::shutdown (their clients get 503) and connections closed. Once.
  loop::Task<void> drain(Deadline deadline);
  /// Gives a drain that is under way, or comes, no longer than until then.
  void hurry(Deadline deadline);

  [[nodiscard]] std::size_t connections() const;

 private:
  struct State;
  Own<State> state_;
};

}  // namespace shunt::gateway
