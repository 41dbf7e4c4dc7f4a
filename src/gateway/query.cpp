#include "gateway/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/names.h"
#include "gateway/text.h"
#include "manifest/document.h"

namespace shunt::gateway {

namespace {

constexpr std::size_t parameters_max = 256;

// Calls `take(key, value)` with each encoded pair until it returns false.
template <typename Take>
void for_each_pair(std::string_view query, Take take) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (!take(pair.substr(0, equals), pair.substr(std::min(equals + 1, pair.size())))) return;
  }
}

std::optional<manifest::Node> parse_json(std::string_view text) {
  std::vector<manifest::Diagnostic> diagnostics;
  return manifest::parse(manifest::Source("", std::string(text)), diagnostics);
}

// JSON's grammar of numbers, so that what goes through is JSON and no more.
bool is_number(std::string_view text, bool& is_integer) {
  const auto digits = [&] {
    std::size_t count = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      text.remove_prefix(1);
      ++count;
    }
    return count;
  };
  is_integer = true;
  if (text.starts_with('-')) text.remove_prefix(1);
  const bool leads_with_zero = text.starts_with('0');
  const std::size_t whole = digits();
  if (whole == 0 || (leads_with_zero && whole > 1)) return false;
  if (text.starts_with('.')) {
    is_integer = false;
    text.remove_prefix(1);
    if (digits() == 0) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    is_integer = false;
    text.remove_prefix(1);
    if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
    if (digits() == 0) return false;
  }
  return text.empty();
}

const manifest::Node* member(const manifest::Node& node, std::string_view key) {
  if (node.kind != manifest::Kind::object) return nullptr;
  const manifest::Member* found = node.find(key);
  return found == nullptr ? nullptr : &found->value;
}

std::unexpected<Status> bad_parameter(std::string_view name, std::string text) {
  return fail(Code::invalid_argument, "S4013", fmt::format("parameter '{}' {}", name, text));
}

}  // namespace

// Follows $ref within the schema, and every branch of anyOf, oneOf and allOf.
struct ParameterTypes::Reader {
  const manifest::Node& root;

  const manifest::Node* referred(std::string_view pointer) const {
    if (!pointer.starts_with("#/")) return nullptr;
    const manifest::Node* at = &root;
    pointer.remove_prefix(2);
    while (at != nullptr && !pointer.empty()) {
      const std::size_t end = std::min(pointer.find('/'), pointer.size());
      at = member(*at, pointer.substr(0, end));
      pointer.remove_prefix(std::min(end + 1, pointer.size()));
    }
    return at;
  }

  static void add_type(std::string_view name, Type& type) {
    if (name == "string") type.string = true;
    if (name == "number") type.number = true;
    if (name == "integer") type.integer = true;
    if (name == "boolean") type.boolean = true;
    if (name == "null") type.null = true;
    if (name == "array") type.array = true;
    if (name == "object") type.object = true;
  }

  static void add_literal(const manifest::Node& value, Type& type) {
    switch (value.kind) {
      case manifest::Kind::null:
        type.null = true;
        break;
      case manifest::Kind::boolean:
        type.boolean = true;
        break;
      case manifest::Kind::number:
        type.number = true;
        break;
      case manifest::Kind::string:
        type.string = true;
        break;
      case manifest::Kind::array:
        type.array = true;
        break;
      case manifest::Kind::object:
        type.object = true;
        break;
    }
  }

  void read(const manifest::Node& schema, Type& type, Type* element, int depth) const {
    if (depth > 8) return;
    if (const auto* name = member(schema, "type"); name != nullptr) {
      if (name->kind == manifest::Kind::string) add_type(name->text, type);
      for (const manifest::Node& one : name->elements) add_type(one.text, type);
    }
    if (const auto* value = member(schema, "const"); value != nullptr) add_literal(*value, type);
    if (const auto* values = member(schema, "enum"); values != nullptr && member(schema, "type") == nullptr) {
      for (const manifest::Node& one : values->elements) add_literal(one, type);
    }
    if (const auto* items = member(schema, "items"); items != nullptr && element != nullptr) {
      read(*items, *element, nullptr, depth + 1);
    }
    if (const auto* to = member(schema, "$ref"); to != nullptr) {
      if (const manifest::Node* found = referred(to->text)) read(*found, type, element, depth + 1);
    }
    for (const std::string_view key : {"anyOf", "oneOf", "allOf"}) {
      const auto* branches = member(schema, key);
      if (branches == nullptr) continue;
      for (const manifest::Node& branch : branches->elements) read(branch, type, element, depth + 1);
    }
  }
};

ParameterTypes ParameterTypes::from_schema(std::string_view schema) {
  ParameterTypes types;
  if (schema.empty()) return types;
  const std::optional<manifest::Node> root = parse_json(schema);
  if (!root) return types;
  const Reader reader{*root};
  const manifest::Node* object = &*root;
  if (const auto* to = member(*root, "$ref"); to != nullptr) {
    if (const manifest::Node* found = reader.referred(to->text)) object = found;
  }
  const manifest::Node* properties = member(*object, "properties");
  if (properties == nullptr) return types;
  for (const manifest::Member& property : properties->members) {
    Parameter& parameter = types.parameters_[property.key];
    reader.read(property.value, parameter.type, &parameter.element, 0);
  }
  return types;
}

