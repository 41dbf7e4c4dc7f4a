#pragma once
// The manifest: shunt.json as typed, checked values that still know where in the file they stand, so that what is found
// out later (a module that does not load) is told at its line too.
//
// What is checked here: each file by itself (load_app), apps against each other (check_together), against where the node
// listens (check_listen), and against what the code says of itself (merge_described). A bad manifest never stops other
// apps: every diagnostic belongs to one file. Reads files; never runs anything.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "call/definition.h"
#include "manifest/diagnostic.h"
#include "manifest/source.h"

namespace shunt::manifest {

inline constexpr std::string_view file_name = "shunt.json";
inline constexpr std::size_t file_bytes_max = 1 << 20;
inline constexpr std::size_t services_max = 256;   ///< Of one app.
inline constexpr std::size_t commands_max = 1024;  ///< Of one service.

enum class Backend : std::uint8_t {
  thread,   ///< In the node's process.
  process,  ///< In workers of its own.
};

/// How the node speaks to a service's workers.
enum class WorkerLink : std::uint8_t {
  automatic,  ///< Shared memory where it is to be had, else a unix socket.
  shm,        ///< Shared memory, or not at all.
  unix_,      ///< A unix socket.
};

/// How a service is run. The defaults are those of the manifest.
struct EngineOptions {
  Backend backend = Backend::process;  ///< thread for c++ where the manifest says nothing.
  /// Workers that are kept up. Reason for one: what a service keeps in memory is then in one place.
  int pool_min = 1;
  int pool_limit = 1;                       ///< Workers at most; where only pool-min is given, as many as that.
  int queue_limit = 100;                    ///< Calls that wait for a worker; one more is refused at once.
  int concurrency = 10;                     ///< Calls at once in one worker.
  int crashlog_limit = 50;                  ///< Lines of output kept of a worker that ended.
  WorkerLink link = WorkerLink::automatic;  ///< Agrees with the placement: see read_placement().
  int threads = 0;                          ///< Threads of the service's own for a c++ module; 0: the serving loops.
  Duration startup_timeout = std::chrono::seconds(10);      ///< From spawn to ready.
  Duration heartbeat_timeout = std::chrono::seconds(30);    ///< Silence after which a worker counts as hung.
  Duration termination_timeout = std::chrono::seconds(10);  ///< From the order to end to SIGKILL.

  /// Whatever differs: a service must run anew for it.
  bool operator==(const EngineOptions&) const = default;
};

/// Which pages of other origins may call a service from a browser.
struct Cors {
  std::vector<std::string> origins;  ///< "https://app.example", in lower case; or "*" alone: any.
  std::vector<std::string> headers;  ///< Beside those that every protocol here needs, in lower case; "*": any.
  bool credentials = false;          ///< With cookies and the like. Never with the origin "*".
  Duration max_age = std::chrono::minutes(10);  ///< How long a browser may remember the answer.
};

/// Types that a service's code was generated from.
struct DescribedProto {
  struct Messages {
    std::string request;   ///< Full name of the message: "shop.v1.Item".
    std::string response;  ///< The same.
  };
  std::vector<std::string> files;  ///< Serialized google.protobuf.FileDescriptorProto, each after those it imports.
  std::map<std::string, Messages, std::less<>> messages;  ///< By command.
};

struct ServiceManifest {
  call::ServiceDefinition definition;  ///< What the manifest alone says until merge_described().
  std::string type;                    ///< "c++", "python" or "executable".
  /// First the code's file, as an absolute path; then what the manifest adds.
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::vector<std::string> uses;  ///< As written; definition.uses is what they come to.
  /// What the manifest says of its commands; definition.commands is what they come to with the code's word.
  std::map<std::string, call::CommandDefinition, std::less<>> commands;
  /// The interpreter of a python service: an absolute path, a bare name to be found in PATH, or empty: the default.
  std::string python;
  call::Encoding encoding = call::Encoding::json;  ///< Of the commands that do not say their own.
  /// The .proto files that declare its messages, absolute.
  std::vector<std::filesystem::path> proto;
  /// The method that a command is, where it is said: "shop.v1.Items/GetItem".
  std::map<std::string, std::string, std::less<>> methods;
  /// Where in the code each command stands, such as "cart.py:12"; see merge_described().
  std::map<std::string, std::string, std::less<>> places;
  /// What the code says of its protobuf types; see merge_described().
  DescribedProto described_proto;
  EngineOptions engine;
  std::filesystem::path folder;  ///< The app's, absolute. Workers run in it.
  std::filesystem::path tokens;  ///< The file of bearer tokens, absolute; empty without `auth: token`.
  std::optional<Cors> cors;
  bool expose_said = false;  ///< The manifest has the key, whatever its value.
  bool auth_said = false;

