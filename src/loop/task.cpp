#include "loop/task.h"

#include <array>
#include <cstdint>
#include <new>

namespace shunt::loop {

namespace {

// Frames are kept by size class of 64 bytes up to 2 KiB; a thread keeps at most so many of each.
constexpr std::size_t class_bytes = 64;
constexpr std::size_t class_count = 32;
constexpr std::uint32_t kept_max = 256;

struct FreeFrame {
  FreeFrame* next;
};

struct FramePool {
  std::array<FreeFrame*, class_count> free{};
  std::array<std::uint32_t, class_count> kept{};
  ~FramePool() {
    for (auto*& list : free) {
      while (list != nullptr) {
        auto* next = list->next;
        ::operator delete(list);
        list = next;
      }
    }
    closed = true;
  }
  bool closed = false;
};

thread_local FramePool pool;

}  // namespace

void* allocate_frame(std::size_t size) {
  std::size_t index = (size - 1) / class_bytes;
  if (index >= class_count) return ::operator new(size);
  auto& list = pool.free[index];
  if (list != nullptr) {
    auto* frame = list;
    list = frame->next;
    pool.kept[index]--;
    return frame;
  }
  return ::operator new((index + 1) * class_bytes);
}

void free_frame(void* frame, std::size_t size) noexcept {
  std::size_t index = (size - 1) / class_bytes;
  if (index >= class_count || pool.closed || pool.kept[index] >= kept_max) {
    ::operator delete(frame);
    return;
  }
  auto* free = static_cast<FreeFrame*>(frame);
  free->next = pool.free[index];
  pool.free[index] = free;
  pool.kept[index]++;
}

}  // namespace shunt::loop
