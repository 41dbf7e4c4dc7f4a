#pragma once
// How `shunt ps` shows what the manager answers: the pure part.

#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/terminal.h"

namespace shunt::cli {

/// Errors: S5008 when the answer is none of a manager's.
Result<std::string> render_ps(std::string_view answer, const Style& style);

/// Every service's name, a line each, or every SERVICE.COMMAND. Nothing where the answer is none of a manager's.
std::string list_names(std::string_view answer, bool commands);

}  // namespace shunt::cli
