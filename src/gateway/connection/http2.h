#pragma once
// HTTP/2 on a connection: many requests at once, each a stream that is answered by an Exchange of its own. net/http2 does
// the frames; this adds time limits, keep-alive pings, and the two steps of a drain. Only for gateway/'s own files.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/time.h"
#include "gateway/connection/protocol.h"
#include "net/http2/session.h"

namespace shunt::gateway {

class Connection;
class Http2Request;
struct Request;

/// Threads: its loop's.
class Http2 final : public Protocol, private net::Http2Events {
 public:
  explicit Http2(Connection& connection);
  ~Http2() override;
  /// After an Upgrade: `request` is stream 1. `settings`: of the HTTP2-Settings header, decoded.
  void begin_upgraded(std::string_view settings, const Request& request);

  void receive(std::string_view bytes) override;
  void resume() override;
  [[nodiscard]] bool may_read() const override;
  void on_end_of_input() override;
  void collect(std::string& out) override;
  void on_sent() override;
  void on_time_limit() override;
  void refuse_connection() override;
  void drain() override;
  void shut_down() override;
  void abandon() override;
  [[nodiscard]] std::size_t calls() const override;

 private:
  friend class Http2Request;

  net::Http2StreamEvents* on_request(net::Http2Stream& stream, const net::Http2Head& head, bool end) override;
  void on_output() override;
  void on_ping_answer() override { waits_for_ping_ = false; }

  /// Frees the request at the end of the turn.
  void retire(Http2Request& request);
  void break_off(const Status& why);
  void choose_time_limit();

  Connection& connection_;
  Own<net::Http2Session> session_;
  std::vector<Own<Http2Request>> requests_;
  std::vector<Own<Http2Request>> retired_;
  std::vector<Http2Request*> watched_;  // those that collect() must look after
  enum class Unheard : std::uint8_t { no, may_send, has_sent };
  Unheard unheard_ = Unheard::no;  // after an upgrade, until the client speaks HTTP/2 too
  Instant heard_{0};               // when the client last sent something
  Instant ping_sent_{0};
  bool waits_for_ping_ = false;
  bool draining_ = false;
};

}  // namespace shunt::gateway
