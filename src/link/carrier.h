#pragma once
// Carrier: what moves a link's bytes between two processes: a unix socket, a ring in shared memory, a gRPC stream, a simulated
// wire. It keeps their order and knows nothing of frames.

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace shunt::link {

/// Moves bytes. Belongs to a loop; told and tells on it.
class Carrier {
 public:
  /// What a carrier tells its link. The carrier may be destroyed inside any of them.
  class Events {
   public:
    /// `bytes` hold until it returns; what the link needs longer it copies. They may lie in memory that the peer can write:
    /// each byte is read once. As few calls as possible: what is there, in one piece.
    virtual void on_bytes(std::string_view bytes) = 0;
    /// How many frames have come so far; 0: not known. A carrier that chooses how much to tell at once goes by it.
    [[nodiscard]] virtual std::uint64_t frames_received() const { return 0; }
    /// write() may be tried again after it took less than all.
    virtual void on_writable() = 0;
    /// The peer is gone, or the carrier broke. Nothing comes after.
    virtual void on_closed(Status why) = 0;

   protected:
    ~Events() = default;
  };
  virtual ~Carrier() = default;
  /// Begins to read. No event comes from inside start(), write() or close().
  virtual void start(Events& events) = 0;
  /// Takes as much as it can now; returns how many bytes. 0: wait for on_writable.
  virtual std::size_t write(const iovec* vectors, int count) = 0;
  /// Stops; no event comes after.
  virtual void close() = 0;
};

}  // namespace shunt::link
