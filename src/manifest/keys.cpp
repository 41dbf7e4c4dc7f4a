#include "manifest/keys.h"

#include <array>

namespace shunt::manifest {
namespace {

constexpr std::array app_keys = {
    Key{"description", ""}, Key{"http", ""},     Key{"listen", ""},
    Key{"name", ""},        Key{"services", ""}, Key{"version", ""},
};

constexpr std::array service_keys = {
    Key{"allow", ""},
    Key{"args", ""},
    Key{"auth", ""},
    Key{"commands", ""},
    Key{"cors", ""},
    Key{"description", ""},
    Key{"encoding", ""},
    Key{"engine", ""},
    Key{"env", ""},
    Key{"expose", ""},
    Key{"isolate", "runs the workers in a container"},
    Key{"mcp", "shows the commands to language models"},
    Key{"middleware", "puts steps around each call"},
    Key{"mount", "mounts an HTTP server at a path or a host"},
    Key{"placement", ""},
    Key{"proto", ""},
    Key{"pubsub", "publishes the service's state over ZeroMQ"},
    Key{"python", ""},
    Key{"tasks", "turns timers, cron, files and sockets into calls"},
    Key{"timeout", ""},
    Key{"tokens", ""},
    Key{"type", ""},
    Key{"uses", ""},
    Key{"version", ""},
};

constexpr std::array engine_keys = {
    Key{"backend", ""},
    Key{"concurrency", ""},
    Key{"crashlog-limit", ""},
    Key{"grow-threshold", "adds workers when the queue grows"},
    Key{"heartbeat-timeout", ""},
    Key{"idle-timeout", "ends workers that have nothing to do"},
    Key{"isolate", "runs the workers in a container"},
    Key{"link", ""},
    Key{"pool-limit", ""},
    Key{"pool-min", ""},
    Key{"queue-limit", ""},
    Key{"spawn-threshold", "adds workers when the queue grows"},
    Key{"startup-timeout", ""},
    Key{"suicide-timeout", "is the older name of idle-timeout"},
    Key{"termination-timeout", ""},
    Key{"threads", ""},
};

constexpr std::array command_keys = {
    Key{"allow", "lets callers in by command; the service's own allow works"},
    Key{"description", ""},
    Key{"effect", ""},
    Key{"encoding", ""},
    Key{"examples", "shows sample requests in the explorer and in the docs"},
    Key{"http", "gives the command a route of its own"},
    Key{"proto", ""},
    Key{"request", ""},
    Key{"response", ""},
    Key{"stream", ""},
    Key{"timeout", ""},
};

constexpr std::array http_keys = {
    Key{"body-limit", ""},     Key{"body-timeout", ""}, Key{"connection-limit", ""}, Key{"header-limit", ""},
    Key{"header-timeout", ""}, Key{"idle-timeout", ""}, Key{"write-timeout", ""},
};

constexpr std::array cors_keys = {
    Key{"credentials", ""},
    Key{"headers", ""},
    Key{"max-age", ""},
    Key{"origins", ""},
};

constexpr std::array placement_keys = {
    Key{"forbid", ""},
    Key{"pin", ""},
};

constexpr std::array<std::string_view, 3> types_ = {"c++", "executable", "python"};
constexpr std::array<std::string_view, 9> types_not_built_ = {
    "asgi", "grpc", "http", "javascript", "perl", "psgi", "python+json", "python+wsgi", "wsgi"};

// "/NAME/COMMAND" would lie under a path that the gateway answers itself; grpc is for "/grpc.health.v1.Health/Check".
constexpr std::array<std::string_view, 6> reserved_paths_ = {"grpc", "healthz", "livez", "mcp", "metrics", "readyz"};
constexpr std::array<std::string_view, 2> reserved_names_ = {"directory", "manager"};

}  // namespace

std::span<const Key> keys_of(Where where) {
  switch (where) {
    case Where::app:
      return app_keys;
    case Where::service:
      return service_keys;
    case Where::engine:
      return engine_keys;
    case Where::command:
      return command_keys;
    case Where::http:
      return http_keys;
    case Where::cors:
      return cors_keys;
    case Where::placement:
      return placement_keys;
  }
  return {};
}

std::string_view where_name(Where where) {
  switch (where) {
    case Where::app:
      return "at the top level";
    case Where::service:
      return "in a service";
    case Where::engine:
      return "in engine";
    case Where::command:
      return "in a command";
    case Where::http:
      return "in http";
    case Where::cors:
      return "in cors";
    case Where::placement:
      return "in placement";
  }
  return {};
}

std::span<const std::string_view> types() { return types_; }
std::span<const std::string_view> types_not_built() { return types_not_built_; }
std::span<const std::string_view> reserved_paths() { return reserved_paths_; }
std::span<const std::string_view> reserved_names() { return reserved_names_; }

std::string list_of(std::span<const std::string_view> names) {
  std::string out;
  for (std::string_view name : names) {
    if (!out.empty()) out += ", ";
    out += name;
  }
  return out;
}

std::vector<std::string_view> built_keys(Where where) {
  std::vector<std::string_view> out;
  for (const Key& key : keys_of(where)) {
    if (key.not_built.empty()) out.push_back(key.name);
  }
  return out;
}

}  // namespace shunt::manifest
