#pragma once
// What requests and responses share: characters, header lines. Only for net/'s own .cpp files.

#include <cstddef>
#include <string_view>
#include <vector>

#include "net/http1/http1.h"

namespace shunt::net::detail {

bool is_token_char(char c);
bool is_token(std::string_view text);
/// Printable, space, tab, or 0x80 and above.
bool is_value_char(char c);
std::string_view trim(std::string_view text);
/// Whether the comma-separated list holds the token (lower case).
bool list_holds(std::string_view list, std::string_view lower);

/// Whether it is a comma-separated list of tokens; elements may be empty.
bool is_token_list(std::string_view list);

/// Takes header lines apart, each of which ends in CR LF. An empty view when all is well, else what is wrong.
std::string_view split_fields(std::string_view fields, std::size_t headers_max, std::vector<Header>& headers);
inline constexpr std::string_view too_many_headers = "there are too many headers";

/// Digits only, no sign, no list. False when it is anything else, or too large for 63 bits.
bool parse_length(std::string_view text, std::uint64_t& length);

/// Looks line by line for the end of a head that begins at the front of `text`, from `scanned` on (moved forward by whole
/// lines). Returns the size of the head with its empty line, 0 when it is not whole yet, npos for a line feed without a
/// carriage return.
std::size_t find_head_end(std::string_view text, std::size_t& scanned);

}  // namespace shunt::net::detail
