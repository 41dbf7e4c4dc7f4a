#pragma once
// How calls to a service may travel: `placement`, and `engine.link` for its workers. Read together, because each can make
// the other impossible, and the backend both.

#include "manifest/manifest.h"
#include "manifest/values.h"

namespace shunt::manifest {

/// Fills in definition.placement and engine.link; engine.backend is known. The keys of the two objects were checked.
/// What `link` says comes to a placement and the other way round, so that whoever reads either has both.
void read_placement(const Node& service, Values& values, Report& report, ServiceManifest& out);

}  // namespace shunt::manifest
