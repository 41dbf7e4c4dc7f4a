#pragma once
// One message from protobuf's wire format into JSON, without a message object between: fields in any order, repeated ones
// apart, singular ones twice and packed or not, as every protobuf parser takes them.

#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "schema/typed.h"
#include "schema/types.h"

namespace shunt::schema {

/// Threads: any. Errors: invalid_argument S1041 for bytes that are no such message, S1042 for a message that has no JSON
/// (a time of year 10000, an Any of an unknown type), resource_exhausted S1043 beyond form.output_bytes_max.
Result<Bytes> wire_to_json(const Types& types, const MessageType& type, std::string_view bytes, const JsonForm& form);

}  // namespace shunt::schema
