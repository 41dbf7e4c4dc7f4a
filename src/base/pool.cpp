#include "base/pool.h"

namespace shunt::detail {

constinit thread_local BlockPool blocks{};

namespace {

constexpr std::uint32_t kept_of_a_class_max = 256;

// Frees what its thread kept, when the thread ends.
struct Cleaner {
  Cleaner() { blocks.kept_max = kept_of_a_class_max; }
  ~Cleaner() {
    blocks.kept_max = 0;
    for (std::size_t i = 0; i < BlockPool::class_count; i++) {
      while (blocks.free[i] != nullptr) {
        auto* next = blocks.free[i]->next;
        ::operator delete(blocks.free[i]);
        blocks.free[i] = next;
      }
      blocks.kept[i] = 0;
    }
  }
};

}  // namespace

void* allocate_slowly(std::size_t size) {
  thread_local Cleaner cleaner;
  std::size_t index = (size - 1) / BlockPool::class_bytes;
  return ::operator new(index < BlockPool::class_count ? (index + 1) * BlockPool::class_bytes : size);
}

}  // namespace shunt::detail
