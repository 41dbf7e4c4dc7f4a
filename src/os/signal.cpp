#include "os/signal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "os/error.h"

namespace shunt::os {

Result<SignalFd> SignalFd::create(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : signals) ::sigaddset(&set, signal);
  if (int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
    return system_failure("block signals", error);
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return system_failure("make a signalfd", errno);
  return SignalFd(std::move(fd));
}

std::optional<int> SignalFd::read() {
  signalfd_siginfo info{};
  ssize_t got = 0;
  while ((got = ::read(fd_.get(), &info, sizeof info)) < 0 && errno == EINTR) {
  }
  if (got != sizeof info) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

bool has_terminal() {
  // A terminal that was hung up is still ours by name, and can't be opened.
  return Fd(::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC)).is_open();
}

void ignore_broken_pipes() { ::signal(SIGPIPE, SIG_IGN); }

}  // namespace shunt::os
