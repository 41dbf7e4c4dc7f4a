#pragma once
// Library: a service as a shared library that lives in this process. Its code is never unloaded: its types are in use as
// long as anyone holds a message of it, and other modules may do so for as long as they like. A version that a reload
// replaced stays mapped until the process ends; the system takes its pages when they are not used. What a module is to its author is sdk/c/include/shunt/shunt.h.
//
// It knows nothing of manifests, loops or calls: see module_service.h.

#include <functional>
#include <string>
#include <string_view>

#include "base/own.h"
#include "base/result.h"
#include "shunt/shunt.h"

namespace shunt::library {

/// What a module has to say. level: 0 debug, 1 info, 2 warning, 3 error. From any thread.
using LogSink = std::function<void(int level, std::string_view text)>;

/// Threads:  any, after load().
/// Lifetime: longer than every ModuleService of it. The code stays in the process when the object is gone.
class Library {
 public:
  /// Loads the file and asks it what it is. Runs constructors of the library: what they do, happens in this process.
  /// Errors: not_found S3030 no such file; failed_precondition S3031 it can't be loaded (the loader's words), S3032 it is
  /// no module (no entry point), S3033 it is made for another version of the ABI, S3034 its entry point failed.
  /// `copies`: a folder in which a private copy of the file is made and loaded; empty: the file itself is. With a copy the
  /// file may be replaced while this runs, and what is in it then can be loaded beside this.
  static Result<Own<Library>> load(const std::string& path, LogSink log, const std::string& copies = {});

  /// The same of a module that is linked into this program. `name` is how messages call it.
  static Result<Own<Library>> of_program(std::string name, shunt_module_main_fn main, LogSink log);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// The service as the code describes it: a JSON object, see docs/reference/describe.md.
  [[nodiscard]] std::string_view definition() const { return {module_->definition.data, module_->definition.size}; }
  [[nodiscard]] const shunt_module& module() const { return *module_; }
  void log(int level, std::string_view text) const {
    if (log_) log_(level, text);
  }

 private:
  Library(std::string path, LogSink log) : path_(std::move(path)), log_(std::move(log)) {}
  std::string path_;
  LogSink log_;
  const shunt_module* module_ = nullptr;
};

}  // namespace shunt::library
