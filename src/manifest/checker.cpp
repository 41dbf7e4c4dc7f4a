#include "manifest/checker.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_map>

#include "base/names.h"
#include "manifest/files.h"
#include "manifest/ids.h"
#include "manifest/keys.h"
#include "manifest/placement.h"
#include "manifest/values.h"

namespace shunt::manifest {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t list_entries_max = 256;
constexpr std::string_view name_rule = "a name is a lower-case letter, then at most 62 of a-z, 0-9, - and _";

using Keys = std::map<std::string, Span, std::less<>>;

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

const Key* find_key(Where where, std::string_view name) {
  for (const Key& key : keys_of(where)) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool is_header(std::string_view name) {
  return !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string_view::npos;
}

/// As a browser writes it in Origin: no path, no slash at the end, no default port.
bool is_origin(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view host = text.substr(colon + 3);
  const bool has_default_port = (text.starts_with("http://") && host.ends_with(":80")) ||
                                (text.starts_with("https://") && host.ends_with(":443"));
  return !host.empty() && !has_default_port &&
         host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.:[]") == std::string_view::npos &&
         text.substr(0, colon).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") == std::string_view::npos;
}

class Checker {
 public:
  Checker(const std::shared_ptr<const Source>& source, const fs::path& folder, std::vector<Diagnostic>& diagnostics)
      : source_(source), folder_(folder), report_(*source, diagnostics), values_(report_) {}

  std::optional<AppManifest> app(const Node& root);

 private:
  // Shape: keys that exist, once each.
  void check_duplicates(const Node& node, bool services);
  void check_keys(const Node& node, Where where, bool single_app);
  void check_beside_services(const Node& root);
  void unknown_key(const Member& member, const std::vector<std::string_view>& known, Where where);

  // Parts.
  void app_name(const Node& root, AppManifest& app);
  void listen(const Node& root, AppManifest& app);
  void http(const Node& root, AppManifest& app);
  void services(const Member& member, AppManifest& app);
  void service(const Node& node, std::string name, Span at, AppManifest& app);
  void type(const Node& node, Span at, ServiceManifest& out);
  void args(const Node& node, Span at, ServiceManifest& out);
  void env(const Node& node, ServiceManifest& out);
  void python(const Node& node, ServiceManifest& out);
  void engine(const Node& node, ServiceManifest& out);
  void proto(const Node& node, ServiceManifest& out);
  std::optional<call::Encoding> encoding(const Node& node);
  void method(const Member& member, std::string_view command, ServiceManifest& out);
  void commands(const Node& node, ServiceManifest& out);
  void command(const Member& member, ServiceManifest& out);
  void uses(const Node& node, ServiceManifest& out);
  void allow(const Node& node, ServiceManifest& out);
  void auth(const Node& node, ServiceManifest& out);
  void cors(const Node& node, ServiceManifest& out);
  void cors_origins(const Member& member, Cors& out);
  void short_names_to_full(AppManifest& app);

  bool name_is_good(std::string_view name, Span at, std::string_view what);
  void missing_file(std::string_view key, std::string_view written, const fs::path& path, Span at, std::string fix);
  std::optional<std::string> schema(const Member& member);

  template <typename T>
  void whole(const Node& node, std::string_view key, Bounds bounds, T& out) {
    if (const Member* member = node.find(key)) {
      if (auto value = values_.integer(*member, bounds)) out = static_cast<T>(*value);
    }
  }
  template <typename T>
  void duration(const Node& node, std::string_view key, T& out) {
    if (const Member* member = node.find(key)) {
      if (auto value = values_.duration(*member)) out = *value;
    }
  }
  void prose(const Node& node, std::string_view key, std::string& out) {
    if (const Member* member = node.find(key)) out = values_.prose(*member).value_or("");
  }

  const std::shared_ptr<const Source>& source_;
  const fs::path& folder_;
  Report report_;
  Values values_;
};

std::optional<AppManifest> Checker::app(const Node& root) {
  if (root.kind != Kind::object) {
    report_.error(root.span, ids::not_an_object,
                  fmt::format("a manifest is a JSON object, this is {}", kind_name(root.kind)),
                  {.fix = R"(write { "type": "python", "args": "service.py" })"});
    return std::nullopt;
  }
  check_duplicates(root, false);
  const Member* list = root.find("services");
  if (list != nullptr) {
    check_beside_services(root);
    check_keys(root, Where::app, false);
  } else {
    check_keys(root, Where::app, true);
  }

  AppManifest app;
  app.folder = folder_;
  app.file = source_->file();
  app.source = source_;
  app.single = list == nullptr;
  for (const Member& member : root.members) app.keys.emplace(member.key, member.value.span);
  app.keys[""] = {root.span.begin, root.span.begin + 1};
  app_name(root, app);
  prose(root, "version", app.version);
  prose(root, "description", app.description);
  listen(root, app);
  http(root, app);
  if (list != nullptr) {
    services(*list, app);
  } else if (root.find("type") == nullptr && root.find("args") == nullptr) {
    report_.error({root.span.begin, root.span.begin + 1}, ids::missing_key, "there is neither a 'type' nor 'services'",
                  {.known = list_of(types()),
                   .fix = R"(for one service write "type" and "args"; for several "services": { NAME: { … } })"});
  } else {
    service(root, app.name, {root.span.begin, root.span.begin + 1}, app);
  }
  if (report_.failed()) return std::nullopt;
  short_names_to_full(app);
  return app;
}

void Checker::check_duplicates(const Node& node, bool services) {
  for (const Node& element : node.elements) check_duplicates(element, false);
  std::unordered_map<std::string_view, const Member*> first;
  for (const Member& member : node.members) {
    const auto [found, added] = first.emplace(member.key, &member);
    if (!added) {
      const int line = report_.line_of(found->second->span);
      report_.error(member.span, services ? ids::duplicate_service : ids::duplicate_key,
                    fmt::format("{} {} is here a second time; the first is in line {}", services ? "service" : "key",
                                in_quotes(member.key), line),
                    {.fix = services ? "rename one of the two" : "remove one of the two"});
    }
    check_duplicates(member.value, member.key == "services");
  }
}

void Checker::check_keys(const Node& node, Where where, bool single_app) {
  std::vector<std::string_view> known = built_keys(where);
  if (single_app) {
    for (std::string_view name : built_keys(Where::service)) {
      if (!contains(known, name)) known.push_back(name);
    }
    std::ranges::sort(known);
  }
  for (const Member& member : node.members) {
    if (report_.full()) return;
    if (contains(known, member.key)) continue;
    // Beside `services` a service's keys have had their message.
    if (where == Where::app && !single_app && find_key(Where::service, member.key) != nullptr) continue;
    const Key* here = find_key(where, member.key);
    if (here == nullptr && single_app) here = find_key(Where::service, member.key);
    if (here != nullptr) {
      report_.error(member.span, ids::not_built,
                    fmt::format("key {} is not built yet: it {}", in_quotes(member.key), here->not_built),
                    {.fix = "remove it until a version of Shunt has it"});
    } else {
      unknown_key(member, known, where);
    }
  }
}

void Checker::unknown_key(const Member& member, const std::vector<std::string_view>& known, Where where) {
  for (Where other :
       {Where::app, Where::service, Where::engine, Where::command, Where::http, Where::cors, Where::placement}) {
    const Key* key = other == where ? nullptr : find_key(other, member.key);
    if (key == nullptr || !key->not_built.empty()) continue;
    std::string fix;
    if (member.key == "name") {
      fix = where == Where::service ? "the service's key under \"services\" is its name"
                                    : "the command's key is its name";
    } else if (other == Where::app) {
      fix = "move it to the top level";
    } else if (other == Where::service || other == Where::command) {
      fix = fmt::format("move it into the {} that it is for", other == Where::service ? "service" : "command");
    } else {
      fix = fmt::format("move it into \"{}\": {{ … }}", other == Where::engine ? "engine"
                                                        : other == Where::http ? "http"
                                                        : other == Where::cors ? "cors"
                                                                               : "placement");
    }
    report_.error(member.span, ids::misplaced_key,
                  fmt::format("key {} belongs {}, not {}", in_quotes(member.key), where_name(other), where_name(where)),
                  {.fix = std::move(fix)});
    return;
  }
  std::string fix = write_nearest(member.key, known);
  if (fix.empty()) fix = "remove it";
  report_.error(member.span, ids::unknown_key,
                fmt::format("unknown key {} {}", in_quotes(member.key), where_name(where)),
                {.known = list_of(known), .fix = std::move(fix)});
}

void Checker::check_beside_services(const Node& root) {
  for (const Member& member : root.members) {
    const Key* key = find_key(Where::service, member.key);
    if (key == nullptr || find_key(Where::app, member.key) != nullptr) continue;
    if (!key->not_built.empty()) {
      report_.error(member.span, ids::not_built,
                    fmt::format("key {} is not built yet: it {}", in_quotes(member.key), key->not_built),
                    {.fix = "remove it until a version of Shunt has it"});
      continue;
    }
    report_.error(member.span, ids::beside_services,
                  fmt::format("{} stands beside 'services', but it belongs to one service", in_quotes(member.key)),
                  {.fix = "move it into the service that it is for"});
  }
}

bool Checker::name_is_good(std::string_view name, Span at, std::string_view what) {
  if (!is_service_name(name)) {
    report_.error(at, ids::bad_name, fmt::format("{} can't be the name of {}", in_quotes(name), what),
                  {.fix = std::string(name_rule)});
    return false;
  }
  if (contains(reserved_paths(), name)) {
    report_.error(at, ids::overlapping_routes,
                  fmt::format("the routes /{0}/… of {1} '{0}' overlap /{0}{2}, which is Shunt's own", name, what,
                              name == "grpc" ? ".*" : ""),
                  {.known = "reserved: " + list_of(reserved_paths()), .fix = "choose another name"});
    return false;
  }
  if (contains(reserved_names(), name)) {
    report_.error(at, ids::reserved_name,
                  fmt::format("{} is the name of a service that ships with Shunt", in_quotes(name)),
                  {.known = "reserved: " + list_of(reserved_names()), .fix = "choose another name"});
    return false;
  }
  return true;
}

void Checker::app_name(const Node& root, AppManifest& app) {
  if (const Member* member = root.find("name")) {
    auto name = values_.string(*member);
    if (name && name_is_good(*name, member->value.span, "an app")) app.name = *name;
    return;
  }
  app.name = folder_.filename().string();
  if (!is_service_name(app.name)) {
    report_.error({root.span.begin, root.span.begin + 1}, ids::bad_name,
                  fmt::format("the folder's name, {}, can't be the app's", in_quotes(app.name)),
                  {.fix = fmt::format("write \"name\": \"…\"; {}", name_rule)});
    return;
  }
  name_is_good(app.name, {root.span.begin, root.span.begin + 1}, "an app");
}

/// "127.0.0.1:8080", "[::1]:0", "localhost:80", ":8080" is not: which addresses it means differs between tools.
bool is_listen_address(std::string_view text) {
  text = split_listen(text).address;
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (!bracketed && host.contains(':')) return false;
  const bool digits = std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  if (port.empty() || port.size() > 5 || !digits || std::stoi(std::string(port)) > 65535) return false;
  return std::ranges::all_of(host, [](unsigned char c) { return std::isgraph(c) != 0; });
}

void Checker::listen(const Node& root, AppManifest& app) {
  const Member* member = root.find("listen");
  if (member == nullptr) return;
  const auto list = values_.strings(*member, Values::Single::yes, 16);
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!is_listen_address(list[i]->text)) {
      report_.error(list[i]->span, ids::bad_listen,
                    fmt::format("{} is no address to listen on", in_quotes(list[i]->text)),
                    {.fix = R"(write "ADDRESS:PORT", such as "127.0.0.1:8080" or "[::]:0"; port 0 picks a free one)"});
      continue;
    }
    app.keys.emplace(fmt::format("listen[{}]", i), list[i]->span);
    app.listen.push_back(list[i]->text);
  }
}

