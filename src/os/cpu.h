#pragma once
// How many cores this process may use.

#include <cstddef>

namespace shunt::os {

/// At least 1. Honours the affinity mask and, where there is one, the cgroup's quota (rounded up).
std::size_t usable_cores();

}  // namespace shunt::os
