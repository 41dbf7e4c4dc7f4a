#include "net/http1/http1.h"

#include <fmt/format.h>

#include <ctime>

#include "base/check.h"
#include "net/http1/http1_fields.h"

namespace shunt::net {

namespace {

// What a connection may keep between two requests; more is given back.
constexpr std::size_t kept_bytes_max = 8u << 10;

std::string_view moved(std::string_view view, const char* from, const char* to) {
  return view.data() == nullptr ? view : std::string_view(to + (view.data() - from), view.size());
}

bool is_target_char(char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; }

}  // namespace

std::string_view RequestHead::find(std::string_view lower) const {
  for (const Header& header : headers) {
    if (iequals(header.name, lower)) return header.value;
  }
  return {};
}

void RequestParser::feed(std::string_view input) {
  if (window_.empty()) {
    window_ = input;
    return;
  }
  SHUNT_ASSERT(window_.data() == pending_.data() && window_.size() == pending_.size());
  pending_.append(input);
  window_ = pending_;
}

std::string RequestParser::take_rest() {
  std::string rest(window_);
  window_ = {};
  return rest;
}

void RequestParser::settle() {
  if (state_ == State::body || state_ == State::end) keep_head();
  piece_ = {};
  if (window_.empty()) {
    if (pending_.capacity() > kept_bytes_max) pending_ = std::string();
    pending_.clear();
    window_ = {};
    return;
  }
  const bool inside = window_.data() >= pending_.data() && window_.data() < pending_.data() + pending_.size();
  if (inside) {
    pending_.erase(0, pending_.size() - window_.size());
  } else {
    pending_.assign(window_);
  }
  window_ = pending_;
}

void RequestParser::keep_head() {
  if (head_text_.data() == head_storage_.data()) return;
  const char* const from = head_text_.data();
  head_storage_.assign(head_text_);
  const char* const to = head_storage_.data();
  head_text_ = head_storage_;
  head_.method = moved(head_.method, from, to);
  head_.target = moved(head_.target, from, to);
  head_.host = moved(head_.host, from, to);
  for (Header& header : head_.headers) {
    header.name = moved(header.name, from, to);
    header.value = moved(header.value, from, to);
  }
}

void RequestParser::next_request() {
  SHUNT_ASSERT(state_ == State::end);
  state_ = State::head;
  head_text_ = {};
  if (head_storage_.capacity() > kept_bytes_max) head_storage_ = std::string();
  piece_ = {};
}

bool RequestParser::rest_is_here() const {
  if (state_ != State::body) return true;
  if (decoder_.is_complete()) return true;
  return decoder_.kind() == BodyKind::length && decoder_.remaining() <= window_.size();
}

RequestParser::Event RequestParser::fail(int status, std::string_view text) {
  state_ = State::error;
  error_ = {status, text};
  return Event::error;
}

RequestParser::Event RequestParser::next() {
  switch (state_) {
    case State::error:
      return Event::error;
    case State::end:
      return Event::end;
    case State::head:
      return parse_head();
    case State::body:
      break;
  }
  switch (decoder_.next(window_, piece_)) {
    case BodyDecoder::Result::need_more:
      return Event::need_more;
    case BodyDecoder::Result::piece:
      return Event::body;
    case BodyDecoder::Result::complete:
      state_ = State::end;
      return Event::end;
    case BodyDecoder::Result::too_large:
      return fail(413, decoder_.error());
    case BodyDecoder::Result::trailers_too_large:
      return fail(431, decoder_.error());
    case BodyDecoder::Result::bad:
      break;
  }
  return fail(400, decoder_.error());
}

std::size_t RequestParser::find_head_end() {
  // Robustness of RFC 9112 section 2.2: empty lines before a request are passed over.
  while (scanned_ == 0 && window_.starts_with("\r\n")) window_.remove_prefix(2);
  if (window_.empty()) return 0;
  // Not HTTP at all (a TLS hello, most likely): say so now, it may never send a line.
  if (scanned_ == 0 && !detail::is_token_char(window_.front()) && window_ != "\r") {
    fail(400, "this is not HTTP; if it is TLS, use http:// instead of https://");
    return std::string_view::npos;
  }
  const bool had_line = scanned_ != 0;
  const std::size_t end = detail::find_head_end(window_, scanned_);
  if (end == std::string_view::npos) {
    fail(400, "a line does not end in CR LF");
    return end;
  }
  const bool has_line = scanned_ != 0 || end != 0;
  const std::size_t line_bytes = had_line ? 0 : has_line ? window_.find('\n') + 1 : window_.size();
  if (line_bytes > limits_->line_bytes_max) {
    fail(414, "the request line is longer than the limit");
    return std::string_view::npos;
  }
  if ((end == 0 ? window_.size() : end) > limits_->header_bytes_max) {
    fail(431, "the headers are larger than the limit");
    return std::string_view::npos;
  }
  return end;
}

RequestParser::Event RequestParser::parse_head() {
  const std::size_t end = find_head_end();
  if (end == std::string_view::npos) return Event::error;
  if (end == 0) return Event::need_more;
  scanned_ = 0;
  head_text_ = window_.substr(0, end);
  window_.remove_prefix(end);

  const std::size_t line_end = head_text_.find('\n');
  if (!parse_request_line(head_text_.substr(0, line_end - 1))) return Event::error;
  if (!parse_fields(head_text_.substr(line_end + 1, head_text_.size() - line_end - 3))) return Event::error;
  decoder_.begin(head_.body, head_.content_length, limits_->body_bytes_max, limits_->header_bytes_max);
  state_ = State::body;
  return Event::head;
}

bool RequestParser::parse_request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    fail(400, "the request line is not METHOD TARGET HTTP/1.1");
    return false;
  }
  head_.method = line.substr(0, first);
  head_.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!detail::is_token(head_.method)) {
    fail(400, "the method is not a token");
    return false;
  }
  for (const char c : head_.target) {
    if (!is_target_char(c)) {
      fail(400, "the request's target holds a space or a control character");
      return false;
    }
  }
  const bool is_http = version.size() == 8 && version.starts_with("HTTP/") && version[5] >= '0' && version[5] <= '9' &&
                       version[6] == '.' && version[7] >= '0' && version[7] <= '9';
  if (head_.target.empty() || !is_http) {
    fail(400, "the request line is not METHOD TARGET HTTP/1.1");
    return false;
  }
  if (version[5] != '1') {
    fail(505, "this version of HTTP is not spoken here; HTTP/1.1 is");
    return false;
  }
  head_.minor_version = version[7] == '0' ? 0 : 1;
  return true;
}

