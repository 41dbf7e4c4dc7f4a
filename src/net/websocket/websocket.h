#pragma once
// A WebSocket after its handshake, without a socket: bytes in, messages out, and back (RFC 6455), compressed where both
// sides agreed (RFC 7692). Both roles; the client's masks what it sends.
//
// It answers pings and a close by itself, bounds what a message can make us hold (compressed or not), and checks every
// rule that a peer can break. It keeps no time: who owns it pings, and gives up.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/own.h"
#include "base/random.h"
#include "net/coding/coding.h"
#include "net/websocket/handshake.h"
#include "net/websocket/utf8.h"

namespace shunt::net {

/// RFC 6455, section 7.4.1. 3000 to 4999 are for libraries and applications.
enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_code = 1005,  ///< The peer's close said none; never sent.
  invalid_data = 1007,
  policy = 1008,
  too_big = 1009,
  internal_error = 1011,
  restart = 1012,
  try_later = 1013,
};

struct WebSocketLimits {
  std::uint64_t message_bytes_max = 16u << 20;  ///< Of one message, decompressed: 1009.
  std::size_t compress_bytes_min = 256;         ///< Smaller messages are sent as they are.
  std::uint32_t fragments_max = 64u << 10;      ///< Of one message: 1008. Empty ones would otherwise never end.
};

/// Threads: one at a time.
class WebSocket {
 public:
  enum class Role : std::uint8_t { server, client };
  enum class Event : std::uint8_t {
    need_more,
    text,    ///< take_message()
    binary,  ///< take_message()
    pong,    ///< An answer to a ping of ours, or one that nobody asked for.
    ping,    ///< It has been answered.
    closed,  ///< The peer closes: close_code(), close_reason(). Answered, unless we closed first. The end.
    failed,  ///< It broke a rule: close_code(), close_reason() say which. A close was written. The end.
  };

  /// `masks`: where a client's masks come from; a server needs none.
  explicit WebSocket(Role role, const WebSocketLimits& limits = {}, std::optional<DeflateTerms> deflate = std::nullopt,
                     Random* masks = nullptr);

  /// The peer's bytes. What is not used at once is copied.
  void feed(std::string_view bytes);
  /// The next event; answers of our own (pongs, closes) are appended to `out`.
  Event next(std::string& out);
  [[nodiscard]] std::string take_message();
  [[nodiscard]] CloseCode close_code() const { return close_code_; }
  [[nodiscard]] std::string_view close_reason() const { return close_reason_; }
  /// Kept of messages that are not whole yet.
  [[nodiscard]] std::size_t held_bytes() const { return buffered() + message_.size(); }
  /// Fed, not told yet.
  [[nodiscard]] std::size_t buffered() const { return input_.size() - at_; }

  /// These append to `out`. After close() nothing is sent any more.
  void send_text(std::string_view text, std::string& out);
  void send_binary(std::string_view bytes, std::string& out);
  void ping(std::string_view payload, std::string& out);
  /// `reason` is cut to 123 bytes, between characters. Once; then wait for `closed`, not for ever.
  void close(CloseCode code, std::string_view reason, std::string& out);
  [[nodiscard]] bool is_closing() const { return is_closing_; }

 private:
  enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };
  struct Frame {
    bool is_last = false;
    bool is_compressed = false;
    bool is_masked = false;
    Opcode opcode = Opcode::continuation;
    std::uint64_t size = 0;
    char mask[4] = {};
  };

  bool read_head(std::string& out);
  bool check_head(std::string& out);
  bool begin_message(std::string& out);
  std::optional<Event> read_payload(std::string& out);
  bool take_piece(std::string_view piece, std::string& out);
  std::optional<Event> end_message(std::string& out);
  std::optional<Event> end_control(std::string& out);
  Event read_close(std::string& out);
  Event fail(CloseCode code, std::string_view why, std::string& out);
  void send_data(Opcode opcode, std::string_view payload, std::string& out);
  void send_frame(Opcode opcode, bool is_compressed, std::string_view payload, std::string& out);

  const Role role_;
  const WebSocketLimits limits_;
  const std::optional<DeflateTerms> deflate_;
  Random* const masks_;

  std::string input_;
  std::size_t at_ = 0;
  bool has_head_ = false;
  Frame frame_;
  std::uint64_t payload_read_ = 0;  // of frame_

  bool in_message_ = false;
  bool message_is_text_ = false;
  bool message_is_compressed_ = false;
  std::uint64_t message_wire_bytes_ = 0;
  std::uint32_t fragments_ = 0;
  std::string message_;
  std::string control_;  // the payload of a control frame
  Utf8Checker utf8_;

  Own<Compressor> compressor_;      // made at the first message that is compressed
  Own<Decompressor> decompressor_;  // the same
  std::uint64_t decompressed_ = 0;  // since the decompressor began
  std::string scratch_;

  bool is_closing_ = false;
  bool is_over_ = false;
  Event over_as_ = Event::closed;
  CloseCode close_code_ = CloseCode::no_code;
  std::string close_reason_;
};

/// Whether a peer may send it in a close: not those that stand for "there was none", nor those nobody has defined.
bool is_close_code(std::uint16_t code);

}  // namespace shunt::net
