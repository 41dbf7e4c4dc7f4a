#pragma once
// How long this thread has stood in the queue for a core: what it could have run, had nobody else been running.

#include <cstdint>
#include <optional>

#include "os/fd.h"

namespace shunt::os {

/// Threads: the one that first asks. It costs a system call of a microsecond or two.
class RunDelay {
 public:
  /// Nanoseconds since the thread began; nothing where the system does not say.
  std::optional<std::int64_t> total_ns();

 private:
  Fd file_;
  bool is_absent_ = false;
};

}  // namespace shunt::os
