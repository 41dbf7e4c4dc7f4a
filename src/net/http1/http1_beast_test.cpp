// Beast's parser as a second opinion: whatever ours accepts, Beast's must accept too, and read the same from it. (Not the
// other way round: ours is stricter.)
#include <gtest/gtest.h>

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <string>

#include "base/random.h"
#include "net/http1/http1.h"

namespace shunt::net {
namespace {

namespace beast = boost::beast;

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

std::string pick(Random& random, std::initializer_list<std::string_view> options) {
  return std::string(options.begin()[random.below(options.size())]);
}

// A request that is right more often than not.
std::string make_request(Random& random) {
  std::string text = pick(random, {"GET", "POST", "POST", "DELETE", "M-SEARCH", "G@T"});
  text += " " + pick(random, {"/", "/a/b", "/a?b=%20", "*", "http://h/x", "/\x80", "/a b"}) + " ";
  text += pick(random, {"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "}) + "\r\n";
  text += pick(random, {"Host: h\r\n", "Host: h\r\n", "host:h:80\r\n", ""});
  for (std::uint64_t i = random.below(4); i > 0; --i) {
    text += pick(random, {"X-A", "Accept", "x_y", "Bad Name", "Connection", "a"}) + ":";
    text += pick(random, {" v", "v", "  v \t", "", " a, b", " close", " keep-alive", " \x01", " a\r\n b", " \xff"});
    text += pick(random, {"\r\n", "\r\n", "\r\n", "\r\n", "\n"});
  }
  switch (random.below(5)) {
    case 0:
      return text + "\r\n";
    case 1:
      return text + "Content-Length: 3\r\n\r\nabc";
    case 2:
      return text + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    case 3:
      return text + "Transfer-Encoding: chunked\r\n\r\n" + pick(random, {"3;x=y", "03", "3 ", "4"}) +
             "\r\nabc\r\n0\r\nT: v\r\n\r\n";
    default:
      return text + "Content-Length: " + pick(random, {"3", "-3", "3, 3", "03"}) + "\r\n" +
             pick(random, {"", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"}) + "\r\nabc";
  }
}

TEST(Http1Beast, what_we_accept_beast_reads_alike) {
  SeededRandom random(7);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string text = make_request(random);
    const Http1Limits limits;
    RequestParser ours(limits);
    ours.feed(text);
    std::string body;
    RequestParser::Event event = ours.next();
    while (event == RequestParser::Event::head || event == RequestParser::Event::body) {
      if (event == RequestParser::Event::body) body += ours.body();
      event = ours.next();
    }
    if (event != RequestParser::Event::end) continue;
    ++accepted;

    beast::http::request_parser<beast::http::string_body> theirs;
    theirs.eager(true);
    beast::error_code error;
    const std::size_t used = theirs.put(boost::asio::buffer(text), error);
    ASSERT_FALSE(error) << error.message() << "\n" << text;
    ASSERT_TRUE(theirs.is_done()) << text;
    EXPECT_EQ(used, text.size() - ours.buffered()) << text;
    EXPECT_EQ(view(theirs.get().method_string()), ours.head().method);
    EXPECT_EQ(view(theirs.get().target()), ours.head().target);
    EXPECT_EQ(theirs.get().body(), body) << text;
    EXPECT_EQ(theirs.keep_alive(), ours.head().keep_alive) << text;
    for (const Header& header : ours.head().headers) {
      bool found = false;
      for (const auto& field : theirs.get()) {
        found = found || (view(field.name_string()) == header.name && view(field.value()) == header.value);
      }
      EXPECT_TRUE(found) << header.name << " in\n" << text;
    }
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace shunt::net
