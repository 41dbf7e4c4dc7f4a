#pragma once
// ModuleHost: a C++ service of the thread backend. Its library is loaded into this process and lives on every serving
// loop, or, with "threads": N, on N threads of its own.

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "library/library.h"
#include "library/module_service.h"
#include "manifest/manifest.h"
#include "module/log_book.h"
#include "node/hosted_instance.h"
#include "node/loops.h"
#include "node/service_host.h"
#include "supervisor/activity_page.h"

namespace shunt::node {

/// Threads: the control loop's. Lifetime: destroyed after retire(), or after the loops' threads have ended.
class ModuleHost final : public ServiceHost {
 public:
  /// Loads the library here; start() attaches it. `activity` may be nullptr.
  /// Errors: those of library::Library::load().
  /// `copies`: a folder for the private copy of the library that is loaded, so that its file may be replaced meanwhile.
  static Result<Own<ModuleHost>> load(Loops& loops, supervisor::ActivityPage* activity, module::LogBook& log,
                                      const manifest::ServiceManifest& manifest, const std::string& copies);
  ~ModuleHost() override;
  /// Attaches the module to its loops. Errors: S3035 when it does not want to.
  loop::Task<Result<void>> start();

  std::vector<std::shared_ptr<call::Instance>> instances() override;
  std::shared_ptr<call::Admission> admission() override { return nullptr; }
  bool is_ready() override { return started_; }
  std::string why_absent() override { return started_ ? "" : "it is starting"; }
  void report(module::ServiceReport& to) override;
  loop::Task<void> stop(Deadline deadline) override;
  loop::Task<void> retire(Deadline deadline) override;
  void hurry(Deadline deadline) override { retire_until_ = earlier(retire_until_, deadline); }

 private:
  /// Where it notes what runs; one for each loop that it lives on.
  struct Note {
    Note(supervisor::ActivityPage* where, std::size_t at, loop::EpollLoop* on) : page(where), slot(at), loop(on) {}
    struct Known {
      const char* service = nullptr;
      const char* command = nullptr;
      std::uint32_t number = 0;
    };
    supervisor::ActivityPage* page;
    std::size_t slot;
    loop::EpollLoop* loop;
    std::array<Known, 64> known;  ///< What the page has learned from this loop, by the names' addresses.
  };
  struct OwnThread;

  ModuleHost(Loops& loops, supervisor::ActivityPage* activity, std::string name, int threads);
  static void enter(void* note, std::string_view service, std::string_view command);
  static std::uint32_t learn(void* note, std::string_view service, std::string_view command);
  library::ModuleOptions options(Note& note) const;
  Result<void> start_own_thread(int number);
  loop::Task<std::size_t> running();
  loop::Task<bool> leave_own_thread(OwnThread& own);

  Loops& loops_;
  supervisor::ActivityPage* activity_;
  const std::string name_;  ///< The service's full name.
  const int threads_;
  Own<library::Library> library_;
  std::vector<Own<Note>> notes_;
  std::vector<Own<library::ModuleService>> services_;  ///< By serving loop.
  std::vector<Own<OwnThread>> own_threads_;
  std::vector<std::shared_ptr<HostedInstance>> instances_;
  bool started_ = false;
  Deadline retire_until_;
};

}  // namespace shunt::node
