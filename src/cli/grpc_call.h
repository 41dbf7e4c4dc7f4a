#pragma once
// `shunt call --at grpc://HOST:PORT`: a call to any gRPC server. What its messages are it learns by reflection; without it
// the call is sent in JSON, which Shunt's nodes take.

#include "cli/call.h"
#include "cli/http_client.h"
#include "cli/options.h"

namespace shunt::cli {

/// Calls and prints; the exit code is the number of the status.
int call_grpc(const CallCommand& command, const Endpoint& endpoint, RequestBody request);

}  // namespace shunt::cli
