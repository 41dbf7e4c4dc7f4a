#pragma once
// A small blocking HTTP/1.1 client: one request on one connection, for a command that has nothing else to do. It speaks to
// a node's admin socket or its HTTP port. The node's own engines in net/ are for loops; this one is for a terminal.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "base/time.h"
#include "net/tls/tls_context.h"
#include "net/tls/tls_session.h"

namespace shunt::cli {

/// Where a node answers: a unix socket, or a host and port.
struct Endpoint {
  std::string socket;  ///< Path; empty: TCP.
  std::string host;
  std::string port;
  std::optional<net::TlsClientOptions> tls;  ///< https://, grpcs://
  bool grpc = false;                         ///< grpc://, grpcs://: a call is one of gRPC.

  /// For messages.
  [[nodiscard]] std::string to_string() const;
  /// HOST:PORT, of TCP.
  [[nodiscard]] std::string authority() const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

struct ResponseHead {
  int status = 0;
  Headers headers;  ///< Names in lower case.

  [[nodiscard]] std::string_view header(std::string_view name) const;
};

/// Ownership: holds one descriptor. Threads: one.
class HttpClient {
 public:
  /// `give_up_after`: for each wait on the peer; nothing: wait as long as it takes.
  /// Errors: S5015 when nobody answers; of TLS S5030, S5032, S5033, S5035, S4040, S4044.
  static Result<HttpClient> dial(const Endpoint& endpoint, std::optional<Duration> give_up_after = {});
  HttpClient(HttpClient&& other) noexcept;
  HttpClient& operator=(HttpClient&&) = delete;
  ~HttpClient();

  /// Sends a POST and reads the head of its answer. Once per client.
  /// Errors: S5008 for an answer that is not HTTP; S1008 when the node goes away; S1004 when it takes too long.
  Result<ResponseHead> post(std::string_view target, const Headers& headers, std::string_view body);
  /// The next piece of the answer's body, as it arrives; empty at its end.
  Result<std::string> read_piece();
  /// The process that listens at the other end of a unix socket: a node's supervisor. 0 where it can't be known.
  [[nodiscard]] int peer_pid() const;
  /// The whole body. Errors: S5008 beyond `bytes_max`.
  Result<std::string> read_all(std::size_t bytes_max);

 private:
  enum class Body { none, sized, chunked, until_close };

  HttpClient(int fd, Endpoint endpoint, std::optional<Duration> give_up_after)
      : fd_(fd), endpoint_(std::move(endpoint)), give_up_after_(give_up_after) {}
  Result<void> begin_tls();
  Result<bool> fill_tls(std::string_view ciphertext);
  Result<bool> wait_for(short events);
  Result<bool> fill();  ///< False at the end of the stream.
  Result<void> send_all(std::string_view data);
  Result<void> send_raw(std::string_view data);
  Result<std::string> read_line(std::size_t bytes_max);
  Result<ResponseHead> read_head();
  Result<std::string> read_chunk();
  std::string take(std::size_t most);
  std::unexpected<Status> broken(std::string_view what) const;
  std::unexpected<Status> lost() const;

  int fd_;
  Endpoint endpoint_;
  std::optional<Duration> give_up_after_;
  Own<net::TlsSession> tls_;  ///< None: in clear.
  std::string buffer_;        ///< Read, not yet taken.
  std::size_t at_ = 0;        ///< How much of it is taken.
  Body body_ = Body::none;
  std::uint64_t left_ = 0;  ///< Of a sized body, or of the current chunk.
};

}  // namespace shunt::cli
