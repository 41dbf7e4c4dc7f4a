#pragma once
// The descriptors of health and reflection themselves, for whoever asks by reflection what they are. Only for gateway/'s
// own files.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shunt::gateway {

struct BuiltinFile {
  std::string name;                  ///< "grpc/health/v1/health.proto"
  std::string service;               ///< "grpc.health.v1.Health"
  std::string descriptor;            ///< A serialized google.protobuf.FileDescriptorProto.
  std::vector<std::string> symbols;  ///< Everything that it declares.
};

/// Made at the first call of each thread.
std::span<const BuiltinFile> builtin_files();

}  // namespace shunt::gateway
