// `shunt describe-module LIBRARY`: loads a library in a process of its own and writes what it says of itself to the
// descriptor that SHUNT_DESCRIBE_FD names. What goes wrong is one line on standard error that begins with its id.

#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "library/library.h"
#include "node/run.h"
#include "worker_links/module_worker.h"

namespace shunt::node {

namespace {

// The ids that the manifest's reader knows these by: the library's own are about loading, whoever loads.
std::string_view manifest_id(std::string_view id) {
  if (id == "S3032") return "S2060";
  if (id == "S3033") return "S2061";
  if (id == "S3031" || id == "S3030") return "S2065";
  return "S2064";
}

}  // namespace

int describe_main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: shunt describe-module LIBRARY\n", stderr);
    return 64;
  }
  auto library = library::Library::load(argv[1], [](int, std::string_view text) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  });
  if (!library) {
    auto id = manifest_id(library.error().id());
    auto message = library.error().message();
    std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(id.size()), id.data(), static_cast<int>(message.size()),
                 message.data());
    return 1;
  }
  const auto definition = (*library)->definition();
  auto written = worker_links::describe_if_asked(definition);
  if (!written)
    written =
        std::fwrite(definition.data(), 1, definition.size(), stdout) == definition.size() && std::fflush(stdout) == 0;
  // Destructors of the library are not our business here, and might crash.
  _exit(*written ? 0 : 1);
}

}  // namespace shunt::node
