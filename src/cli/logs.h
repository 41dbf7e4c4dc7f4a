#pragma once
// How `shunt logs` shows one line of the manager's stream: the pure part.

#include <string>
#include <string_view>

#include "cli/terminal.h"

namespace shunt::cli {

/// {"time_ms", "service", "instance", "level", "text"} as text that ends its line; anything else as it is.
std::string render_log_line(std::string_view line, const Style& style);

}  // namespace shunt::cli
