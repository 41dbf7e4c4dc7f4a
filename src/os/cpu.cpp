#include "os/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>

#include "os/file.h"

namespace shunt::os {

namespace {

/// Cores of the quota in cgroup v2's "MAX PERIOD"; 0: none.
std::size_t quota_cores() {
  auto text = read_file("/sys/fs/cgroup/cpu.max", 128);
  long long quota = 0;
  long long period = 0;
  if (!text || std::sscanf(text->c_str(), "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0) return 0;
  return static_cast<std::size_t>((quota + period - 1) / period);
}

}  // namespace

std::size_t usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::size_t cores = 1;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) cores = static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
  if (std::size_t quota = quota_cores(); quota > 0) cores = std::min(cores, quota);
  return std::max<std::size_t>(cores, 1);
}

}  // namespace shunt::os