void Checker::http(const Node& root, AppManifest& app) {
  const Member* member = root.find("http");
  if (member == nullptr || !values_.object(*member)) return;
  const Node& node = member->value;
  check_keys(node, Where::http, false);
  for (const Member& part : node.members) app.keys.emplace("http." + part.key, part.value.span);
  auto size = [&](std::string_view key, Bounds bounds, std::optional<std::uint64_t>& out) {
    if (const Member* found = node.find(key)) out = values_.size(*found, bounds);
  };
  size("header-limit", {.min = 1024, .max = 1 << 20}, app.http.header_limit);
  size("body-limit", {.min = 1, .max = std::int64_t{1} << 40}, app.http.body_limit);
  whole(node, "connection-limit", {.min = 1, .max = 1'000'000}, app.http.connection_limit);
  duration(node, "header-timeout", app.http.header_timeout);
  duration(node, "body-timeout", app.http.body_timeout);
  duration(node, "idle-timeout", app.http.idle_timeout);
  duration(node, "write-timeout", app.http.write_timeout);
}

void Checker::services(const Member& member, AppManifest& app) {
  if (!values_.object(member)) return;
  if (member.value.members.empty()) {
    report_.warning(member.value.span, ids::empty_services, "'services' is empty",
                    {.fix = R"(write "NAME": { "type": "python", "args": "NAME.py" } into it)"});
  }
  if (member.value.members.size() > services_max) {
    report_.error(member.span, ids::too_many,
                  fmt::format("{} services in one app, at most {} are read", member.value.members.size(), services_max),
                  {.fix = "make it several apps"});
    return;
  }
  for (const Member& entry : member.value.members) {
    const bool good = name_is_good(entry.key, entry.span, "a service");
    if (!values_.object(entry)) continue;
    check_keys(entry.value, Where::service, false);
    service(entry.value, good ? entry.key : "", entry.span, app);
  }
}

