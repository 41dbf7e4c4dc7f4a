#pragma once
// What `shunt call` sends: the pure parts, for call.cpp and its tests.

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt::cli {

struct RequestBody {
  std::string content_type;
  std::string bytes;
};

/// Checks that `text` is one JSON value, or several on a stream (then it is sent as NDJSON, a line each).
/// `origin` is for messages: "the argument", "stdin", a file's name.
/// Errors: S5017 with line, column, the line itself and a caret.
Result<RequestBody> json_request(std::string_view text, std::string_view origin);

}  // namespace shunt::cli
