#pragma once
// Media types: what a body says it is, what a client accepts. Only for gateway/'s own files.

#include <string_view>

namespace shunt::gateway {

/// Without white space at its ends, a carriage return included.
std::string_view trim(std::string_view text);
/// "text/html; q=1" is "text/html".
std::string_view without_parameters(std::string_view type);
/// Whether Accept names the type (lower case); "*/*" does not count.
bool accepts(std::string_view accept, std::string_view type);
/// application/json and application/*+json, but for Connect's envelopes.
bool is_json_type(std::string_view type);
/// One JSON text on each line.
bool is_lines_type(std::string_view type);

}  // namespace shunt::gateway
