#pragma once
// manager.explain: which way a call takes, as JSON. The form is documented in docs/reference/cli.md and is stable.

#include <string>

#include "call/explain.h"

namespace shunt::module {

std::string explain_json(const call::Explanation& explanation);

}  // namespace shunt::module
