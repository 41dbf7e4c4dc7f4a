#pragma once
// A C++ service as a program: the same SHUNT_SERVICE, and a main() that is a worker of it. The manifest's type is
// "executable". Link it with Shunt::worker (shunt_add_worker() does), where a module needs no library.
//
//   #include <shunt/service.h>
//   #include <shunt/worker.h>
//   SHUNT_SERVICE(service) { service.command("get", get); }
//   SHUNT_WORKER_MAIN()

#include <shunt/service.h>

namespace shunt {

/// For a main() that does something before: returns its exit status when the node lets the worker go.
inline int run_worker(int argc, char** argv, shunt_module_main_fn module) {
  return shunt_run_module(module, argc, argv);
}

}  // namespace shunt

/// The main() of a program whose service stands above, in the same file.
#define SHUNT_WORKER_MAIN() \
  int main(int argc, char** argv) { return ::shunt::run_worker(argc, argv, &shunt_module_main); }
