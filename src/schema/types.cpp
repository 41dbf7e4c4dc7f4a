#include "schema/types.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/json_text.h"

namespace shunt::schema {

namespace pb = google::protobuf;

namespace {

Special special_of(std::string_view name) {
  static constexpr std::string_view package = "google.protobuf.";
  if (!name.starts_with(package)) return Special::none;
  name.remove_prefix(package.size());
  static const std::map<std::string_view, Special> specials = {
      {"Any", Special::any},
      {"Timestamp", Special::timestamp},
      {"Duration", Special::duration},
      {"FieldMask", Special::field_mask},
      {"Struct", Special::structure},
      {"Value", Special::value},
      {"ListValue", Special::list_value},
      {"DoubleValue", Special::wrapper},
      {"FloatValue", Special::wrapper},
      {"Int64Value", Special::wrapper},
      {"UInt64Value", Special::wrapper},
      {"Int32Value", Special::wrapper},
      {"UInt32Value", Special::wrapper},
      {"BoolValue", Special::wrapper},
      {"StringValue", Special::wrapper},
      {"BytesValue", Special::wrapper},
  };
  auto found = specials.find(name);
  return found == specials.end() ? Special::none : found->second;
}

}  // namespace

const Field* MessageType::find(std::uint32_t number) const {
  // Most messages number their fields from 1 without gaps.
  if (number - 1 < fields.size() && fields[number - 1].number == number) return &fields[number - 1];
  auto found = std::ranges::lower_bound(fields, number, {}, &Field::number);
  return found != fields.end() && found->number == number ? &*found : nullptr;
}

class TypesBuilder {
 public:
  explicit TypesBuilder(Types& types) : types_(types) {}

  void file(const pb::FileDescriptor& file) {
    if (!seen_.insert(&file).second) return;
    for (int i = 0; i < file.dependency_count(); ++i) this->file(*file.dependency(i));
    for (int i = 0; i < file.message_type_count(); ++i) declare(*file.message_type(i));
    for (int i = 0; i < file.enum_type_count(); ++i) declare(*file.enum_type(i));
    for (int i = 0; i < file.extension_count(); ++i) extensions_.push_back(file.extension(i));
  }
  /// Fields last: those of one type lead to any other.
  void finish() {
    for (auto& [from, type] : declared_) {
      for (int i = 0; i < from->field_count(); ++i) add(*type, *from->field(i));
    }
    for (const pb::FieldDescriptor* extension : extensions_) {
      add(*types_.messages_.at(extension->containing_type()->full_name()), *extension);
    }
    for (auto& [name, type] : types_.messages_) {
      index(*type);
      types_.by_name_.emplace(name, type.get());
    }
  }

 private:
  void declare(const pb::Descriptor& from) {
    auto type = std::make_unique<MessageType>();
    type->name = from.full_name();
    type->special = special_of(type->name);
    type->map_entry = from.options().map_entry();
    for (int i = 0; i < from.real_oneof_decl_count(); ++i) type->oneofs.push_back(from.oneof_decl(i)->name());
    declared_.emplace_back(&from, type.get());
    types_.messages_.emplace(type->name, std::move(type));
    for (int i = 0; i < from.nested_type_count(); ++i) declare(*from.nested_type(i));
    for (int i = 0; i < from.enum_type_count(); ++i) declare(*from.enum_type(i));
    for (int i = 0; i < from.extension_count(); ++i) extensions_.push_back(from.extension(i));
  }
  void declare(const pb::EnumDescriptor& from) {
    auto type = std::make_unique<EnumType>();
    type->name = from.full_name();
    type->closed = from.file()->syntax() != pb::FileDescriptor::SYNTAX_PROTO3;
    type->null_value = type->name == "google.protobuf.NullValue";
    for (int i = 0; i < from.value_count(); ++i) {
      const auto& value = *from.value(i);
      std::string_view name = *type->text.emplace_back(std::make_unique<std::string>(value.name()));
      type->names.push_back(name);
      type->by_name.emplace(name, value.number());
      type->by_number.emplace(value.number(), name);
    }
    types_.enums_.emplace(type->name, std::move(type));
  }
  void add(MessageType& type, const pb::FieldDescriptor& from) {
    Field field;
    field.name = from.is_extension() ? "[" + from.full_name() + "]" : from.name();
    field.json_name = from.is_extension() ? field.name : from.json_name();
    field.key = quote_json(field.json_name) + ":";
    field.file_key = quote_json(field.name) + ":";
    field.number = static_cast<std::uint32_t>(from.number());
    field.type = static_cast<FieldType>(from.type());
    field.repeated = from.is_repeated();
    field.packed = from.is_packed();
    field.presence = from.has_presence();
    field.required = from.is_required();
    if (const auto* oneof = from.real_containing_oneof(); oneof != nullptr) field.oneof = oneof->index();
    if (from.message_type() != nullptr) field.message = types_.messages_.at(from.message_type()->full_name()).get();
    if (from.enum_type() != nullptr) field.enumeration = types_.enums_.at(from.enum_type()->full_name()).get();
    type.fields.push_back(std::move(field));
  }
  static void index(MessageType& type) {
    std::ranges::sort(type.fields, {}, &Field::number);
    for (std::size_t i = 0; i < type.fields.size(); ++i) {
      type.fields[i].index = static_cast<std::uint32_t>(i);
      if (type.fields[i].required) type.required.push_back(static_cast<std::uint32_t>(i));
    }
    // A JSON name goes before another field's own name, as in protobuf.
    for (const Field& field : type.fields) type.by_name.emplace(field.json_name, &field);
    for (const Field& field : type.fields) type.by_name.emplace(field.name, &field);
  }

  Types& types_;
  std::set<const pb::FileDescriptor*> seen_;
  std::vector<std::pair<const pb::Descriptor*, MessageType*>> declared_;
  std::vector<const pb::FieldDescriptor*> extensions_;
};

std::shared_ptr<const Types> Types::create(std::span<const pb::FileDescriptor* const> files) {
  auto types = std::make_shared<Types>();
  TypesBuilder builder(*types);
  for (const auto* file : files) builder.file(*file);
  builder.finish();
  return types;
}

const MessageType* Types::message(std::string_view full_name) const {
  auto found = by_name_.find(full_name);
  return found == by_name_.end() ? nullptr : found->second;
}

}  // namespace shunt::schema
