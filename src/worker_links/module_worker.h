#pragma once
// A C++ service in a process of its own: one loop, the links to the node, and the module on them. `shunt worker LIBRARY` runs
// it for a library, shunt_run_module() of libshunt for a program that has the service inside.

#include <optional>
#include <string_view>

#include "library/library.h"
#include "worker/environment.h"

namespace shunt::worker_links {

/// Runs until the node lets it go, or SIGTERM and the last open call. What goes wrong is a line on standard error. Returns
/// the process's exit status. Threads: the main one, before there are others: it blocks SIGTERM.
int run_module_worker(const library::Library& library, worker::Environment environment);

/// The process's answer to a node that asks what it is: writes the definition to the descriptor that SHUNT_DESCRIBE_FD names.
/// Nothing when that is not set; else whether it could be written.
std::optional<bool> describe_if_asked(std::string_view definition);

/// What a module logs in a process of its own: "warning: text" on standard error.
void log_to_stderr(int level, std::string_view text);

}  // namespace shunt::worker_links
