#include "manifest/hosting.h"

#include <fmt/format.h>

#include "manifest/ids.h"
#include "manifest/values.h"

namespace shunt::manifest {
namespace {

constexpr std::size_t text_characters_max = 300;

std::string code_of(const ServiceManifest& service) {
  return service.args.empty() ? "the code" : shown(std::filesystem::path(service.args[0]).filename().native());
}

}  // namespace

Diagnostic no_entry_point(const ServiceManifest& service) {
  return diagnostic_at(service, "args", ids::no_entry_point,
                       fmt::format("{} is a library, but no service: it has no entry point", code_of(service)), "",
                       "write SHUNT_SERVICE(service) { … } in it and build it again");
}

Diagnostic wrong_abi(const ServiceManifest& service, int theirs, int ours) {
  return diagnostic_at(service, "args", ids::wrong_abi,
                       fmt::format("{} was built for version {} of the module interface, this shunt has version {}",
                                   code_of(service), theirs, ours),
                       "", "build it again with the headers of this version");
}

Diagnostic does_not_load(const ServiceManifest& service, std::string_view why) {
  return diagnostic_at(
      service, "args", ids::does_not_load,
      fmt::format("{} can't be loaded: {}", code_of(service), shown(why, text_characters_max)), "",
      "ldd tells which libraries are missing; a library built on another machine may need another system");
}

Diagnostic does_not_import(const ServiceManifest& service, std::string_view why, std::string_view place,
                           std::string_view sdk) {
  const bool module = why.find("ModuleNotFoundError") != std::string_view::npos;
  return diagnostic_at(service, "args", ids::does_not_import,
                       fmt::format("{} does not import: {}{}", code_of(service), shown(why, text_characters_max),
                                   place.empty() ? "" : fmt::format(" ({})", shown(place))),
                       "",
                       module
                           ? R"(install the module, or name the interpreter that has it: "python": ".venv/bin/python")"
                           : fmt::format("run it by hand to see the whole traceback: {}{} {}",
                                         sdk.empty() ? "" : fmt::format("PYTHONPATH={} ", sdk),
                                         service.python.empty() ? "python3" : shown(service.python), code_of(service)));
}

Diagnostic describe_timed_out(const ServiceManifest& service, Duration limit) {
  return diagnostic_at(service, "args", ids::describe_timed_out,
                       fmt::format("{} did not say what it is within {}", code_of(service), format_duration(limit)), "",
                       "do less at import or construction, or raise engine.startup-timeout");
}

Diagnostic describe_crashed(const ServiceManifest& service, std::string_view how, std::string_view last_output) {
  return diagnostic_at(
      service, "args", ids::describe_crashed,
      fmt::format(
          "{} ended before it said what it is: {}{}", code_of(service), shown(how),
          last_output.empty() ? "" : fmt::format("; its last words: {}", shown(last_output, text_characters_max))),
      "", "look at what it does when it is loaded; nothing else was harmed");
}

}  // namespace shunt::manifest