Result<std::string> ParameterTypes::value_json(const std::string& name, std::string_view value, const Type& type) {
  bool is_integer = false;
  if ((type.number || type.integer) && is_number(value, is_integer) && (is_integer || type.number)) {
    return std::string(value);
  }
  if (type.boolean && (value == "true" || value == "false")) return std::string(value);
  if (type.null && value == "null") return std::string("null");
  if (type.object || type.array) {
    const std::optional<manifest::Node> node = parse_json(value);
    if (node && ((type.object && node->kind == manifest::Kind::object) ||
                 (type.array && node->kind == manifest::Kind::array))) {
      return manifest::write_json(*node);
    }
  }
  const bool says_something = type.number || type.integer || type.boolean || type.null || type.object || type.array;
  if (type.string || !says_something) {
    if (!is_utf8(value)) return bad_parameter(name, "is not UTF-8");
    return quote_json(value);
  }
  std::string wanted;
  const auto want = [&](bool does, std::string_view what) {
    if (does) wanted.append(wanted.empty() ? "" : " or ").append(what);
  };
  want(type.integer && !type.number, "a whole number");
  want(type.number, "a number");
  want(type.boolean, "true or false");
  want(type.null, "null");
  want(type.array, "a JSON array");
  want(type.object, "a JSON object");
  return bad_parameter(name, fmt::format("must be {}; it is '{}'", wanted, value));
}

Result<std::string> ParameterTypes::value_json(const FormValue& value, const Type& type) {
  if (value.is_file) {
    std::string data = quote_json(encode_base64(value.text, Padding::yes));
    if (!type.object || type.string) return data;
    return fmt::format("{{\"filename\":{},\"type\":{},\"data\":{}}}", quote_json(value.filename),
                       quote_json(value.type), data);
  }
  if (!value.is_json) return value_json(value.name, value.text, type);
  const std::optional<manifest::Node> node = parse_json(value.text);
  if (!node) return bad_parameter(value.name, "says that it is JSON, and is not");
  return manifest::write_json(*node);
}

Result<std::string> ParameterTypes::parameter_json(const std::string& name,
                                                   std::span<const FormValue* const> values) const {
  const auto found = parameters_.find(name);
  const Parameter parameter = found == parameters_.end() ? Parameter{} : found->second;
  const bool is_known = found != parameters_.end();
  const FormValue& first = *values.front();
  if (!parameter.type.array && (values.size() == 1 || is_known)) {
    if (values.size() > 1) return bad_parameter(name, "is given more than once, and is not a list");
    return value_json(first, parameter.type);
  }
  // One value of a list parameter may be the whole list as JSON.
  if (values.size() == 1 && !first.is_file && first.text.starts_with('[')) {
    if (auto whole = value_json(first, parameter.type)) return whole;
  }
  std::string out = "[";
  for (const FormValue* value : values) {
    SHUNT_TRY(const std::string element, value_json(*value, parameter.element));
    if (out.size() > 1) out += ',';
    out += element;
  }
  return out + "]";
}

Result<std::string> ParameterTypes::to_json(std::string_view query) const {
  std::vector<FormValue> form;
  std::optional<Status> wrong;
  for_each_pair(query, [&](std::string_view key, std::string_view value) {
    std::optional<std::string> name = decode_query(key);
    std::optional<std::string> text = decode_query(value);
    if (!name || !text) {
      wrong.emplace(Code::invalid_argument, "S4013",
                    fmt::format("the query has a '%' that is not followed by two hexadecimal digits, near '{}'", key));
      return false;
    }
    form.push_back({.name = std::move(*name), .text = std::move(*text)});
    return true;
  });
  if (wrong) return std::unexpected(std::move(*wrong));
  return to_json(form);
}

Result<std::string> ParameterTypes::to_json(std::span<const FormValue> form) const {
  std::vector<std::vector<const FormValue*>> given;  // by name, in the order of the form
  for (const FormValue& value : form) {
    auto same = std::ranges::find_if(given, [&](const auto& one) { return one.front()->name == value.name; });
    if (same == given.end()) {
      if (given.size() == parameters_max) {
        return fail(Code::invalid_argument, "S4013",
                    fmt::format("there are more than {} parameters; send them as JSON, with POST", parameters_max));
      }
      given.emplace_back();
      same = given.end() - 1;
    }
    same->push_back(&value);
  }
  std::string out = "{";
  for (const auto& values : given) {
    const std::string& name = values.front()->name;
    if (!is_utf8(name)) return bad_parameter("?", "has a name that is not UTF-8");
    SHUNT_TRY(const std::string value, parameter_json(name, values));
    if (out.size() > 1) out += ',';
    out += quote_json(name) + ":" + value;
  }
  return out + "}";
}

std::optional<std::string> query_value(std::string_view query, std::string_view key) {
  std::optional<std::string> found;
  for_each_pair(query, [&](std::string_view name, std::string_view value) {
    if (name != key) return true;
    found = decode_query(value);
    return false;
  });
  return found;
}

Result<std::string> connect_message(std::string_view query) {
  const std::string encoding = query_value(query, "encoding").value_or("");
  if (encoding != "json") {
    return fail(Code::unimplemented, "S4008", fmt::format("encoding '{}' is not spoken here; json is", encoding));
  }
  const std::string compression = query_value(query, "compression").value_or("identity");
  if (compression != "identity") {
    return fail(Code::unimplemented, "S4008",
                fmt::format("compression '{}' is not spoken here; identity is", compression));
  }
  std::optional<std::string> message = query_value(query, "message");
  if (!message) return bad_parameter("message", "is missing, or its escapes are broken");
  if (query_value(query, "base64").value_or("0") != "1") return std::move(*message);
  std::optional<std::string> decoded = decode_base64(*message);
  if (!decoded) return bad_parameter("message", "is not base64");
  return std::move(*decoded);
}

}  // namespace shunt::gateway
