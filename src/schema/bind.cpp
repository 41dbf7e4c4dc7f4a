#include "schema/bind.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/names.h"
#include "schema/derived/names.h"
#include "schema/pool.h"
#include "schema/typed.h"

namespace shunt::schema {

namespace pb = google::protobuf;

namespace {

constexpr std::array<std::string_view, 3> effects = {"any", "idempotent", "none"};
constexpr std::array<std::string_view, 4> shapes = {"unary", "client", "server", "both"};

template <typename T>
std::string_view word(const auto& words, T value) {
  return words[static_cast<std::size_t>(value)];
}

std::string names_of(const auto& list, auto&& name) {
  constexpr std::size_t shown_max = 20;
  std::string out;
  std::size_t count = 0;
  for (const auto& one : list) {
    if (++count > shown_max) return out + ", …";
    out += (out.empty() ? "" : ", ") + std::string(name(one));
  }
  return out;
}

std::string_view after_last(std::string_view text, char mark) {
  const auto at = text.rfind(mark);
  return at == std::string_view::npos ? text : text.substr(at + 1);
}

class Binder {
 public:
  Binder(call::ServiceDefinition& definition, const ProtoFiles& files, const BindOptions& options)
      : definition_(definition), files_(files), options_(options) {}

  std::vector<BindProblem> bind() {
    if (const ProtoService* service = options_.make_service ? find_or_make() : choose()) {
      match(*service);
      check(*service);
      if (!failed()) type(service->name, files_.descriptors);
    }
    return std::move(problems_);
  }

 private:
  void problem(std::string id, std::string key, std::string message, std::string known = {}, std::string fix = {}) {
    problems_.push_back({.id = std::move(id),
                         .key = std::move(key),
                         .message = std::move(message),
                         .known = std::move(known),
                         .fix = std::move(fix)});
  }
  void warning(std::string id, std::string key, std::string message, std::string fix) {
    problem(std::move(id), std::move(key), std::move(message), {}, std::move(fix));
    problems_.back().warning = true;
  }
  [[nodiscard]] bool failed() const {
    return std::ranges::any_of(problems_, [](const BindProblem& one) { return !one.warning; });
  }
  [[nodiscard]] std::string place_of(std::string_view command) const {
    const auto found = options_.places.find(command);
    return found == options_.places.end() ? options_.code : found->second;
  }

  /// The protobuf service that this one is: that of the commands that name their method, else the only one, else the one
  /// of its name.
  const ProtoService* choose() {
    const auto name_of = [](const ProtoService& service) { return service.name; };
    if (!options_.methods.empty()) {
      const auto& [command, method] = *options_.methods.begin();
      const std::string wanted = method.substr(0, method.find('/'));
      const auto found = std::ranges::find(files_.services, wanted, &ProtoService::name);
      if (found != files_.services.end()) return &*found;
      problem("S2071", "commands." + command + ".proto",
              fmt::format("no .proto file here declares a service '{}'", wanted), names_of(files_.services, name_of));
      return nullptr;
    }
    if (files_.services.size() == 1) return &files_.services.front();
    const ProtoService* chosen = nullptr;
    for (const ProtoService& service : files_.services) {
      const std::string theirs = same_name(after_last(service.name, '.'));
      const std::string ours = same_name(definition_.name);
      if (theirs != ours && theirs != ours + "service" && theirs != ours + "api") continue;
      if (chosen != nullptr) {
        chosen = nullptr;
        break;
      }
      chosen = &service;
    }
    if (chosen != nullptr) return chosen;
    if (files_.services.empty()) {
      problem("S2076", "proto", "the .proto files declare messages, but no service", {},
              "declare one: service Items { rpc GetItem(GetItemRequest) returns (Item); }");
    } else {
      problem("S2076", "proto", fmt::format("none of the protobuf services is '{}' by its name", definition_.name),
              names_of(files_.services, name_of),
              fmt::format(
                  "name a method at one of the commands: \"proto\": \"{}/{}\"", files_.services.front().name,
                  files_.services.front().methods.empty() ? "Method" : files_.services.front().methods.front().name));
    }
    return nullptr;
  }

