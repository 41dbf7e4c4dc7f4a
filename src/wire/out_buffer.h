#pragma once
// OutBuffer: frames on their way out, written at one end and taken away at the other. It knows nothing of frames.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace shunt::wire {

class OutBuffer {
 public:
  /// Room for `size` bytes at the end, which took() makes part of the buffer.
  char* room(std::size_t size) {
    if (capacity_ - end_ < size) [[unlikely]] {
      grow(size);
    }
    return memory_.get() + end_;
  }
  void took(std::size_t size) { end_ += size; }
  void append(std::string_view text) {
    if (!text.empty()) std::memcpy(room(text.size()), text.data(), text.size());
    end_ += text.size();
  }
  /// Takes away from the front.
  void drop(std::size_t size) {
    begin_ += size;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear() { begin_ = end_ = 0; }
  /// Gives the memory back.
  void free() {
    memory_.reset();
    begin_ = end_ = capacity_ = 0;
  }

  [[nodiscard]] char* data() { return memory_.get() + begin_; }
  [[nodiscard]] std::string_view view() const { return {memory_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

  OutBuffer() = default;
  OutBuffer(OutBuffer&& other) noexcept { swap(other); }
  OutBuffer& operator=(OutBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~OutBuffer() = default;
  void swap(OutBuffer& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  void grow(std::size_t size) {
    std::size_t held = end_ - begin_;
    std::size_t wanted = std::max<std::size_t>({held + size, 2 * held, 4096});
    if (wanted > capacity_) {
      auto memory = std::make_unique_for_overwrite<char[]>(wanted);
      if (held > 0) std::memcpy(memory.get(), memory_.get() + begin_, held);
      memory_ = std::move(memory);
      capacity_ = wanted;
    } else {
      std::memmove(memory_.get(), memory_.get() + begin_, held);
    }
    begin_ = 0;
    end_ = held;
  }

  std::unique_ptr<char[]> memory_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace shunt::wire
