#pragma once
// LoadPage: how busy a worker is, on a page that only it can write and everybody who was given it can read, without a
// message. A hint for a first guess: whether a call is taken is the worker's to say, by REFUSED.

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "base/time.h"
#include "os/published_page.h"

namespace shunt::call {

struct Load {
  std::uint32_t running = 0;   ///< Calls, and slots that are reserved.
  std::uint32_t capacity = 0;  ///< 0: without limit.
  std::uint32_t blocking = 0;  ///< Of the calls: those that leave no other room.
  bool closed = false;         ///< It takes no new calls.
  Instant blocking_until;      ///< When the last of those must have ended: silence until then is no wonder.

  [[nodiscard]] bool has_room() const { return !closed && (capacity == 0 || (blocking == 0 && running < capacity)); }
};

/// The worker's side. Threads: one.
class LoadPage {
 public:
  static Result<LoadPage> create();
  void tell(const Load& load);
  /// For sending; stays its own.
  [[nodiscard]] int fd() const { return page_.fd(); }
  /// Another descriptor of it, to give away.
  [[nodiscard]] Result<os::Fd> share() const { return page_.share(); }

 private:
  explicit LoadPage(os::PublishedPage page) : page_(std::move(page)) {}
  os::PublishedPage page_;
};

/// Everybody else's. Threads: any.
class LoadView {
 public:
  static Result<LoadView> open(const os::Fd& fd);
  /// What is told now; of a version that is not known here: no load at all.
  [[nodiscard]] Load read() const;

 private:
  explicit LoadView(os::PageView page) : page_(std::move(page)) {}
  os::PageView page_;
};

}  // namespace shunt::call
