#include "loop/task.h"

namespace shunt::loop::detail {

constinit thread_local FramePool frames{};

namespace {

constexpr std::uint32_t kept_of_a_class_max = 256;

// Frees what its thread kept, when the thread ends.
struct Cleaner {
  Cleaner() { frames.kept_max = kept_of_a_class_max; }
  ~Cleaner() {
    frames.kept_max = 0;
    for (std::size_t i = 0; i < FramePool::class_count; i++) {
      while (frames.free[i] != nullptr) {
        auto* next = frames.free[i]->next;
        ::operator delete(frames.free[i]);
        frames.free[i] = next;
      }
      frames.kept[i] = 0;
    }
  }
};

}  // namespace

void* allocate_slowly(std::size_t size) {
  thread_local Cleaner cleaner;
  std::size_t index = (size - 1) / FramePool::class_bytes;
  return ::operator new(index < FramePool::class_count ? (index + 1) * FramePool::class_bytes : size);
}

}  // namespace shunt::loop::detail
