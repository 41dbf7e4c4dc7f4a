#pragma once
// A WebSocket at a command's path: its messages are the call's, both ways (text is JSON, binary is bytes), and the close
// code is how the call ended. What clients must know of it: docs/reference/http.md. Only for gateway/'s own files.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/own.h"
#include "gateway/admission.h"
#include "gateway/call_exchange.h"
#include "gateway/shared.h"
#include "loop/loop.h"
#include "net/websocket/websocket.h"

namespace shunt::gateway {

/// GET with Upgrade: websocket (RFC 6455), or an extended CONNECT of HTTP/2 (RFC 8441).
bool wants_websocket(const Request& request);

/// Threads: the loop's.
class WebSocketExchange final : public CallExchange, private loop::Timer {
 public:
  explicit WebSocketExchange(Carrier& carrier) : CallExchange(carrier) {}

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;
  void drained() override;
  void abandon() override;
  void shut_down() override;
  void drain() override;

 private:
  enum class State : std::uint8_t {
    opening,
    open,
    closing,  ///< We have said goodbye and wait for theirs.
    over,
  };

  Check check(const Request& request);
  Check check_handshake(const Request& request) const;
  Check check_origin(const Request& request) const;
  Check choose_protocol(const Request& request);
  Check prepare_call(const Request& request);
  void accept(const Request& request);
  void refuse(const Refusal& refusal);

  void pump();
  void on_socket_message(bool is_text);
  void on_peer_close();
  void send_message(call::Message message, call::Last last);
  void flush();
  void resume();
  void on_room() override { resume(); }
  [[nodiscard]] std::size_t unsent() const override { return carrier_.unsent() + out_.size(); }
  void hold();

  void on_metadata(call::Metadata metadata) override;
  void on_message(call::Message message) override;
  void on_credit() override;
  void on_end(Status status, call::Metadata trailers) override;
  void fire() override;  // pings and time limits

  void end_with(const Status& status);
  void say_goodbye(net::CloseCode code, std::string_view reason);
  void wait_until(Instant at);
  void finish();
  void leave(int http_status);

  Facts facts_;  // Its views hold during begin() only.
  State state_ = State::opening;
  std::optional<net::WebSocket> socket_;
  std::string out_;            // what the socket says, on its way to the carrier
  std::string authorization_;  // of a subprotocol
  std::string_view protocol_;  // chosen; a literal
  std::string query_message_;
  call::Encoding encoding_ = call::Encoding::json;
  Instant heard_;  // of the client
  bool ping_waits_ = false;
  bool takes_stream_of_messages_ = false;
  bool answers_stream_ = false;
  bool answers_bytes_ = false;
  bool has_query_ = false;
  bool has_request_ = false;  // of a command that takes one
  bool half_closed_ = false;
  bool has_answer_ = false;
  bool callee_holds_ = false;
  bool pumping_ = false;
};

/// The close code of a call's end: 1000 for ok, else 4000 and the code's number.
net::CloseCode close_code(const Status& status);

}  // namespace shunt::gateway
