#pragma once
// shunt app: makes apps and changes their manifests, by a file alone or on a running node, and there both or neither.

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace shunt::cli {

/// `cpps --attach-lib PATH APP` as `shunt app attach-lib PATH APP`: the arguments after the program's name. Nothing that
/// is not cpps's is lost.
/// Errors: S5016 when none of its words is there.
Result<std::vector<std::string>> arguments_of_cpps(const std::vector<std::string>& arguments);
/// What `cpps --help` prints.
std::string cpps_help();

/// The name that a service gets of its file: "libprices.so" is "prices". Empty when none comes of it.
std::string service_name_of(const std::filesystem::path& file);

}  // namespace shunt::cli
