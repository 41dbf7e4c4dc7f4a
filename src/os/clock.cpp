#include "os/clock.h"

#include <time.h>

namespace shunt::os {

Instant SystemClock::now() const {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return {time.tv_sec * 1'000'000'000 + time.tv_nsec};
}

}  // namespace shunt::os
