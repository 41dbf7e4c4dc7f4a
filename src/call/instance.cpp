#include "call/instance.h"

namespace shunt::call {

bool Instance::try_enter(bool blocking) {
  constexpr auto relaxed = std::memory_order_relaxed;
  if (blocking && !is_pooled()) blocking = false;  // More than one worker stands behind it.
  if (closed.load(std::memory_order_acquire)) return false;
  std::uint32_t limit = capacity.load(relaxed);
  if (limit == 0) {
    in_flight.fetch_add(1, relaxed);
    if (blocking) blocking_in_flight.fetch_add(1, relaxed);
    return true;
  }
  // While a blocking command runs there is no other room.
  if (blocking_in_flight.load(relaxed) > 0) return false;
  if (blocking) {
    std::uint32_t none = 0;
    if (!blocking_in_flight.compare_exchange_strong(none, 1, relaxed)) return false;
  }
  std::uint32_t now = in_flight.load(relaxed);
  while (now < limit) {
    if (in_flight.compare_exchange_weak(now, now + 1, relaxed)) return true;
  }
  if (blocking) blocking_in_flight.fetch_sub(1, relaxed);
  return false;
}

void Instance::leave(bool blocking) {
  if (blocking && !is_pooled()) blocking = false;
  constexpr auto relaxed = std::memory_order_relaxed;
  if (blocking) blocking_in_flight.fetch_sub(1, relaxed);
  in_flight.fetch_sub(1, relaxed);
}

}  // namespace shunt::call
