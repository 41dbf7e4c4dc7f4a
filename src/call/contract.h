#pragma once
// What a service's messages are made of, as far as the kernel must know it: that a command may take JSON or protobuf, and
// who turns one into the other. schema/ implements it; the kernel knows neither JSON nor protobuf.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace shunt::call {

/// How the bytes of a message are written.
enum class Encoding : std::uint8_t {
  json,   ///< A JSON text. Bytes that are neither count as this too: they are passed as they are.
  proto,  ///< A protobuf message of the command's type.
  /// protobuf's JSON of the command's type, as generated clients write and read it. Of types derived from code it differs
  /// from `json`, which is the handler's own, in a few places (spec/derived-proto.md); otherwise it is the same. Only callers
  /// have it; no handler and no wire.
  proto_json,
};

enum class Side : std::uint8_t { request, response };

/// Turns the messages of one command from one encoding into the other. Threads: any; immutable.
class Transcoder {
 public:
  virtual ~Transcoder() = default;
  /// Errors: invalid_argument names the field by its path and, for JSON, the line and column (for a response the caller
  /// sees `internal`: it was not the client's fault).
  [[nodiscard]] virtual Result<Bytes> convert(Side side, Encoding from, Encoding to, const Bytes& message) const = 0;
  /// Whether JSON between a caller and a handler that both take JSON goes through convert() too: a declared message has
  /// one JSON, and a handler gets and gives no other.
  [[nodiscard]] virtual bool checks_json() const { return false; }
  /// The full names of the message types: "shop.v1.Item".
  [[nodiscard]] virtual std::string_view type_name(Side side) const = 0;
};

/// The protobuf view of a service: declared by its .proto files or derived from its schemas. Threads: any; immutable.
class Contract {
 public:
  struct File {
    std::string name;                  ///< "shop/v1/items.proto"
    std::string descriptor;            ///< A serialized google.protobuf.FileDescriptorProto.
    std::vector<std::string> imports;  ///< Names of other files of this contract.
    std::vector<std::string> symbols;  ///< Full names of everything declared in it, methods and fields too.
  };
  virtual ~Contract() = default;
  /// "shop.v1.Items": the protobuf service by which its commands are reached, beside /SERVICE/COMMAND.
  [[nodiscard]] virtual std::string_view service_name() const = 0;
  /// The command that a method of it is; empty when there is no such method. "GetItem" may be the command "get_item".
  [[nodiscard]] virtual std::string_view command_of(std::string_view method) const = 0;
  /// Each after those it imports.
  [[nodiscard]] virtual std::span<const File> files() const = 0;
  /// Whether it was derived from schemas, not declared.
  [[nodiscard]] virtual bool is_derived() const = 0;
};

}  // namespace shunt::call
