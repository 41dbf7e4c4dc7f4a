#pragma once
// The link from a loop to a service that lives on it: a function call, or, with --as-if-remote, a wire.

#include <string>

#include "base/own.h"
#include "call/ends.h"
#include "call/link.h"
#include "node/loops.h"

namespace shunt::node {

/// Loop and service outlive it. The manager is never far: it is what one looks through.
Own<call::Link> make_home_link(const Loops& loops, loop::Loop& loop, call::Service& service, const std::string& name);
/// What `shunt explain` says of a service that is called by it; empty: nothing.
std::string why_home(const Loops& loops, const std::string& name);

}  // namespace shunt::node
