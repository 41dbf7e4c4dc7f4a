#pragma once
// Bytes: an immutable run of bytes with shared ownership. Copies and slices cost a reference count; nobody can change
// what another holds, so messages never alias. Small enough to pass by value.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace shunt {

/// Threads: any; the count is atomic. Lifetime: the bytes live as long as the last Bytes that shows them.
class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes& other) : data_(other.data_), size_(other.size_), block_(other.block_) { retain(); }
  Bytes(Bytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(Bytes other) noexcept {
    swap(other);
    return *this;
  }
  ~Bytes() { release(); }

  /// A fresh block with a copy of `text`.
  static Bytes copy_of(std::string_view text);
  /// Takes the string over; no copy of its heap memory.
  static Bytes adopt(std::string&& text);
  /// Bytes that live elsewhere until `release(owner)` is called, once, on whichever thread drops the last Bytes.
  static Bytes external(const char* data, std::size_t size, void (*release)(void* owner), void* owner);
  /// For literals and other bytes that never end.
  static Bytes forever(std::string_view text) { return Bytes(text.data(), text.size(), nullptr); }

  [[nodiscard]] const char* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::string_view view() const { return {data_, size_}; }
  /// A part that shares the block. `offset + size` must lie inside.
  [[nodiscard]] Bytes slice(std::size_t offset, std::size_t size) const;

  /// For the C ABI: gives this reference away, to be dropped by drop(). The bytes live as long. Empty after it.
  [[nodiscard]] void* give() {
    data_ = nullptr;
    size_ = 0;
    return std::exchange(block_, nullptr);
  }
  static void drop(void* given) {
    Bytes last;
    last.block_ = static_cast<Block*>(given);
  }

  void swap(Bytes& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(block_, other.block_);
  }

 private:
  struct Block {
    std::atomic<std::uint32_t> count{1};
    std::uint32_t pooled_bytes = 0;  // Of a block from the pool, itself included.
    void (*destroy)(Block*) = nullptr;
  };
  /// With room for `size` bytes behind it.
  static Block* make_block(std::size_t size);
  struct StringBlock;
  struct ExternalBlock;

  Bytes(const char* data, std::size_t size, Block* block) : data_(data), size_(size), block_(block) {}
  void retain() {
    if (block_ != nullptr) block_->count.fetch_add(1, std::memory_order_relaxed);
  }
  void release() {
    if (block_ == nullptr) return;
    // Who holds the only one needs no locked instruction to know that it was the last: nobody else can copy it.
    if (block_->count.load(std::memory_order_acquire) == 1 ||
        block_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      block_->destroy(block_);
    }
  }

  const char* data_ = nullptr;
  std::size_t size_ = 0;
  Block* block_ = nullptr;

  friend class BytesBuilder;
};

/// A block that grows until it is taken as Bytes: for what comes in pieces. Nothing is copied where reserve() knew the size.
class BytesBuilder {
 public:
  BytesBuilder() = default;
  BytesBuilder(const BytesBuilder&) = delete;
  BytesBuilder& operator=(const BytesBuilder&) = delete;
  ~BytesBuilder() { clear(); }

  void reserve(std::size_t size) {
    if (size > capacity_) grow(size);
  }
  void append(std::string_view text) {
    if (text.size() > capacity_ - size_) grow(size_ + text.size());
    if (!text.empty()) std::memcpy(data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// What was appended; the builder is empty after it.
  [[nodiscard]] Bytes take();
  void clear();

 private:
  char* data() { return reinterpret_cast<char*>(block_ + 1); }
  void grow(std::size_t size);
  Bytes::Block* block_ = nullptr;  // The bytes lie behind it.
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

inline bool operator==(const Bytes& a, const Bytes& b) { return a.view() == b.view(); }

}  // namespace shunt
