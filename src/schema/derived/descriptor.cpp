#include "schema/derived/descriptor.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/wrappers.pb.h>

#include <algorithm>
#include <set>

#include "schema/derived/names.h"

namespace shunt::schema::derived {

namespace pb = google::protobuf;

namespace {

using FieldProto = pb::FieldDescriptorProto;

FieldProto::Type proto_type(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return FieldProto::TYPE_BOOL;
    case Kind::integer:
      return FieldProto::TYPE_INT64;
    case Kind::unsigned_integer:
      return FieldProto::TYPE_UINT64;
    case Kind::number:
      return FieldProto::TYPE_DOUBLE;
    case Kind::string:
      return FieldProto::TYPE_STRING;
    case Kind::bytes:
      return FieldProto::TYPE_BYTES;
    default:
      return FieldProto::TYPE_MESSAGE;
  }
}

/// protobuf's rule for the entry of a map: "by_sku" is BySkuEntry.
std::string entry_name(const std::string& identifier) {
  std::string out = to_camel(identifier);
  if (!out.empty() && out.front() >= 'a' && out.front() <= 'z')
    out.front() = static_cast<char>(out.front() - 'a' + 'A');
  return out + "Entry";
}

class Writer {
 public:
  explicit Writer(const Types& types) : types_(types) {}

  pb::FileDescriptorProto write();

 private:
  void message(const MessageType& type, pb::DescriptorProto& to, int index);
  void field(const FieldType& type, const std::string& of, pb::DescriptorProto& to);
  void set_type(const FieldType& type, FieldProto& to);
  void service(pb::ServiceDescriptorProto& to);
  void use(std::string_view type_name);
  void comment(std::vector<int> path, const std::string& text);

  const Types& types_;
  pb::FileDescriptorProto file_;
  std::set<std::string> imports_;
};

void Writer::comment(std::vector<int> path, const std::string& text) {
  if (text.empty()) return;
  auto* location = file_.mutable_source_code_info()->add_location();
  for (const int step : path) location->add_path(step);
  for (int i = 0; i < 3; ++i) location->add_span(0);
  // As protoc keeps them: each line with the space that stands after the slashes.
  std::string lines;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines += ' ';
    lines.append(text, begin, end - begin).append("\n");
    begin = end + 1;
  }
  // A NUL would end the file for a reader of its text.
  std::ranges::replace_if(lines, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; }, ' ');
  location->set_leading_comments(lines);
}

void Writer::use(std::string_view type_name) {
  if (!type_name.starts_with("google.protobuf.")) return;
  const std::string_view name = type_name.substr(16);
  if (name == "Empty") {
    imports_.insert("google/protobuf/empty.proto");
  } else if (name == "Value" || name == "Struct" || name == "ListValue") {
    imports_.insert("google/protobuf/struct.proto");
  } else {
    imports_.insert("google/protobuf/wrappers.proto");
  }
}

void Writer::set_type(const FieldType& type, FieldProto& to) {
  to.set_type(proto_type(type.kind));
  if (type.kind < Kind::message) return;
  std::string name = "google.protobuf.Value";
  if (type.kind == Kind::message) name = type.message->full_name;
  if (type.kind == Kind::structure) name = "google.protobuf.Struct";
  if (type.kind == Kind::list) name = "google.protobuf.ListValue";
  use(name);
  to.set_type_name("." + name);
}

void Writer::field(const FieldType& type, const std::string& of, pb::DescriptorProto& to) {
  FieldProto& field = *to.add_field();
  field.set_name(type.identifier);
  field.set_number(static_cast<int>(type.number));
  field.set_label(type.label == Label::single ? FieldProto::LABEL_OPTIONAL : FieldProto::LABEL_REPEATED);
  if (type.name != to_camel(type.identifier)) field.set_json_name(type.name);
  if (type.label != Label::map) {
    set_type(type, field);
    if (type.is_optional()) field.set_proto3_optional(true);
    return;
  }
  pb::DescriptorProto& entry = *to.add_nested_type();
  entry.set_name(entry_name(type.identifier));
  entry.mutable_options()->set_map_entry(true);
  FieldProto& key = *entry.add_field();
  key.set_name("key");
  key.set_number(1);
  key.set_label(FieldProto::LABEL_OPTIONAL);
  key.set_type(FieldProto::TYPE_STRING);
  FieldProto& value = *entry.add_field();
  value.set_name("value");
  value.set_number(2);
  value.set_label(FieldProto::LABEL_OPTIONAL);
  set_type(type, value);
  field.set_type(FieldProto::TYPE_MESSAGE);
  field.set_type_name(fmt::format(".{}.{}", of, entry.name()));
}

void Writer::message(const MessageType& type, pb::DescriptorProto& to, int index) {
  to.set_name(type.name);
  // Within the file: message 0, its nested message `index`.
  const std::vector<int> path = {4, 0, 3, index};
  comment(path, type.comment);
  std::set<std::string> names;
  for (const FieldType& each : type.fields) names.insert(each.identifier);
  for (std::size_t i = 0; i < type.fields.size(); ++i) {
    field(type.fields[i], type.full_name, to);
    std::vector<int> at = path;
    at.insert(at.end(), {2, static_cast<int>(i)});
    comment(std::move(at), type.fields[i].comment);
  }
  // What `optional` is made of: a oneof of one field, named as protoc names it.
  for (FieldProto& each : *to.mutable_field()) {
    if (!each.proto3_optional()) continue;
    std::string name = each.name().starts_with('_') ? each.name() : "_" + each.name();
    while (!names.insert(name).second) name.insert(0, "X");
    each.set_oneof_index(to.oneof_decl_size());
    to.add_oneof_decl()->set_name(name);
  }
}

