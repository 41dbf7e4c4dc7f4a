#include "manifest/edit.h"

#include <gtest/gtest.h>

namespace shunt::manifest {
namespace {

std::string set(std::string_view text, std::string_view key, std::string_view json) {
  auto out = set_value(text, *split_key(key), json);
  return out ? *out : "! " + out.error().to_string();
}
std::string removed(std::string_view text, std::string_view key) {
  auto out = remove_value(text, *split_key(key));
  return out ? *out : "! " + out.error().to_string();
}

constexpr std::string_view shop = R"({
  // Ours.
  "name": "shop", /* short */
  "services": {
    "prices": {
      "type": "c++",  // fast
      "args": "libprices.so"
    },
    "cart": {"type": "python", "args": "cart.py"}  // slow
  }
}
)";

TEST(Edit, a_value_is_replaced_where_it_stands_and_nothing_else) {
  auto out = set(shop, "services.prices.args", "\"other.so\"");
  std::string want(shop);
  want.replace(want.find("\"libprices.so\""), 14, "\"other.so\"");
  EXPECT_EQ(out, want);
}

TEST(Edit, a_new_member_comes_last_in_the_layout_of_the_others) {
  auto out = set(shop, "services.prices.engine.backend", "\"process\"");
  EXPECT_NE(out.find("      \"args\": \"libprices.so\",\n      \"engine\": {\"backend\": \"process\"}\n    },"),
            std::string::npos)
      << out;
  out = set(shop, "services.cart.timeout", "\"2s\"");
  EXPECT_NE(out.find(R"("args": "cart.py", "timeout": "2s"}  // slow)"), std::string::npos) << out;
  out = set(shop, "services.tea", "{}");
  EXPECT_NE(out.find("\"cart.py\"},  // slow\n    \"tea\": {}\n  }"), std::string::npos) << out;
}

TEST(Edit, an_empty_object_gets_its_first_member) {
  EXPECT_EQ(set("{}", "a", "1"), "{\n  \"a\": 1\n}");
  EXPECT_EQ(set("{\"services\": {}}", "services.x", "{}"), "{\"services\": {\n  \"x\": {}\n}}");
  EXPECT_EQ(set("{\n  // none yet\n}", "a", "1"), "{\n  // none yet\n  \"a\": 1\n}");
}

TEST(Edit, a_member_goes_with_its_comma_and_its_line) {
  EXPECT_EQ(removed(R"({"a": 1, "b": 2, "c": 3})", "a"), R"({"b": 2, "c": 3})");
  EXPECT_EQ(removed(R"({"a": 1, "b": 2, "c": 3})", "b"), R"({"a": 1, "c": 3})");
  EXPECT_EQ(removed(R"({"a": 1, "b": 2, "c": 3})", "c"), R"({"a": 1, "b": 2})");
  EXPECT_EQ(removed(R"({"a": 1})", "a"), R"({})");
  EXPECT_EQ(removed("{\n  \"a\": 1, // one\n  \"b\": 2\n}", "b"), "{\n  \"a\": 1 // one\n}");
  auto out = removed(shop, "services.prices");
  EXPECT_EQ(out.find("prices"), std::string::npos);
  EXPECT_NE(out.find("  \"services\": {\n    \"cart\""), std::string::npos) << out;
}

TEST(Edit, whatever_is_set_can_be_read_back_and_removed_again) {
  for (std::string_view key : {"a", "services.prices.engine.pool-limit", "services.cart.env.A", "services.new.type"}) {
    auto path = *split_key(key);
    auto out = set_value(shop, path, "7");
    ASSERT_TRUE(out) << out.error().to_string();
    std::vector<Diagnostic> wrong;
    auto root = parse(Source("t", *out), wrong);
    ASSERT_TRUE(root) << *out;
    const Node* value = find_value(*root, path);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(value->text, "7");
    auto less = remove_value(*out, path);
    ASSERT_TRUE(less);
    ASSERT_TRUE(parse(Source("t", *less), wrong)) << *less;
  }
}

TEST(Edit, what_can_not_be_edited_says_why) {
  EXPECT_EQ(set_value("[1]", *split_key("a"), "1").error().id(), "S5083");
  EXPECT_EQ(set_value("{\"a\": ", *split_key("a"), "1").error().id(), "S5083");
  EXPECT_EQ(set_value("{\"a\": 1}", *split_key("a.b"), "1").error().id(), "S5083");
  EXPECT_EQ(remove_value("{\"a\": 1}", *split_key("b")).error().id(), "S5082");
  EXPECT_EQ(split_key("a..b").error().id(), "S5082");
  EXPECT_EQ(split_key("").error().id(), "S5082");
}

TEST(Edit, a_value_is_json_or_a_string) {
  EXPECT_EQ(value_as_json("process"), "\"process\"");
  EXPECT_EQ(value_as_json("2s"), "\"2s\"");
  EXPECT_EQ(value_as_json("7"), "7");
  EXPECT_EQ(value_as_json("[\"a\", \"b\"]"), "[\"a\", \"b\"]");
  EXPECT_EQ(value_as_json("a\"b"), "\"a\\\"b\"");
  EXPECT_EQ(value_as_json("\"x\""), "\"x\"");
}

}  // namespace
}  // namespace shunt::manifest
