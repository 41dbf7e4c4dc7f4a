#include "link/shm/ring_memory.h"

#include <fmt/format.h>

#include <bit>
#include <cstddef>
#include <new>
#include <utility>

#include "os/doorbell.h"

namespace shunt::link {

namespace {

static_assert(sizeof(RingWords<>) == 384 && alignof(RingWords<>) == 128);
static_assert(offsetof(RingWords<>, writer_waits) == 8 && offsetof(RingWords<>, tail) == 128 &&
              offsetof(RingWords<>, reader_sleeps) == 256);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(RingMemory::words_at + 2 * sizeof(RingWords<>) <= RingMemory::data_at);
static_assert(sizeof(RingHeader) <= RingMemory::words_at);

Result<void> check_ring_bytes(std::uint64_t bytes) {
  if (bytes < ring_bytes_min || bytes > ring_bytes_max || !std::has_single_bit(bytes)) {
    return fail(Code::invalid_argument,
                fmt::format("shared memory: a ring of {} bytes; it must be a power of two from {} to {}", bytes,
                            ring_bytes_min, ring_bytes_max));
  }
  return {};
}

std::size_t memory_bytes(std::uint64_t ring_bytes) {
  return RingMemory::data_at + 2 * static_cast<std::size_t>(ring_bytes);
}

}  // namespace

Result<std::array<RingEnds, 2>> make_ring_pair(const RingOptions& options) {
  SHUNT_CHECK(check_ring_bytes(options.ring_bytes));
  std::array<RingEnds, 2> ends;
  std::size_t size = memory_bytes(options.ring_bytes);
  SHUNT_TRY(ends[0].memory, os::make_memfd("shunt link", size));
  {
    // Zero is how every word begins; only the header has to be written.
    SHUNT_TRY(auto mapping,
              os::Mapping::map(ends[0].memory.get(), 0, RingMemory::data_at, os::Access::write, os::OnFork::drop));
    new (mapping.data()) RingHeader{RingHeader::magic_value, RingHeader::version_value, 0, options.ring_bytes, 0};
  }
  SHUNT_TRY(ends[1].memory, ends[0].memory.duplicate());
  SHUNT_TRY(auto to_first, os::make_doorbell());
  SHUNT_TRY(auto to_second, os::make_doorbell());
  ends[0].woken = std::move(to_first.read);
  ends[1].wakes = std::move(to_first.write);
  ends[1].woken = std::move(to_second.read);
  ends[0].wakes = std::move(to_second.write);
  return ends;
}

Result<RingMemory> RingMemory::map(const os::Fd& memory) {
  SHUNT_CHECK(os::check_sealed(memory.get()));
  SHUNT_TRY(std::size_t size, os::size_of(memory.get()));
  if (size < memory_bytes(ring_bytes_min) || size > memory_bytes(ring_bytes_max)) {
    return fail(Code::invalid_argument, fmt::format("shared memory: {} bytes are no link", size));
  }
  SHUNT_TRY(auto mapping, os::Mapping::map(memory.get(), 0, size, os::Access::write, os::OnFork::drop));
  RingHeader header{};
  SystemAtomics::copy_out(reinterpret_cast<char*>(&header), mapping.data(), sizeof header);
  if (header.magic != RingHeader::magic_value || header.version != RingHeader::version_value || header.flags != 0) {
    return fail(Code::failed_precondition,
                fmt::format("shared memory: not the rings of a link of version {}", RingHeader::version_value));
  }
  SHUNT_CHECK(check_ring_bytes(header.ring_bytes));
  if (header.arena_bytes != 0 || memory_bytes(header.ring_bytes) != size) {
    return fail(Code::invalid_argument,
                fmt::format("shared memory: {} bytes do not hold two rings of {}", size, header.ring_bytes));
  }
  return RingMemory(std::move(mapping), static_cast<std::size_t>(header.ring_bytes));
}

RingWords<>& RingMemory::words(RingSide side) const {
  auto* first = std::launder(reinterpret_cast<RingWords<>*>(mapping_.data() + words_at));
  return first[static_cast<std::size_t>(side)];
}

char* RingMemory::data(RingSide side) const {
  return mapping_.data() + data_at + static_cast<std::size_t>(side) * ring_bytes_;
}

}  // namespace shunt::link
