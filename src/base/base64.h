#pragma once
// Base64, both alphabets, padded or not: what HTTP's headers, gRPC's metadata and JSON carry bytes in.

#include <optional>
#include <string>
#include <string_view>

namespace shunt {

enum class Padding : bool { no, yes };

/// The standard alphabet (RFC 4648, section 4).
std::string encode_base64(std::string_view bytes, Padding padding = Padding::no);
/// Appends it.
void append_base64(std::string& out, std::string_view bytes, Padding padding = Padding::no);
/// Of either alphabet, padded or not. Nothing for anything else.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace shunt
