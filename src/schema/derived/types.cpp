#include "schema/derived/types.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "schema/derived/names.h"

namespace shunt::schema::derived {

using nlohmann::json;
using nlohmann::ordered_json;

std::string_view MessageType::name_of(std::uint32_t entry) const {
  const FieldType& field = fields[entry / 2];
  return entry % 2 == 0 ? field.name : field.camel;
}

void MessageType::index() {
  by_name_.clear();
  by_number_.clear();
  for (std::uint32_t i = 0; i < fields.size(); ++i) {
    by_name_.push_back(2 * i);
    if (!fields[i].camel.empty()) by_name_.push_back(2 * i + 1);
    by_number_.push_back(i);
  }
  std::ranges::sort(by_name_, {}, [this](std::uint32_t entry) { return name_of(entry); });
  std::ranges::sort(by_number_, {}, [this](std::uint32_t i) { return fields[i].number; });
}

int MessageType::find(std::string_view name, std::size_t expected) const {
  if (expected < fields.size() && fields[expected].name == name) return static_cast<int>(expected);
  const auto found = std::ranges::lower_bound(by_name_, name, {}, [this](std::uint32_t e) { return name_of(e); });
  return found != by_name_.end() && name_of(*found) == name ? static_cast<int>(*found / 2) : -1;
}

int MessageType::find(std::uint32_t number, std::size_t expected) const {
  if (expected < fields.size() && fields[expected].number == number) return static_cast<int>(expected);
  const auto found =
      std::ranges::lower_bound(by_number_, number, {}, [this](std::uint32_t i) { return fields[i].number; });
  return found != by_number_.end() && fields[*found].number == number ? static_cast<int>(*found) : -1;
}

namespace {

constexpr std::size_t messages_max = 4096;
constexpr std::size_t fields_max = 65536;  ///< Of all messages together.
constexpr int references_max = 32;         ///< One after the other.
constexpr int nesting_max = 256;           ///< Of a schema's objects and arrays: they are walked by recursion.

bool is_nested_deeper(std::string_view text, int limit) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// One schema text, parsed. Its nodes are known by their addresses.
struct Document {
  ordered_json root;
};

/// A schema, and the document in which its references are looked up.
struct Node {
  const ordered_json* schema = nullptr;
  const Document* document = nullptr;
};

/// What a schema is, after references and null are taken away.
struct Shape {
  Kind kind = Kind::value;
  Label label = Label::single;
  bool nullable = false;
  bool only_null = false;
  Node object;                          ///< Of the kind message: the schema of the object.
  std::string wanted;                   ///< Its name: the key in $defs, or its title.
  const ordered_json* inner = nullptr;  ///< After references: for comments.
};

const ordered_json* member(const ordered_json& schema, std::string_view key) {
  if (!schema.is_object()) return nullptr;
  const auto found = schema.find(key);
  return found == schema.end() ? nullptr : &*found;
}

bool is_any(const ordered_json* schema) {
  return schema == nullptr || schema->is_boolean() || (schema->is_object() && schema->empty());
}

std::string text_of(const ordered_json& schema, std::string_view key) {
  const ordered_json* found = member(schema, key);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

/// "#/$defs/Line" in the document; nothing for what is elsewhere.
const ordered_json* referred(const Document& document, const std::string& reference) {
  if (reference.empty() || reference.front() != '#') return nullptr;
  const ordered_json* at = &document.root;
  std::string_view rest = std::string_view(reference).substr(1);
  while (!rest.empty()) {
    if (rest.front() != '/') return nullptr;
    rest.remove_prefix(1);
    const std::string_view raw = rest.substr(0, rest.find('/'));
    rest.remove_prefix(raw.size());
    std::string step;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      const bool escaped = raw[i] == '~' && i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1');
      step += escaped ? (raw[++i] == '0' ? '~' : '/') : raw[i];
    }
    if (at->is_object()) {
      at = member(*at, step);
    } else if (at->is_array() && step.size() < 6 && step.find_first_not_of("0123456789") == std::string::npos &&
               !step.empty() && std::stoul(step) < at->size()) {
      at = &(*at)[std::stoul(step)];
    } else {
      return nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

bool is_null_schema(const ordered_json& schema) {
  const ordered_json* constant = member(schema, "const");
  return text_of(schema, "type") == "null" || (constant != nullptr && constant->is_null());
}

/// The only one of the kinds of values that the list has; null is taken out and told.
Kind kind_of_values(const ordered_json& values, bool& nullable) {
  std::optional<Kind> kind;
  for (const auto& value : values) {
    if (value.is_null()) {
      nullable = true;
      continue;
    }
    Kind found = Kind::value;
    if (value.is_string()) found = Kind::string;
    if (value.is_boolean()) found = Kind::boolean;
    if (value.is_number_integer()) found = Kind::integer;
    if (value.is_number_float()) found = Kind::number;
    if (kind && *kind != found) {
      const auto is_number = [](Kind k) { return k == Kind::integer || k == Kind::number; };
      found = is_number(*kind) && is_number(found) ? Kind::number : Kind::value;
    }
    kind = found;
  }
  return kind.value_or(Kind::value);
}

class Shaper {
 public:
  static Shape shape(Node node, int depth = 0);

 private:
  static Shape any(Shape shape) {
    shape.kind = Kind::value;
    shape.label = Label::single;
    return shape;
  }
  static Shape typed(std::string_view type, Node node, Shape shape, int depth);
  static Shape array(Node node, Shape shape, int depth);
  static Shape object(Node node, Shape shape, int depth);
};

Shape Shaper::shape(Node node, int depth) {
  Shape out;
  std::string definition;
  for (int i = 0; i < references_max && depth < references_max; ++i) {
    const ordered_json& schema = *node.schema;
    out.inner = node.schema;
    if (!schema.is_object()) return any(out);
    if (const std::string reference = text_of(schema, "$ref"); !reference.empty()) {
      const ordered_json* target = referred(*node.document, reference);
      if (target == nullptr) return any(out);
      definition = reference.starts_with("#/$defs/") || reference.starts_with("#/definitions/")
                       ? reference.substr(reference.find('/', 2) + 1)
                       : std::string();
      if (definition.find('/') != std::string::npos) definition.clear();
      node.schema = target;
      continue;
    }
    const ordered_json* choices = member(schema, "anyOf");
    if (choices == nullptr) choices = member(schema, "oneOf");
    if (choices == nullptr) choices = member(schema, "allOf");
    if (choices != nullptr) {
      const bool all = choices == member(schema, "allOf");
      if (!choices->is_array() || member(schema, "properties") != nullptr) return any(out);
      const ordered_json* only = nullptr;
      std::size_t others = 0;
      for (const ordered_json& choice : *choices) {
        if (!all && is_null_schema(choice)) {
          out.nullable = true;
        } else {
          only = &choice;
          ++others;
        }
      }
      if (others != 1) return any(out);
      node.schema = only;
      definition.clear();
      continue;
    }
    if (const ordered_json* values = member(schema, "enum"); values != nullptr && values->is_array()) {
      out.kind = kind_of_values(*values, out.nullable);
      return out;
    }
    if (const ordered_json* constant = member(schema, "const")) {
      out.kind = kind_of_values(ordered_json::array({*constant}), out.nullable);
      out.only_null = constant->is_null();
      return out;
    }
    out.wanted = definition.empty() ? text_of(schema, "title") : definition;
    std::string type = text_of(schema, "type");
    if (const ordered_json* types = member(schema, "type"); types != nullptr && types->is_array()) {
      for (const ordered_json& each : *types) {
        if (!each.is_string()) return any(out);
        const auto name = each.get<std::string>();
        if (name == "null") {
          out.nullable = true;
        } else if (type.empty() || (type == "integer" && name == "number")) {
          type = name;
        } else if (!(type == "number" && name == "integer")) {
          return any(out);
        }
      }
    }
    if (type.empty() && member(schema, "properties") != nullptr) type = "object";
    return typed(type, node, std::move(out), depth);
  }
  return any(out);
}

Shape Shaper::typed(std::string_view type, Node node, Shape shape, int depth) {
  const ordered_json& schema = *node.schema;
  if (type == "boolean") shape.kind = Kind::boolean;
  if (type == "number") shape.kind = Kind::number;
  if (type == "string") shape.kind = text_of(schema, "contentEncoding") == "base64" ? Kind::bytes : Kind::string;
  if (type == "integer") {
    const ordered_json* maximum = member(schema, "maximum");
    const bool large = maximum != nullptr && maximum->is_number_unsigned() &&
                       maximum->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    shape.kind = large ? Kind::unsigned_integer : Kind::integer;
  }
  if (type == "null") shape.only_null = shape.nullable = true;
  if (type == "array") return array(node, std::move(shape), depth);
  if (type == "object") return object(node, std::move(shape), depth);
  return shape;
}

/// What an element of a list or a map is: lists and maps in it have no counterpart that keeps their types.
void set_element(Shape& to, Shape element) {
  if (element.nullable || element.only_null) {
    to.kind = Kind::value;
  } else if (element.label != Label::single) {
    to.kind = element.label == Label::map ? Kind::structure : Kind::list;
  } else {
    to.kind = element.kind;
    to.object = element.object;
    to.wanted = std::move(element.wanted);
  }
}

Shape Shaper::array(Node node, Shape shape, int depth) {
  const ordered_json* items = member(*node.schema, "items");
  if (member(*node.schema, "prefixItems") != nullptr || (items != nullptr && items->is_array())) {
    shape.kind = Kind::list;
    return shape;
  }
  shape.label = Label::repeated;
  shape.wanted.clear();
  if (is_any(items)) {
    shape.kind = Kind::value;
  } else {
    set_element(shape, Shaper::shape({items, node.document}, depth + 1));
  }
  return shape;
}

Shape Shaper::object(Node node, Shape shape, int depth) {
  const ordered_json& schema = *node.schema;
  const ordered_json* rest = member(schema, "additionalProperties");
  const ordered_json* properties = member(schema, "properties");
  const bool closed = rest == nullptr || (rest->is_boolean() && !rest->get<bool>());
  shape.kind = Kind::structure;
  if (member(schema, "patternProperties") != nullptr) return shape;
  if (closed && (rest != nullptr || (properties != nullptr && properties->is_object()))) {
    shape.kind = Kind::message;
    shape.object = node;
    return shape;
  }
  if (closed || properties != nullptr || is_any(rest)) return shape;
  const Shape element = Shaper::shape({rest, node.document}, depth + 1);
  if (element.kind == Kind::value && element.label == Label::single) return shape;  // A map of anything is a Struct.
  if (element.nullable) return shape;
  shape.label = Label::map;
  shape.wanted.clear();
  set_element(shape, element);
  return shape;
}

/// Keys that say something of the place where a type is used, not of the type.
bool is_of_the_use(const std::string& key) {
  return key == "description" || key == "default" || key == "x-proto-field" || key == "examples" || key == "$schema" ||
         key == "$id" || key == "$comment" || key == "$defs" || key == "definitions";
}

std::uint64_t hash_of(std::string_view text, std::uint64_t seed = 0xcbf29ce484222325) {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return (seed ^ seed >> 29U) * 0xbf58476d1ce4e5b9;
}

/// Tells types of one name apart: by a hash of their schemas and of all that these refer to, whatever the order of members.
class Signatures {
 public:
  std::uint64_t of(Node object);
  /// Types that all refer to each other are a lot of work: beyond it the service has too many.
  [[nodiscard]] bool too_many() const { return steps_ > steps_max; }

 private:
  struct Facts {
    std::uint64_t hash = 0;
    std::vector<std::pair<std::uint64_t, const ordered_json*>> references;
  };

  const Facts& facts_of(Node node);
  void find_references(Node node, const ordered_json& value, Facts& to);

  static constexpr std::size_t steps_max = 10'000'000;
  std::unordered_map<const ordered_json*, Facts> facts_;
  std::size_t steps_ = 0;
};

const Signatures::Facts& Signatures::facts_of(Node node) {
  const auto [at, fresh] = facts_.try_emplace(node.schema);
  if (fresh) {
    // Sorted, as objects of nlohmann's json are.
    at->second.hash = hash_of(json::parse(dump(*node.schema), nullptr, false).dump());
    find_references(node, *node.schema, at->second);
  }
  return at->second;
}

void Signatures::find_references(Node node, const ordered_json& value, Facts& to) {
  if (!value.is_structured()) return;
  for (const auto& [key, part] : value.items()) {
    if (value.is_object() && (key == "$defs" || key == "definitions")) continue;
    if (value.is_object() && key == "$ref" && part.is_string()) {
      const auto& reference = part.get_ref<const std::string&>();
      to.references.emplace_back(hash_of(reference), referred(*node.document, reference));
    }
    find_references(node, part, to);
  }
}

std::uint64_t Signatures::of(Node object) {
  json own = json::object();
  for (const auto& [key, value] : object.schema->items()) {
    if (!is_of_the_use(key)) own[key] = json::parse(dump(value), nullptr, false);
  }
  std::uint64_t out = hash_of(own.dump());
  std::unordered_set<const ordered_json*> seen;
  std::deque<const ordered_json*> waiting = {object.schema};
  for (; !waiting.empty() && !too_many(); waiting.pop_front()) {
    for (const auto& [name, target] : facts_of({waiting.front(), object.document}).references) {
      ++steps_;
      if (target == nullptr || !seen.insert(target).second) continue;
      // A sum: in whichever order they come.
      out += hash_of({}, name ^ facts_of({target, object.document}).hash);
      waiting.push_back(target);
    }
  }
  return out;
}

std::string values_text(const ordered_json& values) {
  std::string out;
  for (const auto& value : values) {
    if (out.size() > 400) return out + ", ...";
    out += (out.empty() ? "" : ", ") + dump(value);
  }
  return out;
}

std::string format_text(const std::string& format) {
  if (format == "date-time") return "A date and time as in RFC 3339, such as 2026-01-31T12:00:00Z.";
  if (format == "date") return "A date, such as 2026-01-31.";
  if (format == "time") return "A time, such as 12:00:00Z.";
  return format.empty() ? std::string() : fmt::format("Format: {}.", format);
}

void add_line(std::string& to, std::string line) {
  if (line.empty()) return;
  if (!to.empty()) to += '\n';
  to += line;
}

class Deriver {
 public:
  explicit Deriver(const call::ServiceDefinition& service) : service_(service) {}

  Result<std::shared_ptr<const Types>> derive();

 private:
  struct Body {
    const call::CommandDefinition* command;
    call::Side side;
    const Document* document;  ///< nullptr: raw bytes.
    std::string path_name;     ///< "TotalRequest"
  };

  /// A message whose fields are still to come.
  struct Unfilled {
    MessageType* message;
    Node object;
    std::string root_name;
  };

  void name_service();
  Result<void> read_documents();
  void collect(Node root);
  Result<BodyType> body(const Body& body);
  Result<const MessageType*> message(const Shape& shape, const std::string& path_name, const std::string& root_name);
  Result<void> fill_all();
  Result<void> fill(MessageType& message, Node object, const std::string& root_name);
  Result<void> add_field(MessageType& message, const std::string& name, Node node, bool required,
                         const std::string& root_name);
  Result<void> check_fields(const MessageType& message) const;
  MessageType& add_message(const std::string& wanted);
  void set_type(FieldType& field, const Shape& shape) const;
  [[nodiscard]] std::string shared_name(const Shape& shape) const;
  template <typename... T>
  std::unexpected<Status> bad(std::string_view id, fmt::format_string<T...> text, T&&... arguments) const {
    return fail(Code::failed_precondition, id,
                fmt::format("{}: {}", service_.full_name, fmt::format(text, std::forward<T>(arguments)...)));
  }

  const call::ServiceDefinition& service_;
  std::shared_ptr<Types> types_ = std::make_shared<Types>();  // Owners: the contract and its transcoders, in the end.
  std::deque<Document> documents_;
  std::vector<Body> bodies_;
  Signatures signatures_;
  std::map<std::string, std::set<std::uint64_t>> signatures_of_;  ///< Of each name that schemas give.
  std::set<std::string> taken_;                                   ///< Names of messages.
  std::map<std::string, const MessageType*> shared_;              ///< By name: types that several commands have.
  std::map<const ordered_json*, const MessageType*> placed_;      ///< By the place of their schema: all others.
  std::deque<Unfilled> unfilled_;
  std::size_t fields_ = 0;
};

void Deriver::name_service() {
  const std::size_t dot = service_.full_name.rfind('.');
  if (dot != std::string::npos) types_->package = to_identifier(service_.full_name.substr(0, dot));
  types_->service = to_identifier(dot == std::string::npos ? service_.full_name : service_.full_name.substr(dot + 1));
  types_->container = to_type_name(types_->service);
  types_->full_name = types_->package.empty() ? types_->service : types_->package + "." + types_->service;
  types_->comment = service_.description;
}

Result<void> Deriver::read_documents() {
  for (const auto& [name, command] : service_.commands) {
    for (const call::Side side : {call::Side::request, call::Side::response}) {
      const bool is_request = side == call::Side::request;
      const std::string& text = is_request ? command.request_schema : command.response_schema;
      Body body{&command, side, nullptr, to_type_name(name) + (is_request ? "Request" : "Response")};
      if (!text.empty()) {
        const bool is_deep = is_nested_deeper(text, nesting_max);
        auto root = is_deep ? ordered_json() : ordered_json::parse(text, nullptr, false);
        if (!root.is_object() && !root.is_boolean()) {
          return bad("S3072", "the {} schema of {} is no JSON Schema, or is nested too deep",
                     is_request ? "request" : "response", name);
        }
        documents_.push_back({std::move(root)});
        body.document = &documents_.back();
      }
      bodies_.push_back(std::move(body));
    }
  }
  return {};
}

// Which names the schemas give, and whether one means two things. Not by recursion: types may hold each other as deep as
// there are types.
void Deriver::collect(Node root) {
  std::set<const ordered_json*> known;
  std::deque<Node> waiting = {root};
  for (; !waiting.empty(); waiting.pop_front()) {
    const Shape shape = Shaper::shape(waiting.front());
    if (shape.kind != Kind::message) continue;
    if (!shape.wanted.empty()) {
      signatures_of_[to_type_name(shape.wanted)].insert(signatures_.of(shape.object));
    }
    const ordered_json* properties = member(*shape.object.schema, "properties");
    if (!known.insert(shape.object.schema).second || properties == nullptr || !properties->is_object()) continue;
    for (const auto& [name, property] : properties->items()) waiting.push_back({&property, shape.object.document});
  }
}

Result<std::shared_ptr<const Types>> Deriver::derive() {
  name_service();
  SHUNT_CHECK(read_documents());
  for (const Body& body : bodies_) {
    if (body.document != nullptr) collect({&body.document->root, body.document});
  }
  if (signatures_.too_many()) {
    return bad("S3073", "the types of its schemas refer to each other too often; make it several services");
  }
  taken_.insert(types_->container);  // Java refuses a class in a class of the same name.
  for (const auto& [name, signatures] : signatures_of_) {
    if (signatures.size() == 1 && name != types_->container) taken_.insert(name);
  }
  std::map<std::string, std::string> methods;
  for (std::size_t i = 0; i < bodies_.size(); i += 2) {
    const call::CommandDefinition& command = *bodies_[i].command;
    CommandTypes out;
    out.command = command.name;
    out.method = to_identifier(command.name);
    if (auto [known, fresh] = methods.emplace(out.method, command.name); !fresh) {
      return bad("S3071",
                 "the commands '{}' and '{}' would both be the method {} of its protobuf service; rename one of them",
                 known->second, command.name, out.method);
    }
    out.comment = command.description;
    out.stream = command.stream;
    out.effect = command.effect;
    SHUNT_TRY(out.request, body(bodies_[i]));
    SHUNT_CHECK(fill_all());
    SHUNT_TRY(out.response, body(bodies_[i + 1]));
    SHUNT_CHECK(fill_all());
    types_->commands.push_back(std::move(out));
  }
  for (const auto& message : types_->messages) {
    SHUNT_CHECK(check_fields(*message));
    message->index();
  }
  return types_;
}

std::string_view wrapper_of(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return "google.protobuf.BoolValue";
    case Kind::integer:
      return "google.protobuf.Int64Value";
    case Kind::unsigned_integer:
      return "google.protobuf.UInt64Value";
    case Kind::number:
      return "google.protobuf.DoubleValue";
    case Kind::bytes:
      return "google.protobuf.BytesValue";
    default:
      return "google.protobuf.StringValue";
  }
}

Result<BodyType> Deriver::body(const Body& body) {
  BodyType out;
  out.type_name = "google.protobuf.BytesValue";
  if (body.document == nullptr) return out;
  const Shape shape = Shaper::shape({&body.document->root, body.document});
  const auto well_known = [&](Form form, std::string_view name) {
    out.form = form;
    out.type_name = name;
    return out;
  };
  if (shape.only_null) return well_known(Form::empty, "google.protobuf.Empty");
  if (shape.nullable) return well_known(Form::value, "google.protobuf.Value");
  if (shape.label == Label::single && shape.kind < Kind::message) {
    auto wrapper = make_own<MessageType>();
    FieldType field;
    field.name = field.identifier = "value";
    field.number = 1;
    field.required = true;
    field.kind = shape.kind;
    wrapper->fields.push_back(std::move(field));
    wrapper->index();
    out.message = wrapper.get();
    types_->wrappers.push_back(std::move(wrapper));
    return well_known(Form::scalar, wrapper_of(shape.kind));
  }
  if (shape.label == Label::single && shape.kind == Kind::structure) {
    return well_known(Form::structure, "google.protobuf.Struct");
  }
  if (shape.label == Label::single && shape.kind == Kind::value) {
    return well_known(Form::value, "google.protobuf.Value");
  }
  if (shape.label == Label::single && shape.kind == Kind::message) {
    SHUNT_TRY(out.message, message(shape, body.path_name, body.path_name));
    out.form = Form::message;
  } else {
    // A list or a map is no message: one field of one holds it.
    MessageType& wrapper = add_message(body.path_name);
    wrapper.comment = text_of(body.document->root, "description");
    FieldType field;
    field.name = field.identifier = "value";
    field.number = 1;
    field.required = true;
    set_type(field, shape);
    if (shape.kind == Kind::message) {
      SHUNT_TRY(field.message, message(shape, body.path_name + "Value", body.path_name));
    }
    wrapper.fields.push_back(std::move(field));
    out.message = &wrapper;
    out.form = Form::wrapped;
  }
  out.type_name = out.message->full_name;
  return out;
}

MessageType& Deriver::add_message(const std::string& wanted) {
  auto message = make_own<MessageType>();
  message->name = wanted;
  while (!taken_.insert(message->name).second) message->name += '_';
  message->full_name = types_->package.empty() ? "" : types_->package + ".";
  message->full_name += types_->container + "." + message->name;
  types_->messages.push_back(std::move(message));
  return *types_->messages.back();
}

/// The name that its schema gives it, when that means one thing in the whole service.
std::string Deriver::shared_name(const Shape& shape) const {
  if (shape.wanted.empty()) return {};
  const std::string name = to_type_name(shape.wanted);
  const auto found = signatures_of_.find(name);
  return found != signatures_of_.end() && found->second.size() == 1 ? name : std::string();
}

Result<const MessageType*> Deriver::message(const Shape& shape, const std::string& path_name,
                                            const std::string& root_name) {
  const std::string shared = shared_name(shape);
  if (!shared.empty()) {
    if (const auto found = shared_.find(shared); found != shared_.end()) return found->second;
  } else if (const auto found = placed_.find(shape.object.schema); found != placed_.end()) {
    return found->second;
  }
  if (types_->messages.size() >= messages_max) {
    return bad("S3073", "its schemas have more than {} types; make it several services", messages_max);
  }
  MessageType* out = nullptr;
  if (!shared.empty()) {
    if (shared != types_->container) taken_.erase(shared);  // It was kept for this one.
    out = &add_message(shared);
    shared_[shared] = out;
  } else {
    out = &add_message(shape.wanted.empty() ? path_name : root_name + to_type_name(shape.wanted));
    placed_[shape.object.schema] = out;
  }
  out->comment = text_of(*shape.object.schema, "description");
  unfilled_.push_back({out, shape.object, root_name});
  return out;
}

Result<void> Deriver::fill_all() {
  for (; !unfilled_.empty(); unfilled_.pop_front()) {
    const Unfilled next = unfilled_.front();
    SHUNT_CHECK(fill(*next.message, next.object, next.root_name));
  }
  return {};
}

Result<void> Deriver::fill(MessageType& message, Node object, const std::string& root_name) {
  std::set<std::string> required;
  if (const ordered_json* names = member(*object.schema, "required"); names != nullptr && names->is_array()) {
    for (const auto& name : *names) {
      if (name.is_string()) required.insert(name.get<std::string>());
    }
  }
  const ordered_json* properties = member(*object.schema, "properties");
  if (properties == nullptr || !properties->is_object()) return {};
  for (const auto& [name, property] : properties->items()) {
    SHUNT_CHECK(add_field(message, name, {&property, object.document}, required.contains(name), root_name));
  }
  return {};
}

/// `x-proto-field` at the property, or in the one type beside null.
const ordered_json* annotation_of(const ordered_json& schema) {
  if (const ordered_json* found = member(schema, "x-proto-field")) return found;
  for (const char* key : {"anyOf", "oneOf"}) {
    const ordered_json* choices = member(schema, key);
    if (choices == nullptr || !choices->is_array()) continue;
    for (const ordered_json& choice : *choices) {
      if (const ordered_json* found = member(choice, "x-proto-field")) return found;
    }
  }
  return nullptr;
}

std::string field_comment(const ordered_json& schema, const Shape& shape) {
  std::string out = text_of(schema, "description");
  // A message's own description stands at the message.
  if (out.empty() && shape.inner != nullptr && shape.kind < Kind::message) out = text_of(*shape.inner, "description");
  if (shape.inner != nullptr && shape.label == Label::single) {
    if (const ordered_json* values = member(*shape.inner, "enum"); values != nullptr && values->is_array()) {
      add_line(out, fmt::format("One of {}.", values_text(*values)));
    }
    if (const ordered_json* constant = member(*shape.inner, "const"))
      add_line(out, fmt::format("Always {}.", dump(*constant)));
    if (shape.kind == Kind::string) add_line(out, format_text(text_of(*shape.inner, "format")));
    if (shape.kind == Kind::value &&
        (member(*shape.inner, "anyOf") != nullptr || member(*shape.inner, "oneOf") != nullptr ||
         member(*shape.inner, "type") != nullptr)) {
      ordered_json plain = *shape.inner;
      for (const char* key : {"description", "default", "title", "x-proto-field"}) plain.erase(key);
      if (const std::string text = dump(plain); text.size() <= 300) add_line(out, fmt::format("JSON Schema: {}", text));
    }
  }
  if (shape.nullable && shape.kind != Kind::value) add_line(out, "May be null: leave it out.");
  if (const ordered_json* value = member(schema, "default"); value != nullptr && !value->is_null()) {
    if (const std::string text = dump(*value); text.size() <= 200) add_line(out, fmt::format("Default: {}.", text));
  }
  return out;
}

void Deriver::set_type(FieldType& field, const Shape& shape) const {
  field.kind = shape.kind;
  field.label = shape.label;
  field.nullable = shape.nullable;
}

Result<void> Deriver::add_field(MessageType& message, const std::string& name, Node node, bool required,
                                const std::string& root_name) {
  if (++fields_ > fields_max) {
    return bad("S3073", "its schemas have more than {} fields; make it several services", fields_max);
  }
  FieldType field;
  field.name = name;
  field.identifier = to_identifier(name);
  field.camel = to_camel(field.identifier);
  if (field.camel == name) field.camel.clear();
  field.number = hashed_number(name);
  field.required = required;
  if (const ordered_json* number = annotation_of(*node.schema)) {
    if (!number->is_number_unsigned() || !is_field_number(number->get<std::uint64_t>())) {
      return bad("S3070", "the field '{}' of {} has the number {}; a field's number is 1 to {}, without 19000 to 19999",
                 name, message.name, dump(*number), number_max);
    }
    field.number = number->get<std::uint32_t>();
  }
  const Shape shape = Shaper::shape(node);
  set_type(field, shape);
  field.comment = field_comment(*node.schema, shape);
  if (shape.kind == Kind::message) {
    SHUNT_TRY(field.message, this->message(shape, message.name + to_type_name(name), root_name));
  }
  message.fields.push_back(std::move(field));
  return {};
}

Result<void> Deriver::check_fields(const MessageType& message) const {
  constexpr std::string_view how =
      R"(Annotated[T, shunt.Field(N)] in Python, SHUNT_FIELD_NUMBER in C++, "x-proto-field": N in a schema)";
  std::map<std::uint32_t, const FieldType*> numbers;
  // protobuf wants different names in JSON, whichever rule makes them.
  std::map<std::string, const FieldType*> names;
  for (const FieldType& field : message.fields) {
    if (auto [known, fresh] = numbers.emplace(field.number, &field); !fresh) {
      return bad("S3070",
                 "the fields '{}' and '{}' of {} both have the protobuf number {}; give one of them another: {}",
                 known->second->name, field.name, message.name, field.number, how);
    }
    if (auto [known, fresh] = names.emplace(to_camel(field.identifier), &field); !fresh) {
      return bad("S3070", "the fields '{}' and '{}' of {} would both be {} in protobuf; rename one of them",
                 known->second->name, field.name, message.name, known->first);
    }
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Types>> derive_types(const call::ServiceDefinition& service) {
  return Deriver(service).derive();
}

}  // namespace shunt::schema::derived
