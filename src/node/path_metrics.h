#pragma once
// What /metrics tells of the ways that calls take: how many by callee and distance, and how long they took. Callers and
// instances are summed up: `shunt explain` has them apart.

#include <string>

#include "call/path_stats.h"

namespace shunt::node {

void add_path_metrics(std::string& text, const call::PathStats& paths);

}  // namespace shunt::node
