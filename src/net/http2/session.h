#pragma once
// HTTP/2 without sockets, both sides: bytes go in, streams come out; frames are appended to a string. An interface of our
// own, so that a faster framer can stand behind it one day; today nghttp2 does (nghttp2_session.h and its .cpp files, the only ones that know it).
//
// It bounds what a peer can make us hold or do: streams, header lists, frames, what is received and not consumed, and the
// rates of resets, pings, settings and empty frames. It knows nothing of paths, calls, gRPC or TLS.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/own.h"
#include "base/result.h"
#include "net/header.h"

namespace shunt::net {

/// RFC 9113, section 7.
enum class Http2Error : std::uint32_t {
  no_error = 0,
  protocol_error = 1,
  internal_error = 2,
  flow_control_error = 3,
  settings_timeout = 4,
  stream_closed = 5,
  frame_size_error = 6,
  refused_stream = 7,
  cancel = 8,
  compression_error = 9,
  connect_error = 10,
  enhance_your_calm = 11,
  inadequate_security = 12,
  http_1_1_required = 13,
};

struct Http2Limits {
  /// Open at once. Beyond it: REFUSED_STREAM while the peer can't know the limit, then its error and the end.
  std::uint32_t streams_max = 1024;
  std::size_t header_bytes_max = 64u << 10;    ///< HTTP/2's count: names, values, 32 for each. Beyond it: we answer 431
                                               ///< (or reset: trailers, answers); eight times beyond it: the end.
  std::size_t headers_max = 128;               ///< The same.
  std::uint32_t stream_window = 256u << 10;    ///< What a peer may send on a stream before consumed().
  std::uint32_t connection_window = 4u << 20;  ///< The same for all streams together.
  std::uint32_t frame_bytes_max = 16u << 10;   ///< SETTINGS_MAX_FRAME_SIZE that we tell.
  std::uint32_t resets_burst = 200;        ///< Streams that the peer opened and reset at once (rapid reset), refilled
  std::uint32_t resets_per_second = 50;    ///< at this rate. Beyond it: ENHANCE_YOUR_CALM and the end.
  std::uint32_t control_burst = 1000;      ///< PING, SETTINGS, PRIORITY, WINDOW_UPDATE and empty DATA that make no
  std::uint32_t control_per_second = 200;  ///< progress. The same end.
};

/// A request's or an answer's head. Views that hold during the event only.
struct Http2Head {
  std::string_view method;          ///< Of a request.
  std::string_view scheme;          ///< The same.
  std::string_view authority;       ///< :authority, or else Host.
  std::string_view path;            ///< The same.
  std::string_view protocol;        ///< Of an extended CONNECT (RFC 8441): "websocket".
  int status = 0;                   ///< Of an answer.
  std::span<const Header> headers;  ///< Without the pseudo-headers; names are lower case.
};

/// What one stream hears. Inside an event any action on any stream is allowed, but not receive().
class Http2StreamEvents {
 public:
  /// Client: the answer's head. `end`: nothing follows.
  virtual void on_head(const Http2Head& head, bool end) { (void)head, (void)end; }
  /// A piece of the body; counts against the windows until consumed(). `end`: it was the last; `piece` may be empty then.
  virtual void on_data(std::string_view piece, bool end) = 0;
  /// They end the body, in place of an on_data with `end`.
  virtual void on_trailers(std::span<const Header> trailers) { (void)trailers; }
  /// What was queued has fallen to half of `Http2Stream::high_mark`, after it had been above it.
  virtual void on_drained() {}
  /// The stream has ended: `no_error` when both sides ended it, else why (the peer's reset, ours, or the session's end).
  /// Once, last; the Http2Stream must not be used after it. It may come from inside receive(), collect() or reset().
  virtual void on_close(Http2Error error) = 0;

 protected:
  ~Http2StreamEvents() = default;
};

/// One stream, owned by its session; usable until on_close.
class Http2Stream {
 public:
  static constexpr std::size_t high_mark = 256u << 10;

