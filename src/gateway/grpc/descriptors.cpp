#include "gateway/grpc/descriptors.h"

#include <cstdint>
#include <initializer_list>
#include <utility>

#include "net/grpc/proto_fields.h"

namespace shunt::gateway {

namespace {

using net::ProtoWriter;

// Numbers of google/protobuf/descriptor.proto.
enum Type : std::uint8_t { type_int32 = 5, type_string = 9, type_message = 11, type_bytes = 12, type_enum = 14 };
enum Label : std::uint8_t { optional = 1, repeated = 3 };
constexpr int no_oneof = -1;

struct FieldSpec {
  std::string_view name;
  std::uint32_t number;
  Type type;
  std::string_view type_name = {};  // relative to the package
  Label label = optional;
  int oneof = no_oneof;
};
struct EnumSpec {
  std::string_view name;
  std::initializer_list<std::string_view> values;  // 0, 1, 2 …
};
struct MethodSpec {
  std::string_view name;
  std::string_view input;
  std::string_view output;
  bool client_streams = false;
  bool server_streams = false;
};

class MessageBuilder {
 public:
  MessageBuilder(std::string_view package, std::string_view name) : package_(package), name_(name) {
    ProtoWriter(bytes_).bytes(1, name);
  }
  void field(const FieldSpec& spec) {
    std::string field;
    ProtoWriter writer(field);
    writer.bytes(1, spec.name);
    writer.integer(3, spec.number);
    writer.integer(4, spec.label);
    writer.integer(5, spec.type);
    if (!spec.type_name.empty()) writer.bytes(6, "." + package_ + "." + std::string(spec.type_name));
    if (spec.oneof != no_oneof) writer.integer(9, static_cast<std::uint64_t>(spec.oneof));
    ProtoWriter(bytes_).bytes(2, field);
  }
  void enumeration(const EnumSpec& spec) {
    std::string bytes;
    ProtoWriter writer(bytes);
    writer.bytes(1, spec.name);
    std::uint64_t number = 0;
    for (const std::string_view value : spec.values) {
      std::string entry;
      ProtoWriter(entry).bytes(1, value);
      ProtoWriter(entry).integer(2, number++);
      writer.bytes(2, entry);
    }
    ProtoWriter(bytes_).bytes(4, bytes);
    nested_.emplace_back(spec.name);
  }
  void oneof(std::string_view name) {
    std::string bytes;
    ProtoWriter(bytes).bytes(1, name);
    ProtoWriter(bytes_).bytes(8, bytes);
  }
  // A map field is a nested message of key and value.
  void string_map(std::string_view field_name, std::uint32_t number, std::string_view entry, std::string_view value) {
    MessageBuilder pair(package_, entry);
    pair.field({"key", 1, type_string});
    pair.field({"value", 2, type_message, value});
    std::string options;
    ProtoWriter(options).integer(7, 1);  // map_entry
    ProtoWriter(pair.bytes_).bytes(7, options);
    ProtoWriter(bytes_).bytes(3, pair.bytes_);
    const std::string type = name_ + "." + std::string(entry);
    field({field_name, number, type_message, type, repeated});
  }

  const std::string& bytes() const { return bytes_; }
  const std::string& name() const { return name_; }
  const std::vector<std::string>& nested() const { return nested_; }

 private:
  std::string package_;
  std::string name_;
  std::string bytes_;
  std::vector<std::string> nested_;
};

class FileBuilder {
 public:
  FileBuilder(std::string name, std::string package) : package_(std::move(package)) {
    file_.name = std::move(name);
    ProtoWriter(file_.descriptor).bytes(1, file_.name);
    ProtoWriter(file_.descriptor).bytes(2, package_);
  }
  MessageBuilder message(std::string_view name) const { return {package_, name}; }
  void add(const MessageBuilder& message) {
    ProtoWriter(file_.descriptor).bytes(4, message.bytes());
    file_.symbols.push_back(package_ + "." + message.name());
    for (const std::string& nested : message.nested()) {
      file_.symbols.push_back(package_ + "." + message.name() + "." + nested);
    }
  }
  void add(std::string_view name, std::initializer_list<FieldSpec> fields) {
    MessageBuilder built = message(name);
    for (const FieldSpec& field : fields) built.field(field);
    add(built);
  }
  BuiltinFile finish(std::string_view service, std::initializer_list<MethodSpec> methods) {
    std::string bytes;
    ProtoWriter writer(bytes);
    writer.bytes(1, service);
    file_.service = package_ + "." + std::string(service);
    file_.symbols.push_back(file_.service);
    for (const MethodSpec& spec : methods) {
      std::string method;
      ProtoWriter(method).bytes(1, spec.name);
      ProtoWriter(method).bytes(2, "." + package_ + "." + std::string(spec.input));
      ProtoWriter(method).bytes(3, "." + package_ + "." + std::string(spec.output));
      if (spec.client_streams) ProtoWriter(method).integer(5, 1);
      if (spec.server_streams) ProtoWriter(method).integer(6, 1);
      writer.bytes(2, method);
      file_.symbols.push_back(file_.service + "." + std::string(spec.name));
    }
    ProtoWriter(file_.descriptor).bytes(6, bytes);
    ProtoWriter(file_.descriptor).bytes(12, "proto3");
    return std::move(file_);
  }

