#pragma once
// What one gRPC message of the interconnect holds, shunt.interconnect.v1.Frames: a piece of a link's bytes, and once, first,
// the proof that the sender knows the nodes' key. Frames may begin in one message and end in another: the messages are
// only how gRPC cuts a stream of bytes.
//
// Read as it comes: nothing waits for a whole message, and nothing is kept of what was handed on.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt::link {

/// Of one message: what gRPC's clients and proxies take by default is 4 MiB.
inline constexpr std::size_t link_message_bytes_max = 1u << 20;

/// What stands before `size` bytes of frames: gRPC's prefix, the field's tag and its size. `size` is at most
/// link_message_bytes_max.
class LinkMessageHead {
 public:
  explicit LinkMessageHead(std::size_t size);
  [[nodiscard]] std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, 16> bytes_{};
  std::size_t size_ = 0;
};

/// A whole message with a proof and no frames.
std::string proof_message(std::string_view proof);

/// Takes messages apart.
class LinkMessageReader {
 public:
  /// Appends the bytes of frames in `piece` to `frames`.
  /// Errors: data_loss S1022: compressed, or not the message that is meant. The reader is of no further use then.
  Result<void> read(std::string_view piece, std::string& frames);
  /// The proof, once it has come whole; until then empty.
  [[nodiscard]] std::string_view proof() const { return has_proof_ ? std::string_view(proof_) : std::string_view(); }

 private:
  enum class At : std::uint8_t { prefix, tag, size, frames, proof, skip };

  Result<void> step(std::string_view& piece, std::string& frames);
  Result<void> read_prefix(std::string_view& piece);
  Result<void> read_number(std::string_view& piece);
  Result<void> begin_field(std::uint64_t size);
  void end_field();

  At at_ = At::prefix;
  std::size_t prefix_size_ = 0;
  std::array<unsigned char, 5> prefix_{};
  std::uint64_t message_left_ = 0;
  std::uint64_t field_left_ = 0;
  std::uint64_t number_ = 0;  // A varint that is not whole.
  unsigned shift_ = 0;
  std::uint64_t tag_ = 0;
  std::string proof_;
  bool has_proof_ = false;
};

}  // namespace shunt::link
