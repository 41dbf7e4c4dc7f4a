#pragma once
// Turns messages of derived types into the handler's JSON and back, one message at a time, from the tables of types.h:
// no tree, no reflection. The JSON is the handler's own: its names, numbers as numbers, what is absent left out.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "call/contract.h"
#include "schema/derived/types.h"

namespace shunt::schema::derived {

/// Of the command at that index. From proto_json it accepts what protobuf's JSON has besides the handler's own (lowerCamel
/// names, integers as strings, base64url, the field `value` around a list); JSON that does not fit is passed as it is: who
/// reads it says what is wrong.
/// Threads: any; immutable.
class DerivedTranscoder final : public call::Transcoder {
 public:
  DerivedTranscoder(std::shared_ptr<const Types> types, std::size_t command)
      : types_(std::move(types)), command_(types_->commands[command]) {}

  [[nodiscard]] Result<Bytes> convert(call::Side side, call::Encoding from, call::Encoding to,
                                      const Bytes& message) const override;
  [[nodiscard]] std::string_view type_name(call::Side side) const override { return body(side).type_name; }

 private:
  [[nodiscard]] const BodyType& body(call::Side side) const {
    return side == call::Side::request ? command_.request : command_.response;
  }

  std::shared_ptr<const Types> types_;  // Owners: the contract and every transcoder of the service.
  const CommandTypes& command_;
};

/// The handler's JSON as a message. Errors: invalid_argument (S1040), with the path, line and column.
Result<std::string> encode(const BodyType& body, std::string_view json);
/// A message as the handler's JSON. Errors: invalid_argument, with the path: S1041 bytes that are no such message, S1042 one that JSON
/// can't have; resource_exhausted (S1043) when the JSON is larger than 64 MiB.
Result<std::string> decode(const BodyType& body, std::string_view message);
/// A request in protobuf's JSON or the handler's, as the handler's. Nothing: it is that already, or no JSON.
std::optional<std::string> to_own_json(const BodyType& body, std::string_view json);
/// The handler's JSON as protobuf's. Nothing: it is that already.
std::optional<std::string> to_proto_json(const BodyType& body, std::string_view json);

/// A whole number of the kind integer or unsigned_integer, as its 64 bits.
std::optional<std::uint64_t> read_integer(std::string_view text, Kind kind);
std::string integer_text(std::uint64_t bits, Kind kind);

}  // namespace shunt::schema::derived
