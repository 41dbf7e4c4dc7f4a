#pragma once
// The types of the tests and the fuzzer of transcoding: every kind of field there is.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "schema/proto_files.h"

namespace shunt::schema {

inline constexpr char test_proto[] = R"(syntax = "proto3";
package test;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Kind { KIND_UNSPECIFIED = 0; KIND_A = 1; KIND_B = 2; }
message Child { string text = 1; Child child = 2; }
message Small { int64 i64 = 1; string text = 2; repeated int32 list = 3; map<string, int32> by_name = 4; }
message Order {
  string text = 1;
  int32 number = 2;
  repeated int32 list = 3;
  Child child = 4;
  oneof choice { Child left = 5; int32 right = 6; }
}
message Packed { repeated Kind kinds = 1; }
message All {
  int32 i32 = 1;
  int64 i64 = 2;
  uint32 u32 = 3;
  uint64 u64 = 4;
  sint32 s32 = 5;
  sint64 s64 = 6;
  fixed32 f32 = 7;
  fixed64 f64 = 8;
  sfixed32 sf32 = 9;
  sfixed64 sf64 = 10;
  bool flag = 11;
  string text = 12;
  bytes data = 13;
  double real = 14;
  float single = 15;
  Kind kind = 16;
  optional int32 maybe = 17;
  string lower_name = 18;
  int32 json_named_field = 19 [json_name = "jsonNamed"];
  repeated sint32 numbers = 20;
  repeated string texts = 21;
  repeated Child children = 22;
  repeated Kind kinds = 23;
  map<string, Child> by_name = 24;
  map<int32, string> by_number = 25;
  map<bool, int64> by_flag_long = 26;
  map<bool, int32> by_flag = 27;
  Child child = 28;
  oneof choice { int32 first = 29; string second = 30; }
  google.protobuf.Timestamp time = 31;
  google.protobuf.Duration span = 32;
  google.protobuf.FieldMask mask = 33;
  google.protobuf.Int64Value wrapped = 34;
  google.protobuf.StringValue wrapped_text = 35;
  google.protobuf.BytesValue wrapped_bytes = 36;
  google.protobuf.BoolValue wrapped_flag = 37;
  google.protobuf.Struct struct = 38;
  google.protobuf.Value value = 39;
  google.protobuf.ListValue list = 40;
  repeated google.protobuf.Value values = 41;
  google.protobuf.NullValue nothing = 42;
  google.protobuf.Empty empty = 43;
  google.protobuf.Any any = 44;
}
service Everything { rpc Get(All) returns (All); }
)";

inline constexpr char test2_proto[] = R"(syntax = "proto2";
package test2;
enum Kind { ONE = 1; TWO = 2; }
message Old {
  required int32 id = 1;
  optional group Inner = 2 { optional int32 x = 3; }
  optional Kind kind = 4;
  extensions 100 to 200;
}
extend Old { optional string note = 100; }
)";

/// A folder that is gone at the end.
class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "shunt-schema-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path write(const std::string& name, std::string_view text) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::vector<std::string> test_descriptors(std::string& error) {
  const TestFolder folder;
  const std::vector<std::filesystem::path> files = {folder.write("test.proto", test_proto),
                                                    folder.write("test2.proto", test2_proto)};
  auto compiled = compile_proto(folder.path(), files);
  if (compiled) return compiled->descriptors;
  for (const auto& problem : compiled.error()) error += problem.message + "\n";
  return {};
}

}  // namespace shunt::schema
