#pragma once
// UTF-8, checked as it comes: a text may be cut anywhere.

#include <cstdint>
#include <string_view>

namespace shunt::net {

/// RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
class Utf8Checker {
 public:
  /// False at the first byte that can't be there.
  bool feed(std::string_view text);
  /// Whether the text may end here.
  [[nodiscard]] bool is_whole() const { return wanted_ == 0; }
  void reset() { wanted_ = 0; }

 private:
  int wanted_ = 0;           // continuation bytes
  std::uint8_t low_ = 0x80;  // bounds of the next one
  std::uint8_t high_ = 0xbf;
};

}  // namespace shunt::net
