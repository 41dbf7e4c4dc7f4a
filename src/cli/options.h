#pragma once
// What each command was asked to do: plain values, filled in by command_line.cpp, read by the file of the command.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/time.h"
#include "node/run.h"

namespace shunt::cli {

/// Exit codes, besides 0, 1 and the numbers of call statuses (1 to 16). sysexits.h's.
inline constexpr int exit_usage = 64;
inline constexpr int exit_unavailable = 69;

/// Reads one variable of the environment; an argument, so that tests have their own.
using Environment = std::function<std::optional<std::string>(const char* name)>;

/// Which node a command speaks to: `at` if given, else the admin socket in `data`.
struct NodeAddress {
  std::string at;    ///< A URL, ADDR:PORT, unix:SOCKET, or the data folder of a node.
  std::string data;  ///< Data folder. Absolute.

  // For https://.
  std::string cacert = {};  ///< PEM file of whom to trust; empty: the system's.
  std::string cert = {};    ///< PEM file that says who we are, for nodes that ask; empty: none.
  std::string key = {};     ///< Its key.
  bool insecure = false;    ///< Trust whoever answers.
};

struct CallCommand {
  NodeAddress node;
  std::string target;                   ///< SERVICE.COMMAND
  std::optional<std::string> argument;  ///< JSON, "-" for stdin, "@FILE"; nothing: {}.
  std::optional<Duration> timeout;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::string content_type;  ///< When set, the argument is sent as it is, under this type.
};

struct PsCommand {
  NodeAddress node;
  bool json = false;
  bool names = false;     ///< Only the services' names, a line each: for completions.
  bool commands = false;  ///< Only SERVICE.COMMAND, a line each: for completions.
};

struct CheckCommand {
  std::vector<std::string> paths;
  bool json = false;
};

struct NewCommand {
  std::string language;
  std::string name;
};

struct LogsCommand {
  NodeAddress node;
  std::string service;  ///< Empty: every service.
  bool follow = false;
  std::uint32_t lines = 100;
  bool json = false;
};

struct ProtoCommand {
  NodeAddress node;
  std::string service;
  std::string out;             ///< Folder to write all files to; empty: the service's own to stdout.
  std::string descriptor_set;  ///< File to write descriptors to, "-" for stdout; empty: text.
};

struct AppCommand {
  enum class Action { create, attach_lib, attach_exec, detach, set, get, state, list };
  Action action = Action::list;
  NodeAddress node;
  std::string app;     ///< A name, a folder or a manifest.
  std::string folder;  ///< Of create; empty: the name, here.
  std::string path;    ///< Of attach.
  std::string name;    ///< The service's; empty: after its file.
  std::string key;
  std::string value;
  bool json = false;
};

struct ReloadCommand {
  NodeAddress node;
  bool json = false;
};

struct ExplainCommand {
  NodeAddress node;
  std::string caller;  ///< A service, or "gateway", "operator".
  std::string callee;  ///< A service, or SERVICE.COMMAND.
  bool json = false;
};

struct StopCommand {
  NodeAddress node;
  bool wait = true;
};

struct VersionCommand {
  bool json = false;
};

struct HelpCommand {
  std::string topic;  ///< An error's id; empty: list them.
  bool json = false;
};

struct CompletionsCommand {
  std::string shell;
};

using Command = std::variant<node::RunOptions, CallCommand, PsCommand, CheckCommand, NewCommand, LogsCommand,
                             ProtoCommand, AppCommand, ReloadCommand, ExplainCommand, StopCommand, VersionCommand,
                             HelpCommand, CompletionsCommand>;

}  // namespace shunt::cli
