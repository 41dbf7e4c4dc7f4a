#include "directory/definition_json.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/names.h"

namespace shunt::directory {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr std::array<std::string_view, 3> effects = {"any", "idempotent", "none"};
constexpr std::array<std::string_view, 4> shapes = {"unary", "client", "server", "both"};
constexpr std::array<std::string_view, 2> encodings = {"json", "proto"};
constexpr std::array<std::string_view, 2> auths = {"none", "token"};
constexpr std::size_t commands_max = 4096;

ordered_json command_json(const call::CommandDefinition& command) {
  return {{"description", command.description},
          {"request", command.request_schema},
          {"response", command.response_schema},
          {"effect", effects[static_cast<std::size_t>(command.effect)]},
          {"stream", shapes[static_cast<std::size_t>(command.stream)]},
          {"timeout_ns", command.timeout.count()},
          {"blocking", command.blocking},
          {"encoding", encodings[command.encoding == call::Encoding::proto ? 1 : 0]}};
}

ordered_json placement_json(const call::Placement& placement) {
  ordered_json forbid = ordered_json::array();
  for (const call::Distance each : call::distances) {
    if (placement.forbid.has(each)) forbid.push_back(call::distance_name(each));
  }
  return {{"pin", placement.pin ? call::distance_name(*placement.pin) : ""}, {"forbid", std::move(forbid)}};
}

/// Reads what may be of any form; the first thing that is wrong is kept.
class Reader {
 public:
  explicit Reader(const json& object) : object_(object) {}
  [[nodiscard]] const std::string& wrong() const { return wrong_; }

  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void text(const char* key, std::string& to) {
    const json* value = find(key);
    if (value == nullptr) return;
    if (value->is_string()) {
      to = value->get<std::string>();
    } else {
      note(key);
    }
  }
  void flag(const char* key, bool& to) {
    const json* value = find(key);
    if (value == nullptr) return;
    if (value->is_boolean()) {
      to = value->get<bool>();
    } else {
      note(key);
    }
  }
  void duration(const char* key, Duration& to) {
    const json* value = find(key);
    if (value == nullptr) return;
    if (value->is_number_integer() && *value >= 0 && *value <= std::numeric_limits<std::int64_t>::max()) {
      to = Duration(value->get<std::int64_t>());
    } else {
      note(key);
    }
  }
  template <typename Enum, std::size_t N>
  void word(const char* key, const std::array<std::string_view, N>& words, Enum& to) {
    std::string given(words[static_cast<std::size_t>(to)]);
    text(key, given);
    for (std::size_t i = 0; i < N; ++i) {
      if (words[i] != given) continue;
      to = static_cast<Enum>(i);
      return;
    }
    note(key);
  }
  void texts(const char* key, std::vector<std::string>& to) {
    const json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_array()) return note(key);
    for (const json& each : *value) {
      if (!each.is_string()) return note(key);
      to.push_back(each.get<std::string>());
    }
  }
  void note(std::string_view key) {
    if (wrong_.empty()) wrong_ = key;
  }

 private:
  const json& object_;
  std::string wrong_;
};

std::unexpected<Status> bad(std::string_view what) {
  return fail(Code::invalid_argument, "S5068", fmt::format("the definition of a service can't be used: {}", what));
}

Result<call::CommandDefinition> read_command(const std::string& name, const json& object) {
  if (!is_command_name(name)) return bad(fmt::format("'{}' is no command's name", name));
  if (!object.is_object()) return bad(fmt::format("command {} is not an object", name));
  call::CommandDefinition command;
  command.name = name;
  Reader reader(object);
  reader.text("description", command.description);
  reader.text("request", command.request_schema);
  reader.text("response", command.response_schema);
  reader.word("effect", effects, command.effect);
  reader.word("stream", shapes, command.stream);
  reader.duration("timeout_ns", command.timeout);
  reader.flag("blocking", command.blocking);
  reader.word("encoding", encodings, command.encoding);
  if (!reader.wrong().empty()) return bad(fmt::format("'{}' of command {}", reader.wrong(), name));
  return command;
}

Result<std::vector<call::Reach>> read_uses(const json& list) {
  std::vector<call::Reach> uses;
  if (!list.is_array()) return bad("'uses'");
  for (const json& each : list) {
    if (!each.is_object()) return bad("'uses'");
    Reader reader(each);
    call::Reach reach;
    reader.text("service", reach.service);
    reader.text("command", reach.command);
    if (!reader.wrong().empty()) return bad("'uses'");
    uses.push_back(std::move(reach));
  }
  return uses;
}

