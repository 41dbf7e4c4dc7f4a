#include "gateway/grpc/grpc_web.h"

#include "base/base64.h"
#include "net/grpc/envelope.h"

namespace shunt::gateway {

bool WebTextDecoder::decode(std::string_view piece, std::string& out) {
  out.reserve(out.size() + piece.size() / 4 * 3 + 3);
  for (const char c : piece) {
    if (c == '\r' || c == '\n') continue;
    group_[count_++] = c;
    if (count_ < 4) continue;
    count_ = 0;
    const auto bytes = decode_base64({group_, 4});
    if (!bytes) return false;
    out += *bytes;
  }
  return true;
}

std::string web_trailers(const Fields& trailers) {
  std::string text;
  for (const net::Header& header : trailers.all()) {
    text.append(header.name).append(": ").append(header.value).append("\r\n");
  }
  std::string message;
  net::append_envelope(message, net::envelope_flag::web_trailers, text);
  return message;
}

}  // namespace shunt::gateway
