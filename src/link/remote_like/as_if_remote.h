#pragma once
// A link to a service of this process that behaves as if the service were far away: what crosses is serialized, framed and
// checked by the same mux, takes its time, and now and then the link is lost. For tests of what only breaks when far
// (`shunt run --as-if-remote`). Everything random follows from the seed.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/own.h"
#include "base/result.h"
#include "call/link.h"
#include "loop/loop.h"

namespace shunt::link {

struct AsIfRemote {
  Duration latency = std::chrono::milliseconds(1);  ///< Each way.
  Duration jitter{0};      ///< Added to each packet's latency, uniform in [0, jitter]. Never reorders.
  double fault = 0;        ///< The share of calls during which the link is lost, with all calls that are open on it.
  std::uint64_t seed = 1;  ///< Of jitter and faults.
};

/// Reads "latency=2ms,jitter=1ms,fault=0.01,seed=7"; what is not named has its default, "" names nothing.
/// Errors: invalid_argument S5016 says what there is.
Result<AsIfRemote> parse_as_if_remote(std::string_view text);
/// "1ms each way, jitter 500us, 1% of calls lose their link": for people.
std::string describe(const AsIfRemote& like);

/// `name`: how the service is called in errors. A lost link ends its calls as unavailable with Retry::reconnect; the next
/// call finds a new one.
/// Threads: the loop's. Lifetime: loop and service outlive it.
Own<call::Link> make_as_if_remote(loop::Loop& loop, call::Service& service, std::string name, AsIfRemote like,
                                  const call::LinkLimits& limits = {});

}  // namespace shunt::link
