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
    page()->slots[slot].known.store(0, std::memory_order_relaxed);
    write(page()->slots[slot], text);
  }
  void clear(std::size_t slot) {
    if (slot >= slots) return;
    page()->slots[slot].size.store(0, std::memory_order_release);
    page()->slots[slot].known.store(0, std::memory_order_release);
  }
  /// A text that is set often: from now on its number says it. 0 when there is no room for more; then set() the text.
  /// Threads: one at a time for the same page is the caller's business; nothing breaks, a number may be lost.
  std::uint32_t learn(std::string_view text) {
    std::uint32_t number = page()->learned.fetch_add(1, std::memory_order_relaxed);
    if (number >= known_max) return 0;
    write(page()->known[number], text);
    return number + 1;
  }
  /// One store: for what changes with every call.
  void set_known(std::size_t slot, std::uint32_t number) {
    if (slot < slots) page()->slots[slot].known.store(number, std::memory_order_release);
  }
  /// Where that store goes, for who makes it himself; nullptr for a slot beyond the last.
  [[nodiscard]] std::atomic<std::uint32_t>* known_of(std::size_t slot) {
    return slot < slots ? &page()->slots[slot].known : nullptr;
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
  static constexpr std::size_t known_max = 4096;
  struct Text {
    std::atomic<std::uint8_t> size;
    char text[text_bytes_max];
  };
  struct Slot : Text {
    std::atomic<std::uint32_t> known;  ///< A learned text that stands for this slot's; 0: its own.
  };
  struct Page {
    std::uint32_t magic;
    std::atomic<std::uint32_t> crashed;  ///< Slot + 1; 0: none.
    std::atomic<std::uint32_t> learned;
    Slot slots[ActivityPage::slots];
    Text known[known_max];
  };
  static void write(Text& to, std::string_view text) {
    std::size_t size = std::min(text.size(), text_bytes_max);
    std::memcpy(to.text, text.data(), size);
    to.size.store(static_cast<std::uint8_t>(size), std::memory_order_release);
  }
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
