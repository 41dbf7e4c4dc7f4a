#pragma once
// Derived types as a FileDescriptorProto. protobuf's headers are in the .cpp alone.

#include <string>
#include <vector>

#include "base/result.h"
#include "call/contract.h"
#include "schema/derived/types.h"

namespace shunt::schema::derived {

/// The service's file after the well-known ones that it imports. Checked by protobuf itself.
/// Errors: failed_precondition (S3074), with protobuf's words: a name that something else of protobuf has.
Result<std::vector<call::Contract::File>> make_files(const Types& types);

}  // namespace shunt::schema::derived
