#pragma once
// What every way of a call has in common: how deep calls may nest, and the words for a deadline that has passed.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "base/time.h"
#include "call/definition.h"

namespace shunt::call {

/// Calls nested in one stack; beyond it a call begins later in the turn, from the loop's ready list.
inline constexpr int depth_max = 16;

/// How a call spent the time that it had.
struct TimeSpent {
  Duration waited{0};  ///< For a worker.
  Duration ran{0};
  Duration allowed{0};  ///< From its beginning to its deadline.
};
/// deadline_exceeded S1004, for people: what was waited for and what ran.
Status deadline_status(const ServiceDefinition& service, std::string_view command, const TimeSpent& spent);

/// resource_exhausted S1007: a message or metadata beyond a link's limit.
Status too_large(std::size_t size, std::uint64_t limit);

}  // namespace shunt::call
