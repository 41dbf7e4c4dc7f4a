#include "schema/json_schema.h"

#include <algorithm>
#include <vector>

#include "base/json_text.h"

namespace shunt::schema {

namespace {

constexpr std::size_t messages_max = 200;

class Writer {
 public:
  std::string write(const MessageType& root) {
    std::string out = type(root);
    if (root.special != Special::none) return out;
    std::string defs;
    for (std::size_t i = 0; i < messages_.size(); ++i) {  // Writing one may name others.
      defs += defs.empty() ? "" : ",";
      defs += quote_json(messages_[i]->name) + ":" + object(*messages_[i]);
    }
    return R"({"$ref":)" + reference(root) + R"(,"$defs":{)" + defs + "}}";
  }

 private:
  static std::string reference(const MessageType& type) { return quote_json("#/$defs/" + type.name); }

  std::string type(const MessageType& type) {
    switch (type.special) {
      case Special::none:
        break;
      case Special::any:
      case Special::structure:
        return R"({"type":"object"})";
      case Special::timestamp:
        return R"({"type":"string","format":"date-time"})";
      case Special::duration:
      case Special::field_mask:
        return R"({"type":"string"})";
      case Special::value:
        return "{}";
      case Special::list_value:
        return R"({"type":"array"})";
      case Special::wrapper:
        return scalar(type.fields[0]);
    }
    if (std::ranges::find(messages_, &type) == messages_.end()) {
      if (messages_.size() >= messages_max) return R"({"type":"object"})";
      messages_.push_back(&type);
    }
    return R"({"$ref":)" + reference(type) + "}";
  }

  std::string object(const MessageType& type) {
    std::string out = R"({"type":"object","properties":{)";
    for (const Field& field : type.fields) {
      if (&field != &type.fields.front()) out += ',';
      out += field.key;
      if (field.is_map()) {
        out += R"({"type":"object","additionalProperties":)" + one(field.message->fields[1]) + "}";
      } else if (field.repeated) {
        out += R"({"type":"array","items":)" + one(field) + "}";
      } else {
        out += one(field);
      }
    }
    return out + R"(},"additionalProperties":false})";
  }

  std::string one(const Field& field) { return field.message != nullptr ? type(*field.message) : scalar(field); }

  static std::string scalar(const Field& field) {
    switch (field.type) {
      case FieldType::boolean:
        return R"({"type":"boolean"})";
      case FieldType::string:
        return R"({"type":"string"})";
      case FieldType::bytes:
        return R"({"type":"string","contentEncoding":"base64"})";
      case FieldType::real32:
      case FieldType::real64:
        return R"({"type":"number"})";
      case FieldType::int64:
      case FieldType::uint64:
      case FieldType::sint64:
      case FieldType::fixed64:
      case FieldType::sfixed64:
        return R"({"type":["string","integer"]})";
      case FieldType::enumeration: {
        if (field.enumeration->null_value) return R"({"type":"null"})";
        std::string out = R"({"type":"string","enum":[)";
        for (std::string_view name : field.enumeration->names) {
          if (out.back() != '[') out += ',';
          out += quote_json(name);
        }
        return out + "]}";
      }
      default:
        return R"({"type":"integer"})";
    }
  }

  std::vector<const MessageType*> messages_;
};

}  // namespace

std::string json_schema(const MessageType& type) { return Writer().write(type); }

}  // namespace shunt::schema
