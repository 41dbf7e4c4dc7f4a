#pragma once
// A service's protobuf view, where manifest/ and schema/ meet: its .proto files compiled, or the descriptors of its code
// read, and its commands bound to their methods. What is wrong becomes a diagnostic at its place.

#include <vector>

#include "manifest/manifest.h"

namespace shunt::node {

/// Only compiles what the manifest names: what can be told without running the code.
std::vector<manifest::Diagnostic> check_proto(const manifest::ServiceManifest& service);

/// Sets contract and transcoders of service.definition, which must have been merged with what the code says. Where one of
/// the diagnostics is an error, the service must not be started. Threads: any; reads files.
std::vector<manifest::Diagnostic> give_contract(manifest::ServiceManifest& service);

}  // namespace shunt::node
