#pragma once
// .proto files compiled when a service is loaded: what they declare as plain values, or what is wrong with them, each at
// its place in the text. Reads files; knows neither manifests nor how a place is shown.

#include <cstddef>
#include <expected>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "call/definition.h"

namespace shunt::schema {

/// A place in the text of a file, and what is to be told about it.
struct Problem {
  std::string id = {};                           ///< S2072, S2073 or S2075.
  std::string file = {};                         ///< Relative to the folder, where it lies below.
  std::shared_ptr<const std::string> text = {};  ///< Owners: all problems of the file. nullptr: the file was not read.
  std::size_t begin = 0;                         ///< Offsets into it.
  std::size_t end = 0;
  std::string message = {};
  std::string known = {};
  std::string fix = {};
};

struct ProtoMethod {
  std::string name;  ///< "GetItem"
  std::string request;
  std::string response;
  std::string description;  ///< The comment above it.
  std::string place;        ///< "shop.proto:12"
  call::StreamShape stream = call::StreamShape::unary;
  call::Effect effect = call::Effect::any;  ///< any: idempotency_level is not said.
};

struct ProtoService {
  std::string name;  ///< Full: "shop.v1.Items"
  std::string description;
  std::string place;
  std::vector<ProtoMethod> methods;
};

struct ProtoFiles {
  /// Serialized google.protobuf.FileDescriptorProto, each after those it imports; without google/protobuf's own.
  std::vector<std::string> descriptors;
  std::vector<ProtoService> services;  ///< Declared in the files that were asked for, not in what they import.
  std::vector<std::string> messages;   ///< Full names of all messages.
};

struct CompileLimits {
  std::size_t files_max = 256;  ///< With their imports. Beyond each: S2075.
  std::size_t file_bytes_max = std::size_t{1} << 20;
  int nesting_max = 64;  ///< Of braces.
};

/// `files` are absolute. An import is looked for from `folder`, then from the importing file's folder and each above it up
/// to `folder`; google/protobuf, google/rpc and google/api are known. Threads: any.
std::expected<ProtoFiles, std::vector<Problem>> compile_proto(const std::filesystem::path& folder,
                                                              std::span<const std::filesystem::path> files,
                                                              const CompileLimits& limits = {});

/// The same of descriptors that somebody else compiled. Errors: invalid_argument S2074.
Result<ProtoFiles> read_descriptors(std::span<const std::string> descriptors);

}  // namespace shunt::schema
