#pragma once
// The least that shared memory can cost: two rings of one producer and one consumer each, whole messages copied in and out on
// both sides, no calls, no ids, no checks. The one who waits spins, or sleeps on a pipe after it has said so.

#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <cstring>

#include "measure.h"

namespace bench {

class RawRing {
 public:
  struct Shared {
    alignas(64) std::atomic<std::uint64_t> written;
    alignas(64) std::atomic<std::uint64_t> taken;
    alignas(64) std::atomic<std::uint32_t> sleeps;
    alignas(64) char bytes[1];
  };
  static std::size_t shared_bytes(std::size_t capacity) { return sizeof(Shared) + capacity; }

  RawRing(void* memory, std::size_t capacity, int doorbell)
      : shared_(static_cast<Shared*>(memory)), capacity_(capacity), doorbell_(doorbell) {}

  bool push(const void* message, std::size_t size) {
    std::size_t need = record(size);
    auto offset = static_cast<std::size_t>(here_ & (capacity_ - 1));
    std::size_t skip = offset + need > capacity_ ? capacity_ - offset : 0;
    if (here_ + skip + need - there_ > capacity_) {
      there_ = shared_->taken.load(std::memory_order_acquire);
      if (here_ + skip + need - there_ > capacity_) return false;
    }
    if (skip != 0) {
      write_size(offset, skipped);
      here_ += skip;
      offset = 0;
    }
    write_size(offset, size);
    std::memcpy(shared_->bytes + offset + header, message, size);
    here_ += need;
    shared_->written.store(here_, std::memory_order_release);
    return true;
  }
  /// Rings when the reader sleeps.
  void wake() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (shared_->sleeps.load(std::memory_order_relaxed) == 0) return;
    shared_->sleeps.store(0, std::memory_order_relaxed);
    if (::write(doorbell_, "!", 1) < 0) std::_Exit(1);
  }

  bool pop(void* message) {
    for (;;) {
      if (here_ == there_) {
        there_ = shared_->written.load(std::memory_order_acquire);
        if (here_ == there_) return false;
      }
      auto offset = static_cast<std::size_t>(here_ & (capacity_ - 1));
      std::uint64_t size = 0;
      std::memcpy(&size, shared_->bytes + offset, sizeof size);
      if (size == skipped) {
        here_ += capacity_ - offset;
        continue;
      }
      std::memcpy(message, shared_->bytes + offset + header, size);
      here_ += record(size);
      shared_->taken.store(here_, std::memory_order_release);
      return true;
    }
  }
  /// Sleeps until there is something to pop.
  void sleep() {
    shared_->sleeps.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (shared_->written.load(std::memory_order_relaxed) != here_) {
      shared_->sleeps.store(0, std::memory_order_relaxed);
      return;
    }
    char byte = 0;
    if (::read(doorbell_, &byte, 1) <= 0) std::_Exit(1);
  }

 private:
  static constexpr std::size_t header = 16;
  static constexpr std::uint64_t skipped = ~std::uint64_t{0};
  static std::size_t record(std::size_t size) { return header + ((size + 15) & ~std::size_t{15}); }
  void write_size(std::size_t offset, std::uint64_t size) { std::memcpy(shared_->bytes + offset, &size, sizeof size); }

  Shared* shared_;
  std::size_t capacity_;
  int doorbell_;
  std::uint64_t here_ = 0;   // How far this side has come,
  std::uint64_t there_ = 0;  // and the other, when last looked at.
};

inline void raw_ring(const Ask& ask) {
  std::size_t capacity = std::bit_ceil(std::max<std::size_t>(64u << 10, 4 * (ask.bytes + 64)));
  std::size_t each = (RawRing::shared_bytes(capacity) + 4095) & ~std::size_t{4095};
  auto* memory = static_cast<char*>(
      mmap(nullptr, 2 * each, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
  if (memory == MAP_FAILED) give_up("no memory");
  int asks[2];
  int answers[2];
  if (pipe(asks) != 0 || pipe(answers) != 0) give_up("no pipe");

  Callee callee(ask, [&](auto ready) {
    RawRing in(memory, capacity, asks[0]);
    RawRing out(memory + each, capacity, answers[1]);
    std::vector<char> message(ask.bytes);
    ready("");
    for (;;) {
      if (!in.pop(message.data())) {
        if (ask.is_awake) {
          relax();
        } else {
          in.sleep();
        }
        continue;
      }
      while (!out.push(message.data(), message.size())) relax();
      if (!ask.is_awake) out.wake();
    }
  });
  RawRing out(memory, capacity, asks[1]);
  RawRing in(memory + each, capacity, answers[0]);
  std::vector<char> message(ask.bytes, 'x');
  Window window(ask.in_flight);
  Meter meter(ask.seconds, callee.clocks());
  while (!meter.over()) {
    bool has_moved = false;
    while (window.has_room() && out.push(message.data(), message.size())) {
      window.begin(ticks());
      has_moved = true;
    }
    if (has_moved && !ask.is_awake) out.wake();
    while (in.pop(message.data())) {
      meter.answered(window.end());
      has_moved = true;
    }
    if (has_moved) continue;
    if (ask.is_awake) {
      relax();
    } else {
      in.sleep();
    }
  }
  meter.print();
}

}  // namespace bench
