#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>

#include "net/http2/nghttp2_session.h"

namespace shunt::net {

namespace {

// HTTP/2 counts so much for a field beside its name and value (RFC 9113, section 6.5.2).
constexpr std::size_t field_overhead = 32;
// A block so much larger than the limit is no mistake: the connection ends.
constexpr std::size_t oversize_max = 8;

std::string_view text_of(nghttp2_rcbuf* buffer) {
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

bool is_informational(int status) { return status >= 100 && status < 200; }

void set_pseudo(Http2Head& head, std::string_view name, std::string_view value) {
  // nghttp2 has seen to it that each stands once, before the other fields, and is one of these.
  if (name == ":path") {
    head.path = value;
  } else if (name == ":method") {
    head.method = value;
  } else if (name == ":scheme") {
    head.scheme = value;
  } else if (name == ":authority") {
    head.authority = value;
  } else if (name == ":protocol") {
    head.protocol = value;
  } else if (name == ":status") {  // Three digits.
    std::from_chars(value.data(), value.data() + value.size(), head.status);
  }
}

bool same_host(std::string_view a, std::string_view b) {
  constexpr auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace

void Nghttp2Session::Block::clear() {
  for (nghttp2_rcbuf* buffer : held) nghttp2_rcbuf_decref(buffer);
  held.clear();
  headers.clear();
  head = {};
  host = {};
  bytes = count = 0;
  oversized = has_length = false;
}

int Nghttp2Session::on_header(nghttp2_rcbuf* name_buffer, nghttp2_rcbuf* value_buffer) {
  const std::string_view name = text_of(name_buffer);
  const std::string_view value = text_of(value_buffer);
  block_.bytes += name.size() + value.size() + field_overhead;
  ++block_.count;
  if (block_.bytes > limits_.header_bytes_max || block_.count > limits_.headers_max) {
    block_.oversized = true;
    if (block_.bytes / oversize_max <= limits_.header_bytes_max) return 0;
    end_with(Http2Error::enhance_your_calm, "a header block many times larger than allowed");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  if (nghttp2_rcbuf_is_static(value_buffer) == 0) {
    nghttp2_rcbuf_incref(value_buffer);
    block_.held.push_back(value_buffer);
  }
  if (name.starts_with(':')) {
    set_pseudo(block_.head, name, value);
    return 0;
  }
  if (nghttp2_rcbuf_is_static(name_buffer) == 0) {
    nghttp2_rcbuf_incref(name_buffer);
    block_.held.push_back(name_buffer);
  }
  if (name.size() == 4 && name == "host") block_.host = value;
  if (name.size() == 14 && name == "content-length") block_.has_length = true;
  block_.headers.push_back({name, value});
  return 0;
}

void Nghttp2Session::on_head(Nghttp2Stream& stream, bool end) {
  if (!stream.head_heard_) {
    side_ == Side::server ? on_request_head(stream, end) : on_answer_head(stream, end);
    return;
  }
  stream.end_heard_ = true;  // nghttp2 lets no other block through.
  if (stream.is_mute()) return;
  if (block_.oversized) {
    stream.reset(Http2Error::enhance_your_calm);
  } else {
    stream.events_->on_trailers(block_.headers);
  }
}

void Nghttp2Session::on_request_head(Nghttp2Stream& stream, bool end) {
  stream.head_heard_ = true;
  stream.end_heard_ = end;
  stream.has_length_ = block_.has_length;
  Http2Head& head = block_.head;
  head.headers = block_.headers;
  if (block_.oversized) return refuse(stream, 431);
  if (head.authority.empty()) {
    head.authority = block_.host;
  } else if (!block_.host.empty() && !same_host(head.authority, block_.host)) {
    return refuse(stream, 400);  // Two hosts: who routes by the one must not be told by the other.
  }
  Http2StreamEvents* events = events_.on_request(stream, head, end);
  if (events == nullptr && !stream.reset_) {
    stream.reset(Http2Error::refused_stream);
  } else {
    stream.events_ = events;
  }
}

void Nghttp2Session::on_answer_head(Nghttp2Stream& stream, bool end) {
  Http2Head& head = block_.head;
  if (is_informational(head.status)) return;
  head.headers = block_.headers;
  stream.head_heard_ = true;
  stream.end_heard_ = end;
  stream.has_length_ = block_.has_length;
  if (stream.is_mute()) return;
  if (block_.oversized) {
    stream.reset(Http2Error::enhance_your_calm);
  } else if (head.status < 100) {
    stream.reset(Http2Error::protocol_error);  // Three digits they are, but none that HTTP knows.
  } else {
    stream.events_->on_head(head, end);
  }
}

// Answers by ourselves; what comes of the request is thrown away.
void Nghttp2Session::refuse(Nghttp2Stream& stream, int status) {
  stream.close_when_sent();
  stream.send_head(status, {}, true);
}

void Nghttp2Session::on_piece(Nghttp2Stream& stream, std::string_view piece, bool end) {
  stream.end_heard_ = stream.end_heard_ || end;
  if (stream.is_mute()) {
    nghttp2_session_consume(session_, stream.id_, piece.size());
    return;
  }
  stream.unconsumed_ += piece.size();
  stream.events_->on_data(piece, end);
}

}  // namespace shunt::net
