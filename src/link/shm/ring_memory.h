#pragma once
// RingMemory: the shared memory of one link between two processes, and the two doorbells beside it. Whoever brokers the
// link (a node) makes them and hands an end to each side; neither side trusts the other (ring.h).
//
// Layout, all numbers of the machine's byte order (docs/internals/shared-memory.md, spec/wire.md):
//
//       0  RingHeader
//     256  words of ring 0, written by the first side
//     640  words of ring 1, written by the second side
//    4096  bytes of ring 0
//          bytes of ring 1
//          arena of the first side, then of the second: where blocks for large messages go. None yet: arena_bytes is 0.
//          Each is a whole number of pages, so that its reader can map it by itself and read-only. It needs no
//          allocation before its first use: os::allocate() says no where a write would be a SIGBUS.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "link/shm/ring.h"
#include "os/fd.h"
#include "os/memory.h"

namespace shunt::link {

enum class RingSide : std::uint8_t { first, second };

struct RingOptions {
  /// Each direction's: a power of two, from 4096 to ring_bytes_max. Allocated when the link is made.
  std::size_t ring_bytes = 256u << 10;
};

inline constexpr std::size_t ring_bytes_min = 4096;
inline constexpr std::size_t ring_bytes_max = 16u << 20;

/// What one side of a link holds. Every descriptor is the side's own: closing them is how it says goodbye.
struct RingEnds {
  os::Fd memory;  ///< The memfd; the same file on both sides.
  os::Fd wakes;   ///< The write end of the doorbell that wakes the peer.
  os::Fd woken;   ///< The read end of the doorbell that wakes us. A hang-up here is the peer's end.
};

/// Sealed memory and two doorbells: [0] is for the first side, [1] for the second.
/// Errors: invalid_argument for sizes that can't be; resource_exhausted when the system gives no memory or descriptor.
Result<std::array<RingEnds, 2>> make_ring_pair(const RingOptions& options = {});

/// At the beginning of the memory. Read once, when it is mapped.
struct RingHeader {
  static constexpr std::uint64_t magic_value = 0x474e'4952'544e'5548;  // "HUNTRING"
  static constexpr std::uint32_t version_value = 1;
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t flags;  ///< 0.
  std::uint64_t ring_bytes;
  std::uint64_t arena_bytes;  ///< Each side's.
};

/// The memory, mapped by one side. Lifetime: of whoever reads and writes the rings.
class RingMemory {
 public:
  static constexpr std::size_t words_at = 256;
  static constexpr std::size_t data_at = 4096;

  /// Checks what a stranger may have made: that its size can't change any more, and is what its header says, within
  /// bounds. Errors: failed_precondition, invalid_argument.
  static Result<RingMemory> map(const os::Fd& memory);

  [[nodiscard]] RingWriter<> writer(RingSide side) const { return {words(side), data(side), ring_bytes_}; }
  /// Reads what the other side writes.
  [[nodiscard]] RingReader<> reader(RingSide side) const {
    return {words(other(side)), data(other(side)), ring_bytes_};
  }

  /// The ring that `side` writes: for tests, which do to it what a hostile peer would.
  [[nodiscard]] RingWords<>& words(RingSide side) const;
  [[nodiscard]] char* data(RingSide side) const;
  [[nodiscard]] std::size_t ring_bytes() const { return ring_bytes_; }
  static RingSide other(RingSide side) { return side == RingSide::first ? RingSide::second : RingSide::first; }

 private:
  RingMemory(os::Mapping mapping, std::size_t ring_bytes) : mapping_(std::move(mapping)), ring_bytes_(ring_bytes) {}
  os::Mapping mapping_;
  std::size_t ring_bytes_;
};

}  // namespace shunt::link
