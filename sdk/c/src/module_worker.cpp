// shunt_run_module(): a program that has a C++ service inside, as a worker.

#include <unistd.h>

#include <cstdio>
#include <string>

#include "library/library.h"
#include "shunt/shunt.h"
#include "worker/environment.h"
#include "worker_links/module_worker.h"

using shunt::library::Library;

extern "C" int shunt_run_module(shunt_module_main_fn main, int argc, char** argv) {
  const std::string name = argc > 0 && argv != nullptr && argv[0] != nullptr ? argv[0] : "this program";
  auto fail_with = [](const shunt::Status& status) {
    std::fprintf(stderr, "%s\n", status.to_string().c_str());
    return 1;
  };
  const bool is_worker = shunt::worker::is_worker_environment();
  auto environment = is_worker ? shunt::worker::take_environment() : shunt::worker::Environment();
  if (!environment) return fail_with(environment.error());
  auto library = Library::of_program(name, main, shunt::worker_links::log_to_stderr);
  if (!library) return fail_with(library.error());
  if (is_worker) return shunt::worker_links::run_module_worker(**library, std::move(*environment));
  if (const auto described = shunt::worker_links::describe_if_asked((*library)->definition())) {
    _exit(*described ? 0 : 1);  // Destructors are not asked for, and might crash.
  }
  std::fprintf(stderr,
               "%s is a service of Shunt: a node starts it. shunt app attach-exec %s APP puts it into an app; "
               "shunt run APP runs that.\n",
               name.c_str(), name.c_str());
  return 64;
}
