#pragma once
// The protobuf view of a service that has no .proto files: descriptors derived from the JSON Schemas of its commands (Python's
// type hints, described C++ structs, the manifest's own), so that any gRPC client can call it. The rules are
// spec/derived-proto.md; they give a field the same number wherever it stands, for ever. Knows no protocol and no node.

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "call/contract.h"
#include "call/definition.h"

namespace shunt::schema {

struct Derived {
  // Owners: the definition, and whoever copies it.
  std::shared_ptr<const call::Contract> contract;
  /// By command. The handler's side is JSON or, without a schema, bytes.
  std::map<std::string, std::shared_ptr<const call::Transcoder>, std::less<>> transcoders;
};

/// Threads: any. Errors: failed_precondition; S3070 to S3074, each with the names of both sides and what to do.
Result<Derived> derive(const call::ServiceDefinition& service);

/// The contract alone.
Result<std::shared_ptr<const call::Contract>> derive_contract(const call::ServiceDefinition& service);

/// Derives, and puts contract and transcoders into the definition.
Result<void> derive_into(call::ServiceDefinition& service);

}  // namespace shunt::schema
