#pragma once
// What a node gives a worker when it starts it: descriptors and a name, by way of the environment.
//
//   SHUNT_LINKS="3,4,5"   connected stream sockets to the node, one for each of its loops; the first is the control link
//   SHUNT_CONTROL="6"     a SEQPACKET socket to the supervisor, which brings fresh links when the node was restarted
//   SHUNT_BROKER="7"      a SEQPACKET socket to the node, over which direct links are brokered; may be absent
//   SHUNT_SERVICE         the full name of the service that this process is a worker of
//
// Knows nothing of what is said over them.

#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::worker {

struct Environment {
  std::vector<os::Fd> links;
  os::Fd control;  ///< None: there is no supervisor; a worker whose links are gone is then lost.
  os::Fd broker;   ///< None: the node is older, and every call goes by it.
  std::string service;
};

/// True when a node started this process as a worker, and nobody has taken the links yet.
bool is_worker_environment();

/// Takes the links: makes them close-on-exec and non-blocking and removes the variables, so that no child of this
/// process inherits either. Errors: failed_precondition S3060 when there are none, or they are not sockets.
Result<Environment> take_environment();

}  // namespace shunt::worker
