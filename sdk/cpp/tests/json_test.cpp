#include <gtest/gtest.h>

#include <shunt/json.h>

#include <string>

namespace {

using shunt::Json;

std::string again(std::string_view text) {
  auto value = Json::parse(text);
  return value ? value->dump() : value.error().to_string();
}

TEST(Json, what_was_written_is_read_again) {
  for (std::string_view text : {"null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808",
                                "18446744073709551615", "1.5", "1e+300", "\"\"", "\"a\\nb\\\"\\\\\"", "[]", "{}",
                                "[1,[2,{\"a\":null}]]", "{\"b\":1,\"a\":{\"c\":[true]}}"}) {
    EXPECT_EQ(again(text), text);
  }
}

TEST(Json, escapes_become_utf8) {
  EXPECT_EQ(Json::parse(R"("\u00e9\u20ac\ud83d\ude00\/\b\f")")->as_string(), "é€😀/\b\f");
}

TEST(Json, large_integers_are_exact_and_larger_ones_become_doubles) {
  EXPECT_EQ(Json::parse("9007199254740993")->as_int(), 9007199254740993);
  EXPECT_EQ(Json::parse("18446744073709551615")->as_uint(), 18446744073709551615u);
  EXPECT_DOUBLE_EQ(Json::parse("18446744073709551616")->as_double(), 18446744073709551616.0);
  EXPECT_FALSE(Json::parse("1e999").has_value());
  EXPECT_EQ(Json::parse("1e-999")->as_double(), 0.0);
}

TEST(Json, what_is_not_json_is_refused_with_the_offset) {
  for (std::string_view text : {"",
                                " ",
                                "nul",
                                "tru",
                                "01",
                                "-",
                                "1.",
                                "1e",
                                "+1",
                                ".5",
                                "\"",
                                "\"\\x\"",
                                "\"\\u12\"",
                                "\"\\ud800\"",
                                "\"\\udc00\"",
                                "\"\\ud800\\u0041\"",
                                "[1,]",
                                "[1",
                                "[1 2]",
                                "{\"a\"}",
                                "{\"a\":}",
                                "{a:1}",
                                "{\"a\":1,}",
                                "1 2",
                                "\"\n\"",
                                "\"\xff\"",
                                "\"\xc0\x80\"",
                                "\"\xed\xa0\x80\"",
                                "\"\xf4\x90\x80\x80\"",
                                "\"\xe2\x82\"",
                                "NaN",
                                "Infinity",
                                "'a'",
                                "{\"a\":1}}"}) {
    auto value = Json::parse(text);
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().code(), shunt::Code::invalid_argument);
    EXPECT_TRUE(value.error().message().starts_with("not JSON at offset ")) << value.error().message();
  }
  EXPECT_EQ(again("[1,\n 2 3]"), "invalid_argument: not JSON at offset 7: expected ',' or ']'");
}

TEST(Json, a_key_may_not_come_twice) {
  EXPECT_EQ(again(R"({"a":1,"b":2,"a":3})"), "invalid_argument: a is given twice");
  std::string many = "{";
  for (int i = 0; i < 1000; ++i) many += "\"k" + std::to_string(i) + "\":1,";
  EXPECT_EQ(again(many + "\"k7\":1}"), "invalid_argument: k7 is given twice");
}

TEST(Json, depth_has_a_limit) {
  EXPECT_TRUE(Json::parse(std::string(64, '[') + std::string(64, ']')).has_value());
  auto deep = Json::parse(std::string(100000, '['));
  ASSERT_FALSE(deep.has_value());
  EXPECT_NE(deep.error().message().find("deeper than 64"), std::string_view::npos);
}

TEST(Json, every_prefix_of_a_text_is_refused_or_read) {
  std::string text = R"({"a":[1,-2.5e3,"x\u00e9\n",true,null],"b":{"c":"d"}})";
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(Json::parse(text.substr(0, size)).has_value());
}

TEST(Json, what_is_not_there_reads_as_null) {
  auto value = *Json::parse(R"({"items":[{"sku":"apple"}]})");
  EXPECT_EQ(value["items"][0]["sku"].as_string(), "apple");
  EXPECT_TRUE(value["items"][1]["sku"].is_null());
  EXPECT_TRUE(value["nothing"]["at"]["all"].is_null());
  EXPECT_EQ(value["items"].as_int(7), 7);
}

TEST(Json, is_built_by_hand) {
  Json order = Json::object({{"sku", "apple"}, {"count", 2}, {"big", std::uint64_t{1} << 63}});
  order.set("tags", Json::array({"a", nullptr, true})).set("count", 3);
  EXPECT_EQ(order.dump(), R"({"sku":"apple","count":3,"big":9223372036854775808,"tags":["a",null,true]})");
  EXPECT_EQ(order, *Json::parse(order.dump()));
}

TEST(Json, bytes_that_are_no_utf8_are_written_as_replacement_characters) {
  EXPECT_EQ(Json("a\xff\xc3z").dump(), "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"");
}

TEST(Base64, comes_back) {
  for (std::size_t size = 0; size < 20; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i * 37 + 200));
    EXPECT_EQ(shunt::detail::from_base64(shunt::detail::base64(bytes)), bytes);
  }
  EXPECT_EQ(shunt::detail::from_base64("_-8"), std::string("\xff\xef"));
  EXPECT_FALSE(shunt::detail::from_base64("a"));
  EXPECT_FALSE(shunt::detail::from_base64("a*bc"));
}

}  // namespace
