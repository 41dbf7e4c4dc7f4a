// Whatever a WebSocket's client sends, and however it is torn: no crash, no more held than the limit, the same messages
// whole and in pieces. And what one side sends the other hears. The first byte chooses the terms and the pieces.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "net/websocket/websocket.h"

namespace {

using namespace shunt::net;
using Event = WebSocket::Event;

constexpr WebSocketLimits limits{.message_bytes_max = 2000, .compress_bytes_min = 1, .fragments_max = 10};

void check(bool holds) {
  if (!holds) std::abort();
}

std::string read(std::string_view bytes, std::size_t size, const std::optional<DeflateTerms>& terms) {
  WebSocket socket(WebSocket::Role::server, limits, terms);
  std::string out;
  std::string seen;
  for (;; bytes.remove_prefix(std::min(size, bytes.size()))) {
    for (bool more = true; more;) {
      const Event event = socket.next(out);
      if (event == Event::need_more) {
        more = false;
      } else if (event == Event::text || event == Event::binary) {
        const std::string message = socket.take_message();
        check(message.size() <= limits.message_bytes_max);
        seen += event == Event::text ? "[" : "<";
        seen += message;
      } else if (event == Event::closed || event == Event::failed) {
        check(out.size() >= 2);
        return seen + (event == Event::failed ? "!" : "X");
      }
    }
    if (bytes.empty()) return seen;
    socket.feed(bytes.substr(0, size));
  }
}

void talk(std::string_view text, const std::optional<DeflateTerms>& terms) {
  shunt::SeededRandom masks(text.size());
  WebSocket client(WebSocket::Role::client, limits, terms, &masks);
  WebSocket server(WebSocket::Role::server, limits, terms);
  for (int i = 0; i < 3; ++i) {
    const std::string_view message = text.substr(0, limits.message_bytes_max / static_cast<std::size_t>(i + 1));
    std::string wire;
    std::string back;
    client.send_binary(message, wire);
    server.feed(wire);
    check(server.next(back) == Event::binary && server.take_message() == message);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::optional<DeflateTerms> terms;
  if (data[0] % 2 == 1) {
    terms = DeflateTerms{9 + data[0] / 2 % 7, 15 - data[0] / 4 % 7, data[0] / 2 % 2 == 0, data[0] / 4 % 2 == 0};
  }
  const std::string whole = read(text, text.size() + 1, terms);
  const std::string torn = read(text, 1 + data[0] / 2 % 16, terms);
  check(whole == torn);
  talk(text, terms);
  (void)choose_deflate(text.substr(0, 200));
  bool is_wrong = false;
  (void)read_deflate_answer(text.substr(0, 200), is_wrong);
  return 0;
}
