#pragma once
// Small blocks of memory that are used again: nghttp2 takes and gives back a dozen of a few sizes for every stream, which
// costs more from malloc. One pool for each session, so no lock. It knows nothing of what is in the blocks.

#include <array>
#include <cstddef>

namespace shunt::net {

/// Threads: one. Lifetime: outlives its blocks. Larger ones than `block_bytes_max` are malloc's.
class BlockPool {
 public:
  BlockPool() = default;
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// Null without memory, as malloc.
  void* allocate(std::size_t bytes);
  void* allocate_zeroed(std::size_t count, std::size_t bytes);
  void* resize(void* block, std::size_t bytes);
  void release(void* block);

 private:
  static constexpr std::size_t step = 64;
  static constexpr std::size_t block_bytes_max = 768;
  static constexpr std::size_t classes = block_bytes_max / step;
  static constexpr std::size_t kept_max = 128;  // Of each class; what is more goes back to malloc.

  // Before each block. Sixteen bytes, so that what follows is aligned for anything.
  struct alignas(std::max_align_t) Head {
    Head* next;         // While it is free.
    std::size_t bytes;  // What fits in it.
  };

  struct Class {
    Head* free = nullptr;
    std::size_t kept = 0;
  };
  std::array<Class, classes> classes_;
};

}  // namespace shunt::net
