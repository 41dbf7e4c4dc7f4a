// Goal: descriptors derived from schemas are what spec/derived-proto.md says, stay so when a service grows, compile with
// protoc, and carry every message there and back unchanged.
#include "schema/derive.h"

#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <list>
#include <sstream>

#include <nlohmann/json.hpp>
#include <random>

#include "base/own.h"
#include "schema/derived/names.h"
#include "schema/proto_text.h"

namespace shunt::schema {
namespace {

namespace pb = google::protobuf;
using call::Encoding;
using call::Side;

call::ServiceDefinition service_of(const std::string& full_name,
                                   const std::map<std::string, std::pair<std::string, std::string>>& commands) {
  call::ServiceDefinition out;
  out.full_name = full_name;
  for (const auto& [name, schemas] : commands) {
    call::CommandDefinition command;
    command.name = name;
    command.request_schema = schemas.first;
    command.response_schema = schemas.second;
    out.commands.emplace(name, std::move(command));
  }
  return out;
}

call::ServiceDefinition with_request(const std::string& schema) {
  return service_of("shop.cart", {{"put", {schema, "{}"}}});
}

pb::FileDescriptorProto file_of(const call::Contract& contract) {
  pb::FileDescriptorProto out;
  EXPECT_TRUE(out.ParseFromString(contract.files().back().descriptor));
  return out;
}

std::string text_of(const call::ServiceDefinition& service) {
  const auto contract = derive_contract(service);
  if (!contract) return contract.error().to_string();
  const auto text = proto_text(**contract);
  return text ? text->back().text : text.error().to_string();
}

/// The lines of the .proto, without comments, of one message.
std::string message_in(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("  message " + name + " {");
  if (at == std::string::npos) return "no " + name + " in\n" + text;
  std::string out;
  std::istringstream lines(text.substr(at));
  for (std::string line; std::getline(lines, line);) {
    if (line.find("//") != std::string::npos) continue;
    line.erase(0, line.find_first_not_of(' '));
    if (line == "}") break;
    if (!out.empty()) out += ' ';
    if (!line.starts_with("message")) out += line;
  }
  return out;
}

std::map<std::string, int> numbers_of(const call::ServiceDefinition& service, const std::string& name) {
  std::map<std::string, int> out;
  const auto contract = derive_contract(service);
  EXPECT_TRUE(contract.has_value()) << contract.error().to_string();
  const pb::FileDescriptorProto file = file_of(**contract);
  for (const auto& message : file.message_type(0).nested_type()) {
    if (message.name() != name) continue;
    for (const auto& field : message.field()) out[field.name()] = field.number();
  }
  return out;
}

/// Compiles the text as protoc does.
class Compiler final : public pb::compiler::SourceTree, public pb::compiler::MultiFileErrorCollector {
 public:
  std::string name;
  std::string text;
  std::string errors;

  pb::io::ZeroCopyInputStream* Open(const std::string& file) override {
    if (file == name) return new pb::io::ArrayInputStream(text.data(), static_cast<int>(text.size()));
    const pb::FileDescriptor* known = pb::DescriptorPool::generated_pool()->FindFileByName(file);
    if (known == nullptr) return nullptr;
    texts_.push_back(known->DebugString());
    return new pb::io::ArrayInputStream(texts_.back().data(), static_cast<int>(texts_.back().size()));
  }
  void AddError(const std::string& file, int line, int /*column*/, const std::string& message) override {
    errors += file + ":" + std::to_string(line + 1) + ": " + message + "\n";
  }

