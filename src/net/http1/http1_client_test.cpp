#include "net/http1/http1_client.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt::net {
namespace {

// What is told of the answers in `text`, fed in pieces of `size` bytes and then ended.
std::string parse(std::string_view text, std::size_t size, std::string_view method = "GET") {
  ResponseParser parser;
  parser.expect(method);
  std::string seen;
  bool over = false;
  while (!over) {
    if (text.empty()) {
      parser.feed_end();
      over = true;
    } else {
      const std::string scratch(text.substr(0, size));
      text.remove_prefix(scratch.size());
      parser.feed(scratch);
    }
    for (;;) {
      const ResponseParser::Event event = parser.next();
      if (event == ResponseParser::Event::need_more) break;
      if (event == ResponseParser::Event::head) {
        seen += std::to_string(parser.head().status) + (parser.head().keep_alive ? " stays" : " closes") + " " +
                std::string(parser.head().find("x")) + "[";
      }
      if (event == ResponseParser::Event::body) seen += parser.body();
      if (event == ResponseParser::Event::end) {
        seen += "]";
        if (over) return seen;
        parser.next_response();
      }
      if (event == ResponseParser::Event::error) {
        return parser.error().starts_with("the connection closed before an answer")
                   ? seen
                   : seen + "!" + std::string(parser.error());
      }
    }
  }
  return seen;
}

TEST(Http1Client, answers_of_every_kind_torn_anyhow) {
  const std::string_view text =
      "HTTP/1.1 100 Continue\r\n\r\n"
      "HTTP/1.1 200 OK\r\nX: one\r\nContent-Length: 3\r\n\r\nabc"
      "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
      "HTTP/1.1 204 No Content\r\n\r\n"
      "HTTP/1.0 500 Broken by design\r\n\r\nto the end";
  for (std::size_t size = 1; size <= text.size(); ++size) {
    ASSERT_EQ(parse(text, size), "200 stays one[abc]200 stays [abcd]204 stays []500 closes [to the end]") << size;
  }
}

TEST(Http1Client, an_answer_to_head_has_no_body) {
  EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 999, "HEAD"), "200 stays []");
}

TEST(Http1Client, what_is_not_an_answer_is_an_error) {
  EXPECT_NE(parse("SSH-2.0-OpenSSH\r\n", 1).find("not HTTP"), std::string::npos);
  EXPECT_NE(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 1).find("before the answer was complete"),
            std::string::npos);
  EXPECT_NE(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 9).find('!'),
            std::string::npos);
  EXPECT_NE(parse("HTTP/1.1 101 Switching Protocols\r\n\r\n", 9).find('!'), std::string::npos);
}

TEST(Http1Client, requests_are_written_whole_or_not_at_all) {
  std::string out;
  const Header headers[] = {{"Content-Type", "application/json"}};
  EXPECT_TRUE(append_request(out, {.method = "POST", .target = "/a/b", .host = "h", .headers = headers}, "{}"));
  EXPECT_EQ(out, "POST /a/b HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
  out.clear();
  EXPECT_TRUE(append_request(out, {.host = "h"}, ""));
  EXPECT_EQ(out, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  out.clear();
  const Header bad[] = {{"X", "a\r\nb: c"}};
  EXPECT_FALSE(append_request(out, {.host = "h", .headers = bad}, ""));
  EXPECT_FALSE(append_request(out, {.target = "/a b", .host = "h"}, ""));
  EXPECT_FALSE(append_request(out, {.method = "", .host = "h"}, ""));
  EXPECT_EQ(out, "");
}

}  // namespace
}  // namespace shunt::net
