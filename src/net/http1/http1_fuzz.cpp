// Whatever comes, and however it is torn: no crash, and the same events whole and in pieces. The first byte chooses the
// pieces and whether it is a request or an answer.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/http1/http1.h"
#include "net/http1/http1_client.h"

namespace {

using namespace shunt::net;

void check(bool holds) {
  if (!holds) std::abort();
}

std::string requests(std::string_view text, std::size_t size) {
  const Http1Limits limits{.line_bytes_max = 200, .header_bytes_max = 500, .headers_max = 10, .body_bytes_max = 1000};
  RequestParser parser(limits);
  std::string seen;
  while (!text.empty()) {
    std::string piece(text.substr(0, size));
    text.remove_prefix(piece.size());
    parser.feed(piece);
    for (;;) {
      const RequestParser::Event event = parser.next();
      if (event == RequestParser::Event::need_more) break;
      if (event == RequestParser::Event::error) {
        check(parser.error().status >= 400 && !parser.error().text.empty());
        return seen + "!";
      }
      if (event == RequestParser::Event::body) seen += parser.body();
      if (event == RequestParser::Event::end) {
        seen += parser.head().method;
        seen += parser.head().target;
        for (const Header& header : parser.head().headers) {
          check(is_header_name(header.name) && is_header_value(header.value));
          seen += header.name;
          seen += header.value;
        }
        seen += parser.head().keep_alive ? '+' : '-';
        parser.next_request();
      }
    }
    parser.settle();
    piece.assign(piece.size(), '#');
  }
  return seen;
}

std::string answers(std::string_view text, std::size_t size) {
  ResponseParser parser({.header_bytes_max = 500, .headers_max = 10, .body_bytes_max = 1000});
  std::string seen;
  bool over = false;
  while (!over) {
    over = text.empty();
    if (over) {
      parser.feed_end();
    } else {
      const std::string piece(text.substr(0, size));
      text.remove_prefix(piece.size());
      parser.feed(piece);
    }
    for (;;) {
      const ResponseParser::Event event = parser.next();
      if (event == ResponseParser::Event::need_more) break;
      if (event == ResponseParser::Event::error) return seen + "!";
      if (event == ResponseParser::Event::body) seen += parser.body();
      if (event == ResponseParser::Event::end) {
        seen += std::to_string(parser.head().status);
        for (const Header& header : parser.head().headers) seen += header.value;
        parser.next_response();
      }
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = 1 + (data[0] >> 1) % 16;
  // A limit may be seen earlier in one piece than in many: then only that both fail must hold.
  const std::string whole = data[0] % 2 == 0 ? requests(text, text.size() + 1) : answers(text, text.size() + 1);
  const std::string torn = data[0] % 2 == 0 ? requests(text, piece) : answers(text, piece);
  check(whole.ends_with('!') ? torn.ends_with('!') : whole == torn);
  return 0;
}
