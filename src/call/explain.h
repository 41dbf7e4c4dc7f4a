#pragma once
// What `shunt explain` tells: which way a call from one caller to one callee would take now, why that one, and what was
// measured of it. It asks the same questions as the Router, in the same order, without starting anything.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "call/chooser.h"
#include "call/path_stats.h"
#include "call/router.h"

namespace shunt::call {

/// Who calls whom, as it was typed.
struct ExplainQuestion {
  std::string caller;  ///< A service, or "gateway", "operator".
  std::string callee;  ///< A service, or SERVICE.COMMAND.
};

/// A link between two workers that calls take past the node; see Explanation::directs.
struct DirectPath {
  std::string caller_instance;
  std::string callee_instance;  ///< As Instance::name().
  Distance distance = Distance::shm;
  std::string why;
};

struct Explanation {
  enum class Outcome : std::uint8_t {
    goes,         ///< To the instances that are `chosen`.
    waits,        ///< In the service's queue, for a slot.
    refused,      ///< The caller may not.
    unavailable,  ///< There is nowhere to go.
  };
  struct Candidate {
    std::string name;
    Distance distance = Distance::local;
    std::string why_distance;
    Standing standing = Standing::closed;
    std::uint32_t in_flight = 0;
    std::uint32_t capacity = 0;  ///< 0: without limit.
    bool chosen = false;
    std::string because;  ///< Why it is chosen, or not.
    PathCounts measured;
  };
  /// What was measured of a way that is none now: an instance that has gone, or a distance that it had.
  struct Earlier {
    std::string instance;
    Distance distance = Distance::local;
    PathCounts measured;
  };

  std::string caller;
  std::string callee;
  std::string command;  ///< Empty: whichever.
  bool permitted = false;
  std::string because;  ///< Why it may, or why not and what would allow it.
  Outcome outcome = Outcome::unavailable;
  std::string says;  ///< The answer in one line.
  Placement placement;
  bool has_queue = false;
  bool has_waiters = false;
  std::vector<Candidate> candidates;  ///< Nearest first.
  std::vector<Earlier> earlier;
  std::vector<DirectPath>
      directs;  ///< Between workers, past the node: they go first. Whoever brokers them fills it in.
};

std::string_view outcome_name(Explanation::Outcome outcome);

/// On the loop of that index, whose routing it is.
/// Errors: those of Routing::resolve for either name; unimplemented S1005 for a command that is none.
Result<Explanation> explain(const Routing& routing, const ExplainQuestion& question, std::size_t loop_index);

/// Who `name` is as a caller. Errors: those of Routing::resolve.
Result<Principal> caller_named(const Routing& routing, std::string_view name);

}  // namespace shunt::call
