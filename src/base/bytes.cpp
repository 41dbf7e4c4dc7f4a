#include "base/bytes.h"

#include <new>

#include "base/check.h"

namespace shunt {

struct Bytes::StringBlock : Block {
  std::string text;
};

struct Bytes::ExternalBlock : Block {
  void (*release)(void*);
  void* owner;
};

Bytes Bytes::copy_of(std::string_view text) {
  if (text.empty()) return {};
  void* memory = ::operator new(sizeof(Block) + text.size());
  auto* block = new (memory) Block;
  block->destroy = [](Block* self) { ::operator delete(self); };
  char* data = static_cast<char*>(memory) + sizeof(Block);
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

Bytes Bytes::slice(std::size_t offset, std::size_t size) const {
  SHUNT_ASSERT(offset <= size_ && size <= size_ - offset);
  Bytes part(data_ + offset, size, block_);
  part.retain();
  return part;
}

}  // namespace shunt
