#pragma once
// The page at `/`: every service and command that can be reached, with its docs; and the same as JSON. Only for gateway/'s
// own files.

#include <string>

#include "call/router.h"

namespace shunt::gateway {

enum class Shows : bool { exposed_only, everything };

/// One HTML page without a script or anything from elsewhere.
std::string services_page(const call::Routing& routing, Shows shows);
/// {"services": [{"name", "version", "description", "commands": [{"name", "description", "effect", "stream", …}]}]}
std::string services_json(const call::Routing& routing, Shows shows);

}  // namespace shunt::gateway
