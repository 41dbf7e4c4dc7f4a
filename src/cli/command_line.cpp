#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <span>

#include "base/names.h"
#include "cli/settings.h"

namespace shunt::cli {
namespace {

constexpr std::array<std::string_view, 14> command_names = {"run",  "call",    "ps",    "explain",    "check",
                                                            "new",  "logs",    "proto", "app",        "reload",
                                                            "stop", "version", "help",  "completions"};

/// What CLI11 fills in before it is made into a Command.
struct Raw {
  node::RunOptions run;
  CallCommand call;
  PsCommand ps;
  CheckCommand check;
  NewCommand create;
  LogsCommand logs;
  ProtoCommand proto;
  AppCommand app;
  ReloadCommand reload;
  ExplainCommand explain;
  StopCommand stop;
  VersionCommand version;
  HelpCommand help;
  CompletionsCommand completions;
  std::string data;
  std::string at;
  std::string cacert, cert, key;
  bool insecure = false;
  std::string tls, tls_client;
  std::optional<std::string> as_if_remote;
  std::string argument;
  std::string timeout;
  std::vector<std::string> metadata;
  std::string header_limit, body_limit, header_timeout, idle_timeout, drain_timeout;
  bool dev = false;
  bool no_dev = false;
  bool no_wait = false;
};

void add_node(CLI::App* command, Raw& raw) {
  command->add_option("--at", raw.at, "The node: http(s)://ADDR:PORT, unix:SOCKET, or its data folder")
      ->type_name("URL");
  command->add_option("--data", raw.data, "Data folder of the node (SHUNT_DATA; default ~/.local/state/shunt)")
      ->type_name("DIR");
  command->add_option("--cacert", raw.cacert, "With https://: trust who is signed by these (default: the system's)")
      ->type_name("FILE");
  command->add_option("--cert", raw.cert, "With https://: our own certificate, for a node that asks")
      ->type_name("FILE");
  command->add_option("--key", raw.key, "Its key (default: in the same file)")->type_name("FILE");
  command->add_flag("--insecure", raw.insecure, "With https://: trust whoever answers");
}

void add_json(CLI::App* command, bool& json) { command->add_flag("--json", json, "Answer in JSON, for programs"); }

void add_run(CLI::App& app, Raw& raw) {
  auto* run = app.add_subcommand("run", "Run apps: start their services and answer calls until told to stop");
  run->add_option("PATH", raw.run.paths, "App folders or manifests (shunt.json)")->required()->type_name("");
  run->add_option(
         "--listen,-l", raw.run.listen,
         "Answer HTTP there; port 0 picks one; https:// before it: over TLS; may be given several times (SHUNT_LISTEN; "
         "default 127.0.0.1:8080)")
      ->type_name("ADDR:PORT")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  run->add_option("--data", raw.data,
                  "Where it keeps its data and admin socket (SHUNT_DATA; default ~/.local/state/shunt)")
      ->type_name("DIR");
  auto* dev =
      run->add_flag("--dev", raw.dev,
                    "Expose every service to whoever reaches the address (SHUNT_DEV; default when all are loopback)");
  run->add_flag("--no-dev", raw.no_dev, "Expose only what manifests expose")->excludes(dev);
  run->add_flag("--as-if-remote{}", raw.as_if_remote,
                "Calls within the process cross a wire: latency=2ms,jitter=1ms,fault=0.01,seed=7, or some of it, after "
                "a = (SHUNT_AS_IF_REMOTE)");
  run->add_option("--tls", raw.tls, "self: speak TLS with a certificate made for development (SHUNT_TLS)")
      ->type_name("self");
  run->add_option("--tls-cert", raw.run.tls_cert,
                  "Speak TLS with this certificate, PEM, chain included (SHUNT_TLS_CERT)")
      ->type_name("FILE");
  run->add_option("--tls-key", raw.run.tls_key, "Its key (SHUNT_TLS_KEY; default: in the same file)")
      ->type_name("FILE");
  run->add_option("--tls-client-ca", raw.run.tls_client_ca,
                  "Clients show a certificate signed by one of these (SHUNT_TLS_CLIENT_CA)")
      ->type_name("FILE");
  run->add_option("--tls-client", raw.tls_client, "required (default) or optional (SHUNT_TLS_CLIENT)")
      ->type_name("HOW");
  run->add_option("--tokens", raw.run.tokens, "File of bearer tokens for services with \"auth\": \"token\"")
      ->type_name("FILE");
  run->add_option(
         "--peer", raw.run.peers,
         "Another node, whose services are called like those here: grpc://HOST:PORT, grpcs:// over TLS; may be "
         "given several times (SHUNT_PEER)")
      ->type_name("URL")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  run->add_option("--peer-key", raw.run.peer_key,
                  "File of the secret that all nodes share; without it peers come from loopback only "
                  "(SHUNT_PEER_KEY_FILE)")
      ->type_name("FILE");
  run->add_option("--peer-ca", raw.run.peer_ca, "With grpcs://: trust nodes signed by these (default: the system's)")
      ->type_name("FILE");
  run->add_option("--node-name", raw.run.node_name,
                  "What other nodes call this one (SHUNT_NODE_NAME; default: the host's name)")
      ->type_name("NAME");
  run->add_option("--loops", raw.run.loops, "Serving loops (default: one for each core it may use)")
      ->type_name("N")
      ->check(CLI::Range(1U, 1024U));
  run->add_option("--header-limit", raw.header_limit, "Bytes of a request's header; beyond: 431")->type_name("SIZE");
  run->add_option("--body-limit", raw.body_limit, "Bytes of a request's body; beyond: 413")->type_name("SIZE");
  run->add_option("--connection-limit", raw.run.connections_max, "HTTP connections at once; beyond: 503")
      ->type_name("N");
  run->add_option("--header-timeout", raw.header_timeout, "For a request's header to arrive; beyond: 408")
      ->type_name("TIME");
  run->add_option("--idle-timeout", raw.idle_timeout, "Between the requests of a connection; beyond: closed")
      ->type_name("TIME");
  run->add_option("--drain-timeout", raw.drain_timeout,
                  "For calls in flight when it is told to stop; beyond: cancelled")
      ->type_name("TIME");
  add_json(run, raw.run.json);
  run->footer(
      "Examples:\n"
      "  shunt run examples/shop\n"
      "  shunt run shop blog/shunt.json --listen 127.0.0.1:0\n"
      "  shunt run shop --listen 0.0.0.0:80 --data /var/lib/shunt\n"
      "  shunt run shop --listen https://127.0.0.1:8443 --listen 127.0.0.1:8080 --tls self\n"
      "\nPrints `ready` and its URLs when every service answers. SIGTERM or Ctrl-C: refuses new calls, ends those in "
      "flight,\n"
      "exits 0; a second one hurries. Precedence: flags, environment, manifest (`listen`), defaults.");
}

void add_call(CLI::App& app, Raw& raw) {
  auto* call = app.add_subcommand("call", "Call a command of a service and print its answer");
  call->add_option("SERVICE.COMMAND", raw.call.target, "What to call")->required()->type_name("");
  call->add_option("JSON", raw.argument, "The request: JSON, - for stdin, @FILE for a file's content (default {})")
      ->type_name("");
  add_node(call, raw);
  call->add_option("--timeout,-t", raw.timeout, "Deadline of the call: 250ms, 2s, 1m (default: the command's)")
      ->type_name("TIME");
  call->add_option("--metadata,-m", raw.metadata, "Metadata of the call; may be given several times")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  call->add_option("--content-type", raw.call.content_type, "Send the request as it is, under this type")
      ->type_name("TYPE");
  call->footer(
      "Examples:\n"
      "  shunt call prices.get '{\"sku\": \"tea\"}'\n"
      "  shunt call cart.total @basket.json --timeout 2s\n"
      "  cat photo.jpg | shunt call thumbs.make - --content-type image/jpeg > thumb.jpg\n"
      "  shunt call prices.get '{\"sku\": \"tea\"}' --at http://127.0.0.1:8080\n"
      "  shunt call shop.v1.Items.GetItem '{\"sku\": \"tea\"}' --at grpc://127.0.0.1:50051\n"
      "\nAn answer that streams is printed line by line as it comes. Several JSON values on stdin are a request that "
      "streams.\n"
      "Exit code: 0, or the status code's number (3 invalid_argument, 4 deadline_exceeded, 5 not_found, 7 "
      "permission_denied,\n"
      "8 resource_exhausted, 12 unimplemented, 13 internal, 14 unavailable, ...); 64 for a wrong command line, 69 when "
      "no\n"
      "node answers.");
}

void add_ps(CLI::App& app, Raw& raw) {
  auto* ps = app.add_subcommand("ps", "List services and their instances");
  add_node(ps, raw);
  add_json(ps, raw.ps.json);
  ps->add_flag("--names", raw.ps.names)->group("");  // Hidden: the completions ask.
  ps->add_flag("--commands", raw.ps.commands)->group("");
  ps->footer("Examples:\n  shunt ps\n  shunt ps --json | jq '.services[].state'");
}

void add_check(CLI::App& app, Raw& raw) {
  auto* check = app.add_subcommand("check", "Check manifests without running anything");
  check->add_option("PATH", raw.check.paths, "App folders or manifests (default: this folder)")->type_name("");
  add_json(check, raw.check.json);
  check->footer(
      "Examples:\n  shunt check shop\n  shunt check . --json\n\nExits 1 when there is an error; warnings are printed "
      "only.");
}

void add_new(CLI::App& app, Raw& raw) {
  auto* create = app.add_subcommand("new", "Make the folder of a new service that runs at once");
  create->add_option("LANGUAGE", raw.create.language, "python or c++")->required()->type_name("");
  create->add_option("NAME", raw.create.name, "Name of the service, and of the folder made here")
      ->required()
      ->type_name("");
  create->footer("Examples:\n  shunt new python greeter\n  shunt new c++ counter");
}

void add_logs(CLI::App& app, Raw& raw) {
  auto* logs = app.add_subcommand("logs", "Print what services logged");
  logs->add_option("SERVICE", raw.logs.service, "Only this service (default: all)")->type_name("");
  logs->add_flag("--follow,-f", raw.logs.follow, "Go on printing as they log");
  logs->add_option("--lines,-n", raw.logs.lines, "How many lines to begin with (default 100)")
      ->type_name("N")
      ->check(CLI::Range(0U, 1'000'000U));
  add_node(logs, raw);
  add_json(logs, raw.logs.json);
  logs->footer("Examples:\n  shunt logs\n  shunt logs cart -f\n  shunt logs cart -n 20 --json");
}

void add_proto(CLI::App& app, Raw& raw) {
  auto* proto = app.add_subcommand("proto", "Print the protobuf types of a service, as a .proto file");
  proto->add_option("SERVICE", raw.proto.service, "Whose types")->required()->type_name("");
  auto* out = proto->add_option("--out,-o", raw.proto.out, "Write all its files below that folder")->type_name("DIR");
  proto
      ->add_option("--descriptor-set", raw.proto.descriptor_set,
                   "Write a FileDescriptorSet instead, with all imports; - for stdout")
      ->type_name("FILE")
      ->excludes(out);
  add_node(proto, raw);
  proto->footer(
      "Examples:\n"
      "  shunt proto shop.cart > cart.proto\n"
      "  shunt proto shop.cart --out protos\n"
      "  shunt proto shop.cart --descriptor-set cart.pb && grpcurl -protoset cart.pb list\n"
      "\nA service without .proto files has types that follow from its code: Python's hints, C++ structs, schemas. "
      "Their "
      "names\n"
      "and numbers stay when fields and commands are added.");
}

void add_app(CLI::App& top, Raw& raw) {
  using Action = AppCommand::Action;
  auto* app = top.add_subcommand("app", "Make apps, attach services to them, and change them while they run");
  app->require_subcommand(1);
  AppCommand& to = raw.app;
  const auto add = [&](const char* name, const char* what, Action action) {
    auto* command = app->add_subcommand(name, what);
    command->callback([&to, action] { to.action = action; });
    add_node(command, raw);
    add_json(command, to.json);
    return command;
  };
  const auto argument = [](CLI::App* command, const char* name, std::string& value, const char* what) {
    command->add_option(name, value, what)->required()->type_name("");
  };
  auto* create = add("create", "Make the folder of an app, with a manifest", Action::create);
  argument(create, "NAME", to.app, "Its name");
  create->add_option("--folder", to.folder, "Where (default: ./NAME)")->type_name("DIR");
  for (const bool library : {true, false}) {
    auto* attach =
        library ? add("attach-lib", "Add a shared library as a service, in the node's process", Action::attach_lib)
                : add("attach-exec", "Add a program as a service, in processes of its own", Action::attach_exec);
    argument(attach, "PATH", to.path, library ? "The library" : "The program; it speaks the worker protocol");
    argument(attach, "APP", to.app, "A name, a folder or a manifest");
    attach->add_option("--name", to.name, "The service's name (default: the file's)")->type_name("SERVICE");
  }
  auto* detach = add("detach", "Take a service out of an app", Action::detach);
  argument(detach, "SERVICE", to.name, "Which");
  argument(detach, "APP", to.app, "Of which app");
  auto* set = add("set", "Set a key of an app's manifest", Action::set);
  argument(set, "APP", to.app, "Of which app");
  argument(set, "KEY", to.key, "Its parts with dots between: prices.engine.backend");
  argument(set, "VALUE", to.value, "JSON, or a plain word");
  auto* get = add("get", "Print a key of an app's manifest, or all of it", Action::get);
  argument(get, "APP", to.app, "Of which app");
  get->add_option("KEY", to.key, "Its parts with dots between")->type_name("");
  auto* state = add("state", "What runs of an app", Action::state);
  argument(state, "APP", to.app, "Which");
  add("list", "The apps that are known: those of the node, and those made here", Action::list);
  app->footer(
      "Examples:\n"
      "  shunt app create shop\n"
      "  shunt app attach-lib build/libprices.so shop\n"
      "  shunt app attach-exec build/stock shop --name stock\n"
      "  shunt app set shop prices.engine.backend process\n"
      "  shunt app state shop\n"
      "\nWhere a node runs the app, the manifest is changed and the node takes it up: both or neither. Else the "
      "manifest "
      "alone.");
}

void add_reload(CLI::App& app, Raw& raw) {
  auto* reload = app.add_subcommand("reload", "Take up what manifests and code say now, without losing a call");
  add_node(reload, raw);
  add_json(reload, raw.reload.json);
  reload->footer(
      "Examples:\n  shunt reload\n  shunt reload --json | jq '.services[] | select(.change != \"same\")'\n"
      "\nWhat changed is started beside what runs, and takes its place when it is ready: all of it or nothing. What "
      "ran "
      "before\n"
      "ends its open calls first. Exits 1 when the node goes on as it was. SIGHUP to the node does the same.");
}

void add_explain(CLI::App& app, Raw& raw) {
  auto* explain = app.add_subcommand("explain", "Tell which way a call takes, why, and what was measured of it");
  explain->add_option("CALLER", raw.explain.caller, "A service, or: gateway, operator")->required()->type_name("");
  explain->add_option("CALLEE", raw.explain.callee, "A service, or SERVICE.COMMAND")->required()->type_name("");
  add_node(explain, raw);
  add_json(explain, raw.explain.json);
  explain->footer(
      "Examples:\n  shunt explain cart prices\n  shunt explain gateway shop.prices.get --json | jq .outcome\n"
      "\nExits 0 when the call would go, or wait for a slot; 1 when it is refused or there is nowhere to go.");
}

void add_stop(CLI::App& app, Raw& raw) {
  auto* stop = app.add_subcommand("stop", "Stop the node: it refuses new calls, ends those in flight, and exits");
  stop->add_flag("--no-wait", raw.no_wait, "Return at once instead of when it has ended");
  add_node(stop, raw);
  stop->footer("Examples:\n  shunt stop\n  shunt stop --data /var/lib/shunt");
}

void add_rest(CLI::App& app, Raw& raw) {
  auto* version = app.add_subcommand("version", "Print the version");
  add_json(version, raw.version.json);
  auto* help = app.add_subcommand("help", "Explain an error by its id, or list them");
  help->add_option("ERROR-ID", raw.help.topic, "Such as S2010, or the name of a command")->type_name("");
  add_json(help, raw.help.json);
  help->footer("Examples:\n  shunt help S1002\n  shunt help run\n  shunt help");
  auto* completions = app.add_subcommand("completions", "Print a completion script for a shell");
  completions->add_option("SHELL", raw.completions.shell, "bash, zsh or fish")->required()->type_name("");
  completions->footer(
      "Examples:\n"
      "  shunt completions bash > ~/.local/share/bash-completion/completions/shunt\n"
      "  shunt completions zsh > ~/.zfunc/_shunt           # with fpath+=~/.zfunc in ~/.zshrc\n"
      "  shunt completions fish > ~/.config/fish/completions/shunt.fish");
}

Exit wrong(std::string_view command, std::string_view what) {
  const std::string name = command.empty() ? "shunt" : fmt::format("shunt {}", command);
  return {exit_usage, "", fmt::format("S5016 invalid_argument: {}: {}\nType: {} --help\n", name, what, name)};
}

/// Of the command, or of the command below it that was asked for.
std::string help_of(CLI::App& command) {
  const auto below = command.get_subcommands();
  return below.empty() ? command.help("shunt") : below.front()->help("shunt " + command.get_name());
}

Exit wrong(const Status& status) { return {exit_usage, "", status.to_string() + "\n"}; }

/// The option of the command that is nearest to one that does not exist.
std::string suggestion(const CLI::App& command, const std::string& wrong_option) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  std::vector<std::string_view> views(names.begin(), names.end());
  const auto near = nearest(wrong_option.substr(0, wrong_option.find('=')), views);
  return near ? fmt::format(" The nearest is {}.", *near) : "";
}

std::string explain(const CLI::App& app, const CLI::App* command, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && command != nullptr) {
    for (const std::string& extra : app.remaining(true)) {
      if (extra.starts_with("-") && extra.size() > 1)
        return fmt::format("there is no option {}.{}", extra, suggestion(*command, extra));
      return fmt::format("'{}' is one argument too many.", extra);
    }
  }
  return error.what();
}

