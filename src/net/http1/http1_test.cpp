#include "net/http1/http1.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shunt::net {
namespace {

using namespace std::string_view_literals;

struct Seen {
  std::string text;  // everything that was told, one line each
  int error = 0;
};

// Runs the parser over input that comes in the given pieces, as a connection does: settle after each.
Seen parse(const std::vector<std::string>& pieces, const Http1Limits& limits = {}) {
  RequestParser parser(limits);
  Seen seen;
  std::string body;
  for (const std::string& piece : pieces) {
    std::string scratch = piece;  // gone after settle(): views into it would be found by the address sanitizer
    parser.feed(scratch);
    for (;;) {
      const RequestParser::Event event = parser.next();
      if (event == RequestParser::Event::need_more) break;
      if (event == RequestParser::Event::body) body += parser.body();
      if (event == RequestParser::Event::end) {
        const RequestHead& head = parser.head();
        seen.text += std::string(head.method) + " " + std::string(head.target) + " 1." +
                     std::to_string(head.minor_version) + (head.keep_alive ? " stays" : " closes") +
                     (head.expect_continue ? " expects" : "") + "\n";
        for (const Header& header : head.headers) {
          seen.text += std::string(header.name) + "=" + std::string(header.value) + "\n";
        }
        seen.text += "[" + body + "]\n";
        body.clear();
        parser.next_request();
      }
      if (event == RequestParser::Event::error) {
        seen.error = parser.error().status;
        EXPECT_FALSE(parser.error().text.empty());
        return seen;
      }
    }
    parser.settle();
    scratch.assign(scratch.size(), '#');
  }
  return seen;
}

Seen parse(std::string_view text, const Http1Limits& limits = {}) {
  return parse(std::vector<std::string>{std::string(text)}, limits);
}

std::vector<std::string> bytes_of(std::string_view text) {
  std::vector<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  return pieces;
}

constexpr std::string_view three_requests =
    "POST /prices/get HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    "{\"sku\":\"abc\"}"
    "\r\nGET /a?b=c HTTP/1.0\r\nX-Long:   padded value \t \r\nConnection: Keep-Alive\r\n\r\n"
    "PUT /chunks HTTP/1.1\r\nhost: h\r\nTRANSFER-ENCODING: Chunked\r\nConnection: foo, close\r\nExpect: "
    "100-continue\r\n\r\n"
    "4;name=\"value\"\r\nWiki\r\n00005\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nTrailer: yes\r\n\r\n";
constexpr std::string_view three_requests_seen =
    "POST /prices/get 1.1 stays\nHost=localhost:8080\nContent-Type=application/json\nContent-Length=13\n"
    "[{\"sku\":\"abc\"}]\n"
    "GET /a?b=c 1.0 stays\nX-Long=padded value\nConnection=Keep-Alive\n[]\n"
    "PUT /chunks 1.1 closes expects\nhost=h\nTRANSFER-ENCODING=Chunked\nConnection=foo, close\nExpect=100-continue\n"
    "[Wikipedia in\r\n\r\nchunks.]\n";

TEST(Http1, parses_pipelined_requests_of_every_kind_of_body) {
  const Seen seen = parse(three_requests);
  EXPECT_EQ(seen.text, three_requests_seen);
  EXPECT_EQ(seen.error, 0);
}

TEST(Http1, input_torn_at_every_byte_means_the_same) {
  EXPECT_EQ(parse(bytes_of(three_requests)).text, three_requests_seen);
  for (std::size_t at = 0; at <= three_requests.size(); ++at) {
    const Seen seen = parse({std::string(three_requests.substr(0, at)), std::string(three_requests.substr(at))});
    ASSERT_EQ(seen.text, three_requests_seen) << "torn at " << at;
  }
}

struct Refused {
  std::string_view what;
  std::string_view text;
  int status;
};

TEST(Http1, what_could_be_understood_in_two_ways_is_refused) {
  const Refused refused[] = {
      {"both lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"both, other order", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
       400},
      {"differing lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400},
      {"a list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\n", 400},
      {"a signed length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\n", 400},
      {"a hexadecimal length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\n", 400},
      {"an empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
      {"a huge length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"another coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"identity", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 501},
      {"xchunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
      {"coding twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"a space before the colon", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\n", 400},
      {"a folded line", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400},
      {"a folded first line", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
      {"a bare line feed", "GET / HTTP/1.1\nHost: h\n\n", 400},
      {"a bare line feed in a header", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400},
      {"a bare carriage return", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400},
      {"a zero byte", "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"sv, 400},
      {"no colon", "GET / HTTP/1.1\r\nHost h\r\n\r\n", 400},
      {"an empty name", "GET / HTTP/1.1\r\n: h\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"no version", "GET /\r\nHost: h\r\n\r\n", 400},
      {"a lower-case version", "GET / http/1.1\r\nHost: h\r\n\r\n", 400},
      {"HTTP/2 without knowing it", "PRI * HTTP/2.0\r\n\r\n", 505},
      {"HTTP/0.9's successor", "GET / HTTP/0.9\r\n\r\n", 505},
      {"TLS", "\x16\x03\x01\x02", 400},
      {"another expectation", "POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n", 417},
      {"a chunk without a size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 400},
      {"a chunk's size with 0x", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", 400},
      {"a chunk's size with a space", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n",
       400},
      {"a chunk's size that overflows",
       "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n", 400},
      {"a chunk longer than its size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
       400},
      {"a chunk that ends in LF", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n", 400},
      {"a control character in a chunk's extension",
       "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n", 400},
  };
  for (const Refused& one : refused) {
    const Seen whole = parse(one.text);
    EXPECT_EQ(whole.error, one.status) << one.what;
    EXPECT_EQ(whole.text, "") << one.what;
    EXPECT_EQ(parse(bytes_of(one.text)).error, one.status) << one.what << ", byte by byte";
  }
}

TEST(Http1, two_equal_lengths_are_one) {
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab").error, 0);
}

TEST(Http1, each_limit_has_its_status) {
  const Http1Limits limits{.line_bytes_max = 40, .header_bytes_max = 100, .headers_max = 3, .body_bytes_max = 4};
  const std::string pad(60, 'x');
  EXPECT_EQ(parse("GET /" + pad + " HTTP/1.1\r\nHost: h\r\n\r\n", limits).error, 414);
  EXPECT_EQ(parse("GET /" + pad, limits).error, 414);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: h\r\nX: " + pad + pad + "\r\n\r\n", limits).error, 431);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: h\r\nX: " + pad + pad, limits).error, 431);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: h\r\na: \r\nb: \r\nc: \r\n\r\n", limits).error, 431);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", limits).error, 413);
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd", limits).error, 0);
  const std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(parse(chunked + "5\r\n", limits).error, 413);
  EXPECT_EQ(parse(chunked + "2\r\nab\r\n3\r\n", limits).error, 413);
  EXPECT_EQ(parse(chunked + "4\r\nabcd\r\n0\r\n\r\n", limits).error, 0);
  EXPECT_EQ(parse(chunked + "0\r\nX: " + pad + pad + "\r\n\r\n", limits).error, 431);
}

TEST(Http1, the_body_limit_can_be_lifted_for_streams) {
  const Http1Limits limits{.body_bytes_max = 4};
  RequestParser parser(limits);
  parser.feed("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789");
  ASSERT_EQ(parser.next(), RequestParser::Event::head);
  EXPECT_TRUE(parser.rest_is_here());
  parser.lift_body_limit();
  ASSERT_EQ(parser.next(), RequestParser::Event::body);
  EXPECT_EQ(parser.body(), "0123456789");
  EXPECT_TRUE(parser.body_is_complete());
  EXPECT_EQ(parser.next(), RequestParser::Event::end);
  EXPECT_EQ(parser.next(), RequestParser::Event::end);
}

TEST(Http1, dates_are_as_the_rfc_writes_them) {
  DateCache dates;
  EXPECT_EQ(dates.at(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(dates.at(784111778), "Sun, 06 Nov 1994 08:49:38 GMT");
}

TEST(Http1, answers_are_written_as_they_are_read) {
  std::string out;
  ResponseWriter writer(out);
  writer.begin(404, "D");
  writer.header("Content-Type", "application/json");
  writer.close();
  writer.length(2);
  out += "{}";
  EXPECT_EQ(out,
            "HTTP/1.1 404 Not Found\r\nDate: D\r\nContent-Type: application/json\r\nConnection: close\r\n"
            "Content-Length: 2\r\n\r\n{}");
  out.clear();
  append_chunk(out, "");
  append_chunk(out, "0123456789", "abcdef", "\n");
  append_last_chunk(out);
  EXPECT_EQ(out, "11\r\n0123456789abcdef\n\r\n0\r\n\r\n");
}

TEST(Http1, a_header_that_would_break_the_head_apart_is_known) {
  EXPECT_TRUE(is_header_name("x-a"));
  EXPECT_FALSE(is_header_name("x a"));
  EXPECT_FALSE(is_header_name(""));
  EXPECT_TRUE(is_header_value("a b\tc"));
  EXPECT_FALSE(is_header_value("a\r\nb"));
}

}  // namespace
}  // namespace shunt::net
