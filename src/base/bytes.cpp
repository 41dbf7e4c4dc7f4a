#include "base/bytes.h"

#include <algorithm>
#include <new>

#include "base/check.h"
#include "base/pool.h"

namespace shunt {

namespace {
/// A larger block is malloc's.
constexpr std::size_t pooled_bytes_max = 2048;
}  // namespace

struct Bytes::StringBlock : Block {
  std::string text;
};

struct Bytes::ExternalBlock : Block {
  void (*release)(void*);
  void* owner;
};

Bytes::Block* Bytes::make_block(std::size_t size) {
  std::size_t all = sizeof(Block) + size;
  if (all <= pooled_bytes_max) {
    auto* block = new (allocate_pooled(all)) Block;
    block->pooled_bytes = static_cast<std::uint32_t>(all);
    block->destroy = [](Block* self) { free_pooled(self, self->pooled_bytes); };
    return block;
  }
  auto* block = new (::operator new(all)) Block;
  block->destroy = [](Block* self) { ::operator delete(self); };
  return block;
}

Bytes Bytes::copy_of(std::string_view text) {
  if (text.empty()) return {};
  Block* block = make_block(text.size());
  char* data = reinterpret_cast<char*>(block + 1);
  std::memcpy(data, text.data(), text.size());
  return {data, text.size(), block};
}

Bytes Bytes::adopt(std::string&& text) {
  if (text.empty()) return {};
  auto* block = new StringBlock;
  block->destroy = [](Block* self) { delete static_cast<StringBlock*>(self); };
  block->text = std::move(text);
  return {block->text.data(), block->text.size(), block};
}

Bytes Bytes::external(const char* data, std::size_t size, void (*release)(void*), void* owner) {
  auto* block = new ExternalBlock;
  block->destroy = [](Block* self) {
    auto* external = static_cast<ExternalBlock*>(self);
    external->release(external->owner);
    delete external;
  };
  block->release = release;
  block->owner = owner;
  return {data, size, block};
}

Bytes BytesBuilder::take() {
  Bytes taken(size_ > 0 ? data() : nullptr, size_, block_);
  block_ = nullptr;
  size_ = capacity_ = 0;
  return taken;
}

void BytesBuilder::clear() {
  if (block_ != nullptr) block_->destroy(block_);
  block_ = nullptr;
  size_ = capacity_ = 0;
}

void BytesBuilder::grow(std::size_t size) {
  std::size_t wanted = std::max(size, capacity_ * 2);
  auto* block = Bytes::make_block(wanted);
  if (size_ > 0) std::memcpy(reinterpret_cast<char*>(block + 1), data(), size_);
  if (block_ != nullptr) block_->destroy(block_);
  block_ = block;
  capacity_ = wanted;
}

Bytes Bytes::slice(std::size_t offset, std::size_t size) const {
  SHUNT_ASSERT(offset <= size_ && size <= size_ - offset);
  Bytes part(data_ + offset, size, block_);
  part.retain();
  return part;
}

}  // namespace shunt
