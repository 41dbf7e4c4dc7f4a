#include "node/contracts.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "manifest/source.h"
#include "schema/bind.h"
#include "schema/proto_files.h"

namespace shunt::node {

namespace {

manifest::Diagnostic diagnostic_of(const manifest::ServiceManifest& service, schema::Problem problem) {
  if (problem.file.empty()) {
    return manifest::diagnostic_at(service, "proto", problem.id, std::move(problem.message), std::move(problem.known),
                                   std::move(problem.fix));
  }
  manifest::Diagnostic out{.id = std::move(problem.id),
                           .file = std::move(problem.file),
                           .message = std::move(problem.message),
                           .known = std::move(problem.known),
                           .fix = std::move(problem.fix)};
  // As the manifest is named: "shop/shunt.json" has "shop/items.proto" beside it.
  const std::filesystem::path beside = std::filesystem::path(service.source->file()).parent_path();
  if (std::filesystem::path(out.file).is_relative()) out.file = (beside / out.file).string();
  if (problem.text != nullptr) {
    const manifest::Source source(out.file, *problem.text);
    manifest::put_at(out, source.place({problem.begin, problem.end}));
  }
  return out;
}

std::vector<manifest::Diagnostic> diagnostics_of(const manifest::ServiceManifest& service,
                                                 std::vector<schema::Problem> problems) {
  std::vector<manifest::Diagnostic> out;
  for (auto& problem : problems) out.push_back(diagnostic_of(service, std::move(problem)));
  return out;
}

schema::BindOptions options_of(const manifest::ServiceManifest& service) {
  schema::BindOptions options;
  options.methods = service.methods;
  options.places = service.places;
  options.code = service.args.empty() ? "the code" : std::filesystem::path(service.args[0]).filename().string();
  for (const auto& [command, messages] : service.described_proto.messages) {
    options.messages.emplace(command, schema::BindOptions::Messages{messages.request, messages.response});
  }
  return options;
}

}  // namespace

std::vector<manifest::Diagnostic> check_proto(const manifest::ServiceManifest& service) {
  if (service.proto.empty()) return {};
  auto compiled = schema::compile_proto(service.folder, service.proto);
  if (compiled) return {};
  return diagnostics_of(service, std::move(compiled.error()));
}

std::vector<manifest::Diagnostic> give_contract(manifest::ServiceManifest& service) {
  schema::ProtoFiles files;
  if (!service.proto.empty()) {
    auto compiled = schema::compile_proto(service.folder, service.proto);
    if (!compiled) return diagnostics_of(service, std::move(compiled.error()));
    files = std::move(*compiled);
  } else if (!service.described_proto.files.empty()) {
    auto read = schema::read_descriptors(service.described_proto.files);
    if (!read) {
      return {manifest::diagnostic_at(service, "args", read.error().id(), std::string(read.error().message()), {},
                                      "generate the code anew, all of it with one protoc")};
    }
    files = std::move(*read);
  } else if (!service.described_proto.messages.empty()) {
    const auto& [command, messages] = *service.described_proto.messages.begin();
    return {manifest::diagnostic_at(service, "args", "S2078",
                                    "command '" + command + "' takes " + messages.request +
                                        ", but neither the code nor the manifest says what that is",
                                    {}, "name the files that declare it: \"proto\": \"FILE.proto\"")};
  } else {
    return {};
  }
  auto options = options_of(service);
  options.make_service = service.proto.empty() && service.methods.empty();
  std::vector<manifest::Diagnostic> out;
  for (auto& problem : schema::bind_proto(service.definition, files, options)) {
    // A key that the manifest does not have is told where the files are named, or the code.
    std::string key = std::move(problem.key);
    if (!service.says(key)) key = service.says("proto") ? "proto" : "args";
    out.push_back(manifest::diagnostic_at(service, key, problem.id, std::move(problem.message),
                                          std::move(problem.known), std::move(problem.fix)));
    if (problem.warning) out.back().severity = manifest::Severity::warning;
  }
  return out;
}

}  // namespace shunt::node
