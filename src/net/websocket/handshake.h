#pragma once
// The HTTP half of a WebSocket (RFC 6455, section 4) and the terms of permessage-deflate (RFC 7692, section 7): texts of
// headers, in and out. Over HTTP/2 (RFC 8441) there is no key; the rest is the same.

#include <optional>
#include <string>
#include <string_view>

namespace shunt::net {

/// A Sec-WebSocket-Key: 16 bytes in base64.
bool is_websocket_key(std::string_view key);
/// The Sec-WebSocket-Accept that answers it.
std::string websocket_accept(std::string_view key);

/// How messages are compressed, as both sides have agreed.
struct DeflateTerms {
  int server_window_bits = 15;
  int client_window_bits = 15;
  bool server_keeps_context = true;  ///< Else each message of the server is compressed for itself.
  bool client_keeps_context = true;
};

/// What we would rather not spend: a window is memory for as long as the connection lives.
struct DeflateWishes {
  int server_window_bits_max = 12;  ///< 9 to 15. 12 bits: 32 KiB for each connection that compresses.
  bool keeps_context = true;
};

/// The first offer of a Sec-WebSocket-Extensions that we can take; nothing when there is none.
std::optional<DeflateTerms> choose_deflate(std::string_view offers, const DeflateWishes& wishes = {});
/// The Sec-WebSocket-Extensions that accepts such terms.
std::string deflate_answer(const DeflateTerms& terms);
/// What a client of ours offers.
inline constexpr std::string_view deflate_offer = "permessage-deflate; client_max_window_bits";
/// A client reads the server's answer to that offer. Nothing when the header is empty; `is_wrong` when it holds what was
/// not offered.
std::optional<DeflateTerms> read_deflate_answer(std::string_view answer, bool& is_wrong);

}  // namespace shunt::net
