// `shunt worker LIBRARY`: a C++ service of the process backend. The same library, in a process of its own.

#include <cstdio>

#include "library/library.h"
#include "node/run.h"
#include "worker/environment.h"
#include "worker_links/module_worker.h"

namespace shunt::node {

int worker_main(int argc, char** argv) {
  auto fail_with = [](const Status& status) {
    std::fprintf(stderr, "%s\n", status.to_string().c_str());
    return 1;
  };
  if (argc < 2) {
    std::fputs("usage: shunt worker LIBRARY (a node starts this, with SHUNT_LINKS in its environment)\n", stderr);
    return 64;
  }
  auto environment = worker::take_environment();
  if (!environment) return fail_with(environment.error());
  auto library = library::Library::load(argv[1], worker_links::log_to_stderr);
  if (!library) return fail_with(library.error());
  return worker_links::run_module_worker(**library, std::move(*environment));
}

}  // namespace shunt::node
