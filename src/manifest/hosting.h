#pragma once
// Diagnostics for what is found out only when a service's code is loaded or asked to describe itself. They stand at the
// manifest's `args`. What found it out (library/, pool/) does not know manifests; node/ makes these of its answers.

#include <string>
#include <string_view>

#include "manifest/manifest.h"

namespace shunt::manifest {

/// The library loads, but has no shunt_module_main.
Diagnostic no_entry_point(const ServiceManifest& service);
/// The library was built against another major version of the ABI.
Diagnostic wrong_abi(const ServiceManifest& service, int theirs, int ours);
/// dlopen said no: `why` is its text.
Diagnostic does_not_load(const ServiceManifest& service, std::string_view why);
/// The Python file raised before it said what it is: `why` is the exception's line, "ModuleNotFoundError: …"; `place` is
/// where in the code, such as "cart.py:3", or empty; `sdk` the folder that a run by hand needs on PYTHONPATH, or empty.
Diagnostic does_not_import(const ServiceManifest& service, std::string_view why, std::string_view place = {},
                           std::string_view sdk = {});
/// It did not say what it is within `limit` (engine.startup-timeout).
Diagnostic describe_timed_out(const ServiceManifest& service, Duration limit);
/// The throwaway process ended: `how` as "signal 11 (SIGSEGV)" or "exit status 1"; `last_output` is the last it wrote.
Diagnostic describe_crashed(const ServiceManifest& service, std::string_view how, std::string_view last_output = {});

}  // namespace shunt::manifest
