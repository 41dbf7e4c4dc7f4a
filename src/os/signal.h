#pragma once
// Signals as a descriptor: blocked for the whole process, read where they are wanted.

#include <initializer_list>
#include <optional>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

/// Blocks some signals and reads them. Make it before there are threads: they inherit the mask.
/// Lifetime: the signals stay blocked after its end.
class SignalFd {
 public:
  static Result<SignalFd> create(std::initializer_list<int> signals);
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The next signal; nothing when none waits.
  std::optional<int> read();

 private:
  explicit SignalFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// True when this process belongs to a terminal that is still there. A SIGHUP without one says that it was hung up.
bool has_terminal();

/// A write to a closed pipe is then an error, EPIPE, not the end.
void ignore_broken_pipes();

}  // namespace shunt::os
