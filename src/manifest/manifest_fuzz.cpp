// Any text as a manifest, and any text as what code says of itself: never a crash, and every diagnostic can be told.
// Run: build/fuzz/src/manifest/manifest_fuzz src/manifest/corpus
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/names.h"
#include "manifest/manifest.h"

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

void tell(const shunt::manifest::Diagnostic& diagnostic) {
  const std::string text = shunt::manifest::render(diagnostic);
  expect(shunt::is_utf8(text));
  expect(text.find('\x1b') == std::string::npos);
  expect(shunt::is_utf8(shunt::manifest::to_json(diagnostic)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shunt::manifest;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // A good manifest needs code that is there: "exe" is this fuzzer.
  LoadResult result = load_text("shunt.json", text, "/proc/self");
  expect(result.app.has_value() == !has_errors(result.diagnostics));
  for (const Diagnostic& diagnostic : result.diagnostics) tell(diagnostic);
  if (result.app) {
    for (const Conflict& conflict : check_together({&*result.app, 1})) tell(conflict.diagnostic);
    for (const Diagnostic& diagnostic : check_listen(*result.app, {.loopback = false, .expose_all = true}))
      tell(diagnostic);
  }

  ServiceManifest service;
  service.args = {"/nowhere/main.py"};
  shunt::call::CommandDefinition command;
  command.name = "get";
  command.request_schema = R"({"type":"object"})";
  service.commands.emplace("get", command);
  service.keys["commands.get.request"] = {};
  for (const Diagnostic& diagnostic : merge_described(service, text)) tell(diagnostic);
  return 0;
}
