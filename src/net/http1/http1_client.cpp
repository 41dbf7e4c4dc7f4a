#include "net/http1/http1_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "net/http1/http1_fields.h"

namespace shunt::net {

namespace {

bool is_target(std::string_view target) {
  return !target.empty() && std::all_of(target.begin(), target.end(),
                                        [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
}

bool append_request_head(std::string& out, const Request& request) {
  if (!detail::is_token(request.method) || !is_target(request.target) || !is_header_value(request.host)) return false;
  for (const Header& header : request.headers) {
    if (!is_header_name(header.name) || !is_header_value(header.value)) return false;
  }
  fmt::format_to(std::back_inserter(out), "{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target,
                 request.host);
  for (const Header& header : request.headers) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", header.name, header.value);
  }
  return true;
}

}  // namespace

bool append_request(std::string& out, const Request& request, std::string_view body) {
  if (!append_request_head(out, request)) return false;
  if (!body.empty() || (request.method != "GET" && request.method != "HEAD")) {
    fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", body.size());
  }
  out.append("\r\n");
  out.append(body);
  return true;
}

bool append_chunked_request(std::string& out, const Request& request) {
  if (!append_request_head(out, request)) return false;
  out.append("Transfer-Encoding: chunked\r\n\r\n");
  return true;
}

std::string_view ResponseHead::find(std::string_view lower) const {
  for (const Header& header : headers) {
    if (iequals(header.name, lower)) return header.value;
  }
  return {};
}

void ResponseParser::feed(std::string_view input) {
  pending_.erase(0, used_);
  used_ = 0;
  piece_ = {};
  pending_.append(input);
}

void ResponseParser::feed_end() { ended_ = true; }

void ResponseParser::next_response() {
  SHUNT_ASSERT(state_ == State::end);
  state_ = State::head;
}

ResponseParser::Event ResponseParser::fail(std::string_view why) {
  state_ = State::error;
  error_ = why;
  return Event::error;
}

ResponseParser::Event ResponseParser::next() {
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
  std::string_view rest = std::string_view(pending_).substr(used_);
  const BodyDecoder::Result result = decoder_.next(rest, piece_);
  used_ = pending_.size() - rest.size();
  switch (result) {
    case BodyDecoder::Result::piece:
      return Event::body;
    case BodyDecoder::Result::complete:
      state_ = State::end;
      return Event::end;
    case BodyDecoder::Result::need_more:
      break;
    default:
      return fail(decoder_.error());
  }
  if (!ended_) return Event::need_more;
  if (decoder_.kind() != BodyKind::until_close) return fail("the connection closed before the answer was complete");
  state_ = State::end;
  return Event::end;
}

ResponseParser::Event ResponseParser::parse_head() {
  for (;;) {
    const std::string_view rest = std::string_view(pending_).substr(used_);
    const std::size_t end = detail::find_head_end(rest, scanned_);
    if (end == std::string_view::npos) return fail("the answer is not HTTP: a line does not end in CR LF");
    if ((end == 0 ? rest.size() : end) > limits_.header_bytes_max) return fail("the answer's headers are too large");
    if (end == 0) {
      if (ended_) return fail("the connection closed before an answer came");
      if (rest.size() >= 5 && !rest.starts_with("HTTP/")) return fail("the answer is not HTTP");
      return Event::need_more;
    }
    scanned_ = 0;
    head_storage_.assign(rest.substr(0, end));
    used_ += end;
    const std::string_view text = head_storage_;
    const std::size_t line_end = text.find('\n');
    if (line_end == 1) return fail("the answer is not HTTP: it begins with an empty line");
    if (!parse_status_line(text.substr(0, line_end - 1))) return Event::error;
    if (!parse_fields(text.substr(line_end + 1, text.size() - line_end - 3))) return Event::error;
    if (head_.status >= 200) break;
    if (head_.status == 101) return fail("the server switched to a protocol that was not asked for");
  }
  state_ = State::body;
  decoder_.begin(head_.body, head_.content_length, limits_.body_bytes_max, limits_.header_bytes_max);
  return Event::head;
}

bool ResponseParser::parse_status_line(std::string_view line) {
  const bool is_good = line.size() >= 12 && line.starts_with("HTTP/1.") && line[7] >= '0' && line[7] <= '9' &&
                       line[8] == ' ' && line[9] >= '1' && line[9] <= '9' && line[10] >= '0' && line[10] <= '9' &&
                       line[11] >= '0' && line[11] <= '9' && (line.size() == 12 || line[12] == ' ');
  if (!is_good) return fail("the answer is not HTTP/1.1"), false;
  head_.minor_version = line[7] == '0' ? 0 : 1;
  head_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  head_.reason = line.size() > 13 ? line.substr(13) : std::string_view();
  return true;
}

bool ResponseParser::parse_fields(std::string_view fields) {
  head_.headers.clear();
  head_.content_length = 0;
  if (const std::string_view wrong = detail::split_fields(fields, limits_.headers_max, head_.headers); !wrong.empty()) {
    return fail(wrong), false;
  }
  bool has_length = false;
  bool has_coding = false;
  bool close = false;
  bool stay = false;
  for (const Header& header : head_.headers) {
    if (iequals(header.name, "content-length")) {
      std::uint64_t length = 0;
      if (!detail::parse_length(header.value, length)) return fail("Content-Length is not a number"), false;
      if (has_length && length != head_.content_length) return fail("there are two Content-Lengths"), false;
      has_length = true;
      head_.content_length = length;
    } else if (iequals(header.name, "transfer-encoding")) {
      if (has_coding || !iequals(header.value, "chunked")) return fail("an unknown Transfer-Encoding"), false;
      has_coding = true;
    } else if (iequals(header.name, "connection")) {
      close = close || detail::list_holds(header.value, "close");
      stay = stay || detail::list_holds(header.value, "keep-alive");
    }
  }
  if (has_coding && has_length) return fail("there are a Content-Length and a Transfer-Encoding"), false;
  head_.keep_alive = !close && (head_.minor_version == 1 || stay);
  choose_body(has_coding, has_length);
  return true;
}

void ResponseParser::choose_body(bool has_coding, bool has_length) {
  if (to_head_ || head_.status < 200 || head_.status == 204 || head_.status == 304) {
    head_.body = BodyKind::none;
  } else if (has_coding) {
    head_.body = BodyKind::chunked;
  } else if (has_length) {
    head_.body = BodyKind::length;
  } else {
    head_.body = BodyKind::until_close;
    head_.keep_alive = false;
  }
}

}  // namespace shunt::net
