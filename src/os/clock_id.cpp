#include "os/clock_id.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shunt::os {

std::string clock_id() {
  int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  char boot[64];
  auto count = read(file, boot, sizeof boot);
  close(file);
  while (count > 0 && boot[count - 1] == '\n') count--;
  if (count <= 0) return {};
  // Kernels before 5.6 have no time namespaces: then the boot alone tells.
  struct stat space{};
  if (stat("/proc/self/ns/time", &space) != 0) space.st_ino = 0;
  return fmt::format("{}/{}", std::string_view(boot, static_cast<std::size_t>(count)), space.st_ino);
}

}  // namespace shunt::os
