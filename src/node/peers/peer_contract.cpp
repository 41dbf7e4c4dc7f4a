#include "node/peers/peer_contract.h"

#include <utility>

#include "schema/bind.h"
#include "schema/derive.h"
#include "schema/proto_files.h"

namespace shunt::node {

directory::ProtoPart proto_part(const call::ServiceDefinition& definition) {
  directory::ProtoPart part;
  const auto& contract = definition.contract;
  if (contract == nullptr || contract->is_derived()) return part;
  for (const auto& file : contract->files()) part.files.push_back(file.descriptor);
  auto read = schema::read_descriptors(part.files);
  if (!read) return {};
  for (const auto& service : read->services) {
    if (service.name != contract->service_name()) continue;
    part.service = service.name;
    for (const auto& method : service.methods) {
      if (auto command = contract->command_of(method.name); !command.empty())
        part.methods.emplace(command, method.name);
    }
  }
  return part;
}

Result<void> give_contract(directory::TravelledDefinition& travelled) {
  if (travelled.proto.service.empty()) return schema::derive_into(travelled.definition);
  SHUNT_TRY(auto files, schema::read_descriptors(travelled.proto.files));
  schema::BindOptions options;
  for (const auto& [command, method] : travelled.proto.methods) {
    options.methods.emplace(command, travelled.proto.service + "/" + method);
  }
  for (auto& problem : schema::bind_proto(travelled.definition, files, options)) {
    if (!problem.warning) return fail(Code::failed_precondition, problem.id, std::move(problem.message));
  }
  return {};
}

}  // namespace shunt::node