void Checker::service(const Node& node, std::string name, Span at, AppManifest& app) {
  ServiceManifest out;
  out.folder = folder_;
  out.source = source_;
  out.keys[""] = at;
  for (const Member& member : node.members) out.keys.emplace(member.key, member.value.span);
  call::ServiceDefinition& definition = out.definition;
  definition.app = app.name;
  definition.full_name = app.single ? name : app.name + "." + name;
  definition.name = std::move(name);
  if (app.single) {
    definition.version = app.version;
    definition.description = app.description;
  } else {
    prose(node, "version", definition.version);
    prose(node, "description", definition.description);
    if (definition.version.empty()) definition.version = app.version;
  }

  type(node, at, out);
  args(node, at, out);
  env(node, out);
  python(node, out);
  engine(node, out);
  if (const Member* placement = node.find("placement")) check_keys(placement->value, Where::placement, false);
  read_placement(node, values_, report_, out);
  proto(node, out);
  commands(node, out);
  uses(node, out);
  allow(node, out);
  if (const Member* member = node.find("expose")) {
    definition.exposed = values_.boolean(*member).value_or(false);
    out.expose_said = true;
  }
  auth(node, out);
  cors(node, out);
  duration(node, "timeout", definition.timeout);
  app.services.push_back(std::move(out));
}

