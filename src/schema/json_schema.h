#pragma once
// The JSON Schema of a protobuf message's canonical JSON: for surfaces that show types, and for query strings, whose texts
// become values by it. Refusing what does not fit is json_to_wire's.

#include <string>

#include "schema/types.h"

namespace shunt::schema {

/// Draft 2020-12, with each message once below $defs. Of more than 200 messages the last ones are left open.
std::string json_schema(const MessageType& type);

}  // namespace shunt::schema
