// JSON to protobuf and back. What is right is asked of protobuf itself: the same bytes, the same JSON.
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/own.h"
#include "schema/json_to_wire.h"
#include "schema/pool.h"
#include "schema/proto_files.h"
#include "schema/test_proto_test.h"
#include "schema/typed.h"
#include "schema/types.h"
#include "schema/wire_to_json.h"

namespace shunt::schema {
namespace {

namespace pb = google::protobuf;

class Transcode : public testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    descriptors_ = test_descriptors(error);
    ASSERT_EQ(error, "");
    auto pool = build_pool(descriptors_);
    ASSERT_TRUE(pool) << pool.error().to_string();
    pool_ = std::move(*pool);
    types_ = Types::create(pool_.files);
  }

  const MessageType& type(std::string_view name = "test.All") { return *types_->message(name); }

  std::string error_of(std::string_view json, std::string_view name = "test.All") {
    auto wire = json_to_wire(*types_, type(name), json);
    EXPECT_FALSE(wire) << json;
    return wire ? "" : std::string(wire.error().message());
  }
  Own<pb::Message> parsed(std::string_view bytes, const std::string& name) {
    const auto* descriptor = pool_.descriptors->FindMessageTypeByName(name);
    Own<pb::Message> message(factory_.GetPrototype(descriptor)->New());
    EXPECT_TRUE(message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    return message;
  }
  std::string canonical(const pb::Message& message) {
    std::string json;
    pb::util::JsonPrintOptions options;
    const auto status = pb::util::MessageToJsonString(message, &json, options);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return json;
  }
  /// JSON in, JSON out; protobuf must read the bytes between as it reads the JSON.
  std::string round(std::string_view json, const std::string& name = "test.All", const JsonForm& form = {}) {
    auto wire = json_to_wire(*types_, type(name), json);
    EXPECT_TRUE(wire) << json << ": " << wire.error().to_string();
    if (!wire) return "";
    auto ours = parsed(wire->view(), name);
    Own<pb::Message> theirs(ours->New());
    const auto status = pb::util::JsonStringToMessage(std::string(json), theirs.get());
    EXPECT_TRUE(status.ok()) << json << ": " << status.ToString();
    if (status.ok()) {
      EXPECT_EQ(canonical(*ours), canonical(*theirs)) << json;
    }
    auto back = wire_to_json(*types_, type(name), wire->view(), form);
    EXPECT_TRUE(back) << back.error().to_string();
    return back ? std::string(back->view()) : "";
  }

  std::vector<std::string> descriptors_;
  Pool pool_;
  pb::DynamicMessageFactory factory_;
  std::shared_ptr<const Types> types_;
};

TEST_F(Transcode, every_scalar_has_its_canonical_form) {
  EXPECT_EQ(
      round(R"({"i32":-5,"i64":"-9007199254740993","u32":4294967295,"u64":"18446744073709551615","s32":-1,"s64":"-2",
                      "f32":7,"f64":"8","sf32":-9,"sf64":"-10","flag":true,"text":"h\u00e9\"\n\ud83d\ude00","data":"-_8=",
                      "real":1.5,"single":0.1,"kind":"KIND_B"})"),
      R"({"i32":-5,"i64":"-9007199254740993","u32":4294967295,"u64":"18446744073709551615","s32":-1,"s64":"-2",)"
      R"("f32":7,"f64":"8","sf32":-9,"sf64":"-10","flag":true,"text":"hé\"\n😀","data":"+/8=",)"
      R"("real":1.5,"single":0.1,"kind":"KIND_B"})");
}

TEST_F(Transcode, what_canonical_json_allows_on_input_is_read) {
  EXPECT_EQ(round(R"({"i64":12,"u64":3,"i32":"7","real":"2.5","single":"NaN","kind":2,"lower_name":"a"})"),
            R"({"i32":7,"i64":"12","u64":"3","real":2.5,"single":"NaN","kind":"KIND_B","lowerName":"a"})");
  EXPECT_EQ(round(R"({"real":"-Infinity","lowerName":"b","jsonNamed":1})"),
            R"({"real":"-Infinity","lowerName":"b","jsonNamed":1})");
  EXPECT_EQ(round(R"({"i32":1e3,"i64":2.0,"json_named_field":4})"), R"({"i32":1000,"i64":"2","jsonNamed":4})");
  EXPECT_EQ(round(" \t\r\n{ } "), "{}");
  EXPECT_EQ(round(R"({"data":"-_8"})"), R"({"data":"+/8="})");
}

