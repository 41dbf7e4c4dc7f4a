// shunt check: what is wrong with manifests, without running anything.

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "manifest/manifest.h"
#include "node/contracts.h"

namespace shunt::cli {
namespace {

std::string count(std::size_t number, std::string_view noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

struct Findings {
  std::vector<manifest::Diagnostic> diagnostics;
  std::vector<manifest::AppManifest> apps;
};

Findings check_all(const std::vector<std::string>& paths) {
  Findings findings;
  for (const std::string& path : paths) {
    auto loaded = manifest::load_app(path);
    for (auto& diagnostic : loaded.diagnostics) findings.diagnostics.push_back(std::move(diagnostic));
    if (loaded.app) {
      for (const auto& service : loaded.app->services) {
        for (auto& diagnostic : node::check_proto(service)) findings.diagnostics.push_back(std::move(diagnostic));
      }
    }
    if (loaded.app) findings.apps.push_back(std::move(*loaded.app));
  }
  for (auto& conflict : manifest::check_together(findings.apps))
    findings.diagnostics.push_back(std::move(conflict.diagnostic));
  return findings;
}

std::string summary(const Findings& findings) {
  std::string out;
  for (const auto& app : findings.apps) {
    out += fmt::format("{}: ok: app {} with {}:", app.file, app.name, count(app.services.size(), "service"));
    for (const auto& service : app.services)
      out += fmt::format(" {} ({}, {})", service.definition.name, service.type,
                         service.engine.backend == manifest::Backend::thread ? "thread" : "process");
    out += "\n";
  }
  return out;
}

}  // namespace

int check(const CheckCommand& command) {
  const Findings findings = check_all(command.paths);
  const bool failed = manifest::has_errors(findings.diagnostics);
  if (command.json) {
    std::string out = fmt::format("{{\"ok\": {}, \"diagnostics\": [", !failed);
    for (std::size_t i = 0; i < findings.diagnostics.size(); ++i) {
      out += i == 0 ? "\n  " : ",\n  ";
      std::string one = manifest::to_json(findings.diagnostics[i]);
      while (one.ends_with('\n')) one.pop_back();
      out += one;
    }
    write_out(out + (findings.diagnostics.empty() ? "]}\n" : "\n]}\n"));
    return failed ? 1 : 0;
  }
  const bool colored = Style::for_descriptor(STDERR_FILENO).is_colored();
  for (const auto& diagnostic : findings.diagnostics)
    write_err(manifest::render(diagnostic, colored ? manifest::Colour::yes : manifest::Colour::no));
  if (!failed) write_out(summary(findings));
  return failed ? 1 : 0;
}

}  // namespace shunt::cli
