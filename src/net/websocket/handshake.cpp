#include "net/websocket/handshake.h"

#include <algorithm>

#include "base/base64.h"
#include "net/digest/digest.h"
#include "net/forms/parameters.h"
#include "net/header.h"

namespace shunt::net {

namespace {

// 8 to 15; nothing for anything else, leading zeros too.
std::optional<int> window_bits(std::string_view text) {
  if (text.size() == 1 && (text[0] == '8' || text[0] == '9')) return text[0] - '0';
  if (text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5') return 10 + (text[1] - '0');
  return std::nullopt;
}

// Whether an offer or an answer is well-formed, and what it says.
struct DeflateText {
  bool is_valid = true;
  bool server_no_context = false;
  bool client_no_context = false;
  std::optional<int> server_bits;
  std::optional<int> client_bits;
  bool has_client_bits = false;  // a client may say it without a number: it can be told
};

DeflateText read_deflate(std::string_view parameters) {
  DeflateText text;
  std::string_view name;
  std::string value;
  bool has_server_bits = false;
  const auto once = [&](bool& flag) {
    if (flag) text.is_valid = false;
    flag = true;
  };
  while (next_parameter(parameters, name, value)) {
    if (name == "server_no_context_takeover") {
      once(text.server_no_context);
      text.is_valid &= value.empty();
    } else if (name == "client_no_context_takeover") {
      once(text.client_no_context);
      text.is_valid &= value.empty();
    } else if (name == "server_max_window_bits") {
      once(has_server_bits);
      text.server_bits = window_bits(value);
      text.is_valid &= text.server_bits.has_value();
    } else if (name == "client_max_window_bits") {
      once(text.has_client_bits);
      text.client_bits = window_bits(value);
      text.is_valid &= value.empty() || text.client_bits.has_value();
    } else {
      text.is_valid = false;
    }
  }
  return text;
}

bool is_deflate(std::string_view extension, std::string_view& parameters) {
  const std::size_t semicolon = std::min(extension.find(';'), extension.size());
  parameters = extension.substr(semicolon);
  return trim_blanks(extension.substr(0, semicolon)) == "permessage-deflate";
}

}  // namespace

bool is_websocket_key(std::string_view key) {
  // Only the standard alphabet, padded.
  return key.size() == 24 && key.ends_with("==") && key[21] != '=' &&
         key.find_first_of("-_") == std::string_view::npos && decode_base64(key).has_value();
}

std::string websocket_accept(std::string_view key) {
  const auto digest = sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  return encode_base64({reinterpret_cast<const char*>(digest.data()), digest.size()}, Padding::yes);
}

std::optional<DeflateTerms> choose_deflate(std::string_view offers, const DeflateWishes& wishes) {
  std::optional<DeflateTerms> chosen;
  for_each_element(offers, [&](std::string_view offer) {
    std::string_view parameters;
    if (chosen || !is_deflate(offer, parameters)) return;
    const DeflateText text = read_deflate(parameters);
    if (!text.is_valid) return;
    DeflateTerms terms;
    terms.server_window_bits = std::min(text.server_bits.value_or(15), wishes.server_window_bits_max);
    if (terms.server_window_bits < 9) return;  // zlib can't compress with so small a window.
    terms.client_window_bits = text.client_bits.value_or(15);
    terms.server_keeps_context = wishes.keeps_context && !text.server_no_context;
    terms.client_keeps_context = wishes.keeps_context && !text.client_no_context;
    chosen = terms;
  });
  return chosen;
}

std::string deflate_answer(const DeflateTerms& terms) {
  std::string out = "permessage-deflate";
  if (!terms.server_keeps_context) out += "; server_no_context_takeover";
  if (!terms.client_keeps_context) out += "; client_no_context_takeover";
  if (terms.server_window_bits < 15) out += "; server_max_window_bits=" + std::to_string(terms.server_window_bits);
  // Less than 15 only when the client said that it can be told.
  if (terms.client_window_bits < 15) out += "; client_max_window_bits=" + std::to_string(terms.client_window_bits);
  return out;
}

std::optional<DeflateTerms> read_deflate_answer(std::string_view answer, bool& is_wrong) {
  is_wrong = false;
  std::optional<DeflateTerms> agreed;
  for_each_element(answer, [&](std::string_view extension) {
    std::string_view parameters;
    const bool is_known = is_deflate(extension, parameters);
    const DeflateText text = read_deflate(parameters);
    if (agreed || !is_known || !text.is_valid || (text.has_client_bits && text.client_bits.value_or(0) < 9)) {
      is_wrong = true;
      return;
    }
    agreed = DeflateTerms{.server_window_bits = text.server_bits.value_or(15),
                          .client_window_bits = text.client_bits.value_or(15),
                          .server_keeps_context = !text.server_no_context,
                          .client_keeps_context = !text.client_no_context};
  });
  if (is_wrong) return std::nullopt;
  return agreed;
}

}  // namespace shunt::net
