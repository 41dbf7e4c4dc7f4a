#include "schema/pool.h"

#include <fmt/format.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/api.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/source_context.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/type.pb.h>
#include <google/protobuf/wrappers.pb.h>

namespace shunt::schema {

namespace pb = google::protobuf;

namespace {

constexpr std::string_view known_folder = "google/protobuf/";

class FirstError final : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message*, ErrorLocation,
                const std::string& message) override {
    if (text.empty()) text = fmt::format("{}: {}: {}", file, element, message);
  }
  std::string text;
};

}  // namespace

Pool::Pool() = default;
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::~Pool() = default;

void silence_protobuf() {
  static const bool done = [] {
    pb::SetLogHandler(nullptr);
    return true;
  }();
  (void)done;
}

// The generated pool itself would not do: a module in this process that has generated code adds its own files to it.
const pb::DescriptorPool& known_files() {
  static const pb::DescriptorPool* const pool = [] {
    silence_protobuf();
    auto* made = new pb::DescriptorPool;  // Never destroyed: descriptors of it are in others.
    // Each after those it imports. Naming a class makes the linker keep its file.
    for (const pb::FileDescriptor* file : {
             pb::Any::descriptor()->file(),
             pb::SourceContext::descriptor()->file(),
             pb::Type::descriptor()->file(),
             pb::Api::descriptor()->file(),
             pb::FileDescriptorProto::descriptor()->file(),
             pb::Duration::descriptor()->file(),
             pb::Empty::descriptor()->file(),
             pb::FieldMask::descriptor()->file(),
             pb::Struct::descriptor()->file(),
             pb::Timestamp::descriptor()->file(),
             pb::Int32Value::descriptor()->file(),
         }) {
      pb::FileDescriptorProto copy;
      file->CopyTo(&copy);
      file->CopyJsonNameTo(&copy);
      made->BuildFile(copy);
    }
    return made;
  }();
  return *pool;
}

const pb::FileDescriptor* known_file(const std::string& name) {
  return name.starts_with(known_folder) ? known_files().FindFileByName(name) : nullptr;
}

std::string known_file_of(const std::string& message) {
  const auto* found = known_files().FindMessageTypeByName(message);
  return found == nullptr ? std::string() : found->file()->name();
}

Result<Pool> build_pool(std::span<const std::string> files) {
  Pool pool;
  pool.descriptors = std::make_unique<pb::DescriptorPool>(&known_files());
  for (const std::string& bytes : files) {
    pb::FileDescriptorProto file;
    if (!file.ParseFromString(bytes)) {
      return fail(Code::invalid_argument, "S2074", "a file descriptor is not a google.protobuf.FileDescriptorProto");
    }
    const pb::FileDescriptor* built = known_file(file.name());
    if (built == nullptr) {
      FirstError error;
      built = pool.descriptors->BuildFileCollectingErrors(file, &error);
      if (built == nullptr) return fail(Code::invalid_argument, "S2074", std::move(error.text));
    }
    pool.files.push_back(built);
  }
  return pool;
}

}  // namespace shunt::schema
