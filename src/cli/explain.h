#pragma once
// How `shunt explain` shows what the manager answers: the pure part.

#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/terminal.h"

namespace shunt::cli {

struct ExplainAnswer {
  std::string text;
  bool is_path = false;  ///< A call would go, or wait for a slot.
};

/// In 80 columns, as far as names permit. Errors: S5008 when the answer is none of a manager's.
Result<ExplainAnswer> render_explain(std::string_view answer, const Style& style);

}  // namespace shunt::cli
