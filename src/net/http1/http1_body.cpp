#include "net/http1/http1_body.h"

#include <algorithm>

namespace shunt::net {

namespace {

constexpr std::size_t extension_bytes_max =
    256;  // nobody sends them; bounded so that they can't be a way to keep us busy

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

}  // namespace

void BodyDecoder::begin(BodyKind kind, std::uint64_t length, std::uint64_t bytes_max, std::size_t trailer_bytes_max) {
  kind_ = kind;
  remaining_ = 0;
  bytes_left_ = bytes_max;
  trailer_bytes_left_ = trailer_bytes_max;
  digits_ = 0;
  extension_bytes_ = 0;
  switch (kind) {
    case BodyKind::none:
      state_ = State::complete;
      break;
    case BodyKind::length:
      remaining_ = length;
      state_ = length == 0 ? State::complete : State::data;
      break;
    case BodyKind::chunked:
      state_ = State::size;
      break;
    case BodyKind::until_close:
      state_ = State::to_the_end;
      break;
  }
}

BodyDecoder::Result BodyDecoder::next(std::string_view& input, std::string_view& piece) {
  for (;;) {
    switch (state_) {
      case State::complete:
        return Result::complete;
      case State::failed:
        return Result::bad;
      case State::to_the_end:
      case State::data:
        break;
      default: {
        const Result result = framing(input);
        if (result != Result::piece) return result;
        continue;
      }
    }
    std::size_t size = input.size();
    if (state_ == State::data) size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, size));
    // Of a body that says its length all of it must fit: it is refused before it comes.
    if ((state_ == State::data ? remaining_ : size) > bytes_left_) {
      state_ = State::failed;
      error_ = "the body is larger than the limit";
      return Result::too_large;
    }
    if (input.empty()) return Result::need_more;
    if (bytes_left_ != UINT64_MAX) bytes_left_ -= size;
    piece = input.substr(0, size);
    input.remove_prefix(size);
    if (state_ == State::data) {
      remaining_ -= size;
      if (remaining_ == 0) state_ = kind_ == BodyKind::chunked ? State::data_return : State::complete;
    }
    return Result::piece;
  }
}

BodyDecoder::Result BodyDecoder::fail(std::string_view why) {
  state_ = State::failed;
  error_ = why;
  return Result::bad;
}

// Reads framing up to the next data. Result::piece means only that there is data, or the end, to look at.
BodyDecoder::Result BodyDecoder::framing(std::string_view& input) {
  while (!input.empty()) {
    const char c = input.front();
    input.remove_prefix(1);
    const Result result = framing_byte(c);
    if (result != Result::need_more) return result;
    if (state_ == State::data || state_ == State::complete) return Result::piece;
  }
  return Result::need_more;
}

BodyDecoder::Result BodyDecoder::framing_byte(char c) {
  switch (state_) {
    case State::size: {
      if (const int digit = hex_digit(c); digit >= 0) {
        if (++digits_ > 15) return fail("a chunk's size has too many digits");
        remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(digit);
        return Result::need_more;
      }
      if (digits_ == 0) return fail("a chunk does not begin with its size");
      // Told before its data come: a client that waits for us learns it at once.
      if (remaining_ > bytes_left_) {
        state_ = State::failed;
        error_ = "the body is larger than the limit";
        return Result::too_large;
      }
      extension_bytes_ = 0;
      if (c == '\r') {
        state_ = State::size_line_feed;
      } else if (c == ';') {
        state_ = State::extension;
      } else {
        return fail("a chunk's size is not a hexadecimal number");
      }
      return Result::need_more;
    }
    case State::extension:
      if (c == '\r') {
        state_ = State::size_line_feed;
      } else if (is_control(c)) {
        return fail("a chunk's extension holds a control character");
      } else if (++extension_bytes_ > extension_bytes_max) {
        return fail("a chunk's extension is too long");
      }
      return Result::need_more;
    case State::size_line_feed:
      if (c != '\n') return fail("a chunk's line does not end in CR LF");
      state_ = remaining_ == 0 ? State::trailer_start : State::data;
      digits_ = 0;
      return Result::need_more;
    case State::data_return:
      if (c != '\r') return fail("a chunk's data are longer than its size says");
      state_ = State::data_line_feed;
      return Result::need_more;
    case State::data_line_feed:
      if (c != '\n') return fail("a chunk's data do not end in CR LF");
      state_ = State::size;
      return Result::need_more;
    case State::trailer_start:
      if (c == '\r') {
        state_ = State::last_line_feed;
        return Result::need_more;
      }
      if (c == ' ' || c == '\t') return fail("a trailer is folded");
      state_ = State::trailer;
      [[fallthrough]];
    case State::trailer:
      if (trailer_bytes_left_ == 0) {
        state_ = State::failed;
        error_ = "the trailers are larger than the limit";
        return Result::trailers_too_large;
      }
      --trailer_bytes_left_;
      if (c == '\r') {
        state_ = State::trailer_line_feed;
      } else if (is_control(c)) {
        return fail("a trailer holds a control character");
      }
      return Result::need_more;
    case State::trailer_line_feed:
      if (c != '\n') return fail("a trailer does not end in CR LF");
      state_ = State::trailer_start;
      return Result::need_more;
    case State::last_line_feed:
      if (c != '\n') return fail("the last chunk does not end in CR LF");
      state_ = State::complete;
      return Result::need_more;
    default:
      return fail("not inside a chunk");
  }
}

}  // namespace shunt::net
