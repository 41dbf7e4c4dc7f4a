#include "schema/typed.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <unordered_set>
#include <utility>

#include "schema/json_schema.h"
#include "schema/json_to_wire.h"
#include "schema/pool.h"
#include "schema/types.h"
#include "schema/wire_to_json.h"

namespace shunt::schema {

namespace pb = google::protobuf;

namespace {

class ProtoContract final : public call::Contract {
 public:
  ProtoContract(std::string service, std::map<std::string, std::string> commands, std::vector<File> files, bool derived)
      : service_(std::move(service)),
        commands_(commands.begin(), commands.end()),
        files_(std::move(files)),
        derived_(derived) {}
  [[nodiscard]] std::string_view service_name() const override { return service_; }
  [[nodiscard]] std::string_view command_of(std::string_view method) const override {
    auto found = commands_.find(method);
    return found == commands_.end() ? std::string_view() : found->second;
  }
  [[nodiscard]] std::span<const File> files() const override { return files_; }
  [[nodiscard]] bool is_derived() const override { return derived_; }

 private:
  std::string service_;
  std::map<std::string, std::string, std::less<>> commands_;
  std::vector<File> files_;
  bool derived_;
};

class ProtoTranscoder final : public call::Transcoder {
 public:
  // Owners of the types: the transcoders of one service.
  ProtoTranscoder(std::shared_ptr<const Types> types, const MessageType& request, const MessageType& response,
                  JsonForm request_form, JsonForm response_form, std::unordered_set<const Field*> unnamed)
      : types_(std::move(types)),
        request_(request),
        response_(response),
        unnamed_(std::move(unnamed)),
        request_form_(request_form),
        response_form_(response_form) {
    request_form_.unnamed = &unnamed_;
  }
  [[nodiscard]] Result<Bytes> convert(call::Side side, call::Encoding from, call::Encoding to,
                                      const Bytes& message) const override {
    const MessageType& type = of(side);
    const JsonForm& form = side == call::Side::request ? request_form_ : response_form_;
    if (from == call::Encoding::proto) {
      return to == call::Encoding::proto ? message : wire_to_json(*types_, type, message.view(), form);
    }
    auto wire = json_to_wire(*types_, type, message.view());
    if (to == call::Encoding::proto || !wire) return wire;
    return wire_to_json(*types_, type, wire->view(), form);
  }
  [[nodiscard]] bool checks_json() const override { return true; }
  [[nodiscard]] std::string_view type_name(call::Side side) const override { return of(side).name; }

