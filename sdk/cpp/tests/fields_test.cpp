#include <gtest/gtest.h>

#include <shunt/fields.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shop {

enum class Size { small, large };
SHUNT_ENUM(Size, small, large)

struct Item {
  std::string sku;
  std::int32_t count = 0;
  std::optional<double> weight;
  Size size = Size::small;
};
SHUNT_FIELDS(Item, sku, count, weight, size)
SHUNT_FIELD_NUMBER(Item, sku, 3)

struct Order {
  std::vector<Item> items;
  std::map<std::string, std::uint8_t> marks;
  shunt::Json note;
  shunt::Bytes seal;
  bool paid = false;
};
SHUNT_FIELDS(Order, items, marks, note, seal, paid)

struct Tree {
  std::string name;
  std::vector<Tree> children;
};
SHUNT_FIELDS(Tree, name, children)

struct Nothing {};
SHUNT_FIELDS(Nothing)

struct Wide {
  int a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3,
      d4, d5, d6, d7, e0, e1, e2, e3, e4, e5, e6, e7, f0, f1, f2, f3, f4, f5, f6, f7, g0, g1, g2, g3, g4, g5, g6, g7,
      h0, h1, h2, h3, h4, h5, h6, h7;
};
SHUNT_FIELDS(Wide, a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, c4, c5, c6, c7, d0,
             d1, d2, d3, d4, d5, d6, d7, e0, e1, e2, e3, e4, e5, e6, e7, f0, f1, f2, f3, f4, f5, f6, f7, g0, g1, g2, g3,
             g4, g5, g6, g7, h0, h1, h2, h3, h4, h5, h6, h7)

}  // namespace shop

namespace elsewhere {
struct Item {
  std::string sku;
  std::int32_t count = 0;
  std::optional<double> weight;
  shop::Size size;
};
SHUNT_FIELDS(elsewhere::Item, sku, count, weight, size)
}  // namespace elsewhere

namespace changed {
struct Item {
  std::string sku;
  std::int64_t count = 0;
  std::optional<double> weight;
  shop::Size size;
};
SHUNT_FIELDS(Item, sku, count, weight, size)
}  // namespace changed

namespace renamed {
struct Item {
  std::string code;
  std::int32_t count = 0;
  std::optional<double> weight;
  shop::Size size;
};
SHUNT_FIELDS(Item, code, count, weight, size)
}  // namespace renamed

namespace {

template <typename T>
std::string problem(std::string_view text) {
  auto value = shunt::from_json<T>(text);
  return value ? "none" : std::string(value.error().message());
}

TEST(Fields, a_struct_goes_to_json_and_back) {
  shop::Order order{{{"apple", 2, 0.25, shop::Size::large}, {"pear", 1, {}, shop::Size::small}},
                    {{"x", 255}},
                    *shunt::Json::parse("[1]"),
                    shunt::Bytes("hi"),
                    true};
  std::string text = shunt::to_json(order);
  EXPECT_EQ(
      text,
      R"({"items":[{"sku":"apple","count":2,"weight":0.25,"size":"large"},{"sku":"pear","count":1,"size":"small"}],)"
      R"("marks":{"x":255},"note":[1],"seal":"aGk=","paid":true})");
  EXPECT_EQ(shunt::to_json(*shunt::from_json<shop::Order>(text)), text);
}

TEST(Fields, the_order_of_keys_does_not_matter) {
  auto item = shunt::from_json<shop::Item>(R"({"size":"large","weight":null,"count":1e2,"sku":"\u0061"})");
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->sku, "a");
  EXPECT_EQ(item->count, 100);
  EXPECT_FALSE(item->weight);
}

TEST(Fields, what_is_wrong_is_named_by_its_path) {
  EXPECT_EQ(problem<shop::Order>(R"({"items":[{"sku":"a","count":1,"size":"small"},{"sku":7}]})"),
            "items[1].sku: expected a string, found a number");
  EXPECT_EQ(problem<shop::Order>(R"({"items":{}})"), "items: expected an array, found an object");
  EXPECT_EQ(problem<shop::Order>(R"({"items":[{}]})"), "items[0].sku is missing");
  EXPECT_EQ(problem<shop::Order>(R"({"items":[{"sku":"a","coutn":1}]})"),
            "items[0].coutn is no known field; there are sku, count, weight, size");
  EXPECT_EQ(problem<shop::Item>(R"({"sku":"a","sku":"b"})"), "sku is given twice");
  EXPECT_EQ(problem<shop::Item>(R"({"sku":"a","count":2147483648})"),
            "count: 2147483648 is out of range: from -2147483648 to 2147483647");
  EXPECT_EQ(problem<shop::Item>(R"({"sku":"a","count":1.5})"), "count: expected an integer, found 1.5");
  EXPECT_EQ(problem<shop::Item>(R"({"sku":"a","size":"huge"})"), "size: \"huge\" is none of small, large");
  EXPECT_EQ(problem<shop::Order>(R"({"marks":{"x":256}})"), "marks.x: 256 is out of range: from 0 to 255");
  EXPECT_EQ(problem<shop::Order>(R"({"marks":{"x":-1}})"), "marks.x: -1 is out of range: from 0 to 255");
  EXPECT_EQ(problem<shop::Order>(R"({"seal":"*"})"), "seal: expected base64");
  EXPECT_EQ(problem<shop::Item>("[]"), "expected an object, found an array");
  EXPECT_EQ(problem<shop::Nothing>(R"({"a":1})"), "a is no known field; there is none");
}

