#pragma once
// Small blocks of memory, reused by size: what a call makes and ends with is freed as fast as it was made, and with many calls in
// flight malloc leaves its own fast path. One pool for each thread; what one thread made another may free.

#include <cstddef>
#include <cstdint>
#include <new>

namespace shunt {

namespace detail {

// Trivial, so that reaching it needs no guard. Until the first slow allocation of a thread, and again while it ends, kept_max
// is 0: nothing is kept that nobody would free.
struct FreeBlock {
  FreeBlock* next;
};
struct BlockPool {
  static constexpr std::size_t class_bytes = 64;
  static constexpr std::size_t class_count = 32;
  FreeBlock* free[class_count];
  std::uint32_t kept[class_count];
  std::uint32_t kept_max;
};
extern constinit thread_local BlockPool blocks;
void* allocate_slowly(std::size_t size);

}  // namespace detail

/// `size` is not 0.
inline void* allocate_pooled(std::size_t size) {
  using detail::BlockPool;
  std::size_t index = (size - 1) / BlockPool::class_bytes;
  BlockPool& pool = detail::blocks;
  if (index < BlockPool::class_count && pool.free[index] != nullptr) {
    auto* block = pool.free[index];
    pool.free[index] = block->next;
    pool.kept[index]--;
    return block;
  }
  return detail::allocate_slowly(size);
}

/// `size` as it was asked for.
inline void free_pooled(void* memory, std::size_t size) noexcept {
  using detail::BlockPool;
  std::size_t index = (size - 1) / BlockPool::class_bytes;
  BlockPool& pool = detail::blocks;
  if (index < BlockPool::class_count && pool.kept[index] < pool.kept_max) {
    auto* block = static_cast<detail::FreeBlock*>(memory);
    block->next = pool.free[index];
    pool.free[index] = block;
    pool.kept[index]++;
    return;
  }
  ::operator delete(memory);
}

}  // namespace shunt