 private:
  std::list<std::string> texts_;
};

/// What protoc makes of the text is what was derived.
void expect_compiles(const call::ServiceDefinition& service) {
  const auto contract = derive_contract(service);
  ASSERT_TRUE(contract.has_value()) << contract.error().to_string();
  const auto text = proto_text(**contract);
  ASSERT_TRUE(text.has_value()) << text.error().to_string();
  Compiler compiler;
  compiler.name = text->back().name;
  compiler.text = text->back().text;
  pb::compiler::Importer importer(&compiler, &compiler);
  const pb::FileDescriptor* file = importer.Import(compiler.name);
  ASSERT_NE(file, nullptr) << compiler.errors << compiler.text;
  pb::FileDescriptorProto compiled;
  file->CopyTo(&compiled);
  pb::FileDescriptorProto derived = file_of(**contract);
  derived.clear_source_code_info();
  std::string difference;
  pb::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(derived, compiled)) << difference << compiler.text;
}

const call::Transcoder& transcoder(const Derived& derived, const std::string& command = "put") {
  return *derived.transcoders.at(command);
}

/// The handler's JSON to protobuf and back.
std::string round_trip(const std::string& schema, const std::string& json) {
  const auto derived = derive(with_request(schema));
  if (!derived) return derived.error().to_string();
  const auto message =
      transcoder(*derived).convert(Side::request, Encoding::json, Encoding::proto, Bytes::copy_of(json));
  if (!message) return message.error().to_string();
  const auto back = transcoder(*derived).convert(Side::request, Encoding::proto, Encoding::json, *message);
  return back ? std::string(back->view()) : back.error().to_string();
}

std::string own_form(const std::string& schema, const std::string& json) {
  const auto derived = derive(with_request(schema));
  if (!derived) return derived.error().to_string();
  return std::string(
      transcoder(*derived).convert(Side::request, Encoding::proto_json, Encoding::json, Bytes::copy_of(json))->view());
}

std::string fields(const std::string& properties, const std::string& required = "") {
  return R"({"type":"object","properties":{)" + properties + R"(},"required":[)" + required + "]}";
}

// --- Names and numbers -----------------------------------------------------------------------------------------------

TEST(DerivedNames, the_hash_is_the_one_that_is_specified) {
  // spec/derived-proto.md has these values. They may never change.
  EXPECT_EQ(derived::hashed_number("sku"), 526273818u);
  EXPECT_EQ(derived::hashed_number("count"), 331915892u);
  EXPECT_EQ(derived::hashed_number(""), 159785765u);
}

TEST(DerivedNames, identifiers_and_types_follow_from_names) {
  EXPECT_EQ(derived::to_identifier("get-all"), "get_all");
  EXPECT_EQ(derived::to_identifier("2nd"), "_2nd");
  EXPECT_EQ(derived::to_identifier("größe"), "gr____e");
  EXPECT_EQ(derived::to_identifier(""), "_");
  EXPECT_EQ(derived::to_type_name("get_all"), "GetAll");
  EXPECT_EQ(derived::to_type_name("get-all"), "GetAll");
  EXPECT_EQ(derived::to_type_name("a_1"), "A_1");
  EXPECT_EQ(derived::to_type_name("_"), "T_");
  EXPECT_EQ(derived::to_type_name("Item_"), "Item_");
  EXPECT_EQ(derived::to_camel("item_count"), "itemCount");
}

TEST(Derive, a_service_is_reached_by_its_full_name_and_its_commands_names) {
  const auto contract = derive_contract(service_of("my-shop.the-cart", {{"get-all", {"", ""}}, {"Put", {"", ""}}}));
  ASSERT_TRUE(contract.has_value());
  EXPECT_EQ((*contract)->service_name(), "my_shop.the_cart");
  EXPECT_EQ((*contract)->command_of("get_all"), "get-all");
  EXPECT_EQ((*contract)->command_of("get-all"), "get-all");
  EXPECT_EQ((*contract)->command_of("Put"), "Put");
  EXPECT_EQ((*contract)->command_of("other"), "");
  EXPECT_TRUE((*contract)->is_derived());
  EXPECT_EQ((*contract)->files().back().name, "my_shop/the_cart.proto");
  const auto alone = derive_contract(service_of("hello", {{"greet", {"{}", "{}"}}}));
  EXPECT_EQ((*alone)->service_name(), "hello");
  EXPECT_EQ((*alone)->files().back().name, "hello.proto");
}

TEST(Derive, files_come_after_their_imports_and_tell_their_symbols) {
  const auto contract = derive_contract(
      service_of("shop.cart", {{"put", {fields(R"("at":{"type":"string"},"more":{})"), R"({"type":"string"})"}}}));
  ASSERT_TRUE(contract.has_value());
  const auto files = (*contract)->files();
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].name, "google/protobuf/struct.proto");
  EXPECT_EQ(files[1].name, "google/protobuf/wrappers.proto");
  EXPECT_EQ(files[2].imports,
            (std::vector<std::string>{"google/protobuf/struct.proto", "google/protobuf/wrappers.proto"}));
  EXPECT_EQ(files[2].symbols, (std::vector<std::string>{"shop.Cart", "shop.Cart.PutRequest", "shop.Cart.PutRequest.at",
                                                        "shop.Cart.PutRequest.more", "shop.cart", "shop.cart.put"}));
  EXPECT_NE(std::ranges::find(files[0].symbols, "google.protobuf.Struct.FieldsEntry"), files[0].symbols.end());
  pb::FileDescriptorSet set;
  ASSERT_TRUE(set.ParseFromString(descriptor_set(**contract)));
  EXPECT_EQ(set.file_size(), 3);
}

TEST(Derive, adding_and_reordering_fields_leaves_every_number_as_it_was) {
  const auto before =
      numbers_of(with_request(fields(R"("a":{"type":"integer"},"b":{"type":"string"},"c":{})")), "PutRequest");
  auto after = numbers_of(
      with_request(
          fields(R"("c":{},"new":{"type":"boolean"},"b":{"type":"string"},"first":{},"a":{"type":"integer"})")),
      "PutRequest");
  EXPECT_EQ(after.size(), 5u);
  after.erase("new");
  after.erase("first");
  EXPECT_EQ(after, before);
  for (const auto& [name, number] : before) EXPECT_GE(number, 65536) << name;
}

TEST(Derive, a_number_is_the_annotations_when_there_is_one) {
  const auto numbers =
      numbers_of(with_request(fields(
                     R"("a":{"type":"integer","x-proto-field":3},)"
                     R"("b":{"anyOf":[{"type":"string","x-proto-field":4},{"type":"null"}]},"c":{"type":"string"})")),
                 "PutRequest");
  EXPECT_EQ(numbers.at("a"), 3);
  EXPECT_EQ(numbers.at("b"), 4);
  EXPECT_EQ(numbers.at("c"), static_cast<int>(derived::hashed_number("c")));
  for (const char* bad : {"0", "19000", "19999", "536870912", "\"3\"", "-1", "1.5"}) {
    const auto derived = derive(with_request(fields(R"("a":{"x-proto-field":)" + std::string(bad) + "}")));
    ASSERT_FALSE(derived.has_value()) << bad;
    EXPECT_EQ(derived.error().id(), "S3070");
  }
}

TEST(Derive, a_collision_names_both_and_the_fix) {
  const auto numbers = derive(with_request(fields(R"("a":{"x-proto-field":3},"b":{"x-proto-field":3})")));
  ASSERT_FALSE(numbers.has_value());
  EXPECT_EQ(
      numbers.error().message(),
      "shop.cart: the fields 'a' and 'b' of PutRequest both have the protobuf number 3; give one of them another: "
      "Annotated[T, shunt.Field(N)] in Python, SHUNT_FIELD_NUMBER in C++, \"x-proto-field\": N in a schema");
  const auto names = derive(with_request(fields(R"("item_count":{},"itemCount":{})")));
  ASSERT_FALSE(names.has_value());
  EXPECT_EQ(
      names.error().message(),
      "shop.cart: the fields 'item_count' and 'itemCount' of PutRequest would both be itemCount in protobuf; rename "
      "one of them");
  const auto methods = derive(service_of("shop.cart", {{"get-all", {"", ""}}, {"get_all", {"", ""}}}));
  ASSERT_FALSE(methods.has_value());
  EXPECT_EQ(methods.error().id(), "S3071");
}

