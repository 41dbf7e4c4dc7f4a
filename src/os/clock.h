#pragma once
// The system's monotonic clock. Whether another process has the same one: clock_id.h.

#include "base/time.h"

namespace shunt::os {

/// CLOCK_MONOTONIC. Threads: any.
class SystemClock final : public Clock {
 public:
  Instant now() const override;
};

}  // namespace shunt::os