Result<void> read_into(std::optional<Duration>& to, std::string_view flag, const std::string& text) {
  if (text.empty()) return {};
  auto parsed = parse_duration(text);
  if (!parsed) return fail(Code::invalid_argument, "S5016", fmt::format("{}: {}", flag, parsed.error().message()));
  to = *parsed;
  return {};
}

Result<void> read_into(std::optional<std::uint64_t>& to, std::string_view flag, const std::string& text) {
  if (text.empty()) return {};
  auto parsed = parse_size(text);
  if (!parsed) return fail(Code::invalid_argument, "S5016", fmt::format("{}: {}", flag, parsed.error().message()));
  to = *parsed;
  return {};
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error).lexically_normal().string();
  std::string result = error ? path : full;
  while (result.size() > 1 && result.back() == '/') result.pop_back();
  return result;
}

Result<std::string> data_folder(const Raw& raw, const Settings& settings, const Environment& environment) {
  if (!raw.data.empty()) return absolute(raw.data);
  if (!settings.data.empty()) return absolute(settings.data);
  return default_data_folder(environment);
}

Result<NodeAddress> node_address(const Raw& raw, const Settings& settings, const Environment& environment) {
  const bool secure = raw.at.starts_with("https://") || raw.at.starts_with("grpcs://");
  if (!secure && (raw.insecure || !raw.cacert.empty() || !raw.cert.empty() || !raw.key.empty()))
    return fail(Code::invalid_argument, "S5016",
                "--cacert, --cert, --key and --insecure are for a node that is named with --at https://ADDR:PORT.");
  if (!raw.key.empty() && raw.cert.empty())
    return fail(Code::invalid_argument, "S5016", "--key: is of no use without --cert.");
  NodeAddress node;
  node.at = raw.at;
  node.cacert = raw.cacert;
  node.cert = raw.cert;
  node.key = raw.key.empty() ? raw.cert : raw.key;
  node.insecure = raw.insecure;
  // With --at no data folder is needed, nor a home.
  if (raw.at.empty()) {
    SHUNT_TRY(node.data, data_folder(raw, settings, environment));
  }
  return node;
}

