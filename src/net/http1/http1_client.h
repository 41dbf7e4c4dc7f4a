#pragma once
// HTTP/1.1 without sockets, the client's side: writes a request, parses the answers to it. For the command line and tests.
// One request at a time; answers may stream. It knows nothing of URLs or calls.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http1/http1.h"
#include "net/http1/http1_body.h"

namespace shunt::net {

struct Request {
  std::string_view method = "GET";
  std::string_view target = "/";
  std::string_view host = {};
  std::span<const Header> headers = {};  ///< Beyond Host and the length; checked.
};

/// Appends a request with its whole body (a Content-Length is written for every method but GET and HEAD, or when there is
/// a body). False, and nothing appended, when a name, a value, the method or the target would break the head apart.
bool append_request(std::string& out, const Request& request, std::string_view body);
/// Appends a request whose body follows in chunks: append_chunk() and append_last_chunk() of http1.h.
bool append_chunked_request(std::string& out, const Request& request);

struct ResponseHead {
  int status = 0;
  int minor_version = 1;
  std::string_view reason;
  std::vector<Header> headers;
  BodyKind body = BodyKind::none;
  std::uint64_t content_length = 0;
  bool keep_alive = true;

  [[nodiscard]] std::string_view find(std::string_view lower) const;
};

struct ResponseLimits {
  std::size_t header_bytes_max = 64u << 10;
  std::size_t headers_max = 256;
  std::uint64_t body_bytes_max = UINT64_MAX;
};

/// Parses the answers on one connection. Interim ones (100 Continue) are passed over. Threads: one.
class ResponseParser {
 public:
  enum class Event : std::uint8_t { need_more, head, body, end, error };

  explicit ResponseParser(ResponseLimits limits = {}) : limits_(limits) {}

  /// The next answer is to this method: HEAD has no body.
  void expect(std::string_view method) { to_head_ = method == "HEAD"; }
  /// More input; copied.
  void feed(std::string_view input);
  /// The peer has closed: ends a body that runs until then. Any other unfinished answer becomes an error.
  void feed_end();
  Event next();
  /// Begins with the next answer; the one before must have ended.
  void next_response();

  /// Holds until next_response().
  [[nodiscard]] const ResponseHead& head() const { return head_; }
  /// Holds until the next call of anything else.
  [[nodiscard]] std::string_view body() const { return piece_; }
  [[nodiscard]] std::string_view error() const { return error_; }

 private:
  enum class State : std::uint8_t { head, body, end, error };
  Event fail(std::string_view why);
  Event parse_head();
  bool parse_status_line(std::string_view line);
  bool parse_fields(std::string_view fields);
  void choose_body(bool has_coding, bool has_length);

  ResponseLimits limits_;
  State state_ = State::head;
  bool to_head_ = false;
  bool ended_ = false;
  std::string pending_;
  std::size_t used_ = 0;  // of pending_
  std::size_t scanned_ = 0;
  std::string head_storage_;
  ResponseHead head_;
  BodyDecoder decoder_;
  std::string_view piece_;
  std::string_view error_;
};

}  // namespace shunt::net