TEST(Derive, two_names_of_one_hash_collide) {
  // Found by search: both are the same number.
  std::map<std::uint32_t, std::string> seen;
  std::string first;
  std::string second;
  for (int i = 0; first.empty(); ++i) {
    const std::string name = "f" + std::to_string(i);
    const auto [known, fresh] = seen.emplace(derived::hashed_number(name), name);
    if (!fresh) {
      first = known->second;
      second = name;
    }
  }
  const auto derived = derive(with_request(fields("\"" + first + "\":{},\"" + second + "\":{}")));
  ASSERT_FALSE(derived.has_value());
  EXPECT_NE(derived.error().message().find("'" + first + "' and '" + second + "'"), std::string::npos);
}

// --- Types -----------------------------------------------------------------------------------------------------------

TEST(Derive, each_kind_of_schema_has_its_type) {
  const auto type_of = [](const std::string& schema) {
    const std::string text = message_in(text_of(with_request(fields("\"x\":" + schema, "\"x\""))), "PutRequest");
    return text.substr(0, text.find(" x = "));
  };
  EXPECT_EQ(type_of(R"({"type":"boolean"})"), "bool");
  EXPECT_EQ(type_of(R"({"type":"integer","minimum":0,"maximum":255})"), "int64");
  EXPECT_EQ(type_of(R"({"type":"integer","minimum":0,"maximum":18446744073709551615})"), "uint64");
  EXPECT_EQ(type_of(R"({"type":"number"})"), "double");
  EXPECT_EQ(type_of(R"({"type":"string"})"), "string");
  EXPECT_EQ(type_of(R"({"type":"string","format":"date-time"})"), "string");
  EXPECT_EQ(type_of(R"({"type":"string","contentEncoding":"base64"})"), "bytes");
  EXPECT_EQ(type_of(R"({"enum":["a","b"]})"), "string");
  EXPECT_EQ(type_of(R"({"enum":[1,2]})"), "int64");
  EXPECT_EQ(type_of(R"({"enum":[1,"a"]})"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"const":"a"})"), "string");
  EXPECT_EQ(type_of(R"({})"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"(true)"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":["integer","string"]})"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":["integer","number"]})"), "double");
  EXPECT_EQ(type_of(R"({"anyOf":[{"type":"integer"},{"type":"string"}]})"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":"object"})"), "google.protobuf.Struct");
  EXPECT_EQ(type_of(R"({"type":"object","additionalProperties":{"type":"integer"}})"), "map<string, int64>");
  EXPECT_EQ(type_of(R"({"type":"object","additionalProperties":{"type":["integer","null"]}})"),
            "google.protobuf.Struct");
  EXPECT_EQ(type_of(R"({"type":"object","properties":{"a":{}},"additionalProperties":true})"),
            "google.protobuf.Struct");
  EXPECT_EQ(type_of(R"({"type":"array"})"), "repeated google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":"array","items":{"type":"string"}})"), "repeated string");
  EXPECT_EQ(type_of(R"({"type":"array","items":{"type":["string","null"]}})"), "repeated google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":"array","items":{"type":"array","items":{"type":"string"}}})"),
            "repeated google.protobuf.ListValue");
  EXPECT_EQ(type_of(R"({"type":"array","prefixItems":[{"type":"string"}]})"), "google.protobuf.ListValue");
  EXPECT_EQ(type_of(R"({"type":"array","items":{"type":"object","properties":{"a":{}}}})"), "repeated PutRequestX");
  EXPECT_EQ(type_of(R"({"type":["integer","null"]})"), "optional int64");
  EXPECT_EQ(type_of(R"({"anyOf":[{"type":"string"},{"type":"null"}]})"), "optional string");
  EXPECT_EQ(type_of(R"({"$ref":"#/nowhere"})"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"$ref":"http://example.com/x"})"), "google.protobuf.Value");
}

TEST(Derive, a_field_that_may_be_absent_is_optional) {
  EXPECT_EQ(message_in(text_of(with_request(fields(R"("a":{"type":"integer","x-proto-field":1},)"
                                                   R"("b":{"type":"integer","x-proto-field":2})",
                                                   "\"a\""))),
                       "PutRequest"),
            "int64 a = 1; optional int64 b = 2;");
}

TEST(Derive, a_whole_request_that_is_no_object_has_a_message_too) {
  const auto type_of = [](const std::string& schema) {
    const auto derived = derive(with_request(schema));
    return derived ? std::string(transcoder(*derived).type_name(Side::request)) : derived.error().to_string();
  };
  EXPECT_EQ(type_of(""), "google.protobuf.BytesValue");
  EXPECT_EQ(type_of("{}"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":"object"})"), "google.protobuf.Struct");
  EXPECT_EQ(type_of(R"({"type":"null"})"), "google.protobuf.Empty");
  EXPECT_EQ(type_of(R"({"type":"string"})"), "google.protobuf.StringValue");
  EXPECT_EQ(type_of(R"({"type":"integer"})"), "google.protobuf.Int64Value");
  EXPECT_EQ(type_of(R"({"type":["integer","null"]})"), "google.protobuf.Value");
  EXPECT_EQ(type_of(R"({"type":"array","items":{"type":"integer"}})"), "shop.Cart.PutRequest");
  EXPECT_EQ(type_of(R"({"type":"object","additionalProperties":{"type":"integer"}})"), "shop.Cart.PutRequest");
  EXPECT_EQ(type_of(R"({"type":"object","additionalProperties":false})"), "shop.Cart.PutRequest");
  EXPECT_EQ(type_of(R"({"$ref":"#/$defs/Item","$defs":{"Item":{"type":"object","properties":{}}}})"), "shop.Cart.Item");
  EXPECT_EQ(type_of(R"({"title":"Item","type":"object","properties":{}})"), "shop.Cart.Item");
}

TEST(Derive, a_type_that_commands_share_is_one_message) {
  const std::string item =
      R"({"title":"Item","type":"object","properties":{"sku":{"type":"string"}},"required":["sku"]})";
  const std::string list =
      R"({"type":"object","properties":{"items":{"type":"array","items":{"$ref":"#/$defs/Item"}}},)"
      R"("$defs":{"Item":)" +
      item + "}}";
  const std::string text = text_of(service_of("shop.cart", {{"all", {list, list}}, {"one", {item, item}}}));
  EXPECT_EQ(message_in(text, "Item"), "string sku = " + std::to_string(derived::hashed_number("sku")) + ";");
  EXPECT_NE(text.find("rpc one(Cart.Item) returns (Cart.Item);"), std::string::npos) << text;
  EXPECT_EQ(text.find("message Item {"), text.rfind("message Item {"));
}

TEST(Derive, two_types_of_one_name_are_two_messages) {
  const auto item = [](const std::string& field) {
    return R"({"type":"object","properties":{"i":{"$ref":"#/$defs/Item"}},"$defs":{"Item":{"type":"object","properties":{")" +
           field + R"(":{}}}}})";
  };
  const std::string text = text_of(service_of("shop.cart", {{"a", {item("x"), "{}"}}, {"b", {item("y"), "{}"}}}));
  EXPECT_EQ(message_in(text, "ARequestItem").substr(0, 23), "google.protobuf.Value x") << text;
  EXPECT_EQ(message_in(text, "BRequestItem").substr(0, 23), "google.protobuf.Value y") << text;
}

