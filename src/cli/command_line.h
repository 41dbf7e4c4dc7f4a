#pragma once
// From argv to a Command. The one place that knows how the command line is spelled, and CLI11.

#include <expected>
#include <string>

#include "cli/options.h"

namespace shunt::cli {

/// The command line asked for no command: for help, or it was wrong.
struct Exit {
  int code = 0;
  std::string out;
  std::string err;
};

/// Flags go over the environment (SHUNT_LISTEN, SHUNT_DATA, SHUNT_DEV), that over the configuration file, that over the
/// defaults.
std::expected<Command, Exit> parse_command_line(int argc, const char* const* argv, const Environment& environment);

}  // namespace shunt::cli