bool RequestParser::parse_fields(std::string_view fields) {
  head_.headers.clear();
  head_.host = {};
  head_.body = BodyKind::none;
  head_.content_length = 0;
  head_.expect_continue = false;
  if (const std::string_view wrong = detail::split_fields(fields, limits_->headers_max, head_.headers);
      !wrong.empty()) {
    fail(wrong == detail::too_many_headers ? 431 : 400, wrong);
    return false;
  }

  bool has_host = false;
  bool has_length = false;
  bool has_coding = false;
  bool close = false;
  bool stay = false;
  for (const Header& header : head_.headers) {
    switch (header.name.size()) {
      case 4:
        if (!iequals(header.name, "host")) break;
        if (has_host) return fail(400, "there are two Host headers"), false;
        has_host = true;
        head_.host = header.value;
        break;
      case 6:
        if (!iequals(header.name, "expect")) break;
        if (!iequals(header.value, "100-continue")) return fail(417, "only 100-continue can be expected"), false;
        head_.expect_continue = true;
        break;
      case 10:
        if (!iequals(header.name, "connection")) break;
        if (!detail::is_token_list(header.value)) return fail(400, "Connection is not a list of tokens"), false;
        close = close || detail::list_holds(header.value, "close");
        stay = stay || detail::list_holds(header.value, "keep-alive");
        break;
      case 14: {
        if (!iequals(header.name, "content-length")) break;
        std::uint64_t length = 0;
        if (!detail::parse_length(header.value, length)) return fail(400, "Content-Length is not a number"), false;
        if (has_length && length != head_.content_length) {
          return fail(400, "there are two different Content-Length headers"), false;
        }
        has_length = true;
        head_.content_length = length;
        head_.body = BodyKind::length;
        break;
      }
      case 17:
        if (!iequals(header.name, "transfer-encoding")) break;
        if (has_coding) return fail(400, "there are two Transfer-Encoding headers"), false;
        has_coding = true;
        if (!iequals(header.value, "chunked")) return fail(501, "the only Transfer-Encoding here is chunked"), false;
        break;
      default:
        break;
    }
  }
  if (has_coding && has_length) {
    return fail(400, "a request has Content-Length or Transfer-Encoding, never both"), false;
  }
  if (has_coding && head_.minor_version == 0) return fail(400, "HTTP/1.0 has no Transfer-Encoding"), false;
  if (!has_host && head_.minor_version == 1) return fail(400, "HTTP/1.1 needs a Host header"), false;
  if (has_coding) head_.body = BodyKind::chunked;
  if (has_length && head_.content_length == 0) head_.body = BodyKind::none;
  if (head_.body == BodyKind::none || head_.minor_version == 0) head_.expect_continue = false;
  head_.keep_alive = !close && (head_.minor_version == 1 || stay);
  return true;
}

std::string_view DateCache::at(std::int64_t unix_seconds) {
  if (unix_seconds != second_) {
    static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::time_t at = static_cast<std::time_t>(unix_seconds);
    std::tm when{};
    gmtime_r(&at, &when);
    fmt::format_to_n(text_, sizeof text_, "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[when.tm_wday], when.tm_mday,
                     months[when.tm_mon], when.tm_year + 1900, when.tm_hour, when.tm_min, when.tm_sec);
    second_ = unix_seconds;
  }
  return {text_, sizeof text_};
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

void ResponseWriter::begin(int status, std::string_view date) {
  if (status == 200) {
    out_.append("HTTP/1.1 200 OK\r\nDate: ");
  } else {
    fmt::format_to(std::back_inserter(out_), "HTTP/1.1 {} {}\r\nDate: ", status, reason_phrase(status));
  }
  out_.append(date);
  out_.append("\r\n");
}

void ResponseWriter::header(std::string_view name, std::string_view value) {
  out_.append(name);
  out_.append(": ");
  out_.append(value);
  out_.append("\r\n");
}

void ResponseWriter::length(std::uint64_t bytes) {
  const fmt::format_int text(bytes);
  out_.append("Content-Length: ");
  out_.append(text.data(), text.size());
  out_.append("\r\n\r\n");
}

void append_chunk(std::string& out, std::string_view first, std::string_view second, std::string_view third) {
  const std::size_t size = first.size() + second.size() + third.size();
  if (size == 0) return;
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", size);
  out.append(first);
  out.append(second);
  out.append(third);
  out.append("\r\n");
}

void append_last_chunk(std::string& out) { out.append("0\r\n\r\n"); }

}  // namespace shunt::net
