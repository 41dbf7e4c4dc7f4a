// Compiling .proto files: what is found, and what is said of what is wrong.
#include "schema/proto_files.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schema/bind.h"
#include "schema/test_proto_test.h"

namespace shunt::schema {
namespace {

constexpr std::string_view items = R"(syntax = "proto3";
package shop.v1;
import "google/rpc/status.proto";
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
// Things to buy.
service Items {
  // One item.
  // By its id.
  rpc GetItem(GetItemRequest) returns (Item) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = { get: "/v1/{id}" };
  }
  rpc Watch(GetItemRequest) returns (stream Item);
  rpc Put(stream Item) returns (google.rpc.Status) { option idempotency_level = IDEMPOTENT; }
}
message GetItemRequest { string id = 1; }
message Item { string id = 1; google.protobuf.Timestamp made = 2; }
)";

std::vector<Problem> problems_of(const TestFolder& folder, const std::vector<std::filesystem::path>& files,
                                 const CompileLimits& limits = {}) {
  auto compiled = compile_proto(folder.path(), files, limits);
  EXPECT_FALSE(compiled);
  return compiled ? std::vector<Problem>() : compiled.error();
}

/// "file: what it points at: message"
std::string told(const Problem& problem) {
  const std::string at =
      problem.text == nullptr ? "" : problem.text->substr(problem.begin, problem.end - problem.begin);
  return problem.id + " " + problem.file + ": " + at + ": " + problem.message;
}

TEST(ProtoFiles, services_are_read_with_what_is_said_of_them) {
  const TestFolder folder;
  auto compiled = compile_proto(folder.path(), std::vector{folder.write("proto/items.proto", items)});
  ASSERT_TRUE(compiled) << told(compiled.error()[0]);
  ASSERT_EQ(compiled->services.size(), 1U);
  const ProtoService& service = compiled->services[0];
  EXPECT_EQ(service.name, "shop.v1.Items");
  EXPECT_EQ(service.description, "Things to buy.");
  EXPECT_EQ(service.place, "proto/items.proto:7");
  ASSERT_EQ(service.methods.size(), 3U);
  EXPECT_EQ(service.methods[0].description, "One item.\nBy its id.");
  EXPECT_EQ(service.methods[0].effect, call::Effect::none);
  EXPECT_EQ(service.methods[0].place, "proto/items.proto:10");
  EXPECT_EQ(service.methods[0].request, "shop.v1.GetItemRequest");
  EXPECT_EQ(service.methods[1].stream, call::StreamShape::server);
  EXPECT_EQ(service.methods[2].stream, call::StreamShape::client);
  EXPECT_EQ(service.methods[2].effect, call::Effect::idempotent);
  EXPECT_EQ(service.methods[2].response, "google.rpc.Status");
}

TEST(ProtoFiles, imports_are_looked_for_from_the_manifest_and_upward_from_the_file) {
  const TestFolder folder;
  folder.write("proto/shop/v1/common.proto",
               "syntax = \"proto3\"; package shop.v1; message Money { int64 cents = 1; }");
  folder.write(
      "proto/shop/v1/beside.proto",
      "syntax = \"proto3\"; package shop.v1; import \"shop/v1/common.proto\"; message Box { Money money = 1; }");
  folder.write("top.proto", "syntax = \"proto3\"; message Top {}");
  const auto file = folder.write(
      "proto/shop/v1/items.proto",
      "syntax = \"proto3\"; package shop.v1; import \"shop/v1/common.proto\"; import "
      "\"beside.proto\"; import \"top.proto\"; message Item { Money price = 1; Box box = 2; Top top = 3; }");
  auto compiled = compile_proto(folder.path(), std::vector{file});
  ASSERT_TRUE(compiled) << told(compiled.error()[0]);
  EXPECT_EQ(compiled->descriptors.size(), 4U);
}

