#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/names.h"
#include "base/result.h"
#include "base/status.h"
#include "base/time.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;

TEST(Status, an_ok_status_says_nothing) {
  Status status;
  EXPECT_TRUE(status.is_ok());
  EXPECT_EQ(status.message(), "");
  EXPECT_EQ(sizeof(Status), 16u);
}

TEST(Status, tells_its_id_code_and_message_on_one_line) {
  Status status(Code::not_found, "S1002", "there is no service 'x'");
  EXPECT_EQ(status.to_string(), "S1002 not_found: there is no service 'x'");
  EXPECT_EQ(Status(status).with_context("call x.y").message(), "call x.y: there is no service 'x'");
}

TEST(Code, every_code_has_a_name_that_leads_back_to_it) {
  for (int i = 0; i < code_count; i++) {
    auto code = static_cast<Code>(i);
    EXPECT_EQ(code_from_name(code_name(code)), code);
  }
  EXPECT_EQ(code_from_name("NOT_FOUND"), Code::not_found);
  EXPECT_EQ(code_from_name("canceled"), Code::cancelled);
  EXPECT_EQ(code_from_name("nonsense"), std::nullopt);
}

Result<int> half(int value) {
  if (value % 2 != 0) return fail(Code::invalid_argument, "odd");
  return value / 2;
}
Result<int> quarter(int value) {
  SHUNT_TRY(int once, half(value));
  SHUNT_TRY(int result, half(once));
  return result;
}

TEST(Result, try_returns_the_first_error) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().message(), "odd");
}

TEST(Bytes, a_slice_keeps_the_block_alive) {
  Bytes part;
  {
    Bytes whole = Bytes::copy_of("hello world");
    part = whole.slice(6, 5);
  }
  EXPECT_EQ(part.view(), "world");
}

TEST(Bytes, external_bytes_are_released_once_by_the_last_holder) {
  int released = 0;
  {
    Bytes bytes = Bytes::external("abc", 3, [](void* count) { ++*static_cast<int*>(count); }, &released);
    Bytes copy = bytes;
    Bytes moved = std::move(bytes);
    EXPECT_EQ(released, 0);
    EXPECT_EQ(copy, moved);
  }
  EXPECT_EQ(released, 1);
}

TEST(Duration, reads_what_it_writes) {
  for (auto text : {"250ms", "2s", "1m30s", "1h", "10us", "5ns", "0s"}) {
    EXPECT_EQ(format_duration(parse_duration(text).value()), text);
  }
  EXPECT_EQ(parse_duration("1.5s").value(), 1500ms);
  for (auto text : {"", "s", "5", "5 s", "5x", "-1s", "1e400s", "infs", "99999999h"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
}

TEST(Size, binary_and_decimal_units_differ) {
  EXPECT_EQ(parse_size("64MiB").value(), 64u << 20);
  EXPECT_EQ(parse_size("64MB").value(), 64'000'000u);
  EXPECT_EQ(parse_size("512").value(), 512u);
  EXPECT_FALSE(parse_size("64 mib").has_value());
}

TEST(Deadline, never_is_later_than_everything_and_sums_saturate) {
  EXPECT_TRUE(Deadline::after({INT64_MAX - 5}, 10ns).is_never());
  EXPECT_LT(Deadline(Instant{5}), Deadline::never());
  EXPECT_EQ(Deadline(Instant{5}).left({7}), 0ns);
  EXPECT_TRUE(Deadline(Instant{5}).passed({5}));
}

TEST(Names, follow_the_manifests_rule) {
  for (auto good : {"a", "shop", "a-b_c9"}) EXPECT_TRUE(is_service_name(good)) << good;
  for (auto bad : {"", "9a", "A", "a.b", "a b", "-a"}) EXPECT_FALSE(is_service_name(bad)) << bad;
  EXPECT_FALSE(is_service_name(std::string(64, 'a')));
  EXPECT_TRUE(is_command_name("GetItem"));
  EXPECT_FALSE(is_command_name("get/item"));
}

TEST(Names, a_target_splits_at_its_last_dot) {
  auto parts = split_target("shop.prices.get").value();
  EXPECT_EQ(parts.first, "shop.prices");
  EXPECT_EQ(parts.second, "get");
  for (auto bad : {"prices", ".get", "prices."}) EXPECT_FALSE(split_target(bad).has_value()) << bad;
}

TEST(Names, the_nearest_name_is_suggested_only_when_it_is_near) {
  std::vector<std::string_view> known = {"prices", "cart", "stock"};
  EXPECT_EQ(nearest("pirces", known), "prices");
  EXPECT_EQ(nearest("cat", known), "cart");
  EXPECT_EQ(nearest("something-else", known), std::nullopt);
  EXPECT_EQ(edit_distance("ab", "ba"), 1u);
}

TEST(Utf8, refuses_what_is_not) {
  EXPECT_TRUE(is_utf8("gr\xc3\xbc\xc3\x9f"));
  for (auto bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc3"}) EXPECT_FALSE(is_utf8(bad));
}

TEST(ConstantTime, equal_means_equal) {
  EXPECT_TRUE(equal_in_constant_time("secret", "secret"));
  EXPECT_FALSE(equal_in_constant_time("secret", "secreT"));
  EXPECT_FALSE(equal_in_constant_time("secret", "secretsecret"));
  EXPECT_FALSE(equal_in_constant_time("secret", ""));
  EXPECT_TRUE(equal_in_constant_time("", ""));
}

}  // namespace
}  // namespace shunt
