// The `shunt` command: parse, then do. Nothing happens before main, and `run` forks before any thread exists.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "cli/app.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "node/run.h"
#include "os/memory.h"

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
  int operator()(const cli::ExplainCommand& command) const { return cli::explain(command); }
  int operator()(const cli::ProtoCommand& command) const { return cli::proto(command); }
  int operator()(const cli::AppCommand& command) const { return cli::app(command); }
  int operator()(const cli::ReloadCommand& command) const { return cli::reload(command); }
  int operator()(const cli::StopCommand& command) const { return cli::stop(command); }
  int operator()(const cli::VersionCommand& command) const { return cli::version(command); }
  int operator()(const cli::HelpCommand& command) const { return cli::help(command); }
  int operator()(const cli::CompletionsCommand& command) const { return cli::completions(command); }
};

int run(int argc, char** argv) {
  // Processes that Shunt starts of itself: not for people, so not in the help.
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "node" || name == "worker") os::keep_freed_memory();
  if (name == "node") return node::node_main(argc - 1, argv + 1);
  if (name == "worker") return node::worker_main(argc - 1, argv + 1);
  if (name == "describe" || name == "describe-module") return node::describe_main(argc - 1, argv + 1);

  // By the name of cpps it has other words for `shunt app`.
  std::vector<std::string> words;
  std::vector<const char*> pointers;
  const std::string_view program = argc > 0 ? argv[0] : "";
  if (program.substr(program.rfind('/') + 1) == "cpps") {
    const std::vector<std::string> given(argv + 1, argv + argc);
    if (given.empty() || given.front() == "--help" || given.front() == "-h") {
      cli::write_out(cli::cpps_help());
      return given.empty() ? cli::exit_usage : 0;
    }
    auto ours = cli::arguments_of_cpps(given);
    if (!ours) {
      cli::write_err(ours.error().to_string() + "\n");
      return cli::exit_usage;
    }
    words = std::move(*ours);
    words.insert(words.begin(), "shunt");
    for (const auto& each : words) pointers.push_back(each.c_str());
  } else {
    pointers.assign(argv, argv + argc);
  }
  const auto command = cli::parse_command_line(static_cast<int>(pointers.size()), pointers.data(), environment);
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
