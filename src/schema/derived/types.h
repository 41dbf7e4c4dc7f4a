#pragma once
// The types of a service's messages, derived from the JSON Schemas of its commands: what spec/derived-proto.md says, as
// plain values. The descriptors are written from them, and the transcoder reads them at every message.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "call/definition.h"

namespace shunt::schema::derived {

enum class Kind : std::uint8_t {
  boolean,
  integer,           ///< int64
  unsigned_integer,  ///< uint64
  number,            ///< double
  string,
  bytes,      ///< base64 in JSON.
  message,    ///< FieldType::message
  value,      ///< google.protobuf.Value
  structure,  ///< google.protobuf.Struct
  list,       ///< google.protobuf.ListValue
};

enum class Label : std::uint8_t { single, repeated, map };

struct MessageType;

struct FieldType {
  std::string name;        ///< In JSON.
  std::string identifier;  ///< In protobuf.
  std::string camel;       ///< The other name that JSON may have on input; empty when it is no other.
  std::string comment;
  std::uint32_t number = 0;
  Kind kind = Kind::value;
  Label label = Label::single;
  bool required = false;
  bool nullable = false;
  const MessageType* message = nullptr;  ///< Of the kind message; owned by Types.

  /// A scalar of which protobuf knows whether it is there (proto3 `optional`); messages always tell.
  [[nodiscard]] bool is_optional() const {
    return label == Label::single && kind < Kind::message && (!required || nullable);
  }
};

struct MessageType {
  std::string name;       ///< Within the service's container: "Line".
  std::string full_name;  ///< "shop.Cart.Line"
  std::string comment;
  std::vector<FieldType> fields;  ///< In the order of the schema.

  /// The field's index, or -1. `expected` is where it most likely is: members mostly come in order.
  [[nodiscard]] int find(std::string_view name, std::size_t expected) const;
  [[nodiscard]] int find(std::uint32_t number, std::size_t expected) const;
  /// Sorts what find() reads; once all fields are there.
  void index();

 private:
  std::vector<std::uint32_t> by_name_;    ///< Twice a field's index, plus 1 for its camel name; sorted by that name.
  std::vector<std::uint32_t> by_number_;  ///< Indices, sorted by number.
  [[nodiscard]] std::string_view name_of(std::uint32_t entry) const;
};

/// How the whole request or answer of a command is a message.
enum class Form : std::uint8_t {
  message,    ///< An object: `message`.
  wrapped,    ///< A list or a map: the only field, `value`, of `message`.
  scalar,     ///< google.protobuf.StringValue and its like: the only field of `message`.
  raw,        ///< Bytes as they are: google.protobuf.BytesValue.
  value,      ///< google.protobuf.Value
  structure,  ///< google.protobuf.Struct
  empty,      ///< Only null: google.protobuf.Empty.
};

struct BodyType {
  Form form = Form::raw;
  const MessageType* message = nullptr;
  std::string type_name;  ///< "shop.Cart.TotalRequest"
};

struct CommandTypes {
  std::string command;
  std::string method;
  std::string comment;
  call::StreamShape stream = call::StreamShape::unary;
  call::Effect effect = call::Effect::any;
  BodyType request;
  BodyType response;
};

/// Threads: any, once made.
struct Types {
  std::string package;    ///< "shop"; empty for an app of one service.
  std::string service;    ///< "cart": the identifier.
  std::string full_name;  ///< "shop.cart"
  std::string container;  ///< "Cart": the message that holds all others.
  std::string comment;
  std::vector<Own<MessageType>> messages;
  std::vector<Own<MessageType>> wrappers;  ///< google.protobuf.StringValue and its like, where they are used.
  std::vector<CommandTypes> commands;
};

/// Errors: failed_precondition; S3070 two fields of one number or name, S3071 two commands of one method, S3072 a schema
/// that can't be read, S3073 too many types.
Result<std::shared_ptr<const Types>> derive_types(const call::ServiceDefinition& service);

}  // namespace shunt::schema::derived
