#pragma once
// From file descriptors to what the kernel holds of a typed service: its contract, and a transcoder for each command.
// Whoever has descriptors, compiled or derived, comes through here. Knows neither manifests nor .proto text.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "call/contract.h"

namespace shunt::schema {

struct Field;

/// How messages look in JSON. The defaults are proto3's canonical JSON; what is read is the same in every form.
struct JsonForm {
  /// 64-bit integers as JSON numbers where canonical JSON has strings.
  bool numbers = false;
  /// Fields without presence are written even when they hold their default.
  bool defaults = false;
  /// Those of them that are left out all the same. Borrowed.
  const std::unordered_set<const Field*>* unnamed = nullptr;
  /// Fields have the names of the .proto file, not their JSON names.
  bool file_names = false;
  /// What one message may become. Reason: a packed enum of one byte becomes its whole name. Beyond it:
  /// resource_exhausted.
  std::size_t output_bytes_max = std::size_t{64} << 20;
};

struct TypedParts {
  /// Serialized google.protobuf.FileDescriptorProto, each after those that it imports. google/protobuf/*.proto may be
  /// left out: they are known.
  std::vector<std::string> files;
  std::string service;                          ///< Full name of the protobuf service, declared in one of the files.
  std::map<std::string, std::string> commands;  ///< The command that a method is: {"GetItem", "get_item"}.
  bool derived = false;
  JsonForm form = {};
  /// The JSON Schema that a command's handler has of its request, by command. A handler whose schema names fields reads
  /// requests with numbers and the defaults of what its schema names written out, and by the names that its schema has.
  std::map<std::string, std::string> handler_schemas = {};
};

struct Typed {
  // Owners: as in call::ServiceDefinition and call::CommandDefinition.
  std::shared_ptr<const call::Contract> contract;
  std::map<std::string, std::shared_ptr<const call::Transcoder>, std::less<>> transcoders;  ///< By command.
  struct Schemas {
    std::string request;  ///< JSON Schema of the canonical JSON.
    std::string response;
  };
  std::map<std::string, Schemas, std::less<>> schemas;  ///< By command.
};

/// Threads: any. Errors: invalid_argument, with protobuf's own reason, for files that don't fit together or a service or
/// method that is not in them.
Result<Typed> make_typed(TypedParts parts);

}  // namespace shunt::schema