TEST_F(Transcode, defaults_are_left_out_unless_they_are_said_to_matter) {
  EXPECT_EQ(round(R"({"i32":0,"text":"","flag":false,"numbers":[],"kind":"KIND_UNSPECIFIED"})"), "{}");
  EXPECT_EQ(round(R"({"maybe":0})"), R"({"maybe":0})");
  EXPECT_EQ(round(R"({"maybe":null,"child":null,"numbers":null,"byName":null})"), "{}");
  EXPECT_EQ(round(R"({"child":{}})"), R"({"child":{}})");
  EXPECT_EQ(round(R"({"i64":"5"})", "test.Small", {.numbers = true, .defaults = true}),
            R"({"i64":5,"text":"","list":[],"byName":{}})");
}

TEST_F(Transcode, lists_maps_and_messages) {
  EXPECT_EQ(
      round(R"({"numbers":[1,2,-3],"texts":["a",""],"children":[{"text":"x"},{}],"kinds":["KIND_A",7],
                      "byName":{"b":{"text":"B"},"a":{}},"byNumber":{"-4":"m","10":"t","9":"n"},"byFlag":{"true":2,"false":1}})"),
      R"({"numbers":[1,2,-3],"texts":["a",""],"children":[{"text":"x"},{}],"kinds":["KIND_A",7],)"
      R"("byName":{"a":{},"b":{"text":"B"}},"byNumber":{"-4":"m","9":"n","10":"t"},"byFlag":{"false":1,"true":2}})");
}

TEST_F(Transcode, well_known_types_have_their_own_json) {
  EXPECT_EQ(round(R"({"time":"2026-07-01T12:00:00.5+02:00","span":"-1.25s","mask":"a,b.cDe"})"),
            R"({"time":"2026-07-01T10:00:00.500Z","span":"-1.250s","mask":"a,b.cDe"})");
  EXPECT_EQ(round(R"({"time":"0001-01-01T00:00:00Z","span":"315576000000s"})"),
            R"({"time":"0001-01-01T00:00:00Z","span":"315576000000s"})");
  EXPECT_EQ(round(R"({"time":"9999-12-31T23:59:59.999999999Z","span":"0.000001s","mask":""})"),
            R"({"time":"9999-12-31T23:59:59.999999999Z","span":"0.000001s","mask":""})");
  EXPECT_EQ(round(R"({"wrapped":"5","wrappedText":"","wrappedBytes":"AQI=","wrappedFlag":false})"),
            R"({"wrapped":"5","wrappedText":"","wrappedBytes":"AQI=","wrappedFlag":false})");
  EXPECT_EQ(round(R"({"struct":{"a":null,"b":[1,"x",{"c":true}],"d":{}},"value":null,"list":[null,[],2.5]})"),
            R"({"struct":{"a":null,"b":[1,"x",{"c":true}],"d":{}},"value":null,"list":[null,[],2.5]})");
  EXPECT_EQ(round(R"({"value":{"x":[false]},"values":[null,1],"nothing":null,"empty":{}})"),
            R"({"value":{"x":[false]},"values":[null,1],"empty":{}})");
}