Result<void> finish_tls(Raw& raw, const Settings& settings) {
  node::RunOptions& run = raw.run;
  const auto wrong = [](std::string_view what) { return fail(Code::invalid_argument, "S5016", std::string(what)); };
  // What says which certificate goes together: flags replace the environment's as a whole.
  if (raw.tls.empty() && run.tls_cert.empty() && run.tls_key.empty()) {
    raw.tls = settings.tls;
    run.tls_cert = settings.tls_cert;
    run.tls_key = settings.tls_key;
  }
  if (run.tls_client_ca.empty()) run.tls_client_ca = settings.tls_client_ca;
  if (raw.tls_client.empty()) raw.tls_client = settings.tls_client;
  if (!raw.tls.empty() && raw.tls != "self")
    return wrong(
        fmt::format("--tls {}: may only be self, a certificate made for development. Files are given with "
                    "--tls-cert and --tls-key.",
                    raw.tls));
  run.tls_self = !raw.tls.empty();
  if (run.tls_self && !run.tls_cert.empty()) return wrong("--tls self and --tls-cert: only one of them can be meant.");
  if (!run.tls_key.empty() && run.tls_cert.empty()) return wrong("--tls-key: is of no use without --tls-cert.");
  if (run.tls_key.empty()) run.tls_key = run.tls_cert;
  if (!raw.tls_client.empty() && raw.tls_client != "required" && raw.tls_client != "optional")
    return wrong(fmt::format("--tls-client {}: may be required or optional.", raw.tls_client));
  if (!raw.tls_client.empty() && run.tls_client_ca.empty())
    return wrong("--tls-client: needs --tls-client-ca FILE, which says who signs clients' certificates.");
  if (!run.tls_client_ca.empty() && !run.tls_self && run.tls_cert.empty())
    return wrong(
        "--tls-client-ca: needs a certificate of the node too: --tls-cert FILE --tls-key FILE, or --tls self.");
  run.tls_client_required = raw.tls_client != "optional";
  for (std::string* path : {&run.tls_cert, &run.tls_key, &run.tls_client_ca})
    if (!path->empty()) *path = absolute(*path);
  return {};
}

