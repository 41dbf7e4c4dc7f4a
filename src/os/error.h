#pragma once
// How a failed system call becomes a Status: what was tried, the system's own words, and the code that fits errno.

#include <string_view>

#include "base/result.h"

namespace shunt::os {

/// The code that says best what errno says.
Code code_of_errno(int error);
/// "open /tmp/x: No such file or directory".
Status system_error(std::string_view what, int error);
/// `return system_failure("bind", errno)` from a function that returns a Result.
[[nodiscard]] std::unexpected<Status> system_failure(std::string_view what, int error);

}  // namespace shunt::os
