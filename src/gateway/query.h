#pragma once
// A query string becomes a command's JSON object: the types are those of its request schema, a text stays a text where the
// schema does not say otherwise.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::gateway {

/// One field of a form, decoded.
struct FormValue {
  std::string name;
  std::string text;      ///< Of a file: its bytes.
  bool is_json = false;  ///< The text is JSON, as its part said.
  bool is_file = false;
  std::string filename = {};  ///< Of a file; may be empty.
  std::string type = {};      ///< The same.
};

/// What a command's parameters may be, read once from its JSON Schema.
class ParameterTypes {
 public:
  /// `schema` is JSON text, or empty; what is not understood leaves its parameter a text.
  static ParameterTypes from_schema(std::string_view schema);

  /// Errors: invalid_argument S4013 names the parameter and what it should be.
  [[nodiscard]] Result<std::string> to_json(std::string_view query) const;
  /// The same of a form's fields, in their order. A file is its bytes in base64, or {"filename", "type", "data"} where the
  /// schema wants an object.
  [[nodiscard]] Result<std::string> to_json(std::span<const FormValue> form) const;

 private:
  struct Type {
    bool string = false;
    bool number = false;
    bool integer = false;
    bool boolean = false;
    bool null = false;
    bool array = false;
    bool object = false;
  };
  struct Parameter {
    Type type;
    Type element;  ///< Of an array.
  };
  struct Reader;

  static Result<std::string> value_json(const FormValue& value, const Type& type);
  static Result<std::string> value_json(const std::string& name, std::string_view value, const Type& type);
  [[nodiscard]] Result<std::string> parameter_json(const std::string& name,
                                                   std::span<const FormValue* const> values) const;

  std::map<std::string, Parameter, std::less<>> parameters_;
};

/// The value of one key of a query, decoded; nothing when it is absent or its escapes are broken.
std::optional<std::string> query_value(std::string_view query, std::string_view key);

/// The message of a Connect GET: `connect=v1&encoding=json&message=…[&base64=1]`.
/// Errors: invalid_argument S4013; unimplemented S4008 for another encoding or a compression.
Result<std::string> connect_message(std::string_view query);

}  // namespace shunt::gateway
