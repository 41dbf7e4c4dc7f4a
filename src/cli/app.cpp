// shunt app, and cpps.
#include "cli/app.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "base/names.h"
#include "cli/app_change.h"
#include "cli/app_place.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "manifest/edit.h"
#include "manifest/keys.h"
#include "manifest/manifest.h"
#include "os/file.h"

namespace shunt::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

Result<manifest::Node> read_tree(const fs::path& path) {
  SHUNT_TRY(std::string text, os::read_file(path.string(), manifest::file_bytes_max));
  const manifest::Source source(path.string(), std::move(text));
  std::vector<manifest::Diagnostic> wrong;
  auto root = manifest::parse(source, wrong);
  if (!root) return std::unexpected(manifest::to_status(wrong.front()));
  return std::move(*root);
}

int create_app(const AppCommand& command) {
  const std::string& name = command.app;
  if (!is_service_name(name)) {
    return report(Status(Code::invalid_argument, "S5016",
                         fmt::format("'{}' can't be an app's name: a lower-case letter, then at most 62 of a-z, 0-9, - "
                                     "and _",
                                     name)));
  }
  std::error_code error;
  const fs::path folder = fs::absolute(command.folder.empty() ? name : command.folder, error).lexically_normal();
  const fs::path file = folder / manifest::file_name;
  if (fs::exists(file, error)) {
    return report(Status(Code::already_exists, "S5087", fmt::format("{} is there already", file.string())));
  }
  const std::string text = fmt::format(
      "// An app of services that call each other by name. What is attached stands below; `shunt run {0}` runs it.\n"
      "{{\n  \"name\": \"{0}\",\n  \"services\": {{}}\n}}\n",
      name);
  const auto checked = manifest::load_text(file.string(), text, folder);
  if (!checked.app) return report(manifest::to_status(checked.diagnostics.front()));
  if (auto made = os::make_folders(folder.string()); !made) return report(made.error());
  if (auto written = os::write_file(file.string(), text); !written) return report(written.error());
  if (auto registered = register_app(command.node.data, name, file); !registered) return report(registered.error());
  write_out(command.json
                ? fmt::format("{{\"name\":{},\"manifest\":{}}}\n", quote_json(name), quote_json(file.string()))
                : fmt::format("{}: app {}\nnext: shunt app attach-lib LIBRARY {} (or attach-exec PROGRAM {})\n",
                              printable(file.string()), name, name, name));
  return 0;
}

/// A path for the manifest: relative where the file is below its folder.
std::string path_in(const fs::path& folder, const fs::path& file) {
  const fs::path relative = file.lexically_relative(folder);
  const bool below = !relative.empty() && *relative.begin() != "..";
  return below ? "./" + relative.string() : file.string();
}

int attach(const AppCommand& command, const NodeApps& running, const fs::path& manifest) {
  std::error_code error;
  const fs::path file = fs::canonical(command.path, error);
  if (error || !fs::is_regular_file(file, error)) {
    return report(Status(Code::not_found, "S5088", fmt::format("there is no file {}", command.path)));
  }
  const bool is_library = command.action == AppCommand::Action::attach_lib;
  if (!is_library && ::access(file.c_str(), X_OK) != 0) {
    return report(Status(Code::failed_precondition, "S5088",
                         fmt::format("{} is no program: this user may not run it (chmod +x)", command.path)));
  }
  const std::string name = command.name.empty() ? service_name_of(command.path) : command.name;
  if (!is_service_name(name)) {
    return report(Status(Code::invalid_argument, "S5016",
                         fmt::format("'{}' can't be a service's name; give one with --name", name)));
  }
  const std::string where = quote_json(path_in(manifest.parent_path(), file));
  const std::string service =
      is_library ? fmt::format(R"({{"type": "c++", "args": {}, "engine": {{"backend": "thread"}}}})", where)
                 : fmt::format(R"({{"type": "executable", "args": [{}]}})", where);
  return change_manifest(
      manifest, running, command.node, command.json, [&](const std::string& text) -> Result<std::string> {
        const manifest::Source source(manifest.string(), text);
        std::vector<manifest::Diagnostic> wrong;
        if (auto root = manifest::parse(source, wrong)) {
          const auto* services = root->find("services");
          if (services == nullptr && (root->find("type") != nullptr || root->find("args") != nullptr)) {
            return fail(
                Code::failed_precondition, "S5089",
                fmt::format("{} is an app of one service; move that into \"services\": {{ NAME: {{ … }} }} first",
                            manifest.string()));
          }
          if (services != nullptr && services->value.find(name) != nullptr) {
            return fail(
                Code::already_exists, "S5087",
                fmt::format("the app has a service '{}' already; attach it by another --name, or detach that one "
                            "first",
                            name));
          }
        }
        return manifest::set_value(text, std::vector<std::string>{"services", name}, service);
      });
}

std::vector<std::string_view> service_names(const manifest::Node& root) {
  std::vector<std::string_view> names;
  if (const auto* services = root.find("services")) {
    for (const auto& member : services->value.members) names.push_back(member.key);
  }
  return names;
}