  /// The one with a method for each command that has messages; else one of our own making.
  const ProtoService* find_or_make() {
    for (const ProtoService& service : files_.services) {
      const bool has_all = std::ranges::all_of(options_.messages, [&](const auto& entry) {
        return std::ranges::any_of(service.methods, [&](const ProtoMethod& method) {
          return same_name(method.name) == same_name(entry.first) && method.request == entry.second.request &&
                 method.response == entry.second.response;
        });
      });
      if (has_all) return &service;
    }
    make_service();
    return &files_.services.back();
  }
  void make_service() {
    const std::size_t dot = definition_.full_name.rfind('.');
    const std::string package =
        dot == std::string::npos ? "" : derived::to_identifier(definition_.full_name.substr(0, dot));
    const std::string name = derived::to_identifier(after_last(definition_.full_name, '.'));
    ProtoService service{.name = package.empty() ? name : package + "." + name, .place = options_.code};
    pb::FileDescriptorProto file;
    file.set_name((package.empty() ? name : package + "/" + name) + ".proto");
    if (!package.empty()) file.set_package(package);
    file.set_syntax("proto3");
    for (const std::string& bytes : files_.descriptors) {
      pb::FileDescriptorProto imported;
      if (imported.ParseFromString(bytes)) file.add_dependency(imported.name());
    }
    auto* to = file.add_service();
    to->set_name(name);
    for (const auto& [command, messages] : options_.messages) {
      const auto found = definition_.commands.find(command);
      if (found == definition_.commands.end()) continue;
      const call::StreamShape shape = found->second.stream;
      ProtoMethod method{.name = derived::to_identifier(command),
                         .request = messages.request,
                         .response = messages.response,
                         .place = place_of(command),
                         .stream = shape};
      auto* out = to->add_method();
      out->set_name(method.name);
      out->set_input_type("." + method.request);
      out->set_output_type("." + method.response);
      out->set_client_streaming(shape == call::StreamShape::client || shape == call::StreamShape::both);
      out->set_server_streaming(shape == call::StreamShape::server || shape == call::StreamShape::both);
      service.methods.push_back(std::move(method));
      for (const std::string& type : {messages.request, messages.response}) {
        const std::string known = known_file_of(type);
        if (!known.empty() && std::ranges::find(file.dependency(), known) == file.dependency().end()) {
          file.add_dependency(known);
        }
      }
    }
    files_.descriptors.push_back(file.SerializeAsString());
    files_.services.push_back(std::move(service));
  }

  void match(const ProtoService& service) {
    const auto method_name = [](const ProtoMethod& method) { return method.name; };
    std::map<std::string, std::string> taken;  // Method to the command that names it.
    for (const auto& [command, path] : options_.methods) {
      const std::string key = "commands." + command + ".proto";
      const std::string name = path.substr(path.find('/') + 1);
      if (!path.starts_with(service.name + "/")) {
        problem("S2071", key,
                fmt::format("the commands of one service are methods of one protobuf service: of {}, not {}",
                            service.name, path.substr(0, path.find('/'))),
                {}, "make it two services");
        continue;
      }
      const auto method = std::ranges::find(service.methods, name, &ProtoMethod::name);
      if (method == service.methods.end()) {
        problem("S2071", key, fmt::format("{} has no method '{}'", service.name, name),
                names_of(service.methods, method_name));
        continue;
      }
      if (const auto [other, added] = taken.emplace(name, command); !added) {
        problem("S2071", key, fmt::format("command '{}' is {} already", other->second, path), {},
                "give each a method of its own");
        continue;
      }
      bound_.emplace(&*method, command);
    }
    for (const ProtoMethod& method : service.methods) {
      if (bound_.contains(&method)) continue;
      std::vector<std::string> found;
      for (const auto& [command, definition] : definition_.commands) {
        if (!options_.methods.contains(command) && same_name(command) == same_name(method.name))
          found.push_back(command);
      }
      if (found.size() > 1) {
        problem("S2076", "proto",
                fmt::format("{}.{} ({}) could be the command '{}' or '{}'", service.name, method.name, method.place,
                            found[0], found[1]),
                {}, "say at one of them: \"proto\": \"" + service.name + "/" + method.name + "\"");
      } else if (found.size() == 1) {
        bound_.emplace(&method, found[0]);
      }
    }
    const auto command_name = [](const auto& entry) { return entry.first; };
    if (bound_.empty() && !failed()) {
      return problem("S2076", "proto", fmt::format("no command is a method of {} ({})", service.name, service.place),
                     fmt::format("methods: {}; commands: {}", names_of(service.methods, method_name),
                                 names_of(definition_.commands, command_name)),
                     "name the commands as the methods: GetItem is the command GetItem or get_item");
    }
    for (const ProtoMethod& method : service.methods) {
      if (bound_.contains(&method) || failed()) continue;
      warning("S2079", "proto",
              fmt::format("{}.{} ({}) is no command of {}: calls of it are answered 'unimplemented'", service.name,
                          method.name, method.place, options_.code),
              "write the command, or remove the method");
    }
  }

