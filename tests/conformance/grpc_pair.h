#pragma once
// A pair of links over the interconnect: two loops, a real gateway, real TCP on loopback.

#include "link_pair.h"

namespace shunt::conformance {

Own<LinkPair> make_grpc_pair(const call::LinkLimits& limits);

}  // namespace shunt::conformance
