// What headers and forms say: lists, weights, tags, ranges, fields.
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "net/digest/digest.h"
#include "net/forms/accept.h"
#include "net/forms/conditions.h"
#include "net/forms/parameters.h"
#include "net/forms/quality.h"
#include "net/forms/urlencoded.h"

namespace shunt::net {
namespace {

TEST(Forms, digests_are_those_of_their_standards) {
  EXPECT_EQ(sha1("abc")[0], 0xa9);
  EXPECT_EQ(sha1("abc")[19], 0x9d);
}

TEST(Forms, a_quoted_string_parts_neither_lists_nor_parameters) {
  std::string seen;
  for_each_element(R"(a, "b,c" , ,"d\",e")",
                   [&](std::string_view element) { seen += "[" + std::string(element) + "]"; });
  EXPECT_EQ(seen, R"([a]["b,c"]["d\",e"])");
  EXPECT_EQ(parameter(R"(; a="x;y\"z" ; B = c; d)", "a"), "x;y\"z");
  EXPECT_EQ(parameter(R"(; a="x;y" ; B = c; d)", "b"), "c");
  EXPECT_EQ(parameter("; a; d", "d"), "");
  EXPECT_EQ(parameter("; a; d", "e"), std::nullopt);
  EXPECT_EQ(parameter("; a=\"never closed", "a"), "never closed");
}

TEST(Forms, weights_have_three_digits_and_nonsense_weighs_all) {
  EXPECT_EQ(parse_quality("1"), 1000);
  EXPECT_EQ(parse_quality("0.5"), 500);
  EXPECT_EQ(parse_quality("0.333"), 333);
  EXPECT_EQ(parse_quality("0."), 0);
  EXPECT_EQ(parse_quality("1.999"), 1000);
  for (const char* text : {"", "2", "-1", "0,5", "0.1234", "x"}) EXPECT_EQ(parse_quality(text), 1000) << text;
}

TEST(Forms, the_type_that_is_wanted_most_is_chosen) {
  constexpr std::array<std::string_view, 3> offers{"application/json", "application/x-ndjson", "text/event-stream"};
  const auto choose = [&](std::string_view accept) { return choose_media_type(accept, offers); };
  EXPECT_EQ(choose(""), 0);
  EXPECT_EQ(choose("*/*"), 0);
  EXPECT_EQ(choose("text/event-stream"), 2);
  EXPECT_EQ(choose("text/event-stream, */*"), 2) << "named before any other";
  EXPECT_EQ(choose("text/*;q=0.5, application/json;q=0.4"), 2);
  EXPECT_EQ(choose("application/*, application/json;q=0"), 1);
  EXPECT_EQ(choose("TEXT/EVENT-STREAM;q=0.1"), 2);
  EXPECT_EQ(choose("text/html, application/xhtml+xml, */*;q=0.8"), 0);
  EXPECT_EQ(choose("image/png"), std::nullopt);
  EXPECT_EQ(choose("application/json;q=0"), std::nullopt);
  EXPECT_EQ(choose(",,;q=1"), std::nullopt);
}

TEST(Forms, other_bytes_have_another_tag) {
  std::set<std::string> tags;
  std::size_t texts = 0;
  std::string text;
  for (int size = 0; size < 70; ++size) {
    text.assign(static_cast<std::size_t>(size), '\0');
    tags.insert(make_etag(text)), ++texts;
    for (char& c : text) {
      for (int bit = 0; bit < 8; ++bit) {
        c = static_cast<char>(1 << bit);
        tags.insert(make_etag(text)), ++texts;
      }
      c = 0;
    }
  }
  EXPECT_EQ(tags.size(), texts);
}

TEST(Forms, a_tag_is_known_again) {
  const std::string tag = make_etag("hello");
  EXPECT_EQ(tag, make_etag("hello"));
  EXPECT_EQ(tag.size(), 24u);
  EXPECT_TRUE(names_etag(tag, tag, Match::strong));
  EXPECT_TRUE(names_etag("\"x\" , " + tag + ",", tag, Match::strong));
  EXPECT_TRUE(names_etag("*", tag, Match::strong));
  EXPECT_TRUE(names_etag("W/" + tag, tag, Match::weak));
  EXPECT_FALSE(names_etag("W/" + tag, tag, Match::strong));
  EXPECT_FALSE(names_etag("", tag, Match::weak));
  EXPECT_FALSE(names_etag(tag.substr(1), tag, Match::weak));
  EXPECT_FALSE(names_etag("\"x\"", tag, Match::weak));
  EXPECT_TRUE(names_etag("\"a,b\"", "\"a,b\"", Match::weak));
}

TEST(Forms, a_range_is_a_part_all_or_nothing) {
  const auto range = [](std::string_view text, std::uint64_t size) {
    const ByteRange got = parse_range(text, size);
    if (got.kind == ByteRange::Kind::whole) return std::string("whole");
    if (got.kind == ByteRange::Kind::unsatisfiable) return std::string("none");
    return std::to_string(got.first) + "+" + std::to_string(got.size);
  };
  EXPECT_EQ(range("bytes=0-4", 10), "0+5");
  EXPECT_EQ(range("Bytes = 2-", 10), "2+8");
  EXPECT_EQ(range("bytes=-3", 10), "7+3");
  EXPECT_EQ(range("bytes=-30", 10), "0+10");
  EXPECT_EQ(range("bytes=5-500", 10), "5+5");
  EXPECT_EQ(range("bytes=9-9", 10), "9+1");
  EXPECT_EQ(range("bytes=10-", 10), "none");
  EXPECT_EQ(range("bytes=-0", 10), "none");
  EXPECT_EQ(range("bytes=0-", 0), "none");
  EXPECT_EQ(range("bytes=99999999999999999999999-", 10), "none");
  EXPECT_EQ(range("bytes=0-99999999999999999999999", 10), "0+10");
  for (const char* text : {"", "bytes", "bytes=", "bytes=-", "bytes=4-2", "lines=1-2", "bytes=0-1,3-4", "bytes=a-b",
                           "bytes=1-2x", "bytes=1 - 2"}) {
    EXPECT_EQ(range(text, 10), "whole") << text;
  }
}

TEST(Forms, a_plain_form_is_its_fields) {
  const auto fields = parse_form("a=1&b=x+y%21&&c&=d&e=%C3%A9=", 10);
  ASSERT_TRUE(fields);
  std::string seen;
  for (const FormField& field : *fields) seen += field.name + "<" + field.value + ">";
  EXPECT_EQ(seen,
            "a<1>b<x y!>c<>"
            "<d>e<\xc3\xa9=>");
  EXPECT_EQ(parse_form("a=%g1", 10).error().code(), Code::invalid_argument);
  EXPECT_EQ(parse_form("a=%1", 10).error().code(), Code::invalid_argument);
  EXPECT_EQ(parse_form("a&b&c", 2).error().code(), Code::resource_exhausted);
}

}  // namespace
}  // namespace shunt::net
