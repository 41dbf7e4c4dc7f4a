#include "library/library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <exception>

#include "library/module_api.h"
#include "library/private_copy.h"

namespace shunt::library {

namespace {

// The libraries of a service are named by files, never looked for in the system's folders.
std::string as_file(const std::string& path) { return path.find('/') == std::string::npos ? "./" + path : path; }

std::string last_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "the loader does not say why";
}

Result<const shunt_module*> enter(const std::string& path, shunt_module_main_fn main) {
  LoadLog log;
  std::string thrown;
  try {
    if (const shunt_module* module = main(&module_api())) return module;
  } catch (const std::exception& exception) {
    thrown = exception.what();
  } catch (...) {
    thrown = "something that is no std::exception";
  }
  return fail(Code::failed_precondition, "S3034",
              fmt::format("{}: shunt_module_main() failed: {}", path,
                          !thrown.empty()     ? "it threw " + thrown
                          : !log.text.empty() ? log.text
                                              : "it does not say why"));
}

Result<void> check(const std::string& path, const shunt_module& module) {
  // What stood in the first version of the struct must be there.
  constexpr std::size_t least = offsetof(shunt_module, on_event) + sizeof(module.on_event);
  bool whole = module.size >= least && module.on_event != nullptr && module.definition.data != nullptr &&
               (module.command_count == 0 || module.commands != nullptr);
  if (whole) return {};
  return fail(Code::failed_precondition, "S3034",
              fmt::format("{}: shunt_module_main() returned a description that is not whole: it needs a definition and "
                          "an on_event",
                          path));
}

}  // namespace

Result<Own<Library>> Library::load(const std::string& path, LogSink log, const std::string& copies) {
  std::string file = as_file(path);
  if (access(file.c_str(), F_OK) != 0) {
    return fail(Code::not_found, "S3030",
                fmt::format("{}: there is no such file; build the library, or correct \"args\" in the manifest", path));
  }
  std::string loaded = file;
  if (!copies.empty()) {
    SHUNT_TRY(loaded, path_to_load(file, copies));
  }
  dlerror();
  void* handle = dlopen(loaded.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    std::string why = last_error();
    if (auto at = why.find(loaded); at != std::string::npos) why.replace(at, loaded.size(), file);
    return fail(Code::failed_precondition, "S3031", fmt::format("{}: can't be loaded: {}", path, why));
  }
  const auto* abi = static_cast<const std::uint32_t*>(dlsym(handle, "shunt_module_abi"));
  auto main = reinterpret_cast<shunt_module_main_fn>(dlsym(handle, "shunt_module_main"));
  if (abi == nullptr || main == nullptr) {
    return fail(Code::failed_precondition, "S3032",
                fmt::format("{}: is a shared library but no module of Shunt: it does not export {}; a C++ module has a "
                            "SHUNT_SERVICE(service) {{ ... }} at file scope",
                            path, abi == nullptr ? "shunt_module_abi" : "shunt_module_main"));
  }
  if (*abi >> 16 != SHUNT_ABI_MAJOR) {
    return fail(
        Code::failed_precondition, "S3033",
        fmt::format("{}: was built for version {}.{} of Shunt's ABI, this is version {}.{}; build it again with "
                    "this Shunt's headers",
                    path, *abi >> 16, *abi & 0xffff, SHUNT_ABI_MAJOR, SHUNT_ABI_MINOR));
  }
  SHUNT_TRY(const shunt_module* module, enter(path, main));
  SHUNT_CHECK(check(path, *module));
  auto library = Own<Library>(new Library(path, std::move(log)));
  library->module_ = module;
  return library;
}

Result<Own<Library>> Library::of_program(std::string name, shunt_module_main_fn main, LogSink log) {
  SHUNT_TRY(const shunt_module* module, enter(name, main));
  SHUNT_CHECK(check(name, *module));
  auto library = Own<Library>(new Library(std::move(name), std::move(log)));
  library->module_ = module;
  return library;
}

}  // namespace shunt::library
