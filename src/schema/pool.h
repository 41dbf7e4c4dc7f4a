#pragma once
// Serialized file descriptors become protobuf's descriptor objects. Only what loads a service looks at these; calls see
// types.h.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace google::protobuf {
class DescriptorPool;
class FileDescriptor;
}  // namespace google::protobuf

namespace shunt::schema {

struct Pool {
  Pool();
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  ~Pool();
  /// Over known_files().
  std::unique_ptr<google::protobuf::DescriptorPool> descriptors;
  std::vector<const google::protobuf::FileDescriptor*> files;  ///< Those given, in their order.
};

/// Each file after those that it imports; google/protobuf/*.proto may be among them and are passed over.
Result<Pool> build_pool(std::span<const std::string> files);

/// protobuf prints to stderr what it thinks of descriptors; we say it ourselves. Called before it is used. Threads: any.
void silence_protobuf();

/// google/protobuf/*.proto, which libprotobuf carries. Lives for ever; threads: any.
const google::protobuf::DescriptorPool& known_files();

/// One of them, such as "google/protobuf/timestamp.proto", or nullptr.
const google::protobuf::FileDescriptor* known_file(const std::string& name);

/// The file of google/protobuf that declares a message of that full name; empty for others.
std::string known_file_of(const std::string& message);

}  // namespace shunt::schema
