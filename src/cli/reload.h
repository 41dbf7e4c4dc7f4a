#pragma once
// What a node answers when it is asked to take up its manifests again; `shunt reload` and `shunt app` ask.

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"
#include "manifest/diagnostic.h"

namespace shunt::cli {

struct ReloadAnswer {
  struct Service {
    std::string name;
    std::string change;
    std::string what;  ///< "engine.backend, code"
    std::string from;
    std::string to;
  };
  bool applied = false;
  std::string refused;
  std::vector<Service> services;
  std::vector<manifest::Diagnostic> diagnostics;
  std::string json;  ///< All of it, as the node said it.
};

/// Errors: as call_manager(); S5008 for an answer that is none.
Result<ReloadAnswer> ask_to_reload(const NodeAddress& node);
/// What has changed, a line each; what is wrong goes to standard error.
void print(const ReloadAnswer& answer);

}  // namespace shunt::cli