constexpr const char* tree =
    R"({"type":"object","properties":{"root":{"$ref":"#/$defs/Tree"}},"required":["root"],"$defs":{"Tree":
  {"type":"object","properties":{"name":{"type":"string"},"left":{"anyOf":[{"$ref":"#/$defs/Tree"},{"type":"null"}]},
   "children":{"type":"array","items":{"$ref":"#/$defs/Tree"}},
   "by":{"type":"object","additionalProperties":{"$ref":"#/$defs/Tree"}}},"required":["name"]}}})";

TEST(Derive, a_type_may_hold_itself) {
  expect_compiles(with_request(tree));
  const std::string text =
      R"({"root":{"name":"a","left":{"name":"b"},"children":[{"name":"c"},{"name":""}],"by":{"k":{"name":"d"}}}})";
  EXPECT_EQ(round_trip(tree, text), text);
}

TEST(Derive, schemas_that_go_in_circles_are_anything) {
  expect_compiles(with_request(R"({"$ref":"#"})"));
  expect_compiles(with_request(R"({"type":"object","properties":{"a":{"$ref":"#/$defs/A"},"l":{"$ref":"#/$defs/L"}},
    "$defs":{"A":{"anyOf":[{"$ref":"#/$defs/A"},{"type":"null"}]},"L":{"type":"array","items":{"$ref":"#/$defs/L"}}}})"));
  expect_compiles(with_request(R"({"type":"object","properties":{"a":{"$ref":"#"}}})"));
}

TEST(Derive, types_may_hold_each_other_as_deep_as_there_are_types) {
  std::string definitions;
  for (int i = 0; i < 1000; ++i) {
    definitions += (i == 0 ? "" : ",") + ("\"T" + std::to_string(i)) +
                   R"(":{"type":"object","properties":{"next":{"$ref":"#/$defs/T)" + std::to_string(i + 1) + "\"}}}";
  }
  const auto derived = derive(with_request(R"({"$ref":"#/$defs/T0","$defs":{)" + definitions + "}}"));
  ASSERT_TRUE(derived.has_value()) << derived.error().to_string();
  EXPECT_EQ(transcoder(*derived).type_name(Side::request), "shop.Cart.T0");
  const auto nested = derive(with_request(std::string(10'000, '[')));
  ASSERT_FALSE(nested.has_value());
  EXPECT_EQ(nested.error().id(), "S3072");
}

TEST(Derive, what_is_printed_is_what_was_derived) {
  auto service = service_of(
      "my-shop.cart",
      {{"all-of",
        {fields(R"("content-type":{"type":"string","description":"Two\nlines, \"*/\" and // too."},)"
                R"("2":{"type":"integer","default":5},"größe":{"type":"number"},"":{"type":"boolean"},)"
                R"("it\"s":{"enum":["a","b"]},"Map":{"type":"object","additionalProperties":{"type":"string"}},)"
                R"("option":{"type":"string"},"repeated":{"type":"array","items":{"type":"integer"}},)"
                R"("MapEntry_":{"title":"MapEntry","type":"object","properties":{"message":{"type":"integer"}}})"),
         R"({"type":"array","items":{"type":"string"}})"}},
       {"returns", {R"({"title":"Cart","type":"object","properties":{"cart":{}}})", R"({"type":"null"})"}},
       {"raw", {"", ""}},
       {"_x", {"{}", R"({"type":"integer"})"}}});
  service.description = "A cart.\nWith\ttwo lines.";
  service.commands.at("raw").description = "As it is.";
  service.commands.at("raw").stream = call::StreamShape::both;
  service.commands.at("_x").stream = call::StreamShape::server;
  service.commands.at("_x").effect = call::Effect::none;
  service.commands.at("returns").effect = call::Effect::idempotent;
  service.commands.at("returns").stream = call::StreamShape::client;
  expect_compiles(service);
  expect_compiles(service_of("google.cart", {{"put", {"{}", fields(R"("a":{})")}}}));
  expect_compiles(service_of("shop.google", {{"put", {"{}", fields(R"("a":{})")}}}));
  expect_compiles(service_of("alone", {}));
  expect_compiles(
      service_of("alone", {{"put", {fields(R"("a":{"title":"Line","type":"object","properties":{}})"), "{}"}}}));
}

TEST(Derive, a_name_that_protobuf_has_itself_is_told) {
  const auto derived = derive(service_of("google", {{"put", {"{}", "{}"}}}));
  ASSERT_FALSE(derived.has_value());
  EXPECT_EQ(derived.error().id(), "S3074");
}

// --- Messages --------------------------------------------------------------------------------------------------------

TEST(DerivedTranscoder, every_kind_comes_back_as_it_was) {
  const std::string schema = fields(
      R"("i":{"type":"integer"},"u":{"type":"integer","maximum":18446744073709551615},"d":{"type":"number"},)"
      R"("s":{"type":"string"},"b":{"type":"boolean"},"y":{"type":"string","contentEncoding":"base64"},"any":{},)"
      R"("map":{"type":"object","additionalProperties":{"type":"integer"}},"obj":{"type":"object"},)"
      R"("list":{"type":"array","items":{"type":"integer"}},"names":{"type":"array","items":{"type":"string"}},)"
      R"("flags":{"type":"array","items":{"type":"boolean"}},"reals":{"type":"array","items":{"type":"number"}},)"
      R"("pair":{"type":"array","prefixItems":[{},{}]},"some":{"type":"array"})");
  for (const std::string text : {
           R"({})",
           R"({"i":9223372036854775807,"u":18446744073709551615})",
           R"({"i":-9223372036854775808,"u":0})",
           R"({"i":9007199254740993,"list":[9007199254740993,-1,0]})",
           R"({"d":2.0})",
           R"({"d":0.1,"reals":[0.0,-0.0,1e+300,5e-324,3.0]})",
           R"({"i":0,"d":0.0,"s":"","b":false,"y":""})",
           R"({"s":"käse \"\\ \n 🧀","names":["","a"],"flags":[true,false]})",
           R"({"y":"AAH/","any":null})",
           R"({"any":{"a":[1,2.5,"x",null,true,{}],"b":{}},"map":{"":0,"k":-5},"obj":{"n":{"m":[[]]}}})",
           R"({"any":9007199254740992,"pair":[1,"a"],"some":[1,null,"x"]})",
           R"({"any":0,"obj":{}})",
       }) {
    EXPECT_EQ(round_trip(schema, text), text);
  }
}

TEST(DerivedTranscoder, absent_fields_are_what_the_schema_says_of_them) {
  const std::string schema = fields(R"("i":{"type":"integer"},"n":{"type":["integer","null"]},"l":{"type":"array"},)"
                                    R"("m":{"type":"object","additionalProperties":{"type":"string"}},)"
                                    R"("o":{"type":"object","properties":{"a":{}}},"s":{"type":"string"},)"
                                    R"("opt":{"type":"integer"},"ol":{"type":"array"},"on":{"type":["string","null"]})",
                                    R"("i","n","l","m","o","s")");
  const auto derived = derive(with_request(schema));
  ASSERT_TRUE(derived.has_value());
  const auto json = transcoder(*derived).convert(Side::request, Encoding::proto, Encoding::json, Bytes());
  EXPECT_EQ(json->view(), R"({"i":0,"n":null,"l":[],"m":{},"s":""})");
  EXPECT_EQ(round_trip(schema, R"({"i":0,"n":0,"l":[],"m":{},"o":{},"s":"","opt":0,"ol":[],"on":null})"),
            R"({"i":0,"n":0,"l":[],"m":{},"o":{},"s":"","opt":0})");
}

TEST(DerivedTranscoder, whole_messages_of_every_form_come_back_as_they_were) {
  EXPECT_EQ(round_trip("", std::string("\x00\xff{", 3)), std::string("\x00\xff{", 3));
  EXPECT_EQ(round_trip("{}", R"([1,{"a":null}])"), R"([1,{"a":null}])");
  EXPECT_EQ(round_trip("{}", "null"), "null");
  EXPECT_EQ(round_trip(R"({"type":"object"})", R"({"a":1})"), R"({"a":1})");
  EXPECT_EQ(round_trip(R"({"type":"object"})", ""), "{}");
  EXPECT_EQ(round_trip(R"({"type":"null"})", "null"), "null");
  EXPECT_EQ(round_trip(R"({"type":"string"})", R"("tea")"), R"("tea")");
  EXPECT_EQ(round_trip(R"({"type":"string"})", R"("")"), R"("")");
  EXPECT_EQ(round_trip(R"({"type":"integer"})", "9007199254740993"), "9007199254740993");
  EXPECT_EQ(round_trip(R"({"type":"integer"})", "0"), "0");
  EXPECT_EQ(round_trip(R"({"type":"array","items":{"type":"integer"}})", "[1,2,3]"), "[1,2,3]");
  EXPECT_EQ(round_trip(R"({"type":"array","items":{"type":"integer"}})", "[]"), "[]");
  EXPECT_EQ(round_trip(R"({"type":"object","additionalProperties":{"type":"integer"}})", R"({"a":1})"), R"({"a":1})");
  EXPECT_EQ(round_trip(R"({"type":"object","additionalProperties":false})", "{}"), "{}");
}

TEST(DerivedTranscoder, whole_numbers_are_integers_however_they_are_written) {
  const std::string schema = fields(R"("i":{"type":"integer"})");
  EXPECT_EQ(round_trip(schema, R"({"i":2.0})"), R"({"i":2})");
  EXPECT_EQ(round_trip(schema, R"({"i":1e3})"), R"({"i":1000})");
  EXPECT_EQ(round_trip(schema, R"({"i":9007199254740992.000})"), R"({"i":9007199254740992})");
  EXPECT_EQ(round_trip(schema, R"({"i":0.5e1})"), R"({"i":5})");
  EXPECT_EQ(round_trip(schema, R"({"i":-0})"), R"({"i":0})");
  EXPECT_EQ(round_trip(schema, R"({"i":0.0e99999999999999999999})"), R"({"i":0})");
}

TEST(DerivedTranscoder, what_does_not_fit_is_named_by_its_path_and_place) {
  const auto problem = [](const std::string& properties, const std::string& json) {
    return round_trip(fields(properties), json);
  };
  const std::string lines =
      R"("items":{"type":"array","items":{"type":"object","properties":{"count":{"type":"integer"}}}})";
  EXPECT_EQ(problem(lines, "{\"items\":[{\"count\":1},\n {\"count\":\"x\"}]}"),
            "S1040 invalid_argument: items[1].count: expected an integer of 64 bits, found the string \"x\" (line 2, "
            "column 11 of the shop.Cart.PutRequest)");
  EXPECT_EQ(problem(lines, R"({"items":{}})").substr(0, 62),
            "S1040 invalid_argument: items: expected an array, found an obj");
  EXPECT_EQ(problem(lines, R"({"items" 1})").substr(0, 40), "S1040 invalid_argument: not JSON: a colo");
  const auto wrong = [&](const std::string& schema, const std::string& value) {
    const std::string text = problem("\"x\":" + schema, "{\"x\":" + value + "}");
    return text.substr(std::min<std::size_t>(24, text.size()), text.find(" (line") - 24);
  };
  EXPECT_EQ(wrong(R"({"type":"integer"})", "1.5"), "x: expected an integer of 64 bits, found the number 1.5");
  EXPECT_EQ(wrong(R"({"type":"integer"})", "9223372036854775808"),
            "x: expected an integer of 64 bits, found the number 9223372036854775808");
  EXPECT_EQ(wrong(R"({"type":"integer"})", "1e400"), "x: expected an integer of 64 bits, found the number 1e400");
  EXPECT_EQ(wrong(R"({"type":"integer","maximum":18446744073709551615})", "-1"),
            "x: expected an integer of 64 bits from 0, found the number -1");
  EXPECT_EQ(wrong(R"({"type":"number"})", "1e400"),
            "x: expected a number that a double can hold, found the number 1e400");
  EXPECT_EQ(wrong(R"({"type":"number"})", "\"NaN\""),
            "x: expected a number that a double can hold, found the string \"NaN\"");
  EXPECT_EQ(wrong(R"({"type":"boolean"})", "1"), "x: expected a boolean, found the number 1");
  EXPECT_EQ(wrong(R"({"type":"string"})", "1"), "x: expected a string, found the number 1");
  EXPECT_EQ(wrong(R"({"type":"string","contentEncoding":"base64"})", "\"?\""),
            "x: expected a base64 string, found another string");
  EXPECT_EQ(wrong("{}", "9007199254740993"),
            "x: 9007199254740993 can't be in a google.protobuf.Value without being rounded; say its type in the "
            "command's schema (an integer), or write it as a string");
  EXPECT_NE(wrong("{}", std::string(300, '[')).find("[0][0]: is nested too deep"), std::string::npos);
}

TEST(DerivedTranscoder, names_that_are_no_utf8_go_into_no_message) {
  EXPECT_NE(round_trip("{}", "{\"\x97\":1}").find("S1040"), std::string::npos);
  EXPECT_NE(round_trip(R"({"type":"object","additionalProperties":{"type":"integer"}})", "{\"\x97\":1}").find("S1040"),
            std::string::npos);
}

TEST(DerivedTranscoder, members_that_the_type_has_not_are_left_out) {
  EXPECT_EQ(round_trip(fields(R"("a":{"type":"integer"})"), R"({"b":{"c":[1]},"a":1})"), R"({"a":1})");
}

TEST(DerivedTranscoder, a_request_may_be_protobufs_json) {
  const std::string schema = fields(
      R"("item_count":{"type":"integer"},"raw_data":{"type":"string","contentEncoding":"base64"},"per_cent":{"type":"number"},)"
      R"("sub_items":{"type":"array","items":{"type":"object","properties":{"big_id":{"type":"integer"}}}})");
  EXPECT_EQ(
      own_form(schema,
               R"({ "itemCount" : "5", "rawData":"_-8", "perCent":"2", "subItems": [{"bigId":"9007199254740993"}] })"),
      R"({ "item_count": 5, "raw_data":"/+8=", "per_cent":2, "sub_items": [{"big_id":9007199254740993}] })");
  // What is the handler's own already stays as it is, and what is wrong too: the handler says so itself.
  for (const std::string text : {R"({ "item_count" : 5 })", R"({"itemCount")", R"({"other":"5"})", R"([1])", ""}) {
    EXPECT_EQ(own_form(schema, text), text);
  }
  const std::string list = R"({"type":"array","items":{"type":"integer"}})";
  EXPECT_EQ(own_form(list, R"({"value":["1",2]})"), "[1,2]");
  EXPECT_EQ(own_form(list, "[1]"), "[1]");
  EXPECT_EQ(own_form("", R"("AAE=")"), std::string("\x00\x01", 2));
  EXPECT_EQ(own_form("", "as it is"), "as it is");
  EXPECT_EQ(own_form(R"({"type":"null"})", "{}"), "null");
  const std::string map = R"({"type":"object","additionalProperties":{"type":"integer"}})";
  EXPECT_EQ(own_form(map, R"({"value":{"a":1}})"), R"({"a":1})");
  EXPECT_EQ(own_form(map, R"({"value":1})"), R"({"value":1})");
}

TEST(DerivedTranscoder, an_answer_may_be_protobufs_json) {
  const auto answer = [](const std::string& schema, const std::string& json) {
    const auto derived = derive(service_of("shop.cart", {{"put", {"{}", schema}}}));
    return std::string(transcoder(*derived)
                           .convert(Side::response, Encoding::json, Encoding::proto_json, Bytes::copy_of(json))
                           ->view());
  };
  EXPECT_EQ(answer(R"({"type":"object"})", R"({"a":1})"), R"({"a":1})");
  EXPECT_EQ(answer(fields(R"("a_b":{"type":"integer"})"), R"({"a_b":1})"), R"({"a_b":1})");
  EXPECT_EQ(answer(R"({"type":"array","items":{"type":"integer"}})", "[1,2]"), R"({"value":[1,2]})");
  EXPECT_EQ(answer(R"({"type":"object","additionalProperties":{"type":"integer"}})", R"({"a":1})"),
            R"({"value":{"a":1}})");
  EXPECT_EQ(answer(R"({"type":"string"})", R"("tea")"), R"("tea")");
  EXPECT_EQ(answer(R"({"type":"null"})", "null"), "{}");
  EXPECT_EQ(answer("", std::string("\x00\x01", 2)), R"("AAE=")");
}

TEST(DerivedTranscoder, bytes_that_are_no_message_are_told) {
  const auto derived =
      derive(with_request(fields(R"("s":{"type":"string","x-proto-field":1},"r":{"type":"number","x-proto-field":2},)"
                                 R"("n":{"type":"array","items":{"type":"integer"},"x-proto-field":3})")));
  ASSERT_TRUE(derived.has_value());
  const auto decode = [&](std::string_view bytes) {
    const auto out =
        transcoder(*derived).convert(Side::request, Encoding::proto, Encoding::json, Bytes::copy_of(bytes));
    return out ? std::string(out->view()) : std::string(out.error().message());
  };
  const std::string broken = "these bytes end within a field, or hold one that can't be";
  const std::string of = " (the type is shop.Cart.PutRequest)";
  EXPECT_EQ(decode("\x0a"), broken + of);
  EXPECT_EQ(decode("\x0a\x05"
                   "ab"),
            broken + of);
  EXPECT_EQ(decode("\x0a\x01\xff"), "s: the string is not UTF-8" + of);
  EXPECT_EQ(decode(std::string("\x11\0\0\0\0\0\0\xf8\x7f", 9)), "r: JSON has no NaN and no infinity" + of);
  EXPECT_EQ(decode("\x0c"), broken + of);
  EXPECT_EQ(decode(std::string("\x07\0", 2)), broken + of);
  // Packed and not, in pieces, among fields that are not known, and of another wire type.
  EXPECT_EQ(decode("\x18\x01\x0a\x01x\x1a\x02\x02\x03\x0a\x01y\x18\x04"), R"({"s":"y","n":[1,2,3,4]})");
  EXPECT_EQ(decode("\x23\x18\x01\x24\x0a\x01x"), R"({"s":"x"})");
  EXPECT_EQ(decode("\x08\x05"), "{}");
  EXPECT_EQ(decode(std::string("\x1a\x00", 2)), "{}");
}

// protobuf's own library reads what is written, and writes what is read.
class DerivedBesideProtobuf : public testing::Test {
 protected:
  void SetUp() override {
    pb::FileDescriptorSet set;
    const std::string line =
        R"({"title":"Line","type":"object","properties":{"sku":{"type":"string"},"count":{"type":"integer"},
      "next":{"anyOf":[{"$ref":"#/$defs/Line"},{"type":"null"}]}},"required":["sku"]})";
    derived_ = *derive(with_request(
        R"({"type":"object","properties":{"lines":{"type":"array","items":{"$ref":"#/$defs/Line"}},
        "by_name":{"type":"object","additionalProperties":{"$ref":"#/$defs/Line"}},
        "counts":{"type":"object","additionalProperties":{"type":"integer"}},
        "total":{"type":"integer"},"ratio":{"type":"number"},"note":{"type":["string","null"]},"data":{"type":"string","contentEncoding":"base64"},
        "numbers":{"type":"array","items":{"type":"integer"}},"flags":{"type":"array","items":{"type":"boolean"}},
        "reals":{"type":"array","items":{"type":"number"}},
        "any":{},"extra":{"type":"object"},"pair":{"type":"array","prefixItems":[{},{}]},"ok":{"type":"boolean"}},
        "required":["lines","total","ok"],"$defs":{"Line":)" +
        line + "}}"));
    ASSERT_TRUE(set.ParseFromString(descriptor_set(*derived_.contract)));
    for (const auto& file : set.file()) ASSERT_NE(pool_.BuildFile(file), nullptr);
    type_ = pool_.FindMessageTypeByName("shop.Cart.PutRequest");
    ASSERT_NE(type_, nullptr);
  }

  nlohmann::json random_value(std::mt19937& random, int depth);
  nlohmann::json random_line(std::mt19937& random, int depth);
  nlohmann::json random_request(std::mt19937& random);
  static std::int64_t random_integer(std::mt19937& random) {
    const auto bits = std::uniform_int_distribution<int>(0, 63)(random);
    const auto value = static_cast<std::int64_t>(std::uniform_int_distribution<std::uint64_t>()(random) >> bits);
    return random() % 2 == 0 ? value : -value;
  }
  static double random_real(std::mt19937& random) {
    return random() % 4 == 0 ? double(random() % 100) : std::uniform_real_distribution<double>(-1e9, 1e9)(random);
  }
  static std::string random_text(std::mt19937& random) {
    static const std::string_view pieces[] = {"a", "\"", "\\", "\n", "ä", "🧀", " ", "tea", "\x01", "/"};
    std::string out;
    for (auto i = random() % 5; i > 0; --i) out += pieces[random() % std::size(pieces)];
    return out;
  }

  Derived derived_;
  pb::DescriptorPool pool_;
  const pb::Descriptor* type_ = nullptr;
};

nlohmann::json DerivedBesideProtobuf::random_value(std::mt19937& random, int depth) {
  switch (random() % (depth > 3 ? 5 : 7)) {
    case 0:
      return nullptr;
    case 1:
      return random() % 2 == 0;
    case 2:
      return std::int64_t(random() % 100000) - 50000;
    case 3:
      return random_text(random);
    case 4:
      return 0.5 + double(random() % 1000);
    case 5: {
      auto out = nlohmann::json::array();
      for (auto i = random() % 3; i > 0; --i) out.push_back(random_value(random, depth + 1));
      return out;
    }
    default: {
      auto out = nlohmann::json::object();
      for (auto i = random() % 3; i > 0; --i) out[random_text(random)] = random_value(random, depth + 1);
      return out;
    }
  }
}

nlohmann::json DerivedBesideProtobuf::random_line(std::mt19937& random, int depth) {
  nlohmann::json out = {{"sku", random_text(random)}};
  if (random() % 2 == 0) out["count"] = random_integer(random);
  if (random() % 2 == 0 && depth < 4) out["next"] = random_line(random, depth + 1);
  return out;
}

nlohmann::json DerivedBesideProtobuf::random_request(std::mt19937& random) {
  const auto list = [&](auto make) {
    auto out = nlohmann::json::array();
    for (auto i = 1 + random() % 4; i > 0; --i) out.push_back(make());
    return out;
  };
  const auto map = [&](auto make) {
    auto out = nlohmann::json::object();
    for (auto i = 1 + random() % 4; i > 0; --i) out[random_text(random)] = make();
    return out;
  };
  nlohmann::json out = {
      {"lines", nlohmann::json::array()}, {"total", random_integer(random)}, {"ok", random() % 2 == 0}};
  const auto sometimes = [&] { return random() % 2 == 0; };
  if (sometimes()) out["lines"] = list([&] { return random_line(random, 0); });
  if (sometimes()) out["by_name"] = map([&] { return random_line(random, 0); });
  if (sometimes()) out["counts"] = map([&] { return random_integer(random); });
  if (sometimes()) out["ratio"] = random_real(random);
  if (sometimes()) out["note"] = random_text(random);
  if (sometimes()) out["data"] = "aGVsbG8=";
  if (sometimes()) out["numbers"] = list([&] { return random_integer(random); });
  if (sometimes()) out["flags"] = list([&] { return random() % 2 == 0; });
  if (sometimes()) out["reals"] = list([&] { return random_real(random); });
  if (sometimes()) out["any"] = random_value(random, 0);
  if (sometimes()) out["extra"] = map([&] { return random_value(random, 0); });
  if (sometimes()) out["pair"] = list([&] { return random_value(random, 0); });
  return out;
}

TEST_F(DerivedBesideProtobuf, random_messages_come_back_and_protobuf_agrees) {
  std::mt19937 random(20240817);  // One sequence, so that a failure comes again.
  pb::DynamicMessageFactory factory;
  for (int i = 0; i < 500; ++i) {
    const nlohmann::json request = random_request(random);
    const std::string text = request.dump();
    const auto message =
        transcoder(derived_).convert(Side::request, Encoding::json, Encoding::proto, Bytes::copy_of(text));
    ASSERT_TRUE(message.has_value()) << text << "\n" << message.error().to_string();
    const auto back = transcoder(derived_).convert(Side::request, Encoding::proto, Encoding::json, *message);
    ASSERT_TRUE(back.has_value()) << text << "\n" << back.error().to_string();
    ASSERT_EQ(nlohmann::json::parse(back->view()), request) << back->view();

    // The same JSON, read by protobuf, is the same message; and what protobuf writes is read as the same JSON.
    Own<pb::Message> theirs(factory.GetPrototype(type_)->New());
    const auto status = pb::util::JsonStringToMessage(text, theirs.get());
    ASSERT_TRUE(status.ok()) << status.ToString() << text;
    Own<pb::Message> ours(factory.GetPrototype(type_)->New());
    ASSERT_TRUE(ours->ParseFromArray(message->data(), static_cast<int>(message->size())));
    ASSERT_TRUE(pb::util::MessageDifferencer::Equals(*ours, *theirs)) << text;
    const auto read = transcoder(derived_).convert(Side::request, Encoding::proto, Encoding::json,
                                                   Bytes::copy_of(theirs->SerializeAsString()));
    ASSERT_EQ(nlohmann::json::parse(read->view()), request);
    // Its JSON is accepted as a request.
    std::string canonical;
    ASSERT_TRUE(pb::util::MessageToJsonString(*theirs, &canonical).ok());
    const auto own =
        transcoder(derived_).convert(Side::request, Encoding::proto_json, Encoding::json, Bytes::copy_of(canonical));
    const auto again = transcoder(derived_).convert(Side::request, Encoding::json, Encoding::proto, *own);
    ASSERT_TRUE(again.has_value()) << canonical << own->view();
    Own<pb::Message> third(factory.GetPrototype(type_)->New());
    ASSERT_TRUE(third->ParseFromArray(again->data(), static_cast<int>(again->size())));
    ASSERT_TRUE(pb::util::MessageDifferencer::Equals(*third, *theirs)) << canonical;
  }
}

}  // namespace
}  // namespace shunt::schema
