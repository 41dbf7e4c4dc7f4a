#pragma once
// ActivityPage: what each thread of the node is doing, on a page of memory that outlives it. When the node dies, the
// supervisor reads there which module it was in. Writing is a memcpy: cheap enough for every call of a module.
//
// ThreadActivity is a thread's place on it. install_crash_witness() makes a fatal signal note whose thread it was.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/fd.h"
#include "os/memory.h"

namespace shunt::supervisor {

/// Threads: each slot has one writer. The reader comes after the writers' death, so nothing waits and nothing tears.
class ActivityPage {
 public:
  static constexpr std::size_t slots = 64;
  static constexpr std::size_t text_bytes_max = 127;

  static Result<ActivityPage> create();
  /// The page that another process made. Errors: data_loss when it is not one.
  static Result<ActivityPage> open(os::Fd memory);

  /// A slot beyond the last is not written; longer text is cut.
  void set(std::size_t slot, std::string_view text) {
    if (slot >= slots) return;
    Slot& at = page()->slots[slot];
    std::size_t size = std::min(text.size(), text_bytes_max);
    std::memcpy(at.text, text.data(), size);
    at.size.store(static_cast<std::uint8_t>(size), std::memory_order_release);
  }
  void clear(std::size_t slot) {
    if (slot < slots) page()->slots[slot].size.store(0, std::memory_order_release);
  }
  [[nodiscard]] std::string text(std::size_t slot) const;

  /// From a signal handler: that slot's thread is the one that dies.
  void mark_crashed(std::size_t slot) {
    if (slot < slots) page()->crashed.store(static_cast<std::uint32_t>(slot + 1), std::memory_order_release);
  }
  /// What the thread that crashed was doing; where none is marked, what all were doing; empty when nothing is known.
  [[nodiscard]] std::string last_words() const;
  void reset();

  [[nodiscard]] int fd() const { return memory_.get(); }

 private:
  struct Slot {
    std::atomic<std::uint8_t> size;
    char text[text_bytes_max];
  };
  struct Page {
    std::uint32_t magic;
    std::atomic<std::uint32_t> crashed;  ///< Slot + 1; 0: none.
    Slot slots[ActivityPage::slots];
  };
  [[nodiscard]] Page* page() const { return reinterpret_cast<Page*>(mapping_.data()); }

  os::Fd memory_;
  os::Mapping mapping_;
};

/// A thread's slot, and a stack of its own for the signal handler, so that a stack overflow is noted too.
/// Threads: the one that makes it. Lifetime: at most the page's.
class ThreadActivity {
 public:
  ThreadActivity(ActivityPage& page, std::size_t slot);
  ~ThreadActivity();
  ThreadActivity(const ThreadActivity&) = delete;
  ThreadActivity& operator=(const ThreadActivity&) = delete;

  void set(std::string_view text) { page_.set(slot_, text); }
  void clear() { page_.clear(slot_); }

 private:
  ActivityPage& page_;
  std::size_t slot_;
  std::unique_ptr<char[]> stack_;
};

/// From here on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT note the thread before they end the process as they always
/// did. Once in a process, whose page must live as long as it.
void install_crash_witness(ActivityPage& page);

}  // namespace shunt::supervisor
