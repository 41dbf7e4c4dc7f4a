#pragma once
// The two services that a gRPC client expects of every server: grpc.health.v1.Health (Check, Watch, List) and
// grpc.reflection.v1 and v1alpha.ServerReflection. They tell what the listener exposes, whatever a service's language.
// Calls of them look like any other call to who makes them. Only for gateway/'s own files.
// https://github.com/grpc/grpc-proto

#include <optional>
#include <string_view>

#include "call/definition.h"
#include "call/ends.h"
#include "gateway/shared.h"

namespace shunt::gateway {

/// The shape of the method at "/grpc.health.v1.Health/Check" and so on; nothing for a path that is none of theirs.
std::optional<call::StreamShape> find_builtin(std::string_view path);

/// Begins a call of it. `policy` and `shared` outlive the call.
call::OutgoingHandle start_builtin(Shared& shared, const ListenerPolicy& policy, std::string_view path,
                                   call::CallerEvents& events, call::Opening opening);

/// For Watch: the node drains. Nothing for other calls of builtins.
void drain_builtin(call::Outgoing& call);

}  // namespace shunt::gateway
