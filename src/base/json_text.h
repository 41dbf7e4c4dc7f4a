#pragma once
// Writing JSON text by hand: the one thing that must never be wrong is how a string is escaped. Knows nothing of reading.

#include <string>
#include <string_view>

namespace shunt {

/// `text` as a JSON string, quotes included. Control characters are escaped; bytes that are not UTF-8 become U+FFFD, so
/// that the answer is well-formed whatever comes in.
std::string quote_json(std::string_view text);

}  // namespace shunt
