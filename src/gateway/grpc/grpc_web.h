#pragma once
// gRPC-Web: gRPC for who can't read trailers. They are the last message of the body instead; the text flavour has the whole
// body in base64. Only for gateway/'s own files.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/carrier.h"

namespace shunt::gateway {

/// Decodes base64 as it comes: groups of four, whose padding may stand anywhere between two messages.
class WebTextDecoder {
 public:
  /// Appends what `piece` completes. False for what is not base64; the decoder is of no further use then.
  bool decode(std::string_view piece, std::string& out);
  /// A group has begun and is not whole.
  [[nodiscard]] bool is_inside() const { return count_ > 0; }

 private:
  char group_[4] = {};
  int count_ = 0;
};

/// The trailers as a message of the body, its prefix included.
std::string web_trailers(const Fields& trailers);

}  // namespace shunt::gateway
