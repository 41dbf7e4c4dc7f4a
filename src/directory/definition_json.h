#pragma once
// A service's definition as nodes tell it each other: everything that routing, authorization and the gateway's surfaces
// need, in JSON. The protobuf view travels as its descriptors; whoever reads them back makes a contract of them (schema/).

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "call/definition.h"

namespace shunt::directory {

/// The protobuf types of a service whose .proto files somebody wrote; what is derived from schemas is derived anew.
struct ProtoPart {
  std::string service;                                      ///< "shop.v1.Items"; empty: there is none.
  std::map<std::string, std::string, std::less<>> methods;  ///< By command: "GetItem".
  std::vector<std::string> files;                           ///< Serialized FileDescriptorProtos.
};

struct TravelledDefinition {
  call::ServiceDefinition definition;  ///< Without contract and transcoders.
  ProtoPart proto;
};

/// The same text for the same definition, always.
std::string write_definition(const call::ServiceDefinition& definition, const ProtoPart& proto);
/// Unknown keys are passed over: they are a later version's. Errors: invalid_argument S5068.
Result<TravelledDefinition> read_definition(std::string_view json);
/// What write_definition() wrote, as a short name for comparing: 16 hexadecimal digits. Not for secrets.
std::string definition_hash(std::string_view json);

}  // namespace shunt::directory
