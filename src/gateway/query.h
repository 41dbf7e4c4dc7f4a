#pragma once
// A query string becomes a command's JSON object: the types are those of its request schema, a text stays a text where the
// schema does not say otherwise.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::gateway {

/// What a command's parameters may be, read once from its JSON Schema.
class ParameterTypes {
 public:
  /// `schema` is JSON text, or empty; what is not understood leaves its parameter a text.
  static ParameterTypes from_schema(std::string_view schema);

  /// Errors: invalid_argument S4013 names the parameter and what it should be.
  [[nodiscard]] Result<std::string> to_json(std::string_view query) const;

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

  static Result<std::string> value_json(const std::string& name, std::string_view value, const Type& type);
  Result<std::string> parameter_json(const std::string& name, const std::vector<std::string>& values) const;

  std::map<std::string, Parameter, std::less<>> parameters_;
};

/// The value of one key of a query, decoded; nothing when it is absent or its escapes are broken.
std::optional<std::string> query_value(std::string_view query, std::string_view key);

/// The message of a Connect GET: `connect=v1&encoding=json&message=…[&base64=1]`.
/// Errors: invalid_argument S4013; unimplemented S4008 for another encoding or a compression.
Result<std::string> connect_message(std::string_view query);

}  // namespace shunt::gateway
