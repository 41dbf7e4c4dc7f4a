#pragma once
// CallTable: ids of open calls -> what the mux keeps of them. Open addressing with linear probing, because it is asked for
// every frame; entries come from a free list, so that opening and ending calls allocates nothing once warm.
//
// Ids of a well-behaved peer are dense, so the low bits of an id are its place, and the first look finds it. A peer may
// choose ids that all want one place: once they crowd, places are hashed, for good.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/own.h"

namespace shunt::wire {

/// Entry has a member `id` (never 0 while in the table) and `reset()`. Entries do not move.
template <typename Entry>
class CallTable {
 public:
  CallTable() : slots_(std::size_t{1} << first_bits) {}

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
    if (std::size_t probes = place(entry); probes > crowded) spread();
    count_++;
    return *entry;
  }

  void remove(Entry& entry) {
    std::size_t hole = home(entry.id);
    if (slots_[hole] != &entry) {
      displaced_--;
      while (slots_[hole] != &entry) hole = next(hole);
    }
    // Moves back what the hole would hide, so that no tombstones are needed. Mostly all are at home, and nothing is hidden.
    if (displaced_ > 0) {
      for (std::size_t i = next(hole); slots_[i] != nullptr; i = next(i)) {
        std::size_t wanted = home(slots_[i]->id);
        bool stays = hole <= i ? (hole < wanted && wanted <= i) : (hole < wanted || wanted <= i);
        if (stays) continue;
        if (wanted == hole) displaced_--;
        slots_[hole] = slots_[i];
        hole = i;
      }
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
  /// The longest way to any entry.
  [[nodiscard]] std::size_t probes_max() const {
    std::size_t most = 0;
    for (std::size_t i = 0; i < slots_.size(); i++) {
      if (slots_[i] != nullptr) most = std::max(most, (i - home(slots_[i]->id)) & (slots_.size() - 1));
    }
    return most;
  }

 private:
  [[nodiscard]] std::size_t home(std::uint64_t id) const { return (id * factor_) >> shift_; }
  [[nodiscard]] std::size_t next(std::size_t i) const { return (i + 1) & (slots_.size() - 1); }
  /// Returns how many places were taken already.
  std::size_t place(Entry* entry) {
    std::size_t i = home(entry->id);
    std::size_t probes = 0;
    for (; slots_[i] != nullptr; i = next(i)) probes++;
    slots_[i] = entry;
    if (probes > 0) displaced_++;
    return probes;
  }
  void grow() { rebuild(slots_.size() * 2); }
  void spread() {
    if (std::exchange(hashed_, true)) return;
    rebuild(slots_.size());
  }
  void rebuild(std::size_t size) {
    std::vector<Entry*> old(size);
    std::swap(old, slots_);
    shift_ = 64 - std::countr_zero(size);
    // The address makes the places those of this process, which a peer does not know.
    factor_ =
        hashed_ ? 0x9e3779b97f4a7c15ULL ^ (reinterpret_cast<std::uintptr_t>(this) << 12) : std::uint64_t{1} << shift_;
    displaced_ = 0;
    for (Entry* entry : old) {
      if (entry != nullptr) place(entry);
    }
  }

  static constexpr std::size_t crowded = 32;
  static constexpr int first_bits = 6;
  int shift_ = 64 - first_bits;
  std::uint64_t factor_ = std::uint64_t{1} << (64 - first_bits);
  bool hashed_ = false;

  std::vector<Entry*> slots_;
  std::vector<Own<Entry>> entries_;
  std::vector<Entry*> free_;
  std::size_t count_ = 0;
  std::size_t displaced_ = 0;  // How many are not in the first place that they want.
};

}  // namespace shunt::wire