 private:
  std::string package_;
  BuiltinFile file_;
};

BuiltinFile health() {
  FileBuilder file("grpc/health/v1/health.proto", "grpc.health.v1");
  file.add("HealthCheckRequest", {{"service", 1, type_string}});
  MessageBuilder response = file.message("HealthCheckResponse");
  response.field({"status", 1, type_enum, "HealthCheckResponse.ServingStatus"});
  response.enumeration({"ServingStatus", {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}});
  file.add(response);
  file.add("HealthListRequest", {});
  MessageBuilder list = file.message("HealthListResponse");
  list.string_map("statuses", 1, "StatusesEntry", "HealthCheckResponse");
  file.add(list);
  return file.finish("Health", {{"Check", "HealthCheckRequest", "HealthCheckResponse"},
                                {"List", "HealthListRequest", "HealthListResponse"},
                                {"Watch", "HealthCheckRequest", "HealthCheckResponse", false, true}});
}

BuiltinFile reflection(const std::string& version) {
  FileBuilder file("grpc/reflection/" + version + "/reflection.proto", "grpc.reflection." + version);
  MessageBuilder request = file.message("ServerReflectionRequest");
  request.field({"host", 1, type_string});
  request.field({"file_by_filename", 3, type_string, {}, optional, 0});
  request.field({"file_containing_symbol", 4, type_string, {}, optional, 0});
  request.field({"file_containing_extension", 5, type_message, "ExtensionRequest", optional, 0});
  request.field({"all_extension_numbers_of_type", 6, type_string, {}, optional, 0});
  request.field({"list_services", 7, type_string, {}, optional, 0});
  request.oneof("message_request");
  file.add(request);
  file.add("ExtensionRequest", {{"containing_type", 1, type_string}, {"extension_number", 2, type_int32}});
  MessageBuilder response = file.message("ServerReflectionResponse");
  response.field({"valid_host", 1, type_string});
  response.field({"original_request", 2, type_message, "ServerReflectionRequest"});
  response.field({"file_descriptor_response", 4, type_message, "FileDescriptorResponse", optional, 0});
  response.field({"all_extension_numbers_response", 5, type_message, "ExtensionNumberResponse", optional, 0});
  response.field({"list_services_response", 6, type_message, "ListServiceResponse", optional, 0});
  response.field({"error_response", 7, type_message, "ErrorResponse", optional, 0});
  response.oneof("message_response");
  file.add(response);
  file.add("FileDescriptorResponse", {{"file_descriptor_proto", 1, type_bytes, {}, repeated}});
  file.add("ExtensionNumberResponse",
           {{"base_type_name", 1, type_string}, {"extension_number", 2, type_int32, {}, repeated}});
  file.add("ListServiceResponse", {{"service", 1, type_message, "ServiceResponse", repeated}});
  file.add("ServiceResponse", {{"name", 1, type_string}});
  file.add("ErrorResponse", {{"error_code", 1, type_int32}, {"error_message", 2, type_string}});
  return file.finish("ServerReflection",
                     {{"ServerReflectionInfo", "ServerReflectionRequest", "ServerReflectionResponse", true, true}});
}

}  // namespace

std::span<const BuiltinFile> builtin_files() {
  static thread_local const std::vector<BuiltinFile> files = [] {
    std::vector<BuiltinFile> made;
    made.push_back(health());
    made.push_back(reflection("v1"));
    made.push_back(reflection("v1alpha"));
    return made;
  }();
  return files;
}

}  // namespace shunt::gateway