TEST(Fields, a_wrong_field_is_in_the_details_too) {
  auto item = shunt::from_json<shop::Item>(R"({"sku":7})");
  auto details = shunt::Json::parse(item.error().details());
  ASSERT_TRUE(details.has_value());
  EXPECT_EQ((*details)[0]["type"].as_string(), "google.rpc.BadRequest");
  EXPECT_EQ((*details)[0]["debug"]["fieldViolations"][0]["field"].as_string(), "sku");
}

TEST(Fields, the_schema_follows_from_the_struct) {
  EXPECT_EQ(shunt::json_schema<shop::Item>(),
            R"({"title":"Item","type":"object","properties":{"sku":{"type":"string","x-proto-field":3},)"
            R"("count":{"type":"integer","minimum":-2147483648,"maximum":2147483647},)"
            R"("weight":{"anyOf":[{"type":"number"},{"type":"null"}]},"size":{"enum":["small","large"]}},)"
            R"("required":["sku","count","size"],"additionalProperties":false})");
  for (const std::string& text : {shunt::json_schema<shop::Order>(), shunt::json_schema<shop::Tree>(),
                                  shunt::json_schema<shop::Nothing>(), shunt::json_schema<shunt::Json>()}) {
    EXPECT_TRUE(shunt::Json::parse(text).has_value()) << text;
  }
  EXPECT_EQ((*shunt::Json::parse(shunt::json_schema<shop::Tree>()))["$ref"].as_string(), "#/$defs/Tree");
}

TEST(Fields, sixty_four_fields_are_taken) {
  shop::Wide wide{};
  wide.h7 = 64;
  EXPECT_EQ(shunt::from_json<shop::Wide>(shunt::to_json(wide))->h7, 64);
}

TEST(Fields, a_tree_is_read_and_written) {
  std::string text = R"({"name":"a","children":[{"name":"b","children":[]}]})";
  EXPECT_EQ(shunt::to_json(*shunt::from_json<shop::Tree>(text)), text);
}

TEST(Fingerprint, tells_layouts_apart) {
  auto& item = shunt::detail::type_of<shop::Item>();
  EXPECT_TRUE(shunt::detail::same_type(item, shunt::detail::type_of<elsewhere::Item>()));
  EXPECT_FALSE(shunt::detail::same_type(item, shunt::detail::type_of<changed::Item>()));
  EXPECT_FALSE(shunt::detail::same_type(item, shunt::detail::type_of<renamed::Item>()));
  EXPECT_FALSE(shunt::detail::same_type(item, shunt::detail::type_of<shop::Order>()));
}

TEST(Type, copies_writes_weighs_and_destroys) {
  auto& type = shunt::detail::type_of<shop::Item>();
  void* one = shunt::detail::make_box(shop::Item{"apple", 1, {}, shop::Size::small});
  void* two = type.copy(one);
  static_cast<shop::Item*>(one)->sku = "pear";
  type.destroy(one);
  std::string text;
  type.write(
      two, [](void* to, const char* data, std::size_t size) { static_cast<std::string*>(to)->append(data, size); },
      &text);
  EXPECT_EQ(text, R"({"sku":"apple","count":1,"size":"small"})");
  EXPECT_GE(type.weigh(two), 20u);
  type.destroy(two);
}

TEST(Error, every_code_has_its_helper_and_name) {
  EXPECT_EQ(shunt::not_found("no such item").to_string(), "not_found: no such item");
  EXPECT_EQ(shunt::invalid_argument("sku", "is empty").message(), "sku is empty");
  EXPECT_EQ(shunt::invalid_argument("sku", "too long").message(), "sku: too long");
  EXPECT_EQ(static_cast<int>(shunt::unauthenticated("").code()), 16);
  EXPECT_EQ(shunt::code_name(shunt::Code::data_loss), "data_loss");
}

}  // namespace
