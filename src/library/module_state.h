#pragma once
// What a module has on one loop, beside its calls: timers and deferred functions, and the way into its code. Not for
// other rooms.

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "library/direct_call.h"
#include "library/module_calls.h"
#include "library/module_service.h"

namespace shunt::library {

/// A function that a module asked to have run, now or at a time. Frees itself when it has run.
class ModuleWork final : private loop::Runnable, private loop::Timer {
 public:
  ModuleWork(ModuleService::State& state, void (*function)(void*), void* argument);
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }
  void defer();
  void at(Deadline when);
  ~ModuleWork();

 private:
  friend struct ModuleService::State;
  void run() override;
  void fire() override { run(); }
  ModuleService::State& state_;
  void (*function_)(void*);
  void* argument_;
  ModuleWork* next_ = nullptr;
  ModuleWork* previous_ = nullptr;
};

struct ModuleService::State {
  State(const Library& of, loop::Loop& on, call::Caller& to, ModuleOptions given);
  static State& of(shunt_context* context) { return *reinterpret_cast<State*>(context); }
  [[nodiscard]] shunt_context* context() { return reinterpret_cast<shunt_context*>(this); }

  /// The command's place in the module's table; the table's size for an unknown one.
  [[nodiscard]] std::uint32_t find(std::string_view command) const;
  [[nodiscard]] Status no_such_command(std::string_view command) const;
  [[nodiscard]] std::string_view command_name(std::uint32_t index) const {
    return {module.commands[index].name.data, module.commands[index].name.size};
  }

  /// The number that stands for a command's name on the page of activities; 0: none.
  [[nodiscard]] std::uint32_t activity_of(std::uint32_t index) {
    return activities[index] != 0 || options.activity.learn == nullptr ? activities[index] : learn_activity(index);
  }

  /// Gives the module an event. What it throws is caught, logged and ends the call.
  void deliver(const shunt_event& event, std::string_view command, std::uint32_t activity);
  /// Gives it a call by the direct way: what serve() says, or SHUNT_PENDING after an exception, which has ended the call.
  int serve(const shunt_direct_command& direct, shunt_direct& call, std::string_view command, std::uint32_t activity);
  void run(void (*function)(void*), void* argument);
  void detach();

  const Library& library;
  const shunt_module& module;
  loop::Loop& loop;
  call::Caller& caller;
  const ModuleOptions options;
  // As whom the module calls. Owners: this, and direct calls that wait.
  const std::shared_ptr<const call::Principal> self;
  std::vector<std::pair<std::string_view, std::uint32_t>> commands;  // Sorted.
  std::vector<std::uint32_t> activities;                             // By command; 0: not learned yet.
  std::vector<Own<CallSite>> sites;                                  // Where it calls directly.
  void* attached = nullptr;                                          // The module's own state of this loop.
  bool is_attached = false;
  std::size_t incoming = 0;
  ModuleCall* calls = nullptr;
  ModuleWork* works = nullptr;
  // Owners: this, and closures that were posted from other threads and may outlive it on the loop.
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);

 private:
  std::uint32_t learn_activity(std::uint32_t index);
  void log_exception(std::string_view command, std::string_view what) const;
  void caught(shunt_call* call, std::string_view command, std::string_view what);
};

}  // namespace shunt::library