/// The key by its parts; `prices.timeout` is short for `services.prices.timeout`. Errors: S5082 for a service that is not.
Result<std::vector<std::string>> key_path(const std::string& key, const manifest::Node& root) {
  SHUNT_TRY(auto path, manifest::split_key(key));
  const auto names = service_names(root);
  auto is_service = [&](const std::string& name) { return std::ranges::find(names, name) != names.end(); };
  if (is_service(path[0]) && root.find(path[0]) == nullptr) path.insert(path.begin(), "services");
  if (path[0] != "services" || path.size() < 3 || is_service(path[1])) return path;
  const auto near = nearest(path[1], names);
  return fail(Code::not_found, "S5082",
              fmt::format("the app has no service '{}'{}; it has: {}", path[1],
                          near ? fmt::format("; the nearest is {}", *near) : "",
                          names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
}

int get_key(const AppCommand& command, const fs::path& manifest) {
  const auto root = read_tree(manifest);
  if (!root) return report(root.error());
  const manifest::Node* value = &*root;
  if (!command.key.empty()) {
    const auto path = key_path(command.key, *root);
    if (!path) return report(path.error());
    value = manifest::find_value(*root, *path);
    if (value == nullptr) {
      const manifest::Node* parent = manifest::find_value(*root, std::span(*path).first(path->size() - 1));
      std::vector<std::string_view> keys;
      if (parent != nullptr) {
        for (const auto& member : parent->members) keys.push_back(member.key);
      }
      const auto near = nearest(path->back(), keys);
      return report(Status(Code::not_found, "S5082",
                           fmt::format("the manifest does not say '{}'{}{}", command.key,
                                       near ? fmt::format("; the nearest is {}", *near) : "",
                                       keys.empty() ? "" : fmt::format("; there: {}", fmt::join(keys, ", ")))));
    }
  }
  const auto text = manifest::write_json(*value);
  if (!command.json && value->kind == manifest::Kind::string) {
    write_out(printable(value->text) + "\n");
    return 0;
  }
  write_out((command.json ? text : ordered_json::parse(text, nullptr, false).dump(2)) + "\n");
  return 0;
}

int state(const AppCommand& command, const NodeApps& running, const fs::path& manifest) {
  const auto loaded = manifest::load_app(manifest);
  const bool runs = running.runs(manifest);
  std::string name = loaded.app ? loaded.app->name : manifest.parent_path().filename().string();
  ordered_json services = ordered_json::array();
  const json ps = runs ? json::parse(running.ps, nullptr, false) : json::object();
  for (const auto& app : running.apps) {
    if (runs && fs::weakly_canonical(app.manifest) == manifest) name = app.name;
  }
  auto listed = [&](const std::string& full_name) { return full_name == name || full_name.starts_with(name + "."); };
  if (runs && ps.contains("services")) {
    for (const json& service : ps["services"]) {
      if (listed(service.value("name", std::string()))) services.emplace_back(service);
    }
  } else if (loaded.app) {
    for (const auto& service : loaded.app->services) {
      services.push_back({{"name", service.definition.full_name},
                          {"type", service.type},
                          {"backend", service.engine.backend == manifest::Backend::thread ? "thread" : "process"},
                          {"state", "not running"}});
    }
  }
  if (command.json) {
    write_out(ordered_json({{"name", name}, {"manifest", manifest.string()}, {"running", runs}, {"services", services}})
                  .dump(-1, ' ', false, json::error_handler_t::replace) +
              "\n");
    return 0;
  }
  const Style style = Style::for_descriptor(STDOUT_FILENO);
  write_out(fmt::format("app {} ({}): {}\n", style.bold(printable(name)), printable(manifest.string()),
                        runs ? "runs" : "no node runs it"));
  Table table({{"SERVICE", Align::left},
               {"TYPE", Align::left},
               {"BACKEND", Align::left},
               {"STATE", Align::left},
               {"CALLS", Align::right},
               {"LAST ERROR", Align::left}});
  auto text = [](const auto& object, const char* key) { return printable(object.value(key, std::string())); };
  for (const auto& service : services) {
    table.add({{text(service, "name")},
               {text(service, "type")},
               {text(service, "backend")},
               {text(service, "state")},
               {service.contains("calls") ? service["calls"].dump() : std::string("-")},
               {text(service, "last_error")}});
  }
  if (!services.empty()) write_out(table.render(style));
  if (!loaded.app) {
    for (const auto& diagnostic : loaded.diagnostics) write_err(manifest::render(diagnostic));
  }
  return 0;
}

int list_apps(const AppCommand& command, const NodeApps& running) {
  ordered_json apps = ordered_json::array();
  for (const auto& app : running.apps) {
    apps.push_back({{"name", app.name}, {"manifest", app.manifest.string()}, {"running", true}});
  }
  for (const auto& app : registered_apps(command.node.data)) {
    if (!running.runs(fs::weakly_canonical(app.manifest))) {
      apps.push_back({{"name", app.name}, {"manifest", app.manifest.string()}, {"running", false}});
    }
  }
  if (command.json) {
    write_out(apps.dump() + "\n");
    return 0;
  }
  if (apps.empty()) {
    write_out("no apps; shunt app create NAME makes one\n");
    return 0;
  }
  Table table({{"APP", Align::left}, {"STATE", Align::left}, {"MANIFEST", Align::left}});
  for (const auto& app : apps) {
    table.add({{printable(app["name"].get<std::string>())},
               {app["running"].get<bool>() ? "runs" : "not running"},
               {printable(app["manifest"].get<std::string>())}});
  }
  write_out(table.render(Style::for_descriptor(STDOUT_FILENO)));
  return 0;
}

}  // namespace

std::string service_name_of(const fs::path& file) {
  std::string name = file.filename().string();
  if (const auto dot = name.find('.'); dot != std::string::npos) name.resize(dot);
  if (name.starts_with("lib") && name.size() > 3) name.erase(0, 3);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return is_service_name(name) ? name : std::string();
}

int app(const AppCommand& command) {
  using Action = AppCommand::Action;
  if (command.action == Action::create) return create_app(command);
  const auto running = apps_of_node(command.node);
  if (!running) return report(running.error());
  if (command.action == Action::list) return list_apps(command, *running);
  const auto manifest = find_app(command.app, *running, command.node.data);
  if (!manifest) return report(manifest.error());
  switch (command.action) {
    case Action::attach_lib:
    case Action::attach_exec:
      return attach(command, *running, *manifest);
    case Action::get:
      return get_key(command, *manifest);
    case Action::state:
      return state(command, *running, *manifest);
    case Action::detach:
    case Action::set:
    default:
      break;
  }
  const auto edit = [&](const std::string& text) -> Result<std::string> {
    const manifest::Source source(manifest->string(), text);
    std::vector<manifest::Diagnostic> wrong;
    const auto root = manifest::parse(source, wrong);
    if (!root) return std::unexpected(manifest::to_status(wrong.front()));
    const bool detaches = command.action == Action::detach;
    SHUNT_TRY(auto path, key_path(detaches ? "services." + command.name + ".x" : command.key, *root));
    if (!detaches) return manifest::set_value(text, path, manifest::value_as_json(command.value));
    path.pop_back();
    return manifest::remove_value(text, path);
  };
  return change_manifest(*manifest, *running, command.node, command.json, edit);
}

// --- cpps -----------------------------------------------------------------------------------------------------------

namespace {

struct Word {
  std::string_view cpps;
  std::string_view ours;
};
constexpr std::array words = {Word{"--create-app", "create"},
                              Word{"--attach-lib", "attach-lib"},
                              Word{"--attach-exec", "attach-exec"},
                              Word{"--detach", "detach"},
                              Word{"--set", "set"},
                              Word{"--get", "get"},
                              Word{"--state", "state"},
                              Word{"--list", "list"}};

}  // namespace

Result<std::vector<std::string>> arguments_of_cpps(const std::vector<std::string>& arguments) {
  std::vector<std::string> out = {"app"};
  std::vector<std::string> rest;
  std::string_view word;
  for (const auto& argument : arguments) {
    const auto equals = argument.find('=');
    const auto found = std::ranges::find(words, std::string_view(argument).substr(0, equals), &Word::cpps);
    if (found == words.end() || !word.empty()) {
      rest.push_back(argument);
      continue;
    }
    word = found->ours;
    if (equals != std::string::npos) rest.push_back(argument.substr(equals + 1));
  }
  if (word.empty()) {
    std::vector<std::string_view> all;
    for (const auto& each : words) all.push_back(each.cpps);
    const auto near = arguments.empty() ? std::nullopt : nearest(arguments.front(), all);
    return fail(
        Code::invalid_argument, "S5016",
        fmt::format("cpps: {}{}There are: {}. Type: cpps --help",
                    arguments.empty() ? "nothing was asked. " : fmt::format("'{}' is not known. ", arguments[0]),
                    near ? fmt::format("The nearest is {}. ", *near) : "", fmt::join(all, ", ")));
  }
  out.emplace_back(word);
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

std::string cpps_help() {
  return "Makes and manages apps of services that run as threads or processes, as their manifest says.\n"
         "Usage: cpps WORD ARGUMENTS [--at URL] [--data DIR] [--json]\n\n"
         "  --create-app NAME             a folder with a manifest (--folder DIR: there)\n"
         "  --attach-lib PATH APP         a shared library as a service, as threads of the node (--name SERVICE)\n"
         "  --attach-exec PATH APP        a program as a service, as processes (--name SERVICE)\n"
         "  --detach SERVICE APP          take a service out of the app\n"
         "  --set APP KEY VALUE           such as: --set shop prices.engine.backend process\n"
         "  --get APP [KEY]               what the manifest says\n"
         "  --state APP                   what runs of it\n"
         "  --list                        the apps that are known\n\n"
         "It is `shunt app` by other words: `cpps --create-app shop` is `shunt app create shop`. `shunt run shop` runs "
         "an "
         "app.\n";
}

}  // namespace shunt::cli
