// Whatever a form sends, and however it is torn: no crash, the same parts whole and in pieces. The first byte chooses the
// pieces. The headers' small syntaxes are read from the same input.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/forms/accept.h"
#include "net/forms/conditions.h"
#include "net/forms/multipart.h"
#include "net/forms/urlencoded.h"

namespace {

using namespace shunt::net;

std::string parts(std::string_view body, std::size_t size) {
  MultipartParser parser("b", {.parts_max = 8, .header_bytes_max = 200, .preamble_bytes_max = 50});
  std::string seen;
  for (;;) {
    switch (parser.next()) {
      case MultipartParser::Event::need_more: {
        std::string piece(body.substr(0, size));
        body.remove_prefix(piece.size());
        if (piece.empty()) parser.feed_end();
        parser.feed(piece);
        piece.assign(piece.size(), '#');
        break;
      }
      case MultipartParser::Event::part:
        seen += "[" + parser.part().name + "|" + parser.part().filename.value_or("-") + "|" +
                parser.part().content_type + ":";
        break;
      case MultipartParser::Event::data:
        if (parser.data().empty()) std::abort();
        seen += parser.data();
        break;
      case MultipartParser::Event::part_end:
        seen += "]";
        break;
      case MultipartParser::Event::end:
        return seen;
      case MultipartParser::Event::error:
        if (parser.error().message().empty()) std::abort();
        return seen + "!";
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = parts(text, text.size() + 1);
  const std::string torn = parts(text, 1 + data[0] % 16);
  // Of a broken part less may have been told.
  if (whole.ends_with('!') ? !torn.ends_with('!') : whole != torn) std::abort();
  (void)multipart_boundary(text);
  (void)parse_form(text, 20);
  (void)names_etag(text, "\"a\"", Match::weak);
  constexpr std::string_view offers[] = {"application/json", "text/event-stream"};
  (void)choose_media_type(text, offers);
  const ByteRange range = parse_range(text, 100);
  if (range.kind == ByteRange::Kind::part && (range.size == 0 || range.first + range.size > 100)) std::abort();
  return 0;
}
