#pragma once
// Small texts of the web: percent decoding, HTML escapes, the JSON of an error.

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace shunt::gateway {

/// Decodes %XX, and + to a space (a query's form). Nothing for a broken escape.
std::optional<std::string> decode_query(std::string_view text);
/// Escapes & < > " '.
std::string escape_html(std::string_view text);

/// The HTTP status of a call's code: peers.md section 4, the same as Connect's.
int http_status(Code code);
/// Connect's error object: {"code": …, "message": …, "id": …, "details": […]}.
std::string error_json(const Status& status);

}  // namespace shunt::gateway
