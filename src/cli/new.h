#pragma once
// What `shunt new` writes: the pure parts.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace shunt::cli {

struct NewFile {
  std::string path;  ///< Below the new folder.
  std::string content;
};

/// The files of a new service, with @NAME@ (greeter-two), @IDENTIFIER@ (greeter_two) and @SHUNT_PREFIX@ (where this
/// Shunt is) filled in, in contents and paths.
/// Errors: S5007 for a language that has no template; S5013 for a name that is none.
Result<std::vector<NewFile>> files_of_new(std::string_view language, std::string_view name, std::string_view prefix);

}  // namespace shunt::cli
