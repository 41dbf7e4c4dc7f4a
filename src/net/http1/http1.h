#pragma once
// HTTP/1.1 without sockets, the server's side: bytes go in, requests come out; answers are appended to a string.
//
// The parser is our own and strict (RFC 9112): what two readers could understand differently (a bare line feed, a folded
// line, two lengths, an unknown transfer coding) is refused, never repaired, so that no proxy in front of us can be made to
// disagree with us about where a request ends. docs/decisions/0012-http1-parser.md says why it is not Beast's; a test
// holds it against Beast's. It knows nothing of paths, calls or JSON.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/header.h"
#include "net/http1/http1_body.h"

namespace shunt::net {

struct Http1Limits {
  std::size_t line_bytes_max = 8u << 10;       ///< The request line. Beyond it: 414.
  std::size_t header_bytes_max = 64u << 10;    ///< Request line and headers; trailers too. Beyond it: 431.
  std::size_t headers_max = 128;               ///< Their number. Beyond it: 431.
  std::uint64_t body_bytes_max = 16ull << 20;  ///< After the chunks are taken off. Beyond it: 413.
};

struct RequestHead {
  std::string_view method;
  std::string_view target;
  int minor_version = 1;  ///< HTTP/1.x: 0 or 1.
  std::vector<Header> headers;
  std::string_view host;  ///< Empty when there is none (HTTP/1.0).
  BodyKind body = BodyKind::none;
  std::uint64_t content_length = 0;  ///< With BodyKind::length.
  bool keep_alive = true;
  bool expect_continue = false;  ///< The client waits for "100 Continue" before it sends the body.

  /// The first header of that name (lower case); an empty view when there is none.
  [[nodiscard]] std::string_view find(std::string_view lower) const;
};

/// What is wrong with a request: the HTTP status to answer, and a sentence. After it the connection must be closed.
struct Http1Error {
  int status = 0;
  std::string_view text;
};

/// Parses the requests of one connection, one at a time.
///
///   parser.feed(what was read);
///   while ((event = parser.next()) != need_more) ...   // `end` stays until next_request()
///   parser.settle();                                   // before the memory that was fed is used again
///
/// Threads: one. Errors: Event::error, for good.
class RequestParser {
 public:
  enum class Event : std::uint8_t {
    need_more,  ///< Nothing to tell until more is fed.
    head,       ///< head() is there. Its views hold until next_request().
    body,       ///< body() is the next piece, which holds until the next call of next() or settle().
    end,        ///< The request is complete. Told again until next_request().
    error,      ///< error() says why.
  };

  explicit RequestParser(const Http1Limits& limits) : limits_(&limits) {}

  /// More input; borrowed until settle(). At most once between two settle().
  void feed(std::string_view input);
  Event next();
  /// Keeps a copy of what was fed and not yet used, and of the head if its request is not over.
  void settle();
  /// Begins with the next request; the one before must have ended.
  void next_request();

  [[nodiscard]] const RequestHead& head() const { return head_; }
  [[nodiscard]] std::string_view body() const { return piece_; }
  [[nodiscard]] const Http1Error& error() const { return error_; }
  /// No limit on this request's body: for bodies that are streams of messages, each with its own limit.
  void lift_body_limit() { decoder_.lift_limit(); }
  /// Whether the rest of this request's body is here already (never so for chunks).
  [[nodiscard]] bool rest_is_here() const;
  /// Whether body() was the last piece.
  [[nodiscard]] bool body_is_complete() const { return decoder_.is_complete(); }
  /// Gives away what was fed and not yet used: after an Upgrade it is not HTTP/1.1 any more. Feed nothing after it.
  std::string take_rest();
  /// Bytes that were fed and not yet used.
  [[nodiscard]] std::size_t buffered() const { return window_.size(); }
  /// A request has begun and has not ended.
  [[nodiscard]] bool is_inside() const { return state_ != State::head || !window_.empty(); }
  /// A request's head is whole, its body not.
  [[nodiscard]] bool is_in_body() const { return state_ == State::body; }

 private:
  enum class State : std::uint8_t { head, body, end, error };
  Event fail(int status, std::string_view text);
  Event parse_head();
  /// The end of the head in window_, 0 when it is not there yet, or npos after fail().
  std::size_t find_head_end();
  bool parse_request_line(std::string_view line);
  bool parse_fields(std::string_view fields);
  void keep_head();

  const Http1Limits* limits_;
  State state_ = State::head;
  std::string_view window_;  // what is not yet used: inside the fed input, or inside pending_
  std::string pending_;      // what settle() kept
  std::size_t scanned_ = 0;  // how much of window_ was searched for the end of the head: whole lines
  std::string_view head_text_;
  std::string head_storage_;  // head_text_ after settle()
  RequestHead head_;
  BodyDecoder decoder_;
  std::string_view piece_;
  Http1Error error_;
};

/// The text of the Date header, made anew once in a second.
class DateCache {
 public:
  /// "Sun, 06 Nov 1994 08:49:37 GMT" for `unix_seconds`.
  std::string_view at(std::int64_t unix_seconds);

 private:
  std::int64_t second_ = -1;
  char text_[29] = {};
};

/// "Not Found" for 404; "Status" for a number without a name.
std::string_view reason_phrase(int status);

/// Appends an answer's head to a string. begin(), then headers, then one of length(), chunked() or until_close().
class ResponseWriter {
 public:
  explicit ResponseWriter(std::string& out) : out_(out) {}
  void begin(int status, std::string_view date);
  /// Not checked: see is_header_name and is_header_value for what does not come from us.
  void header(std::string_view name, std::string_view value);
  void close() { out_.append("Connection: close\r\n"); }
  /// HTTP/1.0 clients must be told that the connection stays.
  void keep_alive() { out_.append("Connection: keep-alive\r\n"); }
  void length(std::uint64_t bytes);
  void chunked() { out_.append("Transfer-Encoding: chunked\r\n\r\n"); }
  /// The body ends with the connection: HTTP/1.0, or no body at all (204).
  void until_close() { out_.append("\r\n"); }

 private:
  std::string& out_;
};

/// One chunk of a chunked answer; the parts are written one after the other. Nothing for an empty one.
void append_chunk(std::string& out, std::string_view first, std::string_view second = {}, std::string_view third = {});
/// The end of a chunked answer.
void append_last_chunk(std::string& out);

/// Whether it may stand as a header's name, or value, without breaking the head apart.
bool is_header_name(std::string_view name);
bool is_header_value(std::string_view value);

}  // namespace shunt::net
