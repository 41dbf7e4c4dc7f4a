#include "net/websocket/websocket.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace shunt::net {

namespace {

constexpr std::size_t control_bytes_max = 125;
constexpr std::size_t reason_bytes_max = control_bytes_max - 2;
constexpr std::size_t kept_bytes_max = 64u << 10;
// What a sync flush ends in: a message leaves it out (RFC 7692, section 7.2.1).
constexpr std::string_view deflate_tail("\x00\x00\xff\xff", 4);

// `from` and `to` may be the same. `phase` is where in the mask they begin.
void apply_mask(const char* from, char* to, std::size_t size, const char (&mask)[4], std::uint64_t phase) {
  std::array<char, 8> turned{};
  for (std::size_t i = 0; i < 8; ++i) turned[i] = mask[(phase + i) & 3];
  std::uint64_t key = 0;
  std::memcpy(&key, turned.data(), 8);
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, from + i, 8);
    eight ^= key;
    std::memcpy(to + i, &eight, 8);
  }
  for (; i < size; ++i) to[i] = static_cast<char>(from[i] ^ turned[i & 7]);
}

// The beginning of a text, cut between characters.
std::string_view cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t size = bytes_max;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

}  // namespace

bool is_close_code(std::uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

WebSocket::WebSocket(Role role, const WebSocketLimits& limits, std::optional<DeflateTerms> deflate, Random* masks)
    : role_(role), limits_(limits), deflate_(deflate), masks_(masks) {}

void WebSocket::feed(std::string_view bytes) {
  if (is_over_) return;
  if (at_ == input_.size()) {
    input_.clear();
  } else {
    input_.erase(0, at_);
  }
  at_ = 0;
  input_.append(bytes);
}

WebSocket::Event WebSocket::next(std::string& out) {
  for (;;) {
    if (is_over_) return over_as_;
    if (!has_head_ && !read_head(out)) {
      if (is_over_) return over_as_;
      if (at_ == input_.size()) {
        input_.clear();
        at_ = 0;
        if (input_.capacity() > kept_bytes_max) input_.shrink_to_fit();
      }
      return Event::need_more;
    }
    if (const std::optional<Event> event = read_payload(out)) return *event;
    if (has_head_) return Event::need_more;
  }
}

std::string WebSocket::take_message() { return std::exchange(message_, {}); }

// Takes a frame's head off the input. False when it is not whole yet, or broken.
bool WebSocket::read_head(std::string& out) {
  const std::string_view text = std::string_view(input_).substr(at_);
  if (text.size() < 2) return false;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length_bytes = (byte(1) & 0x7f) == 126 ? 2 : (byte(1) & 0x7f) == 127 ? 8 : 0;
  const bool is_masked = (byte(1) & 0x80) != 0;
  const std::size_t size = 2 + length_bytes + (is_masked ? 4 : 0);
  frame_ = {};
  frame_.is_last = (byte(0) & 0x80) != 0;
  frame_.is_compressed = (byte(0) & 0x40) != 0;
  frame_.is_masked = is_masked;
  frame_.opcode = static_cast<Opcode>(byte(0) & 0x0f);
  if ((byte(0) & 0x30) != 0) {
    fail(CloseCode::protocol_error, "a reserved bit is set", out);
    return false;
  }
  if (text.size() < size) return false;
  frame_.size = byte(1) & 0x7f;
  if (length_bytes > 0) {
    frame_.size = 0;
    for (std::size_t i = 0; i < length_bytes; ++i) frame_.size = frame_.size << 8 | byte(2 + i);
    if (frame_.size < (length_bytes == 2 ? 126U : 65536U) || frame_.size >> 63 != 0) {
      fail(CloseCode::protocol_error, "a length is not written in the shortest way", out);
      return false;
    }
  }
  if (is_masked) std::memcpy(frame_.mask, text.data() + 2 + length_bytes, 4);
  if (!check_head(out)) return false;
  at_ += size;
  has_head_ = true;
  payload_read_ = 0;
  return true;
}

bool WebSocket::check_head(std::string& out) {
  const auto refuse = [&](CloseCode code, std::string_view why) {
    fail(code, why, out);
    return false;
  };
  if (frame_.is_masked != (role_ == Role::server)) {
    return refuse(CloseCode::protocol_error,
                  role_ == Role::server ? "a client's frame must be masked" : "a server's frame must not be masked");
  }
  switch (frame_.opcode) {
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
      if (!frame_.is_last || frame_.size > control_bytes_max || frame_.is_compressed) {
        return refuse(CloseCode::protocol_error, "a control frame is one frame of at most 125 bytes");
      }
      return true;
    case Opcode::continuation:
      if (!in_message_) return refuse(CloseCode::protocol_error, "a continuation of no message");
      if (frame_.is_compressed)
        return refuse(CloseCode::protocol_error, "only a message's first frame says that it is compressed");
      break;
    case Opcode::text:
    case Opcode::binary:
      if (in_message_) return refuse(CloseCode::protocol_error, "a message begins within another");
      if (!begin_message(out)) return false;
      break;
    default:
      return refuse(CloseCode::protocol_error, "an opcode that nobody has defined");
  }
  message_wire_bytes_ += frame_.size;
  if (message_wire_bytes_ > limits_.message_bytes_max) {
    return refuse(CloseCode::too_big, "a message may have " + std::to_string(limits_.message_bytes_max) + " bytes");
  }
  if (++fragments_ > limits_.fragments_max) return refuse(CloseCode::policy, "a message of too many frames");
  return true;
}

bool WebSocket::begin_message(std::string& out) {
  if (frame_.is_compressed && !deflate_) {
    fail(CloseCode::protocol_error, "compressed, and that was not agreed", out);
    return false;
  }
  in_message_ = true;
  message_is_text_ = frame_.opcode == Opcode::text;
  message_is_compressed_ = frame_.is_compressed;
  message_wire_bytes_ = 0;
  fragments_ = 0;
  message_.clear();
  utf8_.reset();
  if (!message_is_compressed_) return true;
  const bool keeps_context = role_ == Role::server ? deflate_->client_keeps_context : deflate_->server_keeps_context;
  if (!decompressor_) {
    // zlib's own window must be as large as the peer's at least; 8 bits are 9 to it.
    decompressor_ = make_raw_inflater(
        std::max(9, role_ == Role::server ? deflate_->client_window_bits : deflate_->server_window_bits));
    decompressed_ = 0;
  } else if (!keeps_context) {
    decompressor_->reset();
    decompressed_ = 0;
  }
  return true;
}

std::optional<WebSocket::Event> WebSocket::read_payload(std::string& out) {
  const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(frame_.size - payload_read_, buffered()));
  if (size > 0) {
    char* const data = input_.data() + at_;
    if (frame_.is_masked) apply_mask(data, data, size, frame_.mask, payload_read_);
    at_ += size;
    payload_read_ += size;
    if (!take_piece({data, size}, out)) return over_as_;
  }
  if (payload_read_ < frame_.size) return std::nullopt;
  has_head_ = false;
  if (frame_.opcode >= Opcode::close) return end_control(out);
  return frame_.is_last ? end_message(out) : std::nullopt;
}