void Checker::type(const Node& node, Span at, ServiceManifest& out) {
  const Member* member = node.find("type");
  if (member == nullptr) {
    report_.error(at, ids::missing_key, "the service has no 'type'",
                  {.known = list_of(types()), .fix = R"(write "type": "python" or "type": "c++")"});
    return;
  }
  auto text = values_.string(*member);
  if (!text) return;
  if (contains(types(), *text)) {
    out.type = *text;
  } else if (contains(types_not_built(), *text)) {
    report_.error(member->value.span, ids::type_not_built, fmt::format("type {} is not built yet", in_quotes(*text)),
                  {.known = list_of(types()), .fix = "wait for a version of Shunt that has it, or use one of these"});
  } else {
    std::string fix =
        *text == "cpp" || *text == "cxx" || *text == "C++" ? R"(write "c++")" : write_nearest(*text, types());
    report_.error(member->value.span, ids::unknown_type, fmt::format("type {} does not exist", in_quotes(*text)),
                  {.known = list_of(types()), .fix = fix.empty() ? "write one of these" : std::move(fix)});
  }
}

void Checker::missing_file(std::string_view key, std::string_view written, const fs::path& path, Span at,
                           std::string fix) {
  const bool folder = is_folder(path);
  report_.error(
      at, ids::missing_file,
      fmt::format("{}: {} {}", key, in_quotes(written), folder ? "is a folder, not a file" : "does not exist"),
      {.known = beside(path), .fix = std::move(fix)});
}

