#include "os/run_delay.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

namespace shunt::os {

std::optional<std::int64_t> RunDelay::total_ns() {
  if (is_absent_) return std::nullopt;
  if (!file_) file_ = Fd(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text;
  ssize_t size = file_ ? ::pread(file_.get(), text.data(), text.size(), 0) : -1;
  // Time on a core, time in the queue, times it ran.
  std::string_view line(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  auto space = line.find(' ');
  std::int64_t delay = 0;
  if (space == std::string_view::npos ||
      std::from_chars(line.data() + space + 1, line.data() + line.size(), delay).ec != std::errc()) {
    is_absent_ = true;
    file_.close();
    return std::nullopt;
  }
  return delay;
}

}  // namespace shunt::os