 private:
  [[nodiscard]] const MessageType& of(call::Side side) const {
    return side == call::Side::request ? request_ : response_;
  }
  std::shared_ptr<const Types> types_;
  const MessageType& request_;
  const MessageType& response_;
  const std::unordered_set<const Field*> unnamed_;  // of the requests: what their handler's schema does not name
  JsonForm request_form_;
  JsonForm response_form_;
};

bool names(const std::string& schema, const std::string& key) {
  return schema.contains(std::string_view(key).substr(0, key.size() - 1));
}

/// The fields, of this type and of those inside it, that the schema does not name: a handler that is older than its .proto
/// file would take their defaults for unknown arguments.
void add_unnamed(const MessageType& type, const std::string& schema, std::set<const MessageType*>& seen,
                 std::unordered_set<const Field*>& to) {
  if (!seen.insert(&type).second) return;
  for (const Field& field : type.fields) {
    if (!names(schema, field.key) && !names(schema, field.file_key)) to.insert(&field);
    if (field.message != nullptr) add_unnamed(*field.message, schema, seen, to);
  }
}

/// How a handler whose schema has some of the fields reads its requests: by the names of the file where it has more of those.
JsonForm handler_form(const MessageType& type, const std::string& schema, JsonForm form) {
  int of_file = 0;
  int of_json = 0;
  for (const Field& field : type.fields) {
    if (names(schema, field.file_key)) ++of_file;
    if (names(schema, field.key)) ++of_json;
  }
  if (of_file == 0 && of_json == 0) return form;
  form.numbers = true;
  form.defaults = true;
  form.file_names = of_file > of_json;
  return form;
}

// ---- Everything that a file declares, by its full name.

void add_symbols(const pb::EnumDescriptor& from, std::vector<std::string>& to) {
  to.push_back(from.full_name());
  for (int i = 0; i < from.value_count(); ++i) to.push_back(from.value(i)->full_name());
}

void add_symbols(const pb::Descriptor& from, std::vector<std::string>& to) {
  to.push_back(from.full_name());
  for (int i = 0; i < from.field_count(); ++i) to.push_back(from.field(i)->full_name());
  for (int i = 0; i < from.oneof_decl_count(); ++i) to.push_back(from.oneof_decl(i)->full_name());
  for (int i = 0; i < from.extension_count(); ++i) to.push_back(from.extension(i)->full_name());
  for (int i = 0; i < from.enum_type_count(); ++i) add_symbols(*from.enum_type(i), to);
  for (int i = 0; i < from.nested_type_count(); ++i) add_symbols(*from.nested_type(i), to);
}

std::vector<std::string> symbols_of(const pb::FileDescriptor& file) {
  std::vector<std::string> out;
  for (int i = 0; i < file.message_type_count(); ++i) add_symbols(*file.message_type(i), out);
  for (int i = 0; i < file.enum_type_count(); ++i) add_symbols(*file.enum_type(i), out);
  for (int i = 0; i < file.extension_count(); ++i) out.push_back(file.extension(i)->full_name());
  for (int i = 0; i < file.service_count(); ++i) {
    const auto& service = *file.service(i);
    out.push_back(service.full_name());
    for (int m = 0; m < service.method_count(); ++m) out.push_back(service.method(m)->full_name());
  }
  return out;
}

void add_file(const pb::FileDescriptor& file, std::set<const pb::FileDescriptor*>& seen,
              std::vector<call::Contract::File>& to) {
  if (!seen.insert(&file).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) add_file(*file.dependency(i), seen, to);
  call::Contract::File out;
  out.name = file.name();
  pb::FileDescriptorProto descriptor;
  file.CopyTo(&descriptor);
  file.CopyJsonNameTo(&descriptor);
  out.descriptor = descriptor.SerializeAsString();
  for (int i = 0; i < file.dependency_count(); ++i) out.imports.push_back(file.dependency(i)->name());
  out.symbols = symbols_of(file);
  to.push_back(std::move(out));
}

}  // namespace

Result<Typed> make_typed(TypedParts parts) {
  SHUNT_TRY(const Pool pool, build_pool(parts.files));
  const pb::ServiceDescriptor* service = pool.descriptors->FindServiceByName(parts.service);
  if (service == nullptr) {
    return fail(Code::invalid_argument, "S2074", fmt::format("no file declares the service {}", parts.service));
  }
  auto types = Types::create(pool.files);
  Typed typed;
  for (const auto& [name, command] : parts.commands) {
    const pb::MethodDescriptor* method = service->FindMethodByName(name);
    if (method == nullptr) {
      return fail(Code::invalid_argument, "S2074", fmt::format("{} has no method {}", parts.service, name));
    }
    const MessageType& request = *types->message(method->input_type()->full_name());
    const MessageType& response = *types->message(method->output_type()->full_name());
    const auto schema = parts.handler_schemas.find(command);
    JsonForm request_form = parts.form;
    std::unordered_set<const Field*> unnamed;
    if (schema != parts.handler_schemas.end()) {
      request_form = handler_form(request, schema->second, parts.form);
      std::set<const MessageType*> seen_types;
      if (request_form.defaults) add_unnamed(request, schema->second, seen_types, unnamed);
    }
    typed.transcoders.emplace(command, std::make_shared<const ProtoTranscoder>(types, request, response, request_form,
                                                                               parts.form, std::move(unnamed)));
    typed.schemas.emplace(command, Typed::Schemas{json_schema(request), json_schema(response)});
  }
  std::set<const pb::FileDescriptor*> seen;
  std::vector<call::Contract::File> files;
  for (const auto* file : pool.files) add_file(*file, seen, files);
  typed.contract = std::make_shared<const ProtoContract>(std::move(parts.service), std::move(parts.commands),
                                                         std::move(files), parts.derived);
  return typed;
}

}  // namespace shunt::schema
