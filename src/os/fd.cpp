#include "os/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "os/error.h"

namespace shunt::os {

void Fd::close() {
  // Linux frees the descriptor even when close() says EINTR: trying again could close somebody else's.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<Fd> Fd::duplicate() const {
  int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return system_failure("duplicate a descriptor", errno);
  return Fd(copy);
}

Result<Pipe> make_pipe(Blocking read, Blocking write) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return system_failure("make a pipe", errno);
  Pipe pipe{Fd(fds[0]), Fd(fds[1])};
  if (read == Blocking::no) SHUNT_CHECK(set_blocking(fds[0], Blocking::no));
  if (write == Blocking::no) SHUNT_CHECK(set_blocking(fds[1], Blocking::no));
  return pipe;
}

Result<void> set_blocking(int fd, Blocking blocking) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return system_failure("read a descriptor's flags", errno);
  int wanted = blocking == Blocking::yes ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  if (wanted != flags && ::fcntl(fd, F_SETFL, wanted) != 0) return system_failure("set a descriptor's flags", errno);
  return {};
}

Result<std::optional<std::size_t>> read_some(int fd, std::span<char> into) {
  while (true) {
    ssize_t got = ::read(fd, into.data(), into.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    return system_failure("read", errno);
  }
}

Result<std::optional<std::size_t>> write_some(int fd, std::span<const char> from) {
  while (true) {
    ssize_t took = ::write(fd, from.data(), from.size());
    if (took >= 0) return static_cast<std::size_t>(took);
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    return system_failure("write", errno);
  }
}

std::size_t open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(folder);
  return count - 1;  // The folder's own.
}

}  // namespace shunt::os