bool WebSocket::take_piece(std::string_view piece, std::string& out) {
  if (frame_.opcode >= Opcode::close) {
    control_.append(piece);
    return true;
  }
  const std::size_t before = message_.size();
  if (!message_is_compressed_) {
    message_.append(piece);
  } else if (auto done = decompressor_->write(piece, decompressed_ + limits_.message_bytes_max, message_); !done) {
    const bool is_large = done.error().code() == Code::resource_exhausted;
    fail(is_large ? CloseCode::too_big : CloseCode::invalid_data, done.error().message(), out);
    return false;
  }
  if (message_is_text_ && !utf8_.feed(std::string_view(message_).substr(before))) {
    fail(CloseCode::invalid_data, "a text that is not UTF-8", out);
    return false;
  }
  return true;
}

std::optional<WebSocket::Event> WebSocket::end_message(std::string& out) {
  if (message_is_compressed_) {
    if (!take_piece(deflate_tail, out)) return over_as_;
    decompressed_ += message_.size();
  }
  in_message_ = false;
  if (message_is_text_ && !utf8_.is_whole()) return fail(CloseCode::invalid_data, "a text that is not UTF-8", out);
  return message_is_text_ ? Event::text : Event::binary;
}

std::optional<WebSocket::Event> WebSocket::end_control(std::string& out) {
  switch (frame_.opcode) {
    case Opcode::ping:
      if (!is_closing_) send_frame(Opcode::pong, false, control_, out);
      control_.clear();
      return Event::ping;
    case Opcode::pong:
      control_.clear();
      return Event::pong;
    default:
      return read_close(out);
  }
}

