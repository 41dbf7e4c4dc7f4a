#pragma once
// Whose CLOCK_MONOTONIC it is: two processes with the same id read the same clock, so deadlines between them can be
// absolute.

#include <string>

namespace shunt::os {

/// The boot's id and the time namespace, "0f3c…/4026531834"; empty when the system does not tell.
std::string clock_id();

}  // namespace shunt::os
