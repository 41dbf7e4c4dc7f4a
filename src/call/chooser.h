#pragma once
// Choosing where a call goes: of the instances that have room, the nearest (this process, this host, elsewhere); of those
// the one with the fewest calls in flight, of two picked at random when there are many. An instance without room does not
// count, so what the near ones can't take spills over to the farther at once.
//
// It knows nothing of calls: a route, what is asked, and a source of randomness go in, a slot comes out.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/random.h"
#include "call/distance.h"
#include "call/instance.h"

namespace shunt::call {

struct Route;

/// What one call asks of where it goes.
struct Ask {
  std::size_t loop_index = 0;           ///< Of the loop that it starts on.
  bool blocking = false;                ///< Its command runs synchronously in its worker.
  Distance farthest = Distance::grpc;   ///< A call that another node handed to us goes no farther than this host.
  const Instance* not_there = nullptr;  ///< It has refused this call.
};

/// How an instance stands to such a call now.
enum class Standing : std::uint8_t {
  has_room,
  full,       ///< As many calls as it takes at once.
  queued,     ///< Others wait for a slot there already.
  closed,     ///< It takes no new calls: starting, draining or gone.
  no_link,    ///< There is no way to it from this loop now.
  forbidden,  ///< The callee's `placement`.
  too_far,    ///< The call came from another node, and goes no farther.
  refused,    ///< It has refused this very call.
};
Standing standing(const Route& route, Instance& instance, const Ask& ask);
/// What `shunt explain` says of it: "has room", "full", …
std::string_view standing_name(Standing standing);

/// Less is nearer, then less busy, then the cheaper of two ways to the same place.
std::uint64_t rank(const Instance& instance);

/// Takes a slot where the call goes, and tells its index in route.instances; nothing when no instance has room.
std::optional<std::size_t> enter_nearest(const Route& route, const Ask& ask, Random& random);

/// Of instances on other nodes that are full by our count the least busy: they have queues of their own, and may be asked
/// where nothing here can be waited for. Takes a slot beyond the count with `enter_queue_elsewhere`.
std::optional<std::size_t> queue_elsewhere(const Route& route, const Ask& ask);
std::optional<std::size_t> enter_queue_elsewhere(const Route& route, const Ask& ask);

/// Whether a call that found no room may wait for a slot in the route's Admission.
bool may_wait(const Route& route);

/// Why there is nowhere to go, for people: every instance there is with what stands against it; the reason of its
/// service's absence when there is none.
Status nowhere(const Route& route, const Ask& ask);

}  // namespace shunt::call
