#pragma once
// Fd: the one owner of a file descriptor, and the few things that are done with any descriptor. Everything that this room
// opens is close-on-exec: only spawn() (process.h) hands descriptors to another program, and only those it is told to.

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "base/result.h"

namespace shunt::os {

class Fd {
 public:
  Fd() = default;
  /// Takes the descriptor over; -1 is none.
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { close(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  explicit operator bool() const { return fd_ >= 0; }
  /// Gives the descriptor away.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void close();
  /// A second descriptor of the same open file, close-on-exec.
  [[nodiscard]] Result<Fd> duplicate() const;

 private:
  int fd_ = -1;
};

enum class Blocking : bool { no, yes };

struct Pipe {
  Fd read;
  Fd write;
};
Result<Pipe> make_pipe(Blocking read, Blocking write);
Result<void> set_blocking(int fd, Blocking blocking);

/// What one read came to: nothing when there is none to have now; 0 bytes at the end of the file.
Result<std::optional<std::size_t>> read_some(int fd, std::span<char> into);
/// What one write took; nothing when it would have to wait.
Result<std::optional<std::size_t>> write_some(int fd, std::span<const char> from);

/// How many descriptors this process has open: for leak checks and /metrics.
std::size_t open_descriptors();

}  // namespace shunt::os
