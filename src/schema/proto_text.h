#pragma once
// A service's protobuf view for people and tools: as the text of .proto files, and as a FileDescriptorSet. What `shunt proto`
// prints.

#include <string>
#include <vector>

#include "base/result.h"
#include "call/contract.h"

namespace shunt::schema {

struct ProtoFile {
  std::string name;  ///< "shop/cart.proto"
  std::string text;
};

/// Every file of the contract that protoc does not bring itself (google/protobuf/...), the service's own last. What they say
/// is what the descriptors say; comments come from the descriptors too.
/// Errors: internal (S5021) for descriptors that do not fit together.
Result<std::vector<ProtoFile>> proto_text(const call::Contract& contract);

/// A serialized google.protobuf.FileDescriptorSet with all files of the contract, each after those that it imports.
std::string descriptor_set(const call::Contract& contract);

}  // namespace shunt::schema
