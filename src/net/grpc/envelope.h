#pragma once
// The five bytes before each message of gRPC, gRPC-Web and Connect's streams: flags and a size. Reads messages out of
// pieces of any size, without a copy more than the one that makes them their own; writes the prefix.
//
// It knows sizes only: what the flags mean, compression and who is on the stream are others' to judge.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace shunt::net {

inline constexpr std::size_t envelope_prefix_bytes = 5;

namespace envelope_flag {
inline constexpr std::uint8_t compressed = 0x01;    ///< gRPC, gRPC-Web, Connect.
inline constexpr std::uint8_t connect_end = 0x02;   ///< Connect: the end of the stream, in JSON.
inline constexpr std::uint8_t web_trailers = 0x80;  ///< gRPC-Web: the trailers, as HTTP/1.1 writes headers.
}  // namespace envelope_flag

/// The prefix of a message of that size, which must fit 32 bits.
std::array<char, envelope_prefix_bytes> envelope_prefix(std::uint8_t flags, std::size_t size);
void append_envelope(std::string& out, std::uint8_t flags, std::string_view message);

struct Envelope {
  std::uint8_t flags = 0;
  Bytes message;
};

/// Reads messages out of a stream. Nothing is reserved for a message whose size is beyond the limit; for one that has only
/// announced its size `reserved_bytes_max` (of address space: no page of it is touched before it is needed), later at most
/// four times what has come.
class EnvelopeReader {
 public:
  static constexpr std::size_t reserved_bytes_max = 2u << 20;

  enum class Event : std::uint8_t {
    need_more,
    message,    ///< Taken into `out`.
    too_large,  ///< A message announced size(), beyond the limit. The reader is of no further use.
  };

  explicit EnvelopeReader(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  /// Borrows `piece` until next() has said need_more. Not while it still has something to say.
  void feed(std::string_view piece) { piece_ = piece; }
  Event next(Envelope& out);

  /// A part of a message has come: an end of the stream now cuts it off.
  [[nodiscard]] bool is_inside() const { return prefix_size_ > 0; }
  /// What has been read of a message that is not whole.
  [[nodiscard]] std::size_t part_bytes() const { return prefix_size_ + part_.size(); }
  /// What is fed and not yet read.
  [[nodiscard]] std::string_view unread() const { return piece_; }
  /// The announced size of the message that is being read.
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  bool read_prefix();

  std::size_t message_bytes_max_;
  std::string_view piece_;
  std::array<char, envelope_prefix_bytes> prefix_{};
  std::size_t prefix_size_ = 0;
  std::size_t size_ = 0;
  std::string part_;  // Of a message that did not come in one piece.
};

}  // namespace shunt::net