  void check(const ProtoService& service) {
    for (const auto& [method, command] : bound_) {
      const call::CommandDefinition& definition = definition_.commands.at(command);
      const std::string key = "commands." + command;
      if (definition.stream != method->stream) {
        problem("S2077", key + ".stream",
                fmt::format("command '{}' has stream {} in {}, {} in {}", command, word(shapes, definition.stream),
                            place_of(command), word(shapes, method->stream), method->place),
                {},
                fmt::format("write the command as the .proto has it, or the .proto as the command: {}",
                            proto_shape(definition.stream)));
      }
      if (definition.effect != call::Effect::any && method->effect != call::Effect::any &&
          definition.effect != method->effect) {
        problem("S2077", key + ".effect",
                fmt::format("command '{}' has effect {} in {}, {} in {}", command, word(effects, definition.effect),
                            place_of(command), word(effects, method->effect), method->place),
                {}, "say it in one place: remove it there, or the idempotency_level");
      }
      if (const auto types = options_.messages.find(command); types != options_.messages.end()) {
        differ(command, "takes", types->second.request, method->request, method->place);
        differ(command, "answers", types->second.response, method->response, method->place);
      }
    }
    for (const auto& [command, definition] : definition_.commands) {
      if (definition.encoding == call::Encoding::json) continue;
      if (std::ranges::any_of(bound_, [&](const auto& entry) { return entry.second == command; })) continue;
      problem("S2078", "commands." + command + ".encoding",
              fmt::format("command '{}' takes protobuf, but no method of {} is it", command, service.name),
              names_of(service.methods, [](const ProtoMethod& method) { return method.name; }),
              "declare a method for it, or remove \"encoding\": \"proto\"");
    }
  }
  void differ(const std::string& command, std::string_view what, const std::string& code, const std::string& file,
              const std::string& place) {
    if (code == file) return;
    problem("S2077", "commands." + command,
            fmt::format("command '{}' {} {} in {}, {} in {}", command, what, code, place_of(command), file, place), {},
            "generate the code anew from the .proto file that the manifest names");
  }
  static std::string_view proto_shape(call::StreamShape shape) {
    constexpr std::array<std::string_view, 4> texts = {
        "rpc Name(Request) returns (Response)", "rpc Name(stream Request) returns (Response)",
        "rpc Name(Request) returns (stream Response)", "rpc Name(stream Request) returns (stream Response)"};
    return word(texts, shape);
  }

  void type(const std::string& service, const std::vector<std::string>& descriptors) {
    TypedParts parts{.files = descriptors, .service = service};
    for (const auto& [method, command] : bound_) {
      parts.commands.emplace(method->name, command);
      const call::CommandDefinition& definition = definition_.commands.at(command);
      if (!definition.request_schema.empty()) parts.handler_schemas.emplace(command, definition.request_schema);
    }
    auto typed = make_typed(std::move(parts));
    if (!typed) {
      return problem(std::string(typed.error().id()), "proto", std::string(typed.error().message()));
    }
    definition_.contract = std::move(typed->contract);
    for (const auto& [method, command] : bound_) {
      call::CommandDefinition& definition = definition_.commands.at(command);
      definition.transcoder = typed->transcoders.at(command);
      auto& schemas = typed->schemas.at(command);
      if (definition.request_schema.empty()) definition.request_schema = std::move(schemas.request);
      if (definition.response_schema.empty()) definition.response_schema = std::move(schemas.response);
      if (definition.effect == call::Effect::any) definition.effect = method->effect;
      if (definition.description.empty()) definition.description = method->description;
    }
    const auto chosen = std::ranges::find(files_.services, service, &ProtoService::name);
    if (definition_.description.empty() && chosen != files_.services.end())
      definition_.description = chosen->description;
  }

  call::ServiceDefinition& definition_;
  ProtoFiles files_;
  const BindOptions& options_;
  std::map<const ProtoMethod*, std::string> bound_;
  std::vector<BindProblem> problems_;
};

}  // namespace

std::string same_name(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (c != '_' && c != '-') out.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  return out;
}

std::vector<BindProblem> bind_proto(call::ServiceDefinition& definition, const ProtoFiles& files,
                                    const BindOptions& options) {
  return Binder(definition, files, options).bind();
}

}  // namespace shunt::schema