TEST_F(Transcode, any_is_read_with_its_type_first_or_last) {
  const std::string expected =
      R"({"any":{"@type":"type.googleapis.com/test.Small","i64":"3","text":"a","byName":{"k":1}}})";
  EXPECT_EQ(round(R"({"any":{"@type":"type.googleapis.com/test.Small","i64":3,"text":"a","byName":{"k":1}}})"),
            expected);
  EXPECT_EQ(round(R"({"any":{"i64":3,"text":"a","byName":{"k":1},"@type":"type.googleapis.com/test.Small"}})"),
            expected);
  EXPECT_EQ(round(R"({"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}})"),
            R"({"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}})");
  EXPECT_EQ(round(R"({"any":{"value":{"a":1},"@type":"type.googleapis.com/google.protobuf.Struct"}})"),
            R"({"any":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"a":1}}})");
  EXPECT_EQ(error_of(R"({"any":{"@type":"type.googleapis.com/test.Nope"}})"),
            "any.@type: no type of that name is known here: the string \"type.googleapis.com/test.Nope\" "
            "(line 1, column 17 of the test.All)");
  EXPECT_TRUE(error_of(R"({"any":{"i64":3}})").starts_with("any: an Any needs \"@type\""));
  EXPECT_TRUE(error_of(R"({"any":{"@type":"type.googleapis.com/test.Small","i65":3}})").starts_with("any.i65: "));
}

TEST_F(Transcode, any_type_at_the_root_of_a_message) {
  EXPECT_EQ(round(R"("1.5s")", "google.protobuf.Duration"), R"("1.500s")");
  EXPECT_EQ(round(R"([1,{"a":null}])", "google.protobuf.ListValue"), R"([1,{"a":null}])");
  EXPECT_EQ(round(R"({"a":[]})", "google.protobuf.Struct"), R"({"a":[]})");
  auto value = json_to_wire(*types_, type("google.protobuf.Value"), "\"x\"");
  ASSERT_TRUE(value);
  EXPECT_EQ(wire_to_json(*types_, type("google.protobuf.Value"), value->view(), {})->view(), "\"x\"");
  EXPECT_EQ(wire_to_json(*types_, type("google.protobuf.Value"), "", {})->view(), "null");
}

TEST_F(Transcode, oneofs) {
  EXPECT_EQ(round(R"({"first":0})"), R"({"first":0})");
  EXPECT_EQ(round(R"({"first":null,"second":"x"})"), R"({"second":"x"})");
  EXPECT_EQ(error_of(R"({"first":1,"second":"x"})"),
            "second: only one of oneof 'choice' may be set, and 'first' is too (line 1, column 12 of the test.All)");
}

TEST_F(Transcode, an_error_names_the_field_by_its_path_and_its_place) {
  EXPECT_EQ(error_of("{\n  \"children\": [\n    {},\n    {\"text\": 12}\n  ]\n}"),
            "children[1].text: expected a string, found the number 12 (line 4, column 14 of the test.All)");
  EXPECT_EQ(
      error_of(R"({"byName":{"a\"b":{"textt":""}}})"),
      R"(byName["a\"b"].textt: test.Child has no such field; did you mean 'text'? (line 1, column 20 of the test.All))");
  EXPECT_EQ(
      error_of(R"({"children":[{"qqqqqqqqq":1}]})"),
      "children[0].qqqqqqqqq: test.Child has no such field; it has text, child (line 1, column 15 of the test.All)");
  EXPECT_EQ(error_of(R"({"i32":2147483648})"),
            "i32: expected a whole number of 32 bits, found the number 2147483648 (line 1, column 8 of the test.All)");
  EXPECT_EQ(
      error_of(R"({"u32":-1})"),
      "u32: expected a whole number of 32 bits, not negative, found the number -1 (line 1, column 8 of the test.All)");
  EXPECT_EQ(error_of(R"({"kind":"KIND_C"})"),
            "kind: expected a name of test.Kind, found the string \"KIND_C\"; did you mean 'KIND_A'? "
            "(line 1, column 9 of the test.All)");
  EXPECT_EQ(error_of(R"({"text":"é","text":"y"})"),
            "text: it is here a second time (line 1, column 13 of the test.All)");
  EXPECT_EQ(error_of(R"({"lowerName":"x","lower_name":"y"})"),
            "lowerName: it is here a second time (line 1, column 18 of the test.All)");
  EXPECT_EQ(error_of(R"({"time":"yesterday"})"),
            "time: expected a time such as \"2026-07-01T12:00:00Z\", found the string \"yesterday\" "
            "(line 1, column 9 of the test.All)");
  EXPECT_EQ(error_of(R"({"byNumber":{"x":"a"}})"),
            "byNumber[\"x\"]: expected a key that is a whole number of 32 bits, found the string \"x\" "
            "(line 1, column 14 of the test.All)");
  EXPECT_EQ(
      error_of(R"({"struct":{"a":[1,{"b":1e999}]}})"),
      "struct[\"a\"][1][\"b\"]: the number 1e999 is beyond the largest number (line 1, column 24 of the test.All)");
  EXPECT_EQ(error_of("[]"), "expected an object (test.All), found an array (line 1, column 1 of the test.All)");
  EXPECT_EQ(error_of("{} x"), "something follows the value (line 1, column 4 of the test.All)");
  EXPECT_EQ(error_of(""),
            "expected an object (test.All), found the end of the text (line 1, column 1 of the test.All)");
}

