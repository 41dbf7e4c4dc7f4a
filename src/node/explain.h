#pragma once
// What `shunt explain` asks, answered on a serving loop: there links are as calls find them.

#include <vector>

#include "call/explain.h"
#include "loop/task.h"
#include "module/manager.h"
#include "node/loops.h"

namespace shunt::node {

/// `direct`: the links between workers, of which those that such a call would take are told. Errors: those of
/// call::explain().
loop::Task<Result<call::Explanation>> explain(Loops& loops, call::ExplainQuestion question,
                                              std::vector<module::DirectReport> direct);

}  // namespace shunt::node
