// shunt stop: tells a node to drain and end, and waits until it has.

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "cli/commands.h"
#include "cli/node_client.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

/// Waits until the process of the descriptor has ended.
void wait_for_end(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  while (::poll(&entry, 1, -1) < 0 && errno == EINTR) {
  }
}

/// The process that listens at the node's socket, before it is told to end: a later one of the same number is not it.
/// -1 where there is none to wait for, as on another machine.
Result<int> open_process(const NodeAddress& node) {
  SHUNT_TRY(const Endpoint endpoint, find_node(node));
  SHUNT_TRY(const HttpClient client, HttpClient::dial(endpoint));
  const int pid = client.peer_pid();
  return pid > 1 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1;
}

}  // namespace

int stop(const StopCommand& command) {
  const auto pidfd = command.wait ? open_process(command.node) : Result<int>(-1);
  if (!pidfd) return report(pidfd.error());
  const auto answer = call_manager(command.node, "stop", "{}");
  // A node that ends quickly may be gone before its answer is.
  if (!answer && answer.error().id() != "S1008") return report(answer.error());
  if (*pidfd >= 0) {
    wait_for_end(*pidfd);
    ::close(*pidfd);
  }
  return 0;
}

}  // namespace shunt::cli