TEST_F(Transcode, an_error_carries_a_bad_request_for_programs) {
  auto wire = json_to_wire(*types_, type(), R"({"child":{"text":1}})");
  ASSERT_FALSE(wire);
  EXPECT_EQ(wire.error().id(), "S1040");
  EXPECT_EQ(wire.error().code(), Code::invalid_argument);
  EXPECT_NE(wire.error().details().find(R"("type":"google.rpc.BadRequest")"), std::string::npos);
  EXPECT_NE(wire.error().details().find(R"("field":"child.text")"), std::string::npos);
}

TEST_F(Transcode, what_is_no_json_or_no_such_value_is_refused) {
  for (std::string_view json : {"{",
                                "{\"i32\"}",
                                "{\"i32\":}",
                                "{\"i32\":1,}",
                                "{\"numbers\":[1,]}",
                                "{\"numbers\":[,1]}",
                                "{'i32':1}",
                                "{i32:1}",
                                "{\"i32\":01}",
                                "{\"i32\":+1}",
                                "{\"i32\":1.}",
                                "{\"i32\":.5}",
                                "{\"i32\":1.5}",
                                "{\"i32\":true}",
                                "{\"i32\":\"\"}",
                                "{\"i32\":\" 1\"}",
                                "{\"i32\":\"1 \"}",
                                "{\"i32\":\"0x1\"}",
                                "{\"i64\":\"9223372036854775808\"}",
                                "{\"i64\":1e19}",
                                "{\"u64\":\"-1\"}",
                                "{\"u64\":1.8446744073709552e19}",
                                "{\"flag\":\"true\"}",
                                "{\"flag\":1}",
                                "{\"flag\":tru}",
                                "{\"text\":\"\\x\"}",
                                "{\"text\":\"\\ud800\"}",
                                "{\"text\":\"\\udc00\"}",
                                "{\"text\":\"\\ud800\\u0041\"}",
                                "{\"text\":\"\\u12g4\"}",
                                "{\"text\":\"a\nb\"}",
                                "{\"text\":\"a",
                                "{\"text\":\"\\",
                                "{\"text\":\"\\u",
                                "{\"data\":\"!\"}",
                                "{\"data\":\"A\"}",
                                "{\"real\":\"nan\"}",
                                "{\"real\":\"inf\"}",
                                "{\"real\":1e999}",
                                "{\"single\":1e39}",
                                "{\"kind\":2147483648}",
                                "{\"kind\":\"kind_a\"}",
                                "{\"numbers\":[null]}",
                                "{\"numbers\":1}",
                                "{\"children\":[null]}",
                                "{\"byName\":[]}",
                                "{\"byName\":{\"a\":null}}",
                                "{\"byName\":{\"a\":{},\"a\":{}}}",
                                "{\"byNumber\":{\"01\":\"\"}}",
                                "{\"byNumber\":{\"\":\"\"}}",
                                "{\"byNumber\":{\"-0\":\"\"}}",
                                "{\"byNumber\":{\"-\":\"\"}}",
                                "{\"byFlag\":{\"1\":1}}",
                                "{\"time\":\"2026-02-29T00:00:00Z\"}",
                                "{\"time\":\"2026-01-01T24:00:00Z\"}",
                                "{\"time\":\"2026-01-01T00:00:00\"}",
                                "{\"time\":\"0000-01-01T00:00:00Z\"}",
                                "{\"time\":\"2026-01-01T00:00:00.Z\"}",
                                "{\"time\":\"0001-01-01T00:00:00+00:01\"}",
                                "{\"span\":\"1\"}",
                                "{\"span\":\"s\"}",
                                "{\"span\":\"1.s\"}",
                                "{\"span\":\"--1s\"}",
                                "{\"span\":\"1.0000000001s\"}",
                                "{\"span\":\"315576000001s\"}",
                                "{\"mask\":\"a_b\"}",
                                "{\"mask\":\"a,\"}",
                                "{\"mask\":\",a\"}",
                                "{\"struct\":[]}",
                                "{\"list\":{}}",
                                "{\"child\":[]}",
                                "{\"child\":1}",
                                "nul",
                                "{\"i32\":1}}",
                                "{\"text\":\"\xff\"}",
                                "\xef\xbb\xbf{}"}) {
    EXPECT_FALSE(json_to_wire(*types_, type(), json)) << json;
  }
}