Result<void> finish_peers(Raw& raw, const Settings& settings) {
  node::RunOptions& run = raw.run;
  if (run.peers.empty()) run.peers = settings.peers;
  for (const std::string& each : run.peers) {
    const std::string_view text = each;
    const std::size_t scheme = text.find("://");
    const bool known = scheme == std::string_view::npos || text.starts_with("grpc://") || text.starts_with("grpcs://");
    if (!known || !is_listen_address(scheme == std::string_view::npos ? text : text.substr(scheme + 3)))
      return fail(
          Code::invalid_argument, "S5064",
          fmt::format("--peer {}: is not grpc://HOST:PORT (grpcs:// over TLS), such as grpc://10.0.0.2:8080.", each));
  }
  if (run.peer_key.empty()) run.peer_key = settings.peer_key;
  if (run.node_name.empty()) run.node_name = settings.node_name;
  if (run.node_name.size() > 64 ||
      std::ranges::any_of(run.node_name, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return fail(Code::invalid_argument, "S5016",
                fmt::format("--node-name '{}': is at most 64 characters, without spaces.", run.node_name));
  for (std::string* path : {&run.peer_key, &run.peer_ca})
    if (!path->empty()) *path = absolute(*path);
  return {};
}

Result<Command> finish_run(Raw& raw, const Settings& settings, const Environment& environment) {
  node::RunOptions& run = raw.run;
  for (const std::string& each : run.listen)
    if (!is_listen_address(each))
      return fail(Code::invalid_argument, "S5016",
                  fmt::format("--listen {}: is not ADDR:PORT, such as 127.0.0.1:8080 or [::1]:8080.", each));
  if (run.listen.empty()) run.listen = settings.listen;
  SHUNT_CHECK(finish_tls(raw, settings));
  SHUNT_CHECK(finish_peers(raw, settings));
  SHUNT_TRY(run.data, data_folder(raw, settings, environment));
  if (raw.dev || raw.no_dev) {
    run.dev = raw.dev;
  } else {
    run.dev = settings.dev;
  }
  run.as_if_remote = raw.as_if_remote ? raw.as_if_remote : settings.as_if_remote;
  if (run.as_if_remote) SHUNT_CHECK(node::check_as_if_remote(*run.as_if_remote));
  SHUNT_CHECK(read_into(run.header_bytes_max, "--header-limit", raw.header_limit));
  SHUNT_CHECK(read_into(run.body_bytes_max, "--body-limit", raw.body_limit));
  SHUNT_CHECK(read_into(run.header_timeout, "--header-timeout", raw.header_timeout));
  SHUNT_CHECK(read_into(run.idle_timeout, "--idle-timeout", raw.idle_timeout));
  SHUNT_CHECK(read_into(run.drain_timeout, "--drain-timeout", raw.drain_timeout));
  return std::move(run);
}

/// A name and value that may stand in a header line.
bool is_metadata(std::string_view key, std::string_view value) {
  const auto token = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  const auto bad = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; };
  return !key.empty() && std::ranges::all_of(key, token) && std::ranges::none_of(value, bad);
}

/// Headers that say where a request ends, or how long it may take: they are ours to set.
bool is_reserved(std::string_view key) {
  constexpr std::string_view names[] = {
      "host",    "connection", "content-length", "content-type", "transfer-encoding",  "te",
      "trailer", "expect",     "upgrade",        "keep-alive",   "connect-timeout-ms", "connect-protocol-version"};
  std::string lower(key);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return std::ranges::find(names, lower) != std::end(names);
}

Result<Command> finish_call(Raw& raw, const CLI::App& command, const Settings& settings,
                            const Environment& environment) {
  CallCommand& call = raw.call;
  const auto split = split_target(call.target);
  if (!split || split->first.empty() || split->second.empty() ||
      call.target.find_first_of("/?# \t\r\n") != std::string::npos)
    return fail(
        Code::invalid_argument, "S5016",
        fmt::format("'{}' is not SERVICE.COMMAND, such as prices.get. `shunt ps` lists the services.", call.target));
  if (command.get_option("JSON")->count() > 0) call.argument = raw.argument;
  SHUNT_CHECK(read_into(call.timeout, "--timeout", raw.timeout));
  if (call.timeout && call.timeout->count() <= 0)
    return fail(Code::invalid_argument, "S5016", "--timeout: must be more than zero.");
  for (const std::string& each : raw.metadata) {
    const auto equals = each.find('=');
    if (equals == std::string::npos || !is_metadata(each.substr(0, equals), each.substr(equals + 1)))
      return fail(Code::invalid_argument, "S5016",
                  fmt::format("--metadata '{}': is not KEY=VALUE, such as user=ann.", each));
    if (is_reserved(each.substr(0, equals)))
      return fail(
          Code::invalid_argument, "S5016",
          fmt::format("--metadata '{}': that name belongs to HTTP itself. See --timeout and --content-type.", each));
    call.metadata.emplace_back(each.substr(0, equals), each.substr(equals + 1));
  }
  if (!is_metadata("k", call.content_type))
    return fail(Code::invalid_argument, "S5016", "--content-type: has a control character.");
  SHUNT_TRY(call.node, node_address(raw, settings, environment));
  return std::move(call);
}

Result<Command> finish(Raw& raw, const CLI::App& command, const Environment& environment) {
  const std::string& name = command.get_name();
  if (name == "check") {
    if (raw.check.paths.empty()) raw.check.paths = {"."};
    return std::move(raw.check);
  }
  if (name == "new") return std::move(raw.create);
  if (name == "version") return raw.version;
  if (name == "help") return std::move(raw.help);
  if (name == "completions") return std::move(raw.completions);
  SHUNT_TRY(const Settings settings, load_settings(environment));
  if (name == "run") return finish_run(raw, settings, environment);
  if (name == "call") return finish_call(raw, command, settings, environment);
  SHUNT_TRY(NodeAddress node, node_address(raw, settings, environment));
  if (name == "ps") {
    raw.ps.node = std::move(node);
    return std::move(raw.ps);
  }
  if (name == "logs") {
    raw.logs.node = std::move(node);
    return std::move(raw.logs);
  }
  if (name == "proto") {
    raw.proto.node = std::move(node);
    return std::move(raw.proto);
  }
  if (name == "app") {
    raw.app.node = std::move(node);
    if (raw.app.node.data.empty()) {
      SHUNT_TRY(raw.app.node.data, data_folder(raw, settings, environment));
    }
    return std::move(raw.app);
  }
  if (name == "reload") {
    raw.reload.node = std::move(node);
    return std::move(raw.reload);
  }
  if (name == "explain") {
    raw.explain.node = std::move(node);
    return std::move(raw.explain);
  }
  raw.stop.node = std::move(node);
  raw.stop.wait = !raw.no_wait;
  return std::move(raw.stop);
}

}  // namespace

