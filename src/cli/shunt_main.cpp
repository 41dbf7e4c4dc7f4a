// The `shunt` command: parse, then do. Nothing happens before main, and `run` forks before any thread exists.
#include <cstdlib>
#include <string_view>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "node/run.h"

namespace shunt {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

struct Do {
  int operator()(const node::RunOptions& options) const { return node::run(options); }
  int operator()(const cli::CallCommand& command) const { return cli::call(command); }
  int operator()(const cli::PsCommand& command) const { return cli::ps(command); }
  int operator()(const cli::CheckCommand& command) const { return cli::check(command); }
  int operator()(const cli::NewCommand& command) const { return cli::create(command); }
  int operator()(const cli::LogsCommand& command) const { return cli::logs(command); }
  int operator()(const cli::ProtoCommand& command) const { return cli::proto(command); }
  int operator()(const cli::ReloadCommand& command) const { return cli::reload(command); }
  int operator()(const cli::StopCommand& command) const { return cli::stop(command); }
  int operator()(const cli::VersionCommand& command) const { return cli::version(command); }
  int operator()(const cli::HelpCommand& command) const { return cli::help(command); }
  int operator()(const cli::CompletionsCommand& command) const { return cli::completions(command); }
};

int run(int argc, char** argv) {
  // Processes that Shunt starts of itself: not for people, so not in the help.
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "node") return node::node_main(argc - 1, argv + 1);
  if (name == "worker") return node::worker_main(argc - 1, argv + 1);
  if (name == "describe" || name == "describe-module") return node::describe_main(argc - 1, argv + 1);

  const auto command = cli::parse_command_line(argc, argv, environment);
  if (!command) {
    cli::write_out(command.error().out);
    cli::write_err(command.error().err);
    return command.error().code;
  }
  return std::visit(Do(), *command);
}

}  // namespace
}  // namespace shunt

int main(int argc, char** argv) { return shunt::run(argc, argv); }
