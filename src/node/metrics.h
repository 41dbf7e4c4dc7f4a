#pragma once
// The node's metrics in Prometheus' text format: calls by service, command and code, their latency, instances. Labels are
// bounded: services, commands and codes come from manifests, never from requests.

#include <string>

#include "call/router.h"

namespace shunt::node {

/// Reads counters that any loop writes, so it may be called on any loop with that loop's routing.
std::string metrics_text(const call::Routing& routing);

}  // namespace shunt::node
