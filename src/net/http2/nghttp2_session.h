#pragma once
// What stands behind session.h: one nghttp2_session and the streams that live in it. For this folder's .cpp files only:
//
//   session.cpp    making it, its settings, receive() and collect(), the ends
//   callbacks.cpp  what nghttp2 calls, and what the limits say to it
//   heads.cpp      header blocks that come in
//   stream.cpp     a stream: what its owner asks of it
//
// nghttp2 calls back from inside receive() and collect(), and may be given anything to do from there but those two. What
// it must not see again (streams after terminate()) is cut off from it first.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http2/block_pool.h"
#include "net/http2/old_streams.h"
#include "net/http2/rate.h"
#include "net/http2/send_queue.h"
#include "net/http2/session.h"

struct nghttp2_rcbuf;
struct nghttp2_session;
struct nghttp2_session_callbacks;

namespace shunt::net {

class Nghttp2Session;

/// Threads: one. Lifetime: the session's; used again for another stream after its end.
class Nghttp2Stream final : public Http2Stream {
 public:
  void send_head(int status, std::span<const Header> headers, bool end) override;
  void send(std::string_view piece, bool end) override;
  void send(Bytes piece, bool end) override;
  void send_trailers(std::span<const Header> trailers) override;
  void reset(Http2Error error) override;
  void close_when_sent() override;
  void widen(std::uint32_t window) override;
  void consumed(std::size_t bytes) override;
  [[nodiscard]] std::size_t unsent() const override { return queue_.size(); }
  [[nodiscard]] std::uint32_t id() const override { return static_cast<std::uint32_t>(id_); }
  void listen(Http2StreamEvents& events) override { events_ = &events; }

 private:
  friend class Nghttp2Session;

  /// Nobody hears it any more, or nothing is to be said: not for events and not for sending.
  [[nodiscard]] bool is_mute() const { return events_ == nullptr || reset_; }
  void queued(bool end);
  void begin(Nghttp2Session& session, std::int32_t id, Http2StreamEvents* events);
  void clear();

  struct Stored {
    std::uint32_t name;  // Their lengths, in trailer_text_.
    std::uint32_t value;
  };

  Nghttp2Session* session_ = nullptr;
  Http2StreamEvents* events_ = nullptr;
  Nghttp2Stream* previous_ = nullptr;  // Of the session's open streams.
  Nghttp2Stream* next_ = nullptr;      // The same, or of the pool.
  std::int32_t id_ = 0;
  bool head_sent_ = false;   // The last one; 1xx don't count.
  bool head_heard_ = false;  // Client: the same of the peer's.
  bool ended_ = false;       // Our owner has said all.
  bool end_sent_ = false;    // And it is framed.
  bool end_heard_ = false;   // The peer has.
  bool reset_ = false;       // By our owner.
  bool refused_ = false;     // By us: the session answers.
  bool deferred_ = false;    // nghttp2 waits for resume_data().
  bool above_mark_ = false;
  bool has_length_ = false;  // A content-length, which nghttp2 compares when the last frame is whole.
  bool has_trailers_ = false;
  bool close_when_sent_ = false;
  enum class Lingers : std::uint8_t { no, next_ping, this_ping };
  Lingers lingers_ = Lingers::no;  // Our side is sent, the peer's not wanted: until which ping's answer it may go on.
  bool counted_ = false;           // Its reset is in the rates.
  Http2Error reset_error_ = Http2Error::no_error;
  std::size_t unconsumed_ = 0;
  SendQueue queue_;
  std::string trailer_text_;
  std::vector<Stored> trailers_;
};

/// Threads: one. See session.h.
class Nghttp2Session final : public Http2Session {
 public:
  enum class Side : std::uint8_t { server, client };

  Nghttp2Session(Side side, Http2Events& events, const Http2Limits& limits);
  ~Nghttp2Session() override;
  Nghttp2Session(const Nghttp2Session&) = delete;
  Nghttp2Session& operator=(const Nghttp2Session&) = delete;

