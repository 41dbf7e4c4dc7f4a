#pragma once
// LogBook: the last lines that each service wrote, and who follows them. What workers print and what modules log ends up
// here; `shunt logs` reads it. Bounded: so many lines for each service, so many bytes for each line; older ones go.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "loop/loop.h"

namespace shunt::module {

struct LogLine {
  std::uint64_t number = 0;  ///< Counts up over the whole book; set by the book.
  std::int64_t unix_ms = 0;  ///< Wall clock, for people; set by the book.
  std::string service;       ///< Full name; "node" for the node's own.
  std::string instance;      ///< "cart#0 (pid 812)", or empty.
  std::string level;         ///< "debug", "info", "warning", "error", or "output" for what a process printed.
  std::string text;
};

/// Threads: any. Its lock is held for the copy of a line, never while anybody is called.
class LogBook {
 public:
  struct Options {
    std::size_t lines_max = 2000;       ///< Kept for each service.
    std::size_t line_bytes_max = 8192;  ///< A longer line is cut, and says so.
    bool echo = true;                   ///< Also to standard error, as "service | text".
  };
  explicit LogBook(Options options) : options_(options) {}

  void add(LogLine line);
  /// Lines after `number` of that service (empty: all), oldest first; at most `limit`, the newest when there are more.
  [[nodiscard]] std::vector<LogLine> after(std::uint64_t number, std::string_view service, std::size_t limit) const;

  /// Calls `wake` on the loop when there is a new line. Returns a number for forget().
  std::uint64_t follow(loop::Loop& loop, std::function<void()> wake);
  void forget(std::uint64_t follower);

 private:
  struct Follower {
    loop::Loop* loop;
    std::function<void()> wake;
    bool told = false;  // A wake is on its way: one is enough for many lines.
  };
  void tell_followers();

  const Options options_;
  mutable std::mutex mutex_;
  std::uint64_t number_ = 0;                          // GUARDED_BY(mutex_)
  std::map<std::string, std::deque<LogLine>> lines_;  // GUARDED_BY(mutex_)
  std::map<std::uint64_t, std::shared_ptr<Follower>>
      followers_;                    // GUARDED_BY(mutex_). Owners: the book and wakes on their way.
  std::uint64_t next_follower_ = 1;  // GUARDED_BY(mutex_)
};

}  // namespace shunt::module
