#include "os/doorbell.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>

#include "os/error.h"

namespace shunt::os {

namespace detail {

ssize_t write_masked(int fd, const void* data, std::size_t size) {
  sigset_t pipe_signal;
  sigset_t before;
  sigset_t pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  bool was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  ssize_t written = ::write(fd, data, size);
  int error = errno;
  if (written < 0 && error == EPIPE && !was_pending) {
    timespec at_once{};
    while (sigtimedwait(&pipe_signal, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return written;
}

}  // namespace detail

namespace {

// Since Linux 6.18: this one write raises no SIGPIPE. Older kernels answer EOPNOTSUPP.
constexpr int no_signal = 0x100;
/// Set once an older kernel was met; relaxed, since it saves only time.
constinit std::atomic<bool> kernel_lacks_no_signal{false};

ssize_t write_quietly(int fd, const void* data, std::size_t size) {
  if (!kernel_lacks_no_signal.load(std::memory_order_relaxed)) {
    iovec vector{const_cast<void*>(data), size};
    ssize_t written = ::pwritev2(fd, &vector, 1, -1, no_signal);
    if (written >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) return written;
    kernel_lacks_no_signal.store(true, std::memory_order_relaxed);
  }
  // Asked each time: an interpreter's script may have changed it since.
  struct sigaction action{};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) return ::write(fd, data, size);
  return detail::write_masked(fd, data, size);
}

}  // namespace

Result<Pipe> make_doorbell() { return make_pipe(Blocking::no, Blocking::no); }

Result<void> check_doorbell(int write_end, int read_end) {
  struct Wanted {
    int fd;
    int access;
  };
  for (auto [fd, access] : {Wanted{write_end, O_WRONLY}, Wanted{read_end, O_RDONLY}}) {
    struct stat found{};
    int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fstat(fd, &found) != 0) return system_failure("look at a doorbell", errno);
    if (!S_ISFIFO(found.st_mode) || (flags & O_ACCMODE) != access) {
      return fail(Code::invalid_argument, "a doorbell must be the write end of a pipe, and the read end of another");
    }
    SHUNT_CHECK(set_blocking(fd, Blocking::no));
  }
  return {};
}

Rung ring_doorbell(int write_end) {
  char one = 1;
  for (;;) {
    if (write_quietly(write_end, &one, 1) == 1) return Rung::heard;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? Rung::full : Rung::gone;
  }
}

void silence_doorbell(int read_end) {
  std::array<char, 4096> rings;
  [[maybe_unused]] auto taken = ::read(read_end, rings.data(), rings.size());
}

}  // namespace shunt::os
