// The manifest against what the code says of itself.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "base/base64.h"
#include "base/names.h"
#include "manifest/document.h"
#include "manifest/ids.h"
#include "manifest/keys.h"
#include "manifest/manifest.h"
#include "manifest/values.h"

namespace shunt::manifest {
namespace {

constexpr std::size_t description_bytes_max = 4 << 20;
constexpr std::size_t descriptors_max = 256;
constexpr std::array<std::string_view, 5> root_keys = {"commands", "description", "descriptors", "sdk", "version"};
constexpr std::array<std::string_view, 11> described_keys = {
    "blocking",        "description", "effect",           "encoding", "place",  "request",
    "request-message", "response",    "response-message", "stream",   "timeout"};
constexpr std::array<std::string_view, 2> encodings = {"json", "proto"};
constexpr std::array<std::string_view, 3> effects = {"any", "idempotent", "none"};
constexpr std::array<std::string_view, 4> shapes = {"unary", "client", "server", "both"};

/// "prices.so" of "/…/build/prices.so".
std::string code_of(const ServiceManifest& service) {
  return service.args.empty() ? "the code" : std::filesystem::path(service.args[0]).filename().string();
}

/// One command as the code describes it; what the code leaves out is not said.
struct Described {
  call::CommandDefinition definition;
  std::string request_canonical;
  std::string response_canonical;
  std::string place;  ///< "cart.py:12", or the file's name.
  bool encoding_said = false;
  DescribedProto::Messages messages = {};
};

class Merger {
 public:
  Merger(ServiceManifest& service, std::vector<Diagnostic>& out)
      : service_(service), code_(code_of(service)), out_(out) {}

  void merge(std::string_view json);

 private:
  void error(std::string_view key, std::string_view id, std::string message, std::string known = {},
             std::string fix = {}) {
    out_.push_back(diagnostic_at(service_, key, id, std::move(message), std::move(known), std::move(fix)));
  }
  void bad(std::string message) {
    error("args", ids::bad_description, fmt::format("what {} says of itself can't be used: {}", code_, message), "",
          "this is the SDK's to mend, unless the code writes its description by hand");
  }
  /// What a newer SDK says must not be half understood.
  void known_keys(const Node& node, std::span<const std::string_view> known, std::string_view of);
  std::string text(const Node& node, std::string_view key, std::string_view of);
  std::string schema(const Node& node, std::string_view key, std::string& canonical, std::string_view of);
  template <std::size_t N>
  std::size_t word(const Node& node, std::string_view key, const std::array<std::string_view, N>& known,
                   std::string_view of);
  void describe(const Member& member);
  void descriptors(const Node& root);
  /// The manifest's `mine` and the code's `theirs` of one key: the one that is said, or an error when both and they differ.
  bool agree(std::string_view key, bool said_here, bool said_there, bool same, std::string_view what,
             std::string_view here, std::string_view there, std::string_view place);
  void overlay(const call::CommandDefinition& mine, Described& theirs);
  void service_text(const Node& root, std::string_view key, std::string& value);

