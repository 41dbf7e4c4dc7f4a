#pragma once
// The protobuf view of a service on its way between nodes: what is declared in .proto files travels as descriptors, what is
// derived from schemas is derived anew on the other side.

#include "base/result.h"
#include "directory/definition_json.h"

namespace shunt::node {

/// Empty for a service without a contract, or with a derived one.
directory::ProtoPart proto_part(const call::ServiceDefinition& definition);
/// The definition with contract and transcoders. Errors: what is wrong with the types; the definition is still of use, for
/// callers who write as its commands do.
Result<void> give_contract(directory::TravelledDefinition& travelled);

}  // namespace shunt::node
