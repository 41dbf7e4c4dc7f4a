#include "schema/derive.h"

#include <algorithm>

#include "schema/derived/descriptor.h"
#include "schema/derived/transcoder.h"
#include "schema/derived/types.h"

namespace shunt::schema {
namespace {

class DerivedContract final : public call::Contract {
 public:
  DerivedContract(std::shared_ptr<const derived::Types> types, std::vector<File> files)
      : types_(std::move(types)), files_(std::move(files)) {}

  [[nodiscard]] std::string_view service_name() const override { return types_->full_name; }
  [[nodiscard]] std::string_view command_of(std::string_view method) const override {
    for (const derived::CommandTypes& each : types_->commands) {
      if (each.method == method || each.command == method) return each.command;
    }
    return {};
  }
  [[nodiscard]] std::span<const File> files() const override { return files_; }
  [[nodiscard]] bool is_derived() const override { return true; }

 private:
  std::shared_ptr<const derived::Types> types_;  // Owners: this and the transcoders.
  std::vector<File> files_;
};

}  // namespace

Result<Derived> derive(const call::ServiceDefinition& service) {
  SHUNT_TRY(auto types, derived::derive_types(service));
  SHUNT_TRY(auto files, derived::make_files(*types));
  Derived out;
  out.contract = std::make_shared<DerivedContract>(types, std::move(files));
  for (std::size_t i = 0; i < types->commands.size(); ++i) {
    out.transcoders.emplace(types->commands[i].command, std::make_shared<derived::DerivedTranscoder>(types, i));
  }
  return out;
}

Result<std::shared_ptr<const call::Contract>> derive_contract(const call::ServiceDefinition& service) {
  SHUNT_TRY(Derived derived, derive(service));
  return std::move(derived.contract);
}

Result<void> derive_into(call::ServiceDefinition& service) {
  SHUNT_TRY(Derived derived, derive(service));
  service.contract = std::move(derived.contract);
  for (auto& [name, transcoder] : derived.transcoders) service.commands.at(name).transcoder = std::move(transcoder);
  return {};
}

}  // namespace shunt::schema
