#pragma once
// A doorbell: a pipe, of which one process rings the write end and the other one watches the read end. Both ends do not
// block, and neither side can change the flags of the end that it does not hold. A hang-up is the other's death.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

/// Both ends are non-blocking and close-on-exec. Errors: resource_exhausted when the system gives no descriptor.
Result<Pipe> make_doorbell();

/// For ends that somebody else made: fails unless they are a pipe's write end and another one's read end; sees to it that
/// neither blocks.
Result<void> check_doorbell(int write_end, int read_end);

enum class Rung : std::uint8_t {
  heard,  ///< The sleeper will be woken.
  full,   ///< Nobody has listened for thousands of rings. It is awake, or does not want to wake.
  gone,   ///< Nobody holds the read end any more.
};

/// Wakes who watches the other end. Never blocks, and never raises SIGPIPE, whatever the process has done about it.
Rung ring_doorbell(int write_end);

/// Takes what was rung out of the pipe, up to 4096 rings.
void silence_doorbell(int read_end);

namespace detail {
/// As write(), with SIGPIPE held back on this thread, and taken away where this write caused it. For older kernels.
ssize_t write_masked(int fd, const void* data, std::size_t size);
}  // namespace detail

}  // namespace shunt::os