std::expected<Command, Exit> parse_command_line(int argc, const char* const* argv, const Environment& environment) {
  Raw raw;
  CLI::App app("Hosts services written in C++ and Python, and lets them call each other by name.", "shunt");
  app.require_subcommand(0, 1);
  app.set_help_flag("--help,-h", "Print this, or a command's own help");
  bool version = false;
  app.add_flag("--version", version, "Print the version");
  app.get_formatter()->column_width(34);
  add_run(app, raw);
  add_call(app, raw);
  add_ps(app, raw);
  add_logs(app, raw);
  add_check(app, raw);
  add_new(app, raw);
  add_proto(app, raw);
  add_app(app, raw);
  add_reload(app, raw);
  add_explain(app, raw);
  add_stop(app, raw);
  add_rest(app, raw);
  app.footer(
      "Examples:\n"
      "  shunt new python greeter && shunt run greeter\n"
      "  shunt call greeter.greet '{\"name\": \"Ann\"}'\n"
      "\n`shunt COMMAND --help` tells more of each.");

  if (argc > 1 && argv[1][0] != '-' &&
      std::ranges::find(command_names, std::string_view(argv[1])) == command_names.end()) {
    const auto near = nearest(argv[1], command_names);
    return std::unexpected(Exit{
        exit_usage, "",
        fmt::format("S5016 invalid_argument: there is no command '{}'. {}There are: {}.\n", argv[1],
                    near ? fmt::format("The nearest is: shunt {}. ", *near) : "", fmt::join(command_names, ", "))});
  }
  const auto chosen = [&]() -> CLI::App* {
    const auto parsed = app.get_subcommands();
    return parsed.empty() ? nullptr : parsed.front();
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(Exit{0, chosen() != nullptr ? help_of(*chosen()) : app.help(), ""});
  } catch (const CLI::ParseError& error) {
    const CLI::App* command = chosen();
    return std::unexpected(wrong(command != nullptr ? command->get_name() : "", explain(app, command, error)));
  }
  if (version) return VersionCommand{};
  const CLI::App* command = chosen();
  if (command == nullptr) return std::unexpected(Exit{argc > 1 ? exit_usage : 0, app.help(), ""});
  if (command->get_name() == "help" && std::ranges::find(command_names, raw.help.topic) != command_names.end())
    return std::unexpected(Exit{0, app.get_subcommand(raw.help.topic)->help("shunt"), ""});
  auto finished = finish(raw, *command, environment);
  if (!finished) return std::unexpected(wrong(finished.error()));
  return std::move(*finished);
}

}  // namespace shunt::cli