TEST_F(Transcode, nesting_ends_where_protobufs_own_does) {
  auto nested = [](int depth) {
    std::string json;
    for (int i = 1; i < depth; ++i) json += "{\"child\":";
    json += "{}";
    return json + std::string(static_cast<std::size_t>(depth - 1), '}');
  };
  auto deep = json_to_wire(*types_, type("test.Child"), nested(100));
  ASSERT_TRUE(deep) << deep.error().to_string();
  EXPECT_TRUE(wire_to_json(*types_, type("test.Child"), deep->view(), {}));
  (void)parsed(deep->view(), "test.Child");
  EXPECT_FALSE(json_to_wire(*types_, type("test.Child"), nested(101)));
  EXPECT_FALSE(json_to_wire(*types_, type("google.protobuf.Value"), std::string(100'000, '[')));
  EXPECT_FALSE(json_to_wire(*types_, type(), "{\"any\":" + std::string(100'000, '[')));
  std::string bytes;
  for (int i = 0; i < 101; ++i) {
    const std::size_t size = bytes.size();
    std::string outer = "\x12";
    for (std::size_t rest = size;; rest >>= 7) {
      outer.push_back(static_cast<char>((rest & 127) | (rest > 127 ? 128 : 0)));
      if (rest <= 127) break;
    }
    outer += bytes;
    bytes = std::move(outer);
  }
  EXPECT_FALSE(wire_to_json(*types_, type("test.Child"), bytes, {}));
}

TEST_F(Transcode, bytes_in_any_order_and_any_packing_are_the_same_message) {
  // text twice, numbers packed and not, child in two parts, an unknown field, a oneof set twice.
  const std::string bytes(
      "\x0a\x01x"
      "\x10\x05"
      "\x0a\x01y",
      8);
  EXPECT_EQ(wire_to_json(*types_, type("test.Order"), bytes, {})->view(), R"({"text":"y","number":5})");
  const std::string list(
      "\x1a\x02\x01\x02"
      "\x18\x03"
      "\x1a\x01\x04",
      9);
  EXPECT_EQ(wire_to_json(*types_, type("test.Order"), list, {})->view(), R"({"list":[1,2,3,4]})");
  const std::string parts(
      "\x22\x03\x0a\x01"
      "a"
      "\x22\x04\x12\x02\x0a\x00",
      11);
  EXPECT_EQ(wire_to_json(*types_, type("test.Order"), parts, {})->view(), R"({"child":{"text":"a","child":{}}})");
  const std::string halves(
      "\x22\x01\x0a\x22\x02\x01"
      "a",
      7);
  EXPECT_FALSE(wire_to_json(*types_, type("test.Order"), halves, {}));
  const std::string unknown(
      "\xa0\x1f\x01"
      "\x10\x05",
      5);
  EXPECT_EQ(wire_to_json(*types_, type("test.Order"), unknown, {})->view(), R"({"number":5})");
  const std::string choice(
      "\x2a\x03\x0a\x01"
      "a"
      "\x30\x01"
      "\x2a\x02\x12\x00"
      "\x30\x02"
      "\x2a\x00",
      15);
  EXPECT_EQ(wire_to_json(*types_, type("test.Order"), choice, {})->view(), canonical(*parsed(choice, "test.Order")));
  EXPECT_EQ(wire_to_json(*types_, type("test.Order"), choice, {})->view(), R"({"left":{}})");
}

TEST_F(Transcode, bytes_that_are_no_such_message_are_told_by_its_name) {
  for (std::string_view bytes :
       {std::string_view("\x0a"), std::string_view("\x0a\x05x"),
        std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), std::string_view("\x0b"),
        std::string_view("\x0c"), std::string_view("\x00\x01", 2), std::string_view("\x07\x01"),
        std::string_view("\x0a\x01\xff"), std::string_view("\x22\x02\x0a\x05")}) {
    auto json = wire_to_json(*types_, type("test.Order"), bytes, {});
    ASSERT_FALSE(json) << json->view();
    EXPECT_EQ(json.error().code(), Code::invalid_argument);
    EXPECT_EQ(json.error().id(), "S1041");
    EXPECT_TRUE(json.error().message().starts_with("these bytes are no test.Order")) << json.error().message();
  }
  auto json = wire_to_json(*types_, type("test.Order"), "\x22\x03\x0a\x01\xff", {});
  EXPECT_EQ(json.error().message(), "these bytes are no test.Order: child.text: this string is not UTF-8");
}

TEST_F(Transcode, what_json_makes_of_bytes_has_a_limit) {
  std::string bytes = "\x2a";  // kinds of test.Packed: one byte each, thirty characters of JSON.
  bytes = std::string("\x0a\xe8\x07", 3) + std::string(1000, '\x01');
  auto json = wire_to_json(*types_, type("test.Packed"), bytes, {.output_bytes_max = 1000});
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().code(), Code::resource_exhausted);
}

TEST_F(Transcode, proto2_with_groups_required_fields_and_closed_enums) {
  // protobuf's own JSON knows no groups; its parser does.
  auto group = json_to_wire(*types_, type("test2.Old"), R"({"id":1,"inner":{"x":2},"kind":"ONE"})");
  ASSERT_TRUE(group) << group.error().to_string();
  EXPECT_EQ(parsed(group->view(), "test2.Old")->ShortDebugString(), "id: 1 Inner { x: 2 } kind: ONE");
  EXPECT_EQ(wire_to_json(*types_, type("test2.Old"), group->view(), {})->view(),
            R"({"id":1,"inner":{"x":2},"kind":"ONE"})");
  auto extended = json_to_wire(*types_, type("test2.Old"), R"({"id":1,"[test2.note]":"n"})");
  ASSERT_TRUE(extended) << extended.error().to_string();
  EXPECT_EQ(wire_to_json(*types_, type("test2.Old"), extended->view(), {})->view(), R"({"id":1,"[test2.note]":"n"})");
  EXPECT_EQ(error_of(R"({"kind":"ONE"})", "test2.Old"),
            "id: it is required and missing (test2.Old) (line 1, column 14 of the test2.Old)");
  EXPECT_FALSE(json_to_wire(*types_, type("test2.Old"), R"({"id":1,"kind":9})"));
  EXPECT_FALSE(wire_to_json(*types_, type("test2.Old"), "", {}));
  EXPECT_EQ(wire_to_json(*types_, type("test2.Old"), "\x08\x01\x20\x09", {})->view(), R"({"id":1})");
}

TEST_F(Transcode, a_value_without_json_says_which) {
  // time: seconds of year 10000.
  auto json = wire_to_json(*types_, type("google.protobuf.Timestamp"), "\x08\x80\xdc\xc7\x86\xb0\x07", {});
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().id(), "S1042");
}

}  // namespace
}  // namespace shunt::schema
