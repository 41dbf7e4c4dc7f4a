#pragma once
// A private copy of a library's file, to be loaded in its place: what is loaded then stays whole while its author builds the
// next one over it, and the next one is really loaded, where the loader would know the path and give the old one again.

#include <string>

#include "base/result.h"

namespace shunt::library {

/// The path to give to dlopen() for `path`: a copy in `folder` (made when missing) under a name that this process has not
/// used; or, for a library that finds others beside itself ($ORIGIN), the same file by a spelling that the loader does not
/// know yet. Errors: what the system says of the copy.
Result<std::string> path_to_load(const std::string& path, const std::string& folder);

}  // namespace shunt::library
