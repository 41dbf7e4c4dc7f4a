#pragma once
// A page of shared memory with one writer: its owner maps it, then seals the file against any further writable mapping, so
// that whoever gets the descriptor can read and no more. Nothing of it is inherited by a fork.

#include <cstddef>
#include <utility>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

class PublishedPage {
 public:
  static constexpr std::size_t bytes = 4096;
  /// Errors: what the system says; a kernel without F_SEAL_FUTURE_WRITE (before 5.1) is one.
  static Result<PublishedPage> create(const char* name);
  PublishedPage(PublishedPage&& other) noexcept
      : fd_(std::move(other.fd_)), data_(std::exchange(other.data_, nullptr)) {}
  PublishedPage& operator=(PublishedPage&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~PublishedPage();
  [[nodiscard]] char* data() const { return data_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] Result<Fd> share() const { return fd_.duplicate(); }

 private:
  PublishedPage(Fd fd, char* data) : fd_(std::move(fd)), data_(data) {}
  Fd fd_;
  char* data_ = nullptr;
};

/// A page that somebody else publishes. What stands there may change at any time, to anything.
class PageView {
 public:
  /// Errors: failed_precondition when it is no memory file of one page that can't shrink (to read behind its end would
  /// end the process).
  static Result<PageView> open(const Fd& fd);
  PageView(PageView&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  PageView& operator=(PageView&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~PageView();
  [[nodiscard]] const char* data() const { return data_; }

 private:
  explicit PageView(const char* data) : data_(data) {}
  const char* data_ = nullptr;
};

}  // namespace shunt::os