Result<call::Placement> read_placement(const json& object) {
  if (!object.is_object()) return bad("'placement'");
  Reader reader(object);
  call::Placement placement;
  std::string pin;
  std::vector<std::string> forbid;
  reader.text("pin", pin);
  reader.texts("forbid", forbid);
  if (!reader.wrong().empty()) return bad("'placement'");
  // A distance that a later version has is none that this one would go.
  placement.pin = call::distance_named(pin);
  for (const std::string& name : forbid) {
    if (const auto distance = call::distance_named(name)) placement.forbid.add(*distance);
  }
  return placement;
}

Result<ProtoPart> read_proto(const json& object) {
  if (!object.is_object()) return bad("'proto'");
  ProtoPart proto;
  Reader reader(object);
  reader.text("service", proto.service);
  std::vector<std::string> files;
  reader.texts("files", files);
  const json* methods = reader.find("methods");
  if (!reader.wrong().empty() || methods == nullptr || !methods->is_object()) return bad("'proto'");
  for (const auto& [command, method] : methods->items()) {
    if (!method.is_string()) return bad("'proto'");
    proto.methods.emplace(command, method.get<std::string>());
  }
  for (const std::string& file : files) {
    auto bytes = decode_base64(file);
    if (!bytes) return bad("'proto'");
    proto.files.push_back(std::move(*bytes));
  }
  return proto;
}

}  // namespace

std::string write_definition(const call::ServiceDefinition& definition, const ProtoPart& proto) {
  ordered_json commands = ordered_json::object();
  for (const auto& [name, command] : definition.commands) commands[name] = command_json(command);
  ordered_json uses = ordered_json::array();
  for (const auto& reach : definition.uses) uses.push_back({{"service", reach.service}, {"command", reach.command}});
  ordered_json whole = {{"app", definition.app},
                        {"name", definition.name},
                        {"full_name", definition.full_name},
                        {"version", definition.version},
                        {"description", definition.description},
                        {"uses", std::move(uses)},
                        {"allow", definition.allow},
                        {"allow_all", definition.allow_all},
                        {"exposed", definition.exposed},
                        {"auth", auths[static_cast<std::size_t>(definition.auth)]},
                        {"timeout_ns", definition.timeout.count()},
                        {"placement", placement_json(definition.placement)},
                        {"commands", std::move(commands)}};
  if (!proto.service.empty()) {
    ordered_json files = ordered_json::array();
    for (const std::string& file : proto.files) files.push_back(encode_base64(file));
    ordered_json methods = ordered_json::object();
    for (const auto& [command, method] : proto.methods) methods[command] = method;
    whole["proto"] = {{"service", proto.service}, {"methods", std::move(methods)}, {"files", std::move(files)}};
  }
  return whole.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

Result<TravelledDefinition> read_definition(std::string_view text) {
  const json whole = json::parse(text, nullptr, false);
  if (!whole.is_object()) return bad("it is not a JSON object");
  TravelledDefinition read;
  call::ServiceDefinition& definition = read.definition;
  Reader reader(whole);
  reader.text("app", definition.app);
  reader.text("name", definition.name);
  reader.text("full_name", definition.full_name);
  reader.text("version", definition.version);
  reader.text("description", definition.description);
  reader.texts("allow", definition.allow);
  reader.flag("allow_all", definition.allow_all);
  reader.flag("exposed", definition.exposed);
  reader.word("auth", auths, definition.auth);
  reader.duration("timeout_ns", definition.timeout);
  if (!reader.wrong().empty()) return bad(fmt::format("'{}'", reader.wrong()));
  const bool alone = definition.full_name == definition.app && definition.name == definition.app;
  if (!is_service_name(definition.app) || !is_service_name(definition.name) ||
      !(alone || definition.full_name == definition.app + "." + definition.name)) {
    return bad(fmt::format("'{}' is no service's name", definition.full_name));
  }
  if (const json* uses = reader.find("uses"); uses != nullptr) {
    SHUNT_TRY(definition.uses, read_uses(*uses));
  }
  if (const json* placement = reader.find("placement"); placement != nullptr) {
    SHUNT_TRY(definition.placement, read_placement(*placement));
  }
  const json* commands = reader.find("commands");
  if (commands == nullptr || !commands->is_object() || commands->size() > commands_max) return bad("'commands'");
  for (const auto& [name, object] : commands->items()) {
    SHUNT_TRY(auto command, read_command(name, object));
    definition.commands.emplace(name, std::move(command));
  }
  if (const json* proto = reader.find("proto"); proto != nullptr) {
    SHUNT_TRY(read.proto, read_proto(*proto));
  }
  return read;
}

std::string definition_hash(std::string_view json) {
  // FNV-1a, 64 bits.
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : json) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return fmt::format("{:016x}", hash);
}

}  // namespace shunt::directory
