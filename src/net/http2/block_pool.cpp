#include "net/http2/block_pool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace shunt::net {

BlockPool::~BlockPool() {
  for (Class& each : classes_) {
    while (each.free != nullptr) std::free(std::exchange(each.free, each.free->next));
  }
}

void* BlockPool::allocate(std::size_t bytes) {
  const std::size_t index = bytes == 0 ? 0 : (bytes - 1) / step;
  if (index < classes && classes_[index].free != nullptr) {
    Class& from = classes_[index];
    --from.kept;
    return std::exchange(from.free, from.free->next) + 1;
  }
  const std::size_t room = index < classes ? (index + 1) * step : bytes;
  if (room > static_cast<std::size_t>(-1) - sizeof(Head)) return nullptr;
  auto* head = static_cast<Head*>(std::malloc(sizeof(Head) + room));
  if (head == nullptr) return nullptr;
  head->bytes = room;
  return head + 1;
}

void* BlockPool::allocate_zeroed(std::size_t count, std::size_t bytes) {
  if (bytes != 0 && count > static_cast<std::size_t>(-1) / bytes) return nullptr;
  void* block = allocate(count * bytes);
  if (block != nullptr) std::memset(block, 0, count * bytes);
  return block;
}

void* BlockPool::resize(void* block, std::size_t bytes) {
  if (block == nullptr) return allocate(bytes);
  const std::size_t held = (static_cast<Head*>(block) - 1)->bytes;
  if (bytes <= held) return block;
  void* larger = allocate(bytes);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, block, held);
  release(block);
  return larger;
}

void BlockPool::release(void* block) {
  if (block == nullptr) return;
  Head* head = static_cast<Head*>(block) - 1;
  const std::size_t index = (head->bytes - 1) / step;
  if (head->bytes > block_bytes_max || classes_[index].kept >= kept_max) {
    std::free(head);
    return;
  }
  Class& to = classes_[index];
  ++to.kept;
  head->next = std::exchange(to.free, head);
}

}  // namespace shunt::net
