#pragma once
// CallTable: ids of open calls -> what the mux keeps of them. Open addressing with linear probing, because it is asked for
// every frame; entries come from a free list, so that opening and ending calls allocates nothing once warm.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/own.h"

namespace shunt::wire {

/// Entry has a member `id` (never 0 while in the table) and `reset()`. Entries do not move.
template <typename Entry>
class CallTable {
 public:
  CallTable() : slots_(64) {}

  [[nodiscard]] Entry* find(std::uint64_t id) const {
    for (std::size_t i = home(id);; i = next(i)) {
      Entry* entry = slots_[i];
      if (entry == nullptr || entry->id == id) return entry;
    }
  }

  /// `id` must not be in the table.
  Entry& add(std::uint64_t id) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    Entry* entry = nullptr;
    if (free_.empty()) {
      entries_.push_back(make_own<Entry>());
      entry = entries_.back().get();
    } else {
      entry = free_.back();
      free_.pop_back();
    }
    entry->id = id;
    place(entry);
    count_++;
    return *entry;
  }

  void remove(Entry& entry) {
    std::size_t hole = home(entry.id);
    while (slots_[hole] != &entry) hole = next(hole);
    // Moves back what the hole would hide, so that no tombstones are needed.
    for (std::size_t i = next(hole); slots_[i] != nullptr; i = next(i)) {
      std::size_t wanted = home(slots_[i]->id);
      bool stays = hole <= i ? (hole < wanted && wanted <= i) : (hole < wanted || wanted <= i);
      if (stays) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole] = nullptr;
    count_--;
    entry.reset();
    free_.push_back(&entry);
  }

  template <typename Visit>
  void for_each(Visit visit) const {
    for (Entry* entry : slots_) {
      if (entry != nullptr) visit(*entry);
    }
  }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  [[nodiscard]] std::size_t home(std::uint64_t id) const {
    return (id * 0x9e3779b97f4a7c15ULL) >> (64 - std::countr_zero(slots_.size()));
  }
  [[nodiscard]] std::size_t next(std::size_t i) const { return (i + 1) & (slots_.size() - 1); }
  void place(Entry* entry) {
    std::size_t i = home(entry->id);
    while (slots_[i] != nullptr) i = next(i);
    slots_[i] = entry;
  }
  void grow() {
    std::vector<Entry*> old(slots_.size() * 2);
    std::swap(old, slots_);
    for (Entry* entry : old) {
      if (entry != nullptr) place(entry);
    }
  }

  std::vector<Entry*> slots_;
  std::vector<Own<Entry>> entries_;
  std::vector<Entry*> free_;
  std::size_t count_ = 0;
};

}  // namespace shunt::wire
