#pragma once
// One message from JSON into protobuf's wire format, in one pass and without a message object between. What is wrong is
// told by the path of the field, what was expected, what was found, and where.

#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "schema/types.h"

namespace shunt::schema {

/// `types` is where an Any's type is looked for. Threads: any. Errors: invalid_argument S1040, with a
/// google.rpc.BadRequest in its details.
Result<Bytes> json_to_wire(const Types& types, const MessageType& type, std::string_view json);

}  // namespace shunt::schema