TEST(ProtoFiles, an_error_points_at_the_word_that_is_wrong) {
  const TestFolder folder;
  EXPECT_EQ(told(problems_of(folder, {folder.write("a.proto",
                                                   "syntax = \"proto3\";\nmessage A {\n\tItme item = 1;\n}\n"
                                                   "message Item {}\n")})[0]),
            "S2072 a.proto: Itme: \"Itme\" is not defined");
  EXPECT_EQ(problems_of(folder, {folder.write("a.proto",
                                              "syntax = \"proto3\";\nmessage A { Itme i = 1; }\nmessage Item {}")})[0]
                .fix,
            "write Item");
  EXPECT_EQ(told(problems_of(
                folder, {folder.write("a.proto", "syntax = \"proto3\";\nmessage A {\n  string name = ;\n}\n")})[0]),
            "S2072 a.proto: ;: expected field number");
  EXPECT_EQ(told(problems_of(
                folder, {folder.write("a.proto",
                                      "syntax = \"proto3\";\nmessage A {\n  string a = 1;\n  int32 b = 1;\n}\n")})[0]),
            "S2072 a.proto: 1: field number 1 has already been used in \"A\" by field \"a\"");
  EXPECT_EQ(told(problems_of(folder, {folder.write("a.proto", "syntax = \"proto3\";\nimport 'gone.proto';\n")})[0]),
            "S2073 a.proto: 'gone.proto': import \"gone.proto\" is not found");
  EXPECT_EQ(
      told(problems_of(folder, {folder.write("a.proto", "syntax = \"proto3\";\nimport \"../gone.proto\";\n")})[0]),
      "S2073 a.proto: \"../gone.proto\": an import is a path without .. and not absolute: \"../gone.proto\"");
  EXPECT_EQ(told(problems_of(folder, {folder.write("a.proto", "syntax = \"proto4\";\n")})[0]).substr(0, 15),
            "S2072 a.proto: ");
  EXPECT_FALSE(problems_of(folder, {folder.write("a.proto", "\xff\xfe\x00")}).empty());
}

TEST(ProtoFiles, imports_in_a_circle_are_told) {
  const TestFolder folder;
  folder.write("b.proto", "syntax = \"proto3\"; import \"a.proto\";");
  const auto problems = problems_of(folder, {folder.write("a.proto", "syntax = \"proto3\"; import \"b.proto\";")});
  EXPECT_EQ(problems[0].message, "the imports go in a circle: a.proto → b.proto → a.proto");
}

