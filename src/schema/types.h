#pragma once
// Types: what is declared in a set of .proto files, as flat tables that transcoding reads. Made once from descriptors;
// after that protobuf's own objects are gone, and whatever works on a message is plain data that no lock guards.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace google::protobuf {
class FileDescriptor;
}  // namespace google::protobuf

namespace shunt::schema {

/// The types of a field, with their numbers in FieldDescriptorProto.Type.
enum class FieldType : std::uint8_t {
  real64 = 1,
  real32 = 2,
  int64 = 3,
  uint64 = 4,
  int32 = 5,
  fixed64 = 6,
  fixed32 = 7,
  boolean = 8,
  string = 9,
  group = 10,
  message = 11,
  bytes = 12,
  uint32 = 13,
  enumeration = 14,
  sfixed32 = 15,
  sfixed64 = 16,
  sint32 = 17,
  sint64 = 18,
};

/// Types whose JSON is not that of their fields.
enum class Special : std::uint8_t {
  none,
  any,
  timestamp,
  duration,
  field_mask,
  structure,  ///< google.protobuf.Struct
  value,
  list_value,
  wrapper,  ///< Int32Value and its kin: one field, written as that.
};

struct EnumType {
  std::string name;
  std::unordered_map<std::string_view, std::int32_t> by_name;
  std::unordered_map<std::int32_t, std::string_view> by_number;  ///< The first name of each.
  std::vector<std::string_view> names;                           ///< In the order of the file; views into text.
  bool closed = false;                                           ///< proto2: other numbers are no value of it.
  bool null_value = false;                                       ///< google.protobuf.NullValue: null in JSON.
  std::vector<std::unique_ptr<std::string>> text;
};

struct MessageType;

struct Field {
  std::string name;
  std::string json_name;
  std::string key;       ///< `"jsonName":`, as it is written.
  std::string file_key;  ///< `"name":`
  std::uint32_t number = 0;
  std::uint32_t index = 0;  ///< In MessageType::fields.
  FieldType type = FieldType::int32;
  bool repeated = false;
  bool packed = false;
  bool presence = false;  ///< Whether it can be told absent from default.
  bool required = false;  ///< proto2
  int oneof = -1;         ///< Index into MessageType::oneofs; -1 for the one that `optional` makes.
  const MessageType* message = nullptr;
  const EnumType* enumeration = nullptr;

  [[nodiscard]] bool is_map() const;
};

struct MessageType {
  std::string name;  ///< "shop.v1.Item"
  Special special = Special::none;
  bool map_entry = false;
  std::vector<Field> fields;  ///< By number.
  std::vector<std::string> oneofs;
  std::unordered_map<std::string_view, const Field*> by_name;  ///< Both spellings.
  std::vector<std::uint32_t> required;                         ///< Indices of fields.

  [[nodiscard]] const Field* find(std::uint32_t number) const;
};

inline bool Field::is_map() const { return repeated && message != nullptr && message->map_entry; }

/// Threads: any; immutable. Lifetime: what it returns lives as long.
class Types {
 public:
  /// Everything that is declared in `files` and in what they import.
  static std::shared_ptr<const Types> create(std::span<const google::protobuf::FileDescriptor* const> files);

  /// By full name; nullptr when there is none.
  [[nodiscard]] const MessageType* message(std::string_view full_name) const;

 private:
  friend class TypesBuilder;
  std::unordered_map<std::string, std::unique_ptr<MessageType>> messages_;
  std::unordered_map<std::string, std::unique_ptr<EnumType>> enums_;
  // Views into the keys of messages_.
  std::unordered_map<std::string_view, const MessageType*> by_name_;
};

}  // namespace shunt::schema
