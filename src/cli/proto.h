#pragma once
// What `shunt proto` makes of the manager's answer, apart from the node, so that tests can ask.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::cli {

struct ProtoFile {
  std::string name;  ///< "shop/cart.proto": relative, below the folder that it is written to.
  std::string text;
};

struct ProtoAnswer {
  std::vector<ProtoFile> files;  ///< All that protoc needs and has not itself.
  std::size_t main = 0;          ///< Index of the one that declares the service.
  std::string descriptor_set;    ///< A serialized google.protobuf.FileDescriptorSet.
};

/// Errors: internal (S5008) for an answer that is none, or that names files outside of the folder.
Result<ProtoAnswer> read_proto_answer(std::string_view json);

}  // namespace shunt::cli