void Writer::service(pb::ServiceDescriptorProto& to) {
  to.set_name(types_.service);
  comment({6, 0}, types_.comment);
  for (std::size_t i = 0; i < types_.commands.size(); ++i) {
    const CommandTypes& command = types_.commands[i];
    pb::MethodDescriptorProto& method = *to.add_method();
    method.set_name(command.method);
    method.set_input_type("." + command.request.type_name);
    method.set_output_type("." + command.response.type_name);
    use(command.request.type_name);
    use(command.response.type_name);
    using call::StreamShape;
    if (command.stream == StreamShape::client || command.stream == StreamShape::both) method.set_client_streaming(true);
    if (command.stream == StreamShape::server || command.stream == StreamShape::both) method.set_server_streaming(true);
    if (command.effect == call::Effect::none) {
      method.mutable_options()->set_idempotency_level(pb::MethodOptions::NO_SIDE_EFFECTS);
    }
    if (command.effect == call::Effect::idempotent) {
      method.mutable_options()->set_idempotency_level(pb::MethodOptions::IDEMPOTENT);
    }
    comment({6, 0, 2, static_cast<int>(i)}, command.comment);
  }
}

pb::FileDescriptorProto Writer::write() {
  file_.set_syntax("proto3");
  file_.set_package(types_.package);
  if (types_.package.empty()) file_.clear_package();
  file_.set_name(types_.package.empty() ? types_.service + ".proto" : types_.package + "/" + types_.service + ".proto");
  service(*file_.add_service());
  if (!types_.messages.empty()) {
    pb::DescriptorProto& container = *file_.add_message_type();
    container.set_name(types_.container);
    comment({4, 0}, fmt::format("The types of {}.", types_.service));
    for (std::size_t i = 0; i < types_.messages.size(); ++i) {
      message(*types_.messages[i], *container.add_nested_type(), static_cast<int>(i));
    }
  }
  for (const std::string& import : imports_) file_.add_dependency(import);
  return file_;
}

/// What protobuf says against a file.
class Words final : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& /*file*/, const std::string& element, const pb::Message* /*descriptor*/,
                ErrorLocation /*where*/, const std::string& message) override {
    if (text.size() < 1000) text += (text.empty() ? "" : "; ") + element + ": " + message;
  }
  std::string text;
};

void add_symbols(const pb::Descriptor& message, std::vector<std::string>& to) {
  to.push_back(message.full_name());
  for (int i = 0; i < message.field_count(); ++i) to.push_back(message.field(i)->full_name());
  for (int i = 0; i < message.enum_type_count(); ++i) to.push_back(message.enum_type(i)->full_name());
  for (int i = 0; i < message.nested_type_count(); ++i) add_symbols(*message.nested_type(i), to);
}

call::Contract::File to_file(const pb::FileDescriptor& file, const pb::FileDescriptorProto& proto) {
  call::Contract::File out;
  out.name = file.name();
  out.descriptor = proto.SerializeAsString();
  for (int i = 0; i < file.dependency_count(); ++i) out.imports.push_back(file.dependency(i)->name());
  for (int i = 0; i < file.message_type_count(); ++i) add_symbols(*file.message_type(i), out.symbols);
  for (int i = 0; i < file.enum_type_count(); ++i) out.symbols.push_back(file.enum_type(i)->full_name());
  for (int i = 0; i < file.service_count(); ++i) {
    out.symbols.push_back(file.service(i)->full_name());
    for (int k = 0; k < file.service(i)->method_count(); ++k) {
      out.symbols.push_back(file.service(i)->method(k)->full_name());
    }
  }
  return out;
}

}  // namespace

Result<std::vector<call::Contract::File>> make_files(const Types& types) {
  const pb::FileDescriptorProto proto = Writer(types).write();
  // Naming the types makes the linker keep the files that declare them.
  const pb::FileDescriptor* const known[] = {pb::Empty::descriptor()->file(), pb::Value::descriptor()->file(),
                                             pb::StringValue::descriptor()->file()};
  std::vector<call::Contract::File> out;
  pb::DescriptorPool pool;
  for (const pb::FileDescriptor* file : known) {
    if (std::ranges::find(proto.dependency(), file->name()) == proto.dependency().end()) continue;
    pb::FileDescriptorProto copy;
    file->CopyTo(&copy);
    out.push_back(to_file(*pool.BuildFile(copy), copy));
  }
  Words words;
  const pb::FileDescriptor* built = pool.BuildFileCollectingErrors(proto, &words);
  if (built == nullptr) {
    return fail(Code::failed_precondition, "S3074",
                fmt::format("protobuf can't have the service {} as it is named: {}", types.full_name, words.text));
  }
  out.push_back(to_file(*built, proto));
  return out;
}

}  // namespace shunt::schema::derived