  /// A server's answer begins. Names must be lower case; `connection`-like ones must not be there. `end`: no body. A status
  /// of 1xx comes before the answer's own head (100, 103).
  virtual void send_head(int status, std::span<const Header> headers, bool end) = 0;
  /// Queues a copy.
  virtual void send(std::string_view piece, bool end) = 0;
  /// Queues without a copy.
  virtual void send(Bytes piece, bool end) = 0;
  /// Ends our side, after what is queued. A server may call it right after send_head (then HEADERS, HEADERS) or in place of
  /// both with send_head(..., true) for trailers-only answers.
  virtual void send_trailers(std::span<const Header> trailers) = 0;
  /// Ends the stream both ways; what is queued is dropped. No event follows but on_close, and that one from a later
  /// collect() (or the session's end), never from inside reset().
  virtual void reset(Http2Error error) = 0;
  /// When our side has ended and is sent, the peer's is not waited for: if it has not ended a round trip later,
  /// RST_STREAM(NO_ERROR) follows (RFC 9113, section 8.1). For a server that has answered and wants no more of the request.
  virtual void close_when_sent() = 0;
  /// Lets the peer send so much on this stream, and on the connection, before consumed(): more than the session's limits
  /// gave it. For a stream that carries many things, each with a limit of its own.
  virtual void widen(std::uint32_t window) = 0;
  /// Gives back window for what on_data told. What a closed stream had not consumed is given back by the session.
  virtual void consumed(std::size_t bytes) = 0;
  /// Queued, not yet framed: by flow control or because collect() was not called.
  [[nodiscard]] virtual std::size_t unsent() const = 0;
  [[nodiscard]] virtual std::uint32_t id() const = 0;
  virtual void listen(Http2StreamEvents& events) = 0;

 protected:
  ~Http2Stream() = default;
};

/// What the session itself tells its owner. A new session has something to say, its settings, and does not tell: collect().
class Http2Events {
 public:
  /// Server: a request. Give its listener, which must live until its on_close; nullptr refuses it (REFUSED_STREAM).
  virtual Http2StreamEvents* on_request(Http2Stream& stream, const Http2Head& head, bool end) {
    (void)stream, (void)head, (void)end;
    return nullptr;
  }
  /// There is something to collect(). Told once until collect() was called; never from inside receive().
  virtual void on_output() = 0;
  /// The peer takes no new streams; those above `last_stream` were not processed (they close as refused_stream).
  virtual void on_goaway(std::uint32_t last_stream, Http2Error error) { (void)last_stream, (void)error; }
  virtual void on_ping_answer() {}

 protected:
  ~Http2Events() = default;
};

/// Threads: one. Lifetime: destruction closes no stream politely: every open one hears on_close(cancel) first. Never from
/// inside an event.
class Http2Session {
 public:
  virtual ~Http2Session() = default;

  /// Reads a peer's bytes, all of them. Events come from inside. `now_ns` is any monotonic clock, for the rates.
  /// Always collect() after it. Errors: the session is broken (a flood, terminate()): collect() what explains it to the peer
  /// (GOAWAY), then close. Most errors of the protocol are not told here: GOAWAY is said by the next collect(), all streams
  /// close, and is_done() is true. So look at is_done() after each collect().
  virtual Result<void> receive(std::string_view bytes, std::int64_t now_ns) = 0;
  /// Appends frames until `out` holds `bytes_max` (or one frame more) or nothing is left to say. True when there is more. Not
  /// from an event.
  virtual bool collect(std::string& out, std::size_t bytes_max) = 0;

  /// Client: opens a stream and sends its head. Errors: unavailable, after GOAWAY or beyond the peer's limit of streams.
  virtual Result<Http2Stream*> request(const Http2Head& head, bool end, Http2StreamEvents& events) = 0;
  /// Server: the request of an HTTP/1.1 Upgrade becomes stream 1. `settings` is the decoded HTTP2-Settings header.
  virtual Result<void> upgrade(std::string_view settings, const Http2Head& head, std::string_view body) = 0;

  /// Says that no new stream is taken: GOAWAY with 2^31-1, then (a round trip later) with the true last stream. Open
  /// streams go on; is_done() when the last has closed.
  virtual void shut_down() = 0;
  /// GOAWAY at once, everything closes: now, or when the event that we are in is over.
  virtual void terminate(Http2Error error, std::string_view why) = 0;
  virtual void ping() = 0;
  [[nodiscard]] virtual std::size_t streams() const = 0;
  /// Nothing more will come of it, and everything is collected: the connection may be closed.
  [[nodiscard]] virtual bool is_done() const = 0;
};

Own<Http2Session> make_http2_server(Http2Events& events, const Http2Limits& limits);
Own<Http2Session> make_http2_client(Http2Events& events, const Http2Limits& limits);

}  // namespace shunt::net
