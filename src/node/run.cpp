#include "node/run.h"

#include <fmt/format.h>

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "loop/epoll_loop.h"
#include "node/arguments.h"
#include "node/house.h"
#include "os/file.h"
#include "os/process.h"
#include "os/signal.h"
#include "supervisor/supervisor.h"

namespace shunt::node {

namespace {

constexpr Duration drain_timeout_default = std::chrono::seconds(25);
// What the supervisor gives the node beyond its own drain: workers, modules, the way out.
constexpr Duration after_drain = std::chrono::seconds(15);

int tell(const Status& status, int exit_status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return exit_status;
}

}  // namespace

int run(const RunOptions& given) {
  RunOptions options = given;
  // The node runs in the same folder, but what is shown and kept should not depend on it.
  std::error_code error;
  options.data =
      std::filesystem::absolute(options.data.empty() ? os::default_state_folder() : options.data, error).string();
  os::ignore_broken_pipes();

  supervisor::SupervisorOptions supervised;
  supervised.node_argv = {"shunt", "node"};
  for (auto& argument : to_arguments(options)) supervised.node_argv.push_back(std::move(argument));
  supervised.data_folder = options.data;
  supervised.shutdown_limit = options.drain_timeout.value_or(drain_timeout_default) + after_drain;
  auto supervisor = supervisor::Supervisor::create(std::move(supervised));
  if (!supervisor) return tell(supervisor.error(), 73);
  return (*supervisor)->run();
}

int node_main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  auto options = from_arguments(arguments);
  if (!options) return tell(options.error(), 64);
  os::ignore_broken_pipes();
  os::set_process_name("shunt-node");
  // Ctrl-C in a terminal reaches the whole foreground group; the supervisor tells us what is to happen.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);

  // It loads libraries and reads manifests, and no call of a service waits for it.
  auto control = loop::EpollLoop::create({.name = "control", .slow_turn = std::chrono::milliseconds(500)});
  if (!control) return tell(control.error(), 71);
  int status = 0;
  {
    House house(**control, std::move(*options));
    house.start([&](int ended) {
      status = ended;
      (*control)->stop();
    });
    (*control)->run();
  }
  // Modules may have left threads and destructors behind; the house is down, and nothing of ours is unwritten.
  std::fflush(stdout);
  std::fflush(stderr);
  _exit(status);
}

}  // namespace shunt::node