  ServiceManifest& service_;
  std::string code_;
  std::vector<Diagnostic>& out_;
  std::map<std::string, Described, std::less<>> described_;
  std::vector<std::string> files_;
};

void Merger::known_keys(const Node& node, std::span<const std::string_view> known, std::string_view of) {
  for (const Member& member : node.members) {
    if (std::ranges::find(known, member.key) != known.end()) continue;
    bad(fmt::format("{} has a key {} that this shunt does not know", of, in_quotes(member.key)));
    return;
  }
}

std::string Merger::text(const Node& node, std::string_view key, std::string_view of) {
  const Member* member = node.find(key);
  if (member == nullptr || member->value.kind == Kind::null) return {};
  if (member->value.kind == Kind::string) return member->value.text;
  bad(fmt::format("{} of {} is {}, not a string", key, of, kind_name(member->value.kind)));
  return {};
}

std::string Merger::schema(const Node& node, std::string_view key, std::string& canonical, std::string_view of) {
  const Member* member = node.find(key);
  if (member == nullptr || member->value.kind == Kind::null) return {};
  const Node& value = member->value;
  if (value.kind != Kind::object && value.kind != Kind::boolean) {
    bad(fmt::format("{} of {} is {}, not a JSON Schema", key, of, kind_name(value.kind)));
    return {};
  }
  // `{}` and `true` say that it is JSON, and no more.
  if ((value.kind == Kind::object && value.members.empty()) || value.boolean) return "{}";
  canonical = write_canonical(value);
  return write_json(value);
}

template <std::size_t N>
std::size_t Merger::word(const Node& node, std::string_view key, const std::array<std::string_view, N>& known,
                         std::string_view of) {
  const std::string value = text(node, key, of);
  if (value.empty()) return 0;
  for (std::size_t i = 0; i < N; ++i) {
    if (known[i] == value) return i;
  }
  bad(fmt::format("{} of {} is {}; it is one of {}", key, of, in_quotes(value), list_of(known)));
  return 0;
}

void Merger::describe(const Member& member) {
  const Node& node = member.value;
  const std::string of = fmt::format("command {}", in_quotes(member.key));
  if (!is_command_name(member.key)) {
    error("args", ids::bad_command_in_code,
          fmt::format("{} declares {}, which can't be a command's name", code_, in_quotes(member.key)), "",
          "a command's name is a letter or _, then at most 62 of letters, digits, - and _");
    return;
  }
  if (node.kind != Kind::object) {
    bad(fmt::format("{} is {}, not an object", of, kind_name(node.kind)));
    return;
  }
  known_keys(node, described_keys, of);
  Described out;
  call::CommandDefinition& definition = out.definition;
  definition.name = member.key;
  definition.description = text(node, "description", of);
  definition.request_schema = schema(node, "request", out.request_canonical, of);
  definition.response_schema = schema(node, "response", out.response_canonical, of);
  definition.effect = static_cast<call::Effect>(word(node, "effect", effects, of));
  definition.stream = static_cast<call::StreamShape>(word(node, "stream", shapes, of));
  if (const std::string timeout = text(node, "timeout", of); !timeout.empty() && timeout != "0s" && timeout != "0") {
    if (auto parsed = parse_duration(timeout); parsed && parsed->count() >= 0) {
      definition.timeout = *parsed;
    } else {
      bad(fmt::format("timeout of {} is {}, which is no duration", of, in_quotes(timeout)));
    }
  }
  if (const Member* blocking = node.find("blocking")) definition.blocking = blocking->value.boolean;
  out.encoding_said = node.find("encoding") != nullptr;
  definition.encoding = static_cast<call::Encoding>(word(node, "encoding", encodings, of));
  if (!out.encoding_said) definition.encoding = service_.encoding;
  out.messages.request = text(node, "request-message", of);
  out.messages.response = text(node, "response-message", of);
  if (out.messages.request.empty() != out.messages.response.empty()) {
    bad(fmt::format("{} says one of request-message and response-message, not both", of));
  }
  const std::string place = text(node, "place", of);
  out.place = place.empty() ? code_ : shown(place);
  described_.insert_or_assign(member.key, std::move(out));
}

bool Merger::agree(std::string_view key, bool said_here, bool said_there, bool same, std::string_view what,
                   std::string_view here, std::string_view there, std::string_view place) {
  if (!said_here || !said_there || same) return true;
  const std::string values = here.empty() ? fmt::format("has one {} here and another in {}", what, place)
                                          : fmt::format("has {} {} here, {} in {}", what, here, there, place);
  const std::string subject = key.starts_with("commands.")
                                  ? fmt::format("command '{}'", key.substr(9, key.rfind('.') - 9))
                                  : std::string("the service");
  error(key, ids::disagreement, fmt::format("{} {}", subject, values), "",
        "say it in one place: remove it here, or there");
  return false;
}

void Merger::overlay(const call::CommandDefinition& mine, Described& theirs) {
  const std::string prefix = "commands." + mine.name + ".";
  auto said = [&](std::string_view key) { return service_.says(prefix + std::string(key)); };
  auto settle = [&](std::string_view key, bool said_there, bool same, std::string_view here, std::string_view there,
                    auto& to, const auto& from) {
    const bool said_here = said(key);
    if (agree(prefix + std::string(key), said_here, said_there, same, key, here, there, theirs.place) && said_here)
      to = from;
  };
  auto canonical = [](const std::string& schema) {
    std::vector<Diagnostic> ignored;
    auto node = parse(Source("", schema), ignored);
    return node ? write_canonical(*node) : std::string();
  };
  auto says = [](const std::string& schema) { return !schema.empty() && schema != "{}"; };
  call::CommandDefinition& code = theirs.definition;
  settle("description", !code.description.empty(), mine.description == code.description, "", "", code.description,
         mine.description);
  settle("request", says(code.request_schema),
         said("request") && canonical(mine.request_schema) == theirs.request_canonical, "", "", code.request_schema,
         mine.request_schema);
  settle("response", says(code.response_schema),
         said("response") && canonical(mine.response_schema) == theirs.response_canonical, "", "", code.response_schema,
         mine.response_schema);
  // "any" is what code says that says nothing of its effect.
  settle("effect", code.effect != call::Effect::any, mine.effect == code.effect,
         effects[static_cast<std::size_t>(mine.effect)], effects[static_cast<std::size_t>(code.effect)], code.effect,
         mine.effect);
  // A shape is never unsaid: it is what the handler does.
  settle("stream", true, mine.stream == code.stream, shapes[static_cast<std::size_t>(mine.stream)],
         shapes[static_cast<std::size_t>(code.stream)], code.stream, mine.stream);
  settle("encoding", theirs.encoding_said, mine.encoding == code.encoding,
         encodings[static_cast<std::size_t>(mine.encoding)], encodings[static_cast<std::size_t>(code.encoding)],
         code.encoding, mine.encoding);
  settle("timeout", code.timeout.count() != 0, mine.timeout == code.timeout, format_duration(mine.timeout),
         format_duration(code.timeout), code.timeout, mine.timeout);
}

/// What the code's messages were generated from.
void Merger::descriptors(const Node& root) {
  const Member* member = root.find("descriptors");
  if (member == nullptr || member->value.kind == Kind::null) return;
  if (member->value.kind != Kind::array || member->value.elements.size() > descriptors_max) {
    return bad(fmt::format("'descriptors' is not a list of at most {}", descriptors_max));
  }
  for (const Node& element : member->value.elements) {
    auto bytes = element.kind == Kind::string ? decode_base64(element.text) : std::nullopt;
    if (!bytes) return bad("an entry of 'descriptors' is no base64");
    files_.push_back(std::move(*bytes));
  }
}

void Merger::service_text(const Node& root, std::string_view key, std::string& value) {
  const std::string theirs = text(root, key, "the service");
  if (theirs.empty()) return;
  if (agree(key, service_.says(key), true, value == theirs, key, "", "", code_) && !service_.says(key)) value = theirs;
}

void Merger::merge(std::string_view json) {
  if (json.size() > description_bytes_max) return bad(fmt::format("it is larger than {} bytes", description_bytes_max));
  const Source source(code_, std::string(json));
  std::vector<Diagnostic> syntax;
  const auto root = parse(source, syntax);
  if (!root) return bad(fmt::format("{} (character {})", syntax[0].message, syntax[0].column));
  if (root->kind != Kind::object) return bad(fmt::format("it is {}, not an object", kind_name(root->kind)));

  known_keys(*root, root_keys, "the service");

  const Member* commands = root->find("commands");
  if (commands != nullptr && commands->value.kind != Kind::object) return bad("'commands' is not an object");
  if (commands != nullptr && commands->value.members.size() > commands_max) {
    return error("args", ids::too_many,
                 fmt::format("{} declares {} commands, at most {} are taken", code_, commands->value.members.size(),
                             commands_max),
                 "", "make it several services");
  }
  if (commands != nullptr) {
    for (const Member& member : commands->value.members) describe(member);
  }
  descriptors(*root);
  // The service's own word stands for each command that says nothing.
  for (auto& [name, described] : described_) {
    if (service_.says("commands." + name + ".encoding")) continue;  // Settled with what the manifest says of it.
    agree("encoding", service_.says("encoding"), described.encoding_said,
          service_.encoding == described.definition.encoding, fmt::format("command '{}' with encoding", name),
          encodings[static_cast<std::size_t>(service_.encoding)],
          encodings[static_cast<std::size_t>(described.definition.encoding)], described.place);
  }
  std::vector<std::string_view> names;
  for (const auto& [name, described] : described_) names.emplace_back(name);
  for (const auto& [name, mine] : service_.commands) {
    if (auto found = described_.find(name); found != described_.end()) {
      overlay(mine, found->second);
    } else {
      std::string fix = write_nearest(name, names);
      error("commands." + name, ids::command_not_in_code, fmt::format("command '{}' is not in {}", name, code_),
            list_of(names), fix.empty() ? "write it, or remove it here" : std::move(fix));
    }
  }
  std::string description = service_.definition.description;
  std::string version = service_.definition.version;
  service_text(*root, "description", description);
  service_text(*root, "version", version);
  if (has_errors(out_)) return;

  if (described_.empty()) {
    error("args", ids::no_commands, fmt::format("{} declares no commands: nothing of it can be called", code_), "",
          service_.type == "python" ? "write @service.command above a function"
                                    : "call service.command(…) in SHUNT_SERVICE");
    out_.back().severity = Severity::warning;
  }
  service_.definition.description = std::move(description);
  service_.definition.version = std::move(version);
  service_.definition.commands.clear();
  service_.described_proto = {.files = std::move(files_)};
  for (auto& [name, described] : described_) {
    service_.places.insert_or_assign(name, std::move(described.place));
    if (!described.messages.request.empty()) {
      service_.described_proto.messages.emplace(name, std::move(described.messages));
    }
    service_.definition.commands.emplace(name, std::move(described.definition));
  }
}

}  // namespace

std::vector<Diagnostic> merge_described(ServiceManifest& service, std::string_view description_json) {
  std::vector<Diagnostic> out;
  Merger(service, out).merge(description_json);
  std::ranges::sort(out, {},
                    [](const Diagnostic& d) { return std::tuple(d.line, d.column, std::string_view(d.message)); });
  return out;
}

}  // namespace shunt::manifest
