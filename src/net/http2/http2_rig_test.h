#pragma once
// For the tests of HTTP/2: a client and a server in memory, with owners that write down what they hear; and frames by hand.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "net/http2/session.h"

namespace shunt::net::testing {

/// Writes down what a stream hears.
struct Ear final : Http2StreamEvents {
  void on_head(const Http2Head& head, bool end) override {
    status = head.status;
    copy(head.headers, headers);
    ended = end;
    ++heads;
  }
  void on_data(std::string_view piece, bool end) override {
    body += piece;
    largest = std::max(largest, piece.size());
    ended = ended || end;
    if (consume) stream->consumed(piece.size());
    if (data) data(piece, end);
  }
  void on_trailers(std::span<const Header> fields) override {
    copy(fields, trailers);
    ended = true;
    if (trailed) trailed();
  }
  void on_drained() override {
    ++drained;
    if (drain) drain();
  }
  void on_close(Http2Error why) override {
    error = why;
    ++closes;
    stream = nullptr;
    if (closed) closed();
  }

  static void copy(std::span<const Header> fields, std::map<std::string, std::string>& into) {
    for (const Header& field : fields) into[std::string(field.name)] += field.value;
  }

  Http2Stream* stream = nullptr;
  bool consume = true;
  std::function<void(std::string_view, bool)> data;
  std::function<void()> trailed;
  std::function<void()> drain;
  std::function<void()> closed;

  std::string method, scheme, authority, path, protocol;  // Of a server's.
  int status = 0;
  int heads = 0;
  std::map<std::string, std::string> headers;
  std::map<std::string, std::string> trailers;
  std::string body;
  std::size_t largest = 0;
  bool ended = false;
  int drained = 0;
  int closes = 0;
  Http2Error error = Http2Error::internal_error;
};

/// A session and its owner. Each of a server's requests gets an Ear, and then `serve` is called.
struct Side final : Http2Events {
  explicit Side(const Http2Limits& limits, bool server)
      : session(server ? make_http2_server(*this, limits) : make_http2_client(*this, limits)) {}

  Http2StreamEvents* on_request(Http2Stream& stream, const Http2Head& head, bool end) override {
    if (refuse) return nullptr;
    Ear& ear = ears.emplace_back();
    ear.stream = &stream;
    ear.method = head.method;
    ear.scheme = head.scheme;
    ear.authority = head.authority;
    ear.path = head.path;
    ear.protocol = head.protocol;
    Ear::copy(head.headers, ear.headers);
    ear.ended = end;
    if (serve) serve(ear);
    return &ear;
  }
  void on_output() override { ++outputs; }
  void on_goaway(std::uint32_t stream, Http2Error error) override {
    ++goaways;
    goaway_stream = stream;
    goaway_error = error;
  }
  void on_ping_answer() override { ++pings; }

  std::string collect(std::size_t bytes_max = std::size_t{1} << 30) {
    std::string out;
    session->collect(out, bytes_max);
    return out;
  }
  /// Client: sends a request whose answer goes to the Ear that comes back.
  Ear& ask(std::string_view path, bool end = true, std::vector<Header> headers = {}, std::string_view method = "POST",
           std::string_view protocol = {}) {
    Ear& ear = ears.emplace_back();
    Http2Head head;
    head.method = method;
    head.scheme = "http";
    head.authority = "here";
    head.path = path;
    head.protocol = protocol;
    head.headers = headers;
    auto stream = session->request(head, end, ear);
    failure = stream.has_value() ? "" : std::string(stream.error().message());
    if (stream.has_value()) ear.stream = *stream;
    return ear;
  }

  std::list<Ear> ears;
  std::function<void(Ear&)> serve;
  bool refuse = false;
  int outputs = 0;
  int goaways = 0;
  std::uint32_t goaway_stream = 0;
  Http2Error goaway_error = Http2Error::no_error;
  int pings = 0;
  std::string failure;
  Own<Http2Session> session;  // Last: it tells the ears of its end.
};

/// The two, and the wires between them.
struct Pair {
  explicit Pair(const Http2Limits& server_limits = {}, const Http2Limits& client_limits = {})
      : server(server_limits, true), client(client_limits, false) {}

  /// Carries bytes, in pieces, until nobody has anything to say. False: a session is broken.
  bool pump(std::size_t piece = std::size_t{1} << 30) {
    for (;;) {
      const std::string up = client.collect();
      const std::string down = server.collect();
      if (up.empty() && down.empty()) return true;
      if (!feed(*server.session, up, piece) || !feed(*client.session, down, piece)) return false;
    }
  }
  bool feed(Http2Session& session, std::string_view bytes, std::size_t piece) {
    while (!bytes.empty()) {
      // In a block of its own, so that a read past its end is seen.
      const std::string part(bytes.substr(0, piece));
      bytes.remove_prefix(part.size());
      if (!session.receive(part, now_ns).has_value()) return false;
    }
    return true;
  }

  std::int64_t now_ns = 0;
  Side server;
  Side client;
};

// --- Frames by hand ----------------------------------------------------------------------------------------------------

enum Type : std::uint8_t {
  data,
  headers,
  priority,
  rst_stream,
  settings,
  push_promise,
  ping,
  goaway,
  window_update,
  continuation
};

inline constexpr std::uint8_t end_stream = 0x1;
inline constexpr std::uint8_t ack = 0x1;
inline constexpr std::uint8_t end_headers = 0x4;
inline constexpr std::uint8_t padded = 0x8;
inline constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string number(std::uint32_t value, int bytes = 4) {
  std::string text;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
  return text;
}

inline std::string frame(Type type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string text = number(static_cast<std::uint32_t>(payload.size()), 3);
  text += static_cast<char>(type);
  text += static_cast<char>(flags);
  text += number(stream);
  return text.append(payload);
}

/// A literal field without indexing, without Huffman's code (RFC 7541, section 6.2.2).
inline std::string field(std::string_view name, std::string_view value) {
  const auto length = [](std::size_t size) {
    if (size < 127) return std::string(1, static_cast<char>(size));
    std::string text(1, '\x7f');
    for (size -= 127; size >= 128; size /= 128) text += static_cast<char>(size % 128 + 128);
    return text += static_cast<char>(size);
  };
  return std::string(1, '\0') + length(name.size()) + std::string(name) + length(value.size()) + std::string(value);
}

inline std::string post(std::string_view path = "/") {
  return field(":method", "POST") + field(":scheme", "http") + field(":path", path) + field(":authority", "here");
}

struct Frame {
  Type type;
  std::uint8_t flags;
  std::uint32_t stream;
  std::string payload;

  /// Of RST_STREAM, and of GOAWAY.
  [[nodiscard]] Http2Error error() const { return static_cast<Http2Error>(at(type == goaway ? 4 : 0)); }
  [[nodiscard]] std::uint32_t at(std::size_t offset) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(payload.at(offset + i));
    return value;
  }
};

inline std::vector<Frame> frames(std::string_view bytes) {
  std::vector<Frame> all;
  while (bytes.size() >= 9) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
    const std::size_t size = std::size_t{byte(0)} << 16 | byte(1) << 8 | byte(2);
    const std::uint32_t stream = std::uint32_t{byte(5)} << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
    all.push_back({static_cast<Type>(byte(3)), byte(4), stream, std::string(bytes.substr(9, size))});
    bytes.remove_prefix(std::min(bytes.size(), 9 + size));
  }
  return all;
}

}  // namespace shunt::net::testing
