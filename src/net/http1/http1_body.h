#pragma once
// Where a body ends: a length, chunks, the end of the connection. Shared by the server's and the client's parser; copies
// nothing, knows no sockets.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shunt::net {

enum class BodyKind : std::uint8_t { none, length, chunked, until_close };

/// Takes the framing off a body. Threads: one.
class BodyDecoder {
 public:
  enum class Result : std::uint8_t {
    need_more,
    piece,      ///< `piece` holds the next bytes of the body.
    complete,   ///< There is no more; what is left in `input` belongs to what follows.
    bad,        ///< error() says why.
    too_large,  ///< More than the limit.
    trailers_too_large,
  };

  void begin(BodyKind kind, std::uint64_t length, std::uint64_t bytes_max, std::size_t trailer_bytes_max);
  void lift_limit() { bytes_left_ = UINT64_MAX; }
  /// Takes from the front of `input` what it understood.
  Result next(std::string_view& input, std::string_view& piece);
  [[nodiscard]] bool is_complete() const { return state_ == State::complete; }
  [[nodiscard]] BodyKind kind() const { return kind_; }
  /// Of BodyKind::length: how much is missing.
  [[nodiscard]] std::uint64_t remaining() const { return remaining_; }
  [[nodiscard]] std::string_view error() const { return error_; }

 private:
  enum class State : std::uint8_t {
    data,            // remaining_ bytes of a body of known length, or of a chunk
    to_the_end,      // until the connection closes
    size,            // a chunk's size, in hexadecimal
    extension,       // after the size, up to the end of its line
    size_line_feed,  // after the carriage return of that line
    data_return,     // the CRLF after a chunk's data
    data_line_feed,
    trailer_start,  // at the beginning of a trailer line
    trailer,        // inside one
    trailer_line_feed,
    last_line_feed,
    complete,
    failed,
  };
  Result fail(std::string_view why);
  Result framing(std::string_view& input);
  Result framing_byte(char c);

  BodyKind kind_ = BodyKind::none;
  State state_ = State::complete;
  std::uint64_t remaining_ = 0;
  std::uint64_t bytes_left_ = 0;
  std::size_t trailer_bytes_left_ = 0;
  std::size_t digits_ = 0;
  std::size_t extension_bytes_ = 0;
  std::string_view error_;
};

}  // namespace shunt::net