TEST(ProtoFiles, limits) {
  const TestFolder folder;
  folder.write("b.proto", "syntax = \"proto3\";");
  const auto file = folder.write("a.proto", "syntax = \"proto3\"; import \"b.proto\";");
  EXPECT_EQ(told(problems_of(folder, {file}, {.files_max = 1})[0]),
            "S2075 a.proto: \"b.proto\": more than 1 .proto files, with their imports");
  EXPECT_EQ(problems_of(folder, {file}, {.file_bytes_max = 10})[0].id, "S2075");
  std::string deep = "syntax = \"proto3\";";
  for (int i = 0; i < 50'000; ++i) deep += "message A{";
  EXPECT_EQ(problems_of(folder, {folder.write("deep.proto", deep)})[0].id, "S2075");
  std::string chain = "syntax = \"proto3\";";
  for (int i = 0; i < 20'000; ++i) chain += "message M" + std::to_string(i) + "{M" + std::to_string(i + 1) + " a=1;}";
  chain += "message M20000{}";
  EXPECT_TRUE(compile_proto(folder.path(), std::vector{folder.write("chain.proto", chain)}));
}

// ---- Commands and methods.

struct Rig {
  TestFolder folder;
  call::ServiceDefinition service;
  BindOptions options{.code = "items.py"};

  explicit Rig(std::initializer_list<std::string> commands) {
    service.name = "items";
    for (const auto& name : commands) service.commands[name].name = name;
  }
  std::vector<BindProblem> bind(std::string_view text = items) {
    auto compiled = compile_proto(folder.path(), std::vector{folder.write("items.proto", text)});
    EXPECT_TRUE(compiled) << told(compiled.error()[0]);
    return bind_proto(service, *compiled, options);
  }
};

TEST(Bind, commands_are_methods_by_their_name) {
  Rig rig{"get_item", "Watch", "put", "other"};
  rig.service.commands["Watch"].stream = call::StreamShape::server;
  rig.service.commands["put"].stream = call::StreamShape::client;
  const auto problems = rig.bind();
  EXPECT_TRUE(problems.empty()) << problems[0].message;
  ASSERT_NE(rig.service.contract, nullptr);
  EXPECT_EQ(rig.service.contract->service_name(), "shop.v1.Items");
  EXPECT_EQ(rig.service.contract->command_of("GetItem"), "get_item");
  EXPECT_EQ(rig.service.contract->command_of("Watch"), "Watch");
  EXPECT_EQ(rig.service.contract->command_of("Gone"), "");
  EXPECT_FALSE(rig.service.contract->is_derived());
  const auto& get = rig.service.commands["get_item"];
  EXPECT_EQ(get.effect, call::Effect::none);
  EXPECT_EQ(get.description, "One item.\nBy its id.");
  EXPECT_EQ(get.transcoder->type_name(call::Side::request), "shop.v1.GetItemRequest");
  EXPECT_EQ(rig.service.commands["other"].transcoder, nullptr);
  EXPECT_EQ(
      get.response_schema,
      R"({"$ref":"#/$defs/shop.v1.Item","$defs":{"shop.v1.Item":{"type":"object","properties":{"id":{"type":"string"},)"
      R"("made":{"type":"string","format":"date-time"}},"additionalProperties":false}}})");
  EXPECT_EQ(rig.service.description, "Things to buy.");
  const auto wire = get.transcoder->convert(call::Side::request, call::Encoding::json, call::Encoding::proto,
                                            Bytes::copy_of(R"({"id":"tea"})"));
  ASSERT_TRUE(wire);
  EXPECT_EQ(wire->view(), "\x0a\x03tea");
  std::vector<std::string_view> names;
  for (const auto& file : rig.service.contract->files()) names.push_back(file.name);
  EXPECT_EQ(names.back(), "items.proto");
  EXPECT_NE(std::ranges::find(names, "google/protobuf/timestamp.proto"), names.end());
  EXPECT_NE(std::ranges::find(names, "google/rpc/status.proto"), names.end());
}

TEST(Bind, a_command_may_name_its_method) {
  Rig rig{"fetch", "Watch", "put"};
  rig.service.commands["Watch"].stream = call::StreamShape::server;
  rig.service.commands["put"].stream = call::StreamShape::client;
  rig.options.methods["fetch"] = "shop.v1.Items/GetItem";
  EXPECT_TRUE(rig.bind().empty());
  EXPECT_EQ(rig.service.contract->command_of("GetItem"), "fetch");
  rig.options.methods["fetch"] = "shop.v1.Items/GetItm";
  EXPECT_EQ(rig.bind()[0].message, "shop.v1.Items has no method 'GetItm'");
  rig.options.methods["fetch"] = "shop.v1.Item/GetItem";
  EXPECT_EQ(rig.bind()[0].message, "no .proto file here declares a service 'shop.v1.Item'");
  EXPECT_EQ(rig.bind()[0].known, "shop.v1.Items");
}

TEST(Bind, contradictions_name_both_places) {
  Rig rig{"GetItem", "Watch", "Put"};
  rig.service.commands["Put"].stream = call::StreamShape::client;
  rig.service.commands["GetItem"].effect = call::Effect::idempotent;
  rig.options.places["Watch"] = "items.py:12";
  rig.options.messages["GetItem"] = {"shop.v1.Item", "shop.v1.Item"};
  const auto problems = rig.bind();
  ASSERT_EQ(problems.size(), 3U);
  EXPECT_EQ(problems[0].message, "command 'GetItem' has effect idempotent in items.py, none in items.proto:10");
  EXPECT_EQ(problems[1].message,
            "command 'GetItem' takes shop.v1.Item in items.py, shop.v1.GetItemRequest in items.proto:10");
  EXPECT_EQ(problems[2].message, "command 'Watch' has stream unary in items.py:12, server in items.proto:14");
  EXPECT_EQ(problems[2].key, "commands.Watch.stream");
  EXPECT_EQ(rig.service.contract, nullptr);
}

TEST(Bind, a_service_is_made_of_the_types_that_the_code_works_with) {
  Rig rig{"fetch-it", "list"};
  rig.service.full_name = "my-shop.items";
  rig.service.commands["list"].stream = call::StreamShape::server;
  rig.options.make_service = true;
  rig.options.messages["fetch-it"] = {"shop.v1.GetItemRequest", "shop.v1.Item"};
  rig.options.messages["list"] = {"google.protobuf.Empty", "shop.v1.Item"};
  const auto problems = rig.bind();
  ASSERT_TRUE(problems.empty()) << problems[0].message;
  EXPECT_EQ(rig.service.contract->service_name(), "my_shop.items");
  EXPECT_EQ(rig.service.contract->command_of("fetch_it"), "fetch-it");
  EXPECT_EQ(rig.service.commands["list"].transcoder->type_name(call::Side::request), "google.protobuf.Empty");
  // One of the files has it already: nothing is made.
  Rig declared{"get_item"};
  declared.options.make_service = true;
  declared.options.messages["get_item"] = {"shop.v1.GetItemRequest", "shop.v1.Item"};
  (void)declared.bind();
  EXPECT_EQ(declared.service.contract->service_name(), "shop.v1.Items");
}

TEST(Bind, a_handler_with_a_schema_gets_numbers_and_names_of_the_file) {
  Rig rig{"Get"};
  rig.service.commands["Get"].request_schema =
      R"({"type":"object","properties":{"item_count":{"type":"integer"},"text":{"type":"string"}}})";
  constexpr std::string_view text = R"(syntax = "proto3";
message M { int64 item_count = 1; string text = 2; string newer = 3; }
service items { rpc Get(M) returns (M); })";
  ASSERT_TRUE(rig.bind(text).empty());
  const auto& transcoder = *rig.service.commands["Get"].transcoder;
  auto turned = [&](call::Side side, std::string_view json) {
    auto out = transcoder.convert(side, call::Encoding::json, call::Encoding::json, Bytes::copy_of(json));
    return out ? std::string(out->view()) : std::string(out.error().message());
  };
  EXPECT_TRUE(transcoder.checks_json());
  // The handler is told the default of what it names; it may not know the newer field yet.
  EXPECT_EQ(turned(call::Side::request, R"({"itemCount":"7"})"), R"({"item_count":7,"text":""})");
  EXPECT_EQ(turned(call::Side::request, R"({"newer":"x"})"), R"({"item_count":0,"text":"","newer":"x"})");
  EXPECT_EQ(turned(call::Side::response, R"({"item_count":7,"text":""})"), R"({"itemCount":"7"})");
  EXPECT_EQ(turned(call::Side::request, R"({"itemCont":1})"),
            "itemCont: M has no such field; did you mean 'itemCount'? (line 1, column 2 of the M)");
}

TEST(Bind, what_can_t_be_bound_is_told) {
  EXPECT_EQ(Rig{"other"}.bind()[0].id, "S2076");
  EXPECT_EQ(Rig{"other"}.bind("syntax = \"proto3\";")[0].message, "the .proto files declare messages, but no service");
  Rig several{"a"};
  const auto problems = several.bind(
      "syntax = \"proto3\"; message M {} service A { rpc A(M) returns (M); } service B { rpc B(M) returns (M); }");
  EXPECT_EQ(problems[0].message, "none of the protobuf services is 'items' by its name");
  EXPECT_EQ(problems[0].fix, "name a method at one of the commands: \"proto\": \"A/A\"");
  Rig missing{"GetItem"};
  const auto warnings = missing.bind();
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_TRUE(warnings[0].warning);
  EXPECT_NE(missing.service.contract, nullptr);
  Rig typeless{"GetItem", "raw"};
  typeless.service.commands["raw"].encoding = call::Encoding::proto;
  EXPECT_EQ(typeless.bind().back().id, "S2078");
  Rig twice{"get_item", "getItem"};
  EXPECT_EQ(twice.bind()[0].id, "S2076");
}

}  // namespace
}  // namespace shunt::schema
