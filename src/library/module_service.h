#pragma once
// ModuleService: a module on one loop, as the kernel sees it. Calls that come in become events of the C ABI; what the
// module opens becomes calls of a Caller. Values are handed through, never copied.
//
// It knows nothing of where calls come from or go to: links and routers do.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/own.h"
#include "call/caller.h"
#include "call/ends.h"
#include "library/library.h"
#include "loop/loop.h"

namespace shunt::library {

/// Told before code of the module runs, and after it with what ran before, empty if nothing did: so that a crash or a slow
/// turn can name whose it is. The command is empty for timers and answers. Both names outlive the turn.
struct ActivityHook {
  void (*enter)(void* owner, std::string_view service, std::string_view command) = nullptr;
  void* owner = nullptr;
  /// For what is told with every call inside another: learn() gives a name's number once, 0 if it has none, and from then
  /// on storing it in `running` is as good as enter(). May be nullptr, both.
  std::uint32_t (*learn)(void* owner, std::string_view service, std::string_view command) = nullptr;
  std::atomic<std::uint32_t>* running = nullptr;
};

struct ModuleOptions {
  /// As whom the module calls: {PrincipalKind::service, full name}.
  call::Principal self;
  ActivityHook activity;
};

/// Threads:   the loop's.
/// Lifetime:  library, loop and caller outlive it, and it the links to it. Destruction detaches the module from the loop:
///            calls that are still open end, as unavailable.
class ModuleService final : public call::Service {
 public:
  /// Attaches the module to the loop; must run on the loop's thread.
  /// Errors: failed_precondition S3035 when the module can't start; its log says why.
  static Result<Own<ModuleService>> create(const Library& library, loop::Loop& loop, call::Caller& caller,
                                           ModuleOptions options);
  ~ModuleService() override;

  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override;
  /// Calls that came in and were not let go of.
  [[nodiscard]] std::size_t running() const;

  struct State;
  [[nodiscard]] State& state() { return *state_; }  ///< For this room.

 private:
  explicit ModuleService(Own<State> state);
  Own<State> state_;
};

}  // namespace shunt::library
