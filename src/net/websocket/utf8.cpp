#include "net/websocket/utf8.h"

#include <cstring>

namespace shunt::net {

bool Utf8Checker::feed(std::string_view text) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    if (wanted_ == 0) {
      // Most of most texts: eight ASCII characters at a time.
      std::uint64_t eight = 0;
      while (end - at >= 8 && (std::memcpy(&eight, at, 8), (eight & 0x8080808080808080ULL) == 0)) at += 8;
      if (at == end) return true;
      const std::uint8_t lead = *at++;
      if (lead < 0x80) continue;
      low_ = 0x80;
      high_ = 0xbf;
      if (lead >= 0xc2 && lead <= 0xdf) {
        wanted_ = 1;
      } else if ((lead & 0xf0) == 0xe0) {
        wanted_ = 2;
        if (lead == 0xe0) low_ = 0xa0;
        if (lead == 0xed) high_ = 0x9f;
      } else if (lead >= 0xf0 && lead <= 0xf4) {
        wanted_ = 3;
        if (lead == 0xf0) low_ = 0x90;
        if (lead == 0xf4) high_ = 0x8f;
      } else {
        return false;
      }
      continue;
    }
    if (*at < low_ || *at > high_) return false;
    ++at;
    --wanted_;
    low_ = 0x80;
    high_ = 0xbf;
  }
  return true;
}

}  // namespace shunt::net
