// shunt stop: tells a node to drain and end, and waits until it has.

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/node_client.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

/// Process that "pid" of the object names; 0 for none.
pid_t pid_of(std::string_view answer, const char* part) {
  const json root = json::parse(answer, nullptr, false);
  if (!root.is_object()) return 0;
  const json object = *part == '\0' ? root : root.value(part, json::object());
  const auto pid = object.is_object() ? object.value("pid", json()) : json();
  return pid.is_number_integer() && pid.get<std::int64_t>() > 1 ? pid.get<pid_t>() : 0;
}

/// Waits until the process of the descriptor has ended.
void wait_for_end(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  while (::poll(&entry, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace

int stop(const StopCommand& command) {
  // The descriptor is taken before the order, so that the process can't be confused with a later one of the same number.
  // Only a node of this machine can be waited for.
  int pidfd = -1;
  const auto endpoint = find_node(command.node);
  if (!endpoint) return report(endpoint.error());
  if (command.wait && !endpoint->socket.empty()) {
    const auto known = call_manager(command.node, "ps", "{}");
    if (!known) return report(known.error());
    const json root = json::parse(*known, nullptr, false);
    pid_t pid = root.is_object() && root.contains("supervisor") ? pid_of(*known, "supervisor") : 0;
    if (pid == 0) pid = pid_of(*known, "node");
    if (pid != 0) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  }
  const auto answer = call_manager(command.node, "stop", "{}");
  // A node that ends quickly may be gone before its answer is.
  if (!answer && answer.error().id() != "S1008") return report(answer.error());
  if (pidfd >= 0) {
    wait_for_end(pidfd);
    ::close(pidfd);
  }
  return 0;
}

}  // namespace shunt::cli