void Checker::args(const Node& node, Span at, ServiceManifest& out) {
  const Member* member = node.find("args");
  if (member == nullptr) {
    report_.error(at, ids::missing_key, "the service has no 'args': the file of its code",
                  {.fix = out.type == "c++" ? R"(write "args": "build/libNAME.so")" : R"(write "args": "service.py")"});
    return;
  }
  const auto list = values_.strings(*member, Values::Single::yes, list_entries_max);
  if (list.empty()) {
    if (member->value.kind == Kind::array && member->value.elements.empty()) {
      report_.error(member->value.span, ids::missing_key, "'args' is empty",
                    {.fix = "its first entry is the file of the service's code"});
    }
    return;
  }
  for (const Node* entry : list) out.args.push_back(entry->text);
  const fs::path path = resolve(folder_, list[0]->text);
  // A type that is not known says nothing about its arguments.
  if (!out.type.empty() && !is_file(path)) {
    missing_file("args", list[0]->text, path, list[0]->span,
                 out.type == "c++" ? "build the library, or correct the path; it is relative to the manifest's folder"
                 : out.type == "executable"
                     ? "build the program, or correct the path; it is relative to the manifest's folder"
                     : "correct the path; it is relative to the manifest's folder");
  }
  if (out.type == "executable" && is_file(path) && ::access(path.c_str(), X_OK) != 0) {
    report_.error(list[0]->span, ids::missing_file, fmt::format("args: {} can't be run", in_quotes(list[0]->text)),
                  {.fix = "give it the right to: chmod +x"});
  }
  out.args[0] = path.string();
}

void Checker::env(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("env");
  if (member == nullptr || !values_.object(*member)) return;
  if (member->value.members.size() > list_entries_max) {
    report_.error(member->span, ids::too_many, fmt::format("'env' has more than {} entries", list_entries_max),
                  {.fix = "put them into a file that the service reads"});
    return;
  }
  for (const Member& entry : member->value.members) {
    const bool good =
        !entry.key.empty() && std::isdigit(static_cast<unsigned char>(entry.key[0])) == 0 &&
        std::ranges::all_of(entry.key, [](unsigned char c) { return (std::isalnum(c) != 0) || c == '_'; });
    if (!good) {
      report_.error(entry.span, ids::bad_name,
                    fmt::format("{} can't be the name of an environment variable", in_quotes(entry.key)),
                    {.fix = "use letters, digits and _, not a digit first"});
      continue;
    }
    if (entry.value.kind == Kind::string && entry.value.text.empty()) {
      out.env[entry.key] = "";  // A variable may well be empty.
    } else if (auto value = values_.string(entry)) {
      out.env[entry.key] = *value;
    }
  }
}

void Checker::python(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("python");
  if (member == nullptr) return;
  auto text = values_.string(*member);
  if (!text || out.type.empty()) return;
  if (out.type != "python") {
    report_.error(member->span, ids::key_of_type,
                  fmt::format("'python' means nothing for a service of type {}", in_quotes(out.type)),
                  {.fix = "remove it"});
    return;
  }
  // Without a slash it is a command, as in a shell.
  if (!text->contains('/')) {
    out.python = *text;
    return;
  }
  const fs::path path = resolve(folder_, *text);
  if (!is_file(path)) {
    report_.error(member->value.span, ids::missing_file, fmt::format("python: {} does not exist", in_quotes(*text)),
                  {.fix = "make the virtualenv (python3 -m venv .venv), or correct the path"});
  }
  out.python = path.string();
}

