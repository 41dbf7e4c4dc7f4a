#include "base/json_text.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

TEST(QuoteJson, escapes_quotes_backslashes_and_control_characters) {
  EXPECT_EQ(quote_json(""), "\"\"");
  EXPECT_EQ(quote_json("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(quote_json(std::string_view("\0\n\r\t\b\f\x1b\x7f", 8)), R"("\u0000\n\r\t\b\f\u001b\u007f")");
}

TEST(QuoteJson, keeps_utf8_and_replaces_what_is_not) {
  EXPECT_EQ(quote_json("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\x82"), "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\x82\"");
  EXPECT_EQ(quote_json("\xff"), "\"\xef\xbf\xbd\"");
  EXPECT_EQ(quote_json("\xc3"), "\"\xef\xbf\xbd\"");
  EXPECT_EQ(quote_json("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(quote_json("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace shunt
