#pragma once
// RingCarrier: a link's bytes between two processes of one host through shared memory, without a system call while both
// sides are awake. Knows nothing of frames.
//
// What goes out is written into the ring at once; the peer is rung when it sleeps. What comes in is copied out of the ring
// before anybody reads it, and told in chunks. An index that can't be, or a doorbell that nobody holds any more, ends the
// link and nothing else.
//
// Large messages handed over without a copy will pass beside it: the sender fills a block of its arena (ring_memory.h),
// and a frame of the mux names block and length; the carrier will give the mux `Bytes` that show the block (same user) or a
// copy (another user), and return the block when the last of them is dropped. That belongs in link/shm/block_arena.h.

#include "base/own.h"
#include "base/result.h"
#include "link/mux_link.h"
#include "link/shm/ring_memory.h"
#include "loop/epoll_loop.h"

namespace shunt::link {

/// Takes the ends over. `loop` must outlive the carrier. The descriptor of the memory is closed once it is mapped.
/// Errors: invalid_argument, failed_precondition for memory or doorbells that are not what they must be.
Result<Own<Carrier>> make_ring_carrier(loop::EpollLoop& loop, RingEnds ends, RingSide side);

}  // namespace shunt::link