WebSocket::Event WebSocket::read_close(std::string& out) {
  close_code_ = CloseCode::no_code;
  close_reason_.clear();
  if (control_.size() == 1) return fail(CloseCode::protocol_error, "half a close code", out);
  if (control_.size() >= 2) {
    const auto code = static_cast<std::uint16_t>(static_cast<unsigned char>(control_[0]) << 8 |
                                                 static_cast<unsigned char>(control_[1]));
    if (!is_close_code(code)) return fail(CloseCode::protocol_error, "a close code that can't be sent", out);
    Utf8Checker checker;
    const std::string_view reason = std::string_view(control_).substr(2);
    if (!checker.feed(reason) || !checker.is_whole()) {
      return fail(CloseCode::invalid_data, "a close reason that is not UTF-8", out);
    }
    close_code_ = static_cast<CloseCode>(code);
    close_reason_ = reason;
  }
  is_over_ = true;
  over_as_ = Event::closed;
  if (!is_closing_) {
    is_closing_ = true;
    send_frame(Opcode::close, false, std::string_view(control_).substr(0, 2), out);
  }
  return over_as_;
}

WebSocket::Event WebSocket::fail(CloseCode code, std::string_view why, std::string& out) {
  close(code, why, out);
  is_over_ = true;
  over_as_ = Event::failed;
  close_code_ = code;
  close_reason_ = why;
  message_.clear();
  input_.clear();
  at_ = 0;
  return over_as_;
}

void WebSocket::send_text(std::string_view text, std::string& out) { send_data(Opcode::text, text, out); }

void WebSocket::send_binary(std::string_view bytes, std::string& out) { send_data(Opcode::binary, bytes, out); }

void WebSocket::ping(std::string_view payload, std::string& out) {
  if (!is_closing_) send_frame(Opcode::ping, false, payload.substr(0, control_bytes_max), out);
}

void WebSocket::close(CloseCode code, std::string_view reason, std::string& out) {
  if (std::exchange(is_closing_, true)) return;
  std::string payload;
  payload += static_cast<char>(static_cast<std::uint16_t>(code) >> 8);
  payload += static_cast<char>(static_cast<std::uint16_t>(code) & 0xff);
  payload += cut(reason, reason_bytes_max);
  send_frame(Opcode::close, false, payload, out);
}

void WebSocket::send_data(Opcode opcode, std::string_view payload, std::string& out) {
  if (is_closing_) return;
  if (!deflate_ || payload.size() < limits_.compress_bytes_min) {
    send_frame(opcode, false, payload, out);
    return;
  }
  const bool is_server = role_ == Role::server;
  const bool keeps_context = is_server ? deflate_->server_keeps_context : deflate_->client_keeps_context;
  if (!compressor_) {
    compressor_ =
        make_raw_deflater(is_server ? deflate_->server_window_bits : std::max(9, deflate_->client_window_bits));
  } else if (!keeps_context) {
    compressor_->reset();
  }
  scratch_.clear();
  compressor_->write(payload, Flush::sync, scratch_);
  std::string_view compressed = scratch_;
  if (compressed.ends_with(deflate_tail)) compressed.remove_suffix(deflate_tail.size());
  // What did not become smaller may be sent as it is only when nothing that follows builds on it.
  if (!keeps_context && compressed.size() >= payload.size()) {
    send_frame(opcode, false, payload, out);
  } else {
    send_frame(opcode, true, compressed, out);
  }
  if (scratch_.capacity() > kept_bytes_max) std::string().swap(scratch_);
}

void WebSocket::send_frame(Opcode opcode, bool is_compressed, std::string_view payload, std::string& out) {
  char head[14];
  std::size_t size = 2;
  head[0] = static_cast<char>(0x80 | (is_compressed ? 0x40 : 0) | static_cast<int>(opcode));
  const bool is_masked = role_ == Role::client;
  const int length_bytes = payload.size() < 126 ? 0 : payload.size() < 65536 ? 2 : 8;
  const std::uint64_t first = length_bytes == 0 ? payload.size() : length_bytes == 2 ? 126 : 127;
  head[1] = static_cast<char>((is_masked ? 0x80 : 0) | first);
  for (int i = length_bytes - 1; i >= 0; --i) {
    head[size++] = static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> (8 * i) & 0xff);
  }
  char mask[4] = {};
  if (is_masked) {
    const std::uint64_t random = masks_ != nullptr ? masks_->next() : 0;
    std::memcpy(mask, &random, 4);
    std::memcpy(head + size, mask, 4);
    size += 4;
  }
  out.append(head, size);
  const std::size_t at = out.size();
  out.append(payload);
  if (is_masked) apply_mask(out.data() + at, out.data() + at, payload.size(), mask, 0);
}

}  // namespace shunt::net
