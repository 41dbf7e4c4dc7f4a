#pragma once
// Ring: bytes from one writer to one reader through memory that both may write. Pure: no system call, no allocation, no
// clock. What wakes a sleeping side (a doorbell) belongs to the caller; the ring only says when to ring it.
//
// The two sides do not trust each other. The memory between them holds what each tells the other and nothing that a side
// believes about itself: the writer's head and the reader's tail live in private memory and are only ever stored to the
// shared words, never read back. What the other side stored is read once for each decision and checked against what is
// possible (used bytes within the size, an index that never moves back); the first impossible value breaks the ring for
// good on this side. Bytes are copied out before anybody looks at them.
//
// Indexes are 64-bit counts of all bytes ever written and read; they do not wrap within the life of a machine. The place
// of a byte is its index modulo the size, a power of two.
//
// MEMORY ORDER. Three claims, each with its pair of operations:
//
// 1. A reader sees the bytes that a head covers. The writer copies, then stores head with release; the reader loads head
//    with acquire, then copies.
// 2. A writer never overwrites what is still being read. The reader copies out, then stores tail with release; the writer
//    loads tail with acquire before it copies into the room that this tail gives.
// 3. A wake-up is never lost. This is a store on each side followed by a load of what the other stores, so release and
//    acquire do not suffice (both loads might see old values): a sequentially consistent fence stands between the two, on
//    both sides.
//
//        writer                                    reader
//        head = h            (publish)             reader_sleeps = 1      (begin_sleep)
//        fence               (must_ring)           fence                  (fence)
//        reader_sleeps?      (must_ring)           head == what I know?   (may_sleep)
//
//    Of the two fences one comes first in their single total order. Is it the writer's: the reader's load of head sees h,
//    and it does not sleep. Is it the reader's: the writer's load sees 1, and it rings. The same holds with the sides
//    exchanged for a writer that waits for room:
//
//        reader                                    writer
//        tail = t            (release)             writer_waits = 1       (wait_for_room)
//        fence               (begin_sleep's)       fence                  (wait_for_room)
//        writer_waits?       (must_ring_writer)    room at the tail?      (peek_room)
//
//    The reader asks without a fence after each read, which finds the flag at once in practice, and a last time behind the
//    fence that it passes before it sleeps anyway. So the awake path of a reader has no fence at all, and a writer is
//    woken at the latest when its reader goes to sleep.
//
//    Whoever rings takes the flag back with an exchange: one ring for one sleep, however many writes there are. A ring may
//    come late, when the sleeper has woken by itself: a bell without a cause is harmless.
//
// A model checker instantiates both classes with atomics of its own: see SystemAtomics for what it has to give.

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace shunt::link {

/// What a ring needs of the machine. Another set of atomics may take its place in tests.
struct SystemAtomics {
  template <typename T>
  using Word = std::atomic<T>;

  static void fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
  /// Into the ring.
  static void copy_in(char* ring, const char* from, std::size_t size) { std::memcpy(ring, from, size); }
  /// Out of the ring. What is then read of `to` is what was copied: the compiler must not look at the ring again.
  static void copy_out(char* to, const char* ring, std::size_t size) {
    std::memcpy(to, ring, size);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
};

/// The shared words of one ring. Lines of one writer each, two cache lines apart, since processors fetch lines in pairs.
template <typename Atomics = SystemAtomics>
struct RingWords {
  // What the writer stores, and the reader looks at in every turn.
  alignas(128) typename Atomics::template Word<std::uint64_t> head;  ///< Bytes written so far.
  typename Atomics::template Word<std::uint32_t> writer_waits;       ///< Set by the writer, taken by the reader.
  // What the reader stores. The writer looks at it when the room that it knows of is used up.
  alignas(128) typename Atomics::template Word<std::uint64_t> tail;  ///< Bytes read so far.
  // Alone: the writer looks at it with each write, and it changes only when the reader goes to sleep.
  alignas(128)
      typename Atomics::template Word<std::uint32_t> reader_sleeps;  ///< Set by the reader, taken by the writer.
};

/// The writing side. Threads: one at a time. Lifetime: words and data must outlive it.
template <typename Atomics = SystemAtomics>
class RingWriter {
 public:
  /// `size`: a power of two. The indexes begin at 0: a ring has one writer and one reader in its life.
  RingWriter(RingWords<Atomics>& words, char* data, std::size_t size) : words_(words), data_(data), size_(size) {}

  /// Copies in what there is room for, and returns how much that was. The reader sees it after publish().
  std::size_t write(const iovec* vectors, int count) {
    std::size_t taken = 0;
    for (int i = 0; i < count; i++) {
      const char* from = static_cast<const char*>(vectors[i].iov_base);
      std::size_t wanted = vectors[i].iov_len;
      std::size_t fits = room_for(wanted);
      copy(from, fits);
      taken += fits;
      if (fits < wanted) break;
    }
    return taken;
  }
  /// Shows the reader what was written.
  void publish() { words_.head.store(head_, std::memory_order_release); }
  /// After publish(): true when the reader sleeps, and is to be woken by whoever asks. True once for each sleep.
  [[nodiscard]] bool must_ring() {
    return reader_sleeps() && words_.reader_sleeps.exchange(0, std::memory_order_relaxed) != 0;
  }
  /// The same, without taking it on: must_ring() is to be asked before the writer sleeps.
  [[nodiscard]] bool reader_sleeps() const {
    Atomics::fence();
    return words_.reader_sleeps.load(std::memory_order_relaxed) != 0;
  }

  /// After write() took less than all: the reader is to ring once half of the ring is free. peek_room() must be asked
  /// after it: there may be room now.
  void wait_for_room() {
    words_.writer_waits.store(1, std::memory_order_relaxed);
    Atomics::fence();
  }
  /// True when half of the ring is free, or something is wrong: has_room() tells. One load.
  [[nodiscard]] bool peek_room() const {
    return size_ - static_cast<std::size_t>(head_ - words_.tail.load(std::memory_order_relaxed)) >= size_ / 2;
  }
  /// True when half of the ring is free: the wait is over. Also when the ring is broken.
  [[nodiscard]] bool has_room() {
    refresh();
    if (!broken_ && size_ - static_cast<std::size_t>(head_ - tail_) < size_ / 2) return false;
    words_.writer_waits.store(0, std::memory_order_relaxed);
    return true;
  }

  /// The reader stored an impossible tail: nothing is written any more, the link is to be closed.
  [[nodiscard]] bool is_broken() const { return broken_; }
  [[nodiscard]] std::uint64_t written() const { return head_; }

 private:
  /// How many of `wanted` bytes fit; looks at the reader's tail only when the room known of is too small.
  std::size_t room_for(std::size_t wanted) {
    std::size_t room = size_ - static_cast<std::size_t>(head_ - tail_);
    if (room < wanted) {
      refresh();
      room = broken_ ? 0 : size_ - static_cast<std::size_t>(head_ - tail_);
    }
    return std::min(room, wanted);
  }
  void refresh() {
    std::uint64_t tail = words_.tail.load(std::memory_order_acquire);
    // Between what it was and what was written: one comparison, since the differences are unsigned.
    if (tail - tail_ > head_ - tail_) {
      broken_ = true;
      return;
    }
    tail_ = tail;
  }
  void copy(const char* from, std::size_t size) {
    std::size_t at = static_cast<std::size_t>(head_) & (size_ - 1);
    std::size_t first = std::min(size, size_ - at);
    if (first > 0) Atomics::copy_in(data_ + at, from, first);
    if (size > first) Atomics::copy_in(data_, from + first, size - first);
    head_ += size;
  }

  RingWords<Atomics>& words_;
  char* data_;
  std::size_t size_;
  std::uint64_t head_ = 0;  // Ours, private.
  std::uint64_t tail_ = 0;  // What we last believed of the reader.
  bool broken_ = false;
};

/// The reading side. Threads: one at a time. Lifetime: words and data must outlive it.
template <typename Atomics = SystemAtomics>
class RingReader {
 public:
  /// `size`: a power of two.
  RingReader(RingWords<Atomics>& words, const char* data, std::size_t size) : words_(words), data_(data), size_(size) {}

  /// True when look() would find something, or something wrong. One load.
  [[nodiscard]] bool peek() const { return words_.head.load(std::memory_order_relaxed) != tail_; }
  /// Reads the writer's index, once, and says how many bytes may be read.
  std::size_t look() {
    std::uint64_t head = words_.head.load(std::memory_order_acquire);
    // Not behind what it was, not further than the ring is long.
    if (head - tail_ > size_ || head - tail_ < head_ - tail_) {
      broken_ = true;
      return 0;
    }
    head_ = head;
    return static_cast<std::size_t>(head_ - tail_);
  }
  /// Copies `size` bytes out, at most what look() said. The writer has their room after release().
  void read(char* into, std::size_t size) {
    std::size_t at = static_cast<std::size_t>(tail_) & (size_ - 1);
    std::size_t first = std::min(size, size_ - at);
    Atomics::copy_out(into, data_ + at, first);
    if (size > first) Atomics::copy_out(into + first, data_, size - first);
    tail_ += size;
  }
  /// Gives the writer the room of what was read.
  void release() { words_.tail.store(tail_, std::memory_order_release); }
  /// After release(), and once more between fence() and sleep: true when the writer waits and has room enough now; it is
  /// to be woken by whoever asks.
  [[nodiscard]] bool must_ring_writer() {
    return words_.writer_waits.load(std::memory_order_relaxed) != 0 &&
           size_ - static_cast<std::size_t>(head_ - tail_) >= size_ / 2 &&
           words_.writer_waits.exchange(0, std::memory_order_relaxed) != 0;
  }

  /// Going to sleep: begin_sleep(), fence() (one for many rings), then may_sleep(). When that says false, or when the
  /// reader wakes, end_sleep().
  void begin_sleep() { words_.reader_sleeps.store(1, std::memory_order_relaxed); }
  static void fence() { Atomics::fence(); }
  [[nodiscard]] bool may_sleep() const { return !peek(); }
  void end_sleep() { words_.reader_sleeps.store(0, std::memory_order_relaxed); }

  /// The writer stored an impossible head: nothing is read any more, the link is to be closed.
  [[nodiscard]] bool is_broken() const { return broken_; }

 private:
  RingWords<Atomics>& words_;
  const char* data_;
  std::size_t size_;
  std::uint64_t tail_ = 0;  // Ours, private.
  std::uint64_t head_ = 0;  // What we last believed of the writer.
  bool broken_ = false;
};

}  // namespace shunt::link