  Result<void> receive(std::string_view bytes, std::int64_t now_ns) override;
  bool collect(std::string& out, std::size_t bytes_max) override;
  Result<Http2Stream*> request(const Http2Head& head, bool end, Http2StreamEvents& events) override;
  Result<void> upgrade(std::string_view settings, const Http2Head& head, std::string_view body) override;
  void shut_down() override;
  void terminate(Http2Error error, std::string_view why) override;
  void ping() override;
  [[nodiscard]] std::size_t streams() const override { return streams_; }
  [[nodiscard]] bool is_done() const override;

 private:
  friend class Nghttp2Stream;
  struct Callbacks;  // callbacks.cpp
  struct Source;     // stream.cpp

  static constexpr std::size_t free_max = 128;

  // The header block that is coming in; there is one at a time. Its texts are nghttp2's, held by reference.
  struct Block {
    void clear();
    std::vector<nghttp2_rcbuf*> held;
    std::vector<Header> headers;
    Http2Head head;
    std::string_view host;
    std::size_t bytes = 0;
    std::size_t count = 0;
    bool oversized = false;
    bool has_length = false;
  };

  static nghttp2_session_callbacks* make_callbacks();  // Null without memory.
  void submit_settings();
  Nghttp2Stream& open(std::int32_t id, Http2StreamEvents* events);
  void finish(Nghttp2Stream& stream, Http2Error error);
  void close_all(Http2Error error);
  void notify();
  std::unexpected<Status> broken(int error);
  void end_with(Http2Error error, std::string_view why);
  [[nodiscard]] Result<void> can_request(const Http2Head& head) const;

  // From nghttp2.
  Nghttp2Stream* find(std::int32_t id);
  void on_ping_answer(std::string_view opaque);
  void linger(Nghttp2Stream& stream);
  void end_lingering();
  void stop(Nghttp2Stream& stream);
  int on_header(nghttp2_rcbuf* name, nghttp2_rcbuf* value);
  void on_head(Nghttp2Stream& stream, bool end);
  void on_request_head(Nghttp2Stream& stream, bool end);
  void on_answer_head(Nghttp2Stream& stream, bool end);
  void refuse(Nghttp2Stream& stream, int status);
  void on_piece(Nghttp2Stream& stream, std::string_view piece, bool end);
  void on_stream_end(Nghttp2Stream& stream, std::uint32_t error);
  void submit_trailers(Nghttp2Stream& stream);
  bool is_of_the_living(const FrameWalk::Head& frame);
  bool charge_control();
  bool charge_reset();

  Http2Events& events_;
  Http2Limits limits_;
  BlockPool blocks_;
  Side side_;
  nghttp2_session* session_ = nullptr;
  bool inside_ = false;   // Of receive() or collect(): nghttp2 or our owner's events are on the stack.
  bool told_ = false;     // on_output, since the last collect().
  bool closing_ = false;  // The last GOAWAY is queued or sent: no stream lives on.
  bool last_goaway_sent_ = false;
  bool shutting_down_ = false;
  bool linger_ping_sent_ = false;
  bool goaway_heard_ = false;
  Http2Error closing_error_ = Http2Error::no_error;
  std::string closing_why_;
  std::int64_t now_ns_ = 0;
  Rate resets_;
  Rate controls_;

  FrameWalk walk_;
  OldStreams old_streams_;

  Block block_;
  std::size_t frame_left_ = 0;  // Of the DATA frame that is coming in, with its padding.
  std::string* out_ = nullptr;  // Where collect() puts frames.
  std::size_t out_bytes_max_ = 0;

  std::size_t streams_ = 0;
  std::size_t lingering_ = 0;
  Nghttp2Stream* open_ = nullptr;
  Nghttp2Stream* found_ = nullptr;  // The last that was looked for: mostly the next, too.
  Nghttp2Stream* free_ = nullptr;   // Streams for the next ones, at most free_max.
  std::size_t free_count_ = 0;
};

}  // namespace shunt::net