  /// Where keys stand: "args", "engine.pool-limit", "commands.get.effect", "uses[0]". A key that is not in the file has
  /// no entry; "" is the service itself.
  std::map<std::string, Span, std::less<>> keys;
  // Owners: the ServiceManifests and the AppManifest of one file. It is immutable.
  std::shared_ptr<const Source> source;

  [[nodiscard]] bool says(std::string_view key) const { return keys.contains(key); }
  /// The place of a key's value, or of the service where it does not say the key.
  [[nodiscard]] Place place_of(std::string_view key) const;
};

/// Limits of the gateway; what the manifest does not say is left to the flags and the gateway's defaults.
struct HttpLimits {
  std::optional<std::uint64_t> header_limit;      ///< Bytes of one request's line and headers.
  std::optional<std::uint64_t> body_limit;        ///< Bytes of one request's body.
  std::optional<std::uint32_t> connection_limit;  ///< Open at once.
  std::optional<Duration> header_timeout;         ///< From the first byte of a request to the end of its headers.
  std::optional<Duration> body_timeout;           ///< Without a byte of a body that is awaited.
  std::optional<Duration> idle_timeout;           ///< Between requests.
  std::optional<Duration> write_timeout;          ///< Without the client taking a byte of its answer.
};

struct AppManifest {
  std::string name;
  std::string version;
  std::string description;
  std::filesystem::path folder;     ///< Absolute.
  std::string file;                 ///< As the user named it, for messages.
  std::filesystem::path path;       ///< The same file, absolute.
  std::vector<std::string> listen;  ///< "ADDR:PORT"; what --listen and SHUNT_LISTEN fall back to.
  HttpLimits http;
  std::vector<ServiceManifest> services;          ///< In the order of the file; none yet in an app that was just made.
  bool single = false;                            ///< An app of one service, without `services`.
  std::map<std::string, Span, std::less<>> keys;  ///< Of the top level: "name", "listen[0]".
  std::shared_ptr<const Source> source;           // Owners: as in ServiceManifest.
};

struct LoadResult {
  std::optional<AppManifest> app;       ///< Only where no diagnostic is an error.
  std::vector<Diagnostic> diagnostics;  ///< In the order of the file.
};

/// Reads and checks one app: `path` is its folder or its manifest.
LoadResult load_app(const std::filesystem::path& path);

/// The same of a text that stands in no file: for tests and the fuzzer. Files that it names are looked for in `folder`.
LoadResult load_text(std::string file, std::string text, const std::filesystem::path& folder);

/// What is wrong with one app because of the others. An app with an error must not be started; those before it may.
struct Conflict {
  std::size_t app = 0;  ///< Index into what was checked.
  Diagnostic diagnostic;
};
std::vector<Conflict> check_together(std::span<const AppManifest> apps);

/// Where the node listens, as far as it matters to who may reach it.
struct Listening {
  bool loopback = true;     ///< Only there.
  bool expose_all = false;  ///< --dev.
};
/// Off loopback every service that can be reached must say how its callers are authenticated.
std::vector<Diagnostic> check_listen(const AppManifest& app, Listening listening);

/// Takes what the code says of itself into `service.definition`. Nothing is changed where a diagnostic is an error.
/// The JSON is the SDKs': {"description", "version", "commands": {NAME: {"description", "request", "response", "effect",
/// "stream", "timeout", "blocking", "encoding", "request-message", "response-message", "place"}}, "descriptors"}; "place"
/// says where in the code, such as "cart.py:12".
std::vector<Diagnostic> merge_described(ServiceManifest& service, std::string_view description_json);

/// An error about a key of a service that was loaded well.
Diagnostic diagnostic_at(const ServiceManifest& service, std::string_view key, std::string_view id, std::string message,
                         std::string known = {}, std::string fix = {});
Diagnostic diagnostic_at(const AppManifest& app, std::string_view key, std::string_view id, std::string message,
                         std::string known = {}, std::string fix = {});

/// The node's way to tell one: the first line of the diagnostic with its id, as failed_precondition.
Status to_status(const Diagnostic& diagnostic);

}  // namespace shunt::manifest
