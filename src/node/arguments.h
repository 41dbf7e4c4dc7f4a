#pragma once
// The way of RunOptions from `shunt run` to the node process: arguments of the form key=value.

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/run.h"

namespace shunt::node {

std::vector<std::string> to_arguments(const RunOptions& options);
/// Errors: invalid_argument for what to_arguments() does not write.
Result<RunOptions> from_arguments(std::span<const std::string> arguments);

}  // namespace shunt::node