void Checker::engine(const Node& node, ServiceManifest& out) {
  EngineOptions& engine = out.engine;
  engine.backend = out.type == "c++" ? Backend::thread : Backend::process;
  const Member* member = node.find("engine");
  if (member == nullptr || !values_.object(*member)) return;
  const Node& object = member->value;
  check_keys(object, Where::engine, false);
  for (const Member& part : object.members) out.keys.emplace("engine." + part.key, part.value.span);

  if (const Member* backend = object.find("backend")) {
    const auto chosen = values_.one_of(*backend, "backend", ids::unknown_backend, {"process", "thread"});
    if (chosen) engine.backend = *chosen == 1 ? Backend::thread : Backend::process;
    if (chosen == 1 && !out.type.empty() && out.type != "c++") {
      report_.error(
          backend->value.span, ids::backend_of_type,
          fmt::format("{} {} service can't run in the node's process", out.type == "executable" ? "an" : "a", out.type),
          {.known = "thread: c++; process: c++, executable, python", .fix = R"(write "process")"});
    }
  }
  const Member* pool_min = object.find("pool-min");
  const Member* pool_limit = object.find("pool-limit");
  whole(object, "pool-min", {.max = 1024}, engine.pool_min);
  whole(object, "pool-limit", {.max = 1024}, engine.pool_limit);
  if (pool_limit == nullptr) engine.pool_limit = std::max(engine.pool_limit, engine.pool_min);
  if (pool_limit != nullptr && pool_min != nullptr && engine.pool_min > engine.pool_limit) {
    report_.error(pool_min->value.span, ids::pool_min_above_limit,
                  fmt::format("'pool-min' is {}, more than 'pool-limit', which is {} (line {})", engine.pool_min,
                              engine.pool_limit, report_.line_of(pool_limit->span)),
                  {.fix = fmt::format("write at most {}, or raise pool-limit", engine.pool_limit)});
  }
  whole(object, "queue-limit", {.max = 1'000'000}, engine.queue_limit);
  whole(object, "concurrency", {.max = 65536}, engine.concurrency);
  whole(object, "crashlog-limit", {.max = 10'000}, engine.crashlog_limit);
  whole(object, "threads", {.min = 0, .max = 256}, engine.threads);
  duration(object, "startup-timeout", engine.startup_timeout);
  duration(object, "heartbeat-timeout", engine.heartbeat_timeout);
  duration(object, "termination-timeout", engine.termination_timeout);
}

void Checker::proto(const Node& node, ServiceManifest& out) {
  out.encoding = encoding(node).value_or(call::Encoding::json);
  const Member* member = node.find("proto");
  if (member == nullptr) return;
  const auto list = values_.strings(*member, Values::Single::yes, list_entries_max);
  if (list.empty() && member->value.kind == Kind::array && member->value.elements.empty()) {
    report_.error(member->value.span, ids::missing_key, "'proto' is empty",
                  {.fix = R"(write "proto": "service.proto", or remove it)"});
  }
  for (const Node* entry : list) {
    const fs::path path = resolve(folder_, entry->text);
    if (!is_file(path)) {
      missing_file("proto", entry->text, path, entry->span,
                   "correct the path; it is relative to the manifest's folder");
    }
    out.proto.push_back(path);
  }
}

std::optional<call::Encoding> Checker::encoding(const Node& node) {
  const Member* member = node.find("encoding");
  if (member == nullptr) return std::nullopt;
  const auto i = values_.one_of(*member, "encoding", ids::unknown_encoding, {"json", "proto"});
  if (!i) return std::nullopt;
  return *i == 0 ? call::Encoding::json : call::Encoding::proto;
}

/// "package.Service/Method", as in a gRPC path.
void Checker::method(const Member& member, std::string_view command, ServiceManifest& out) {
  const auto text = values_.string(member);
  if (!text) return;
  const std::size_t slash = text->find('/');
  const bool good = slash != std::string::npos && slash > 0 && slash + 1 < text->size() &&
                    text->find('/', slash + 1) == std::string::npos && std::ranges::all_of(*text, [](unsigned char c) {
                      return (std::isalnum(c) != 0) || c == '_' || c == '.' || c == '/';
                    });
  if (!good) {
    report_.error(member.value.span, ids::bad_method,
                  fmt::format("{} names no method of a protobuf service", in_quotes(*text)),
                  {.fix = R"(write "package.Service/Method", such as "shop.v1.Items/GetItem")"});
    return;
  }
  out.methods.emplace(command, *text);
}

void Checker::commands(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("commands");
  if (member == nullptr || !values_.object(*member)) return;
  if (member->value.members.size() > commands_max) {
    report_.error(member->span, ids::too_many, fmt::format("more than {} commands in one service", commands_max),
                  {.fix = "make it several services"});
    return;
  }
  for (const Member& entry : member->value.members) {
    if (!is_command_name(entry.key)) {
      report_.error(entry.span, ids::bad_name, fmt::format("{} can't be the name of a command", in_quotes(entry.key)),
                    {.fix = "a command's name is a letter or _, then at most 62 of letters, digits, - and _"});
    } else if (values_.object(entry)) {
      command(entry, out);
    }
  }
}

void Checker::command(const Member& member, ServiceManifest& out) {
  const Node& node = member.value;
  check_keys(node, Where::command, false);
  const std::string prefix = "commands." + member.key;
  out.keys.emplace(prefix, member.span);
  for (const Member& part : node.members) out.keys.emplace(prefix + "." + part.key, part.value.span);

  call::CommandDefinition command;
  command.name = member.key;
  prose(node, "description", command.description);
  if (const Member* request = node.find("request")) command.request_schema = schema(*request).value_or("");
  if (const Member* response = node.find("response")) command.response_schema = schema(*response).value_or("");
  if (const Member* effect = node.find("effect")) {
    if (auto i = values_.one_of(*effect, "effect", ids::unknown_effect, {"any", "idempotent", "none"})) {
      command.effect = static_cast<call::Effect>(*i);
    }
  }
  if (const Member* stream = node.find("stream")) {
    if (auto i = values_.one_of(*stream, "stream", ids::unknown_stream, {"unary", "client", "server", "both"})) {
      command.stream = static_cast<call::StreamShape>(*i);
    }
  }
  duration(node, "timeout", command.timeout);
  command.encoding = encoding(node).value_or(out.encoding);
  if (const Member* bound = node.find("proto")) method(*bound, member.key, out);
  out.definition.commands.emplace(member.key, command);
  out.commands.emplace(member.key, std::move(command));
}

std::optional<std::string> Checker::schema(const Member& member) {
  if (member.value.kind == Kind::object || member.value.kind == Kind::boolean) return write_json(member.value);
  report_.error(
      member.value.span, ids::wrong_type,
      fmt::format("{} must be a JSON Schema (an object), is {}", in_quotes(member.key), kind_name(member.value.kind)),
      {.fix = R"(write { "type": "object", "properties": { … } })"});
  return std::nullopt;
}

std::vector<std::string_view> split_dots(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

void Checker::uses(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("uses");
  if (member == nullptr) return;
  for (const Node* entry : values_.strings(*member, Values::Single::no, list_entries_max)) {
    const auto parts = split_dots(entry->text);
    std::vector<call::Reach> reaches;
    if (parts.size() == 1 && is_service_name(parts[0])) {
      reaches = {{entry->text, ""}};
    } else if (parts.size() == 2 && is_service_name(parts[0]) && is_command_name(parts[1])) {
      // A command of a service, or a service by its full name: which of the two depends on what is loaded, later too.
      reaches = {{std::string(parts[0]), std::string(parts[1])}};
      if (is_service_name(parts[1])) reaches.push_back({entry->text, ""});
    } else if (parts.size() == 3 && is_service_name(parts[0]) && is_service_name(parts[1]) &&
               is_command_name(parts[2])) {
      reaches = {{fmt::format("{}.{}", parts[0], parts[1]), std::string(parts[2])}};
    } else {
      report_.error(entry->span, ids::bad_uses,
                    fmt::format("{} names neither a service nor a command", in_quotes(entry->text)),
                    {.fix = R"(write "SERVICE", "SERVICE.COMMAND", "APP.SERVICE" or "APP.SERVICE.COMMAND")"});
      continue;
    }
    out.keys.emplace(fmt::format("uses[{}]", out.uses.size()), entry->span);
    out.uses.push_back(entry->text);
    std::ranges::move(reaches, std::back_inserter(out.definition.uses));
  }
}

void Checker::allow(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("allow");
  if (member == nullptr) return;
  if (member->value.kind == Kind::array && member->value.elements.empty()) {
    report_.error(member->value.span, ids::bad_allow, "'allow' is empty: nobody could call the service",
                  {.fix = R"(leave it out for the services of the same app, name callers, or write ["*"] for all)"});
    return;
  }
  for (const Node* entry : values_.strings(*member, Values::Single::no, list_entries_max)) {
    const auto parts = split_dots(entry->text);
    if (entry->text == "*") {
      out.definition.allow_all = true;
    } else if (parts.size() <= 2 && std::ranges::all_of(parts, is_service_name)) {
      out.definition.allow.push_back(entry->text);
    } else {
      report_.error(entry->span, ids::bad_allow,
                    fmt::format("{} names no service that may call", in_quotes(entry->text)),
                    {.fix = R"(write "SERVICE", "APP.SERVICE", or "*" for every service)"});
    }
  }
}

void Checker::auth(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("auth");
  const Member* tokens = node.find("tokens");
  std::optional<std::size_t> chosen;
  if (member != nullptr) {
    out.auth_said = true;
    chosen = values_.one_of(*member, "auth", ids::unknown_auth, {"none", "token"});
    if (chosen) out.definition.auth = static_cast<call::Auth>(*chosen);
  }
  if (chosen == 1 && tokens == nullptr) {
    report_.error(member->value.span, ids::no_tokens, "'auth' is \"token\", but no file of tokens is named",
                  {.fix = R"(write "tokens": "PATH" beside it: a file with a line NAME TOKEN for each caller)"});
  }
  if (tokens == nullptr) return;
  if (member == nullptr || chosen == 0) {
    report_.error(tokens->span, ids::unused_tokens, "'tokens' is read only with \"auth\": \"token\"",
                  {.fix = R"(write "auth": "token", or remove it)"});
  }
  if (auto text = values_.string(*tokens)) {
    out.tokens = resolve(folder_, *text);
    if (!is_file(out.tokens)) {
      report_.error(tokens->value.span, ids::missing_file, fmt::format("tokens: {} does not exist", in_quotes(*text)),
                    {.fix = "write the file, with a line NAME TOKEN for each caller, or correct the path"});
    }
  }
}

void Checker::cors(const Node& node, ServiceManifest& out) {
  const Member* member = node.find("cors");
  if (member == nullptr || !values_.object(*member)) return;
  const Node& object = member->value;
  check_keys(object, Where::cors, false);
  for (const Member& part : object.members) out.keys.emplace("cors." + part.key, part.value.span);
  Cors& cors = out.cors.emplace();
  const Member* origins = object.find("origins");
  if (origins == nullptr) {
    report_.error(member->span, ids::missing_key, "'cors' has no 'origins': no page could call",
                  {.fix = R"(write "origins": ["https://app.example"], or "*" for every page)"});
  } else {
    cors_origins(*origins, cors);
  }
  if (const Member* headers = object.find("headers")) {
    for (const Node* entry : values_.strings(*headers, Values::Single::yes, list_entries_max)) {
      std::string name = lower(entry->text);
      if (name != "*" && !is_header(name)) {
        report_.error(entry->span, ids::bad_cors, fmt::format("{} is no name of a header", in_quotes(entry->text)),
                      {.fix = R"(write a name such as "x-request-id", or "*" for any)"});
        continue;
      }
      cors.headers.push_back(std::move(name));
    }
  }
  duration(object, "max-age", cors.max_age);
  if (const Member* credentials = object.find("credentials")) {
    cors.credentials = values_.boolean(*credentials).value_or(false);
    if (cors.credentials && std::ranges::find(cors.origins, "*") != cors.origins.end()) {
      report_.error(credentials->value.span, ids::bad_cors,
                    "every page that a user has open could call with that user's cookies",
                    {.fix = "name the origins that may, or write \"credentials\": false"});
    }
  }
}

void Checker::cors_origins(const Member& member, Cors& out) {
  for (const Node* entry : values_.strings(member, Values::Single::yes, list_entries_max)) {
    std::string origin = lower(entry->text);
    if (origin != "*" && !is_origin(origin)) {
      report_.error(entry->span, ids::bad_cors, fmt::format("{} is no origin of a page", in_quotes(entry->text)),
                    {.fix = R"(write SCHEME://HOST or SCHEME://HOST:PORT, without a path: "https://app.example")"});
      continue;
    }
    out.origins.push_back(std::move(origin));
  }
}

/// A short name of the same app always means that app's service: from here on it is told by its full name.
void Checker::short_names_to_full(AppManifest& app) {
  std::map<std::string, std::string, std::less<>> full;
  for (const ServiceManifest& service : app.services)
    full.emplace(service.definition.name, service.definition.full_name);
  auto lengthen = [&](std::string& name) {
    if (auto found = full.find(name); found != full.end()) name = found->second;
  };
  for (ServiceManifest& service : app.services) {
    for (call::Reach& reach : service.definition.uses) lengthen(reach.service);
    for (std::string& caller : service.definition.allow) lengthen(caller);
  }
}

}  // namespace

std::optional<AppManifest> check(const Node& root, const std::shared_ptr<const Source>& source, const fs::path& folder,
                                 std::vector<Diagnostic>& diagnostics) {
  return Checker(source, folder, diagnostics).app(root);
}

}  // namespace shunt::manifest
