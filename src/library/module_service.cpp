#include "library/module_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "library/module_state.h"

namespace shunt::library {

namespace {

// Whose code runs on this thread, innermost: for the hook, which is told what goes on when a call returns.
class Active {
 public:
  Active(const ActivityHook& to, std::string_view its_service, std::string_view its_command, std::uint32_t number)
      : hook_(to), service_(its_service), command_(its_command), outer_(innermost), number_(number) {
    innermost = this;
    // The outermost is told in words: a slow turn is told with them.
    show(outer_ != nullptr);
  }
  ~Active() {
    innermost = outer_;
    if (outer_ != nullptr) {
      outer_->show(true);
    } else if (hook_.enter != nullptr) {
      hook_.enter(hook_.owner, {}, {});
    }
  }
  Active(const Active&) = delete;
  Active& operator=(const Active&) = delete;

 private:
  void show(bool by_number) const {
    if (by_number && number_ != 0) {
      hook_.running->store(number_, std::memory_order_release);
    } else if (hook_.enter != nullptr) {
      hook_.enter(hook_.owner, service_, command_);
    }
  }
  const ActivityHook& hook_;
  std::string_view service_;
  std::string_view command_;
  Active* outer_;
  std::uint32_t number_;
  static thread_local Active* innermost;
};
constinit thread_local Active* Active::innermost = nullptr;

Status failed_by_exception() { return {Code::internal, "S3036", "the service failed; its log says why"}; }

}  // namespace

// ---- Functions that the module wants run ------------------------------------------------------------------------------

ModuleWork::ModuleWork(ModuleService::State& state, void (*function)(void*), void* argument)
    : state_(state), function_(function), argument_(argument), next_(state.works) {
  if (next_ != nullptr) next_->previous_ = this;
  state.works = this;
}
ModuleWork::~ModuleWork() {
  (previous_ != nullptr ? previous_->next_ : state_.works) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}
void ModuleWork::defer() { state_.loop.ready(*this); }
void ModuleWork::at(Deadline when) {
  if (!when.is_never()) state_.loop.arm(*this, when.at());
}
void ModuleWork::run() {
  auto& state = state_;
  auto* function = function_;
  auto* argument = argument_;
  delete this;  // Its handle is void from here on: the function may ask for the next timer.
  state.run(function, argument);
}

// ---- The module on its loop -------------------------------------------------------------------------------------------

ModuleService::State::State(const Library& of, loop::Loop& on, call::Caller& to, ModuleOptions given)
    : library(of),
      module(of.module()),
      loop(on),
      caller(to),
      options(std::move(given)),
      self(std::make_shared<const call::Principal>(options.self)),
      activities(module.command_count, 0) {
  for (std::uint32_t i = 0; i < module.command_count; ++i) commands.emplace_back(command_name(i), i);
  std::ranges::sort(commands);
}

std::uint32_t ModuleService::State::find(std::string_view command) const {
  constexpr std::size_t few = 8;
  if (commands.size() <= few) {
    for (const auto& [name, index] : commands) {
      if (name == command) return index;
    }
    return module.command_count;
  }
  auto found = std::ranges::lower_bound(commands, command, {}, [](const auto& entry) { return entry.first; });
  return found != commands.end() && found->first == command ? found->second : module.command_count;
}

Status ModuleService::State::no_such_command(std::string_view command) const {
  std::string known;
  for (const auto& [name, index] : commands) known.append(known.empty() ? "" : ", ").append(name);
  return {Code::unimplemented, "S1005",
          fmt::format("service {} has no command '{}'; it has: {}", options.self.service, command,
                      known.empty() ? "none" : known)};
}

std::uint32_t ModuleService::State::learn_activity(std::uint32_t index) {
  const auto& hook = options.activity;
  return activities[index] = hook.learn(hook.owner, options.self.service, command_name(index));
}

void ModuleService::State::deliver(const shunt_event& event, std::string_view command, std::uint32_t activity) {
  if (!is_attached) return;
  Active active(options.activity, options.self.service, command, activity);
  // No exception of a module leaves this folder, and none may kill the node.
  try {
    module.on_event(attached, context(), &event);
  } catch (const std::exception& exception) {
    caught(event.call, command, exception.what());
  } catch (...) {
    caught(event.call, command, "something that is no std::exception");
  }
}

int ModuleService::State::serve(const shunt_direct_command& direct, shunt_direct& call, std::string_view command,
                                std::uint32_t activity) {
  Active active(options.activity, options.self.service, command, activity);
  try {
    return direct.serve(direct.command, attached, &call);
  } catch (const std::exception& exception) {
    log_exception(command, exception.what());
  } catch (...) {
    log_exception(command, "something that is no std::exception");
  }
  ModuleCall::of(call.call).finish(failed_by_exception(), nullptr, {});
  return SHUNT_PENDING;
}

void ModuleService::State::log_exception(std::string_view command, std::string_view what) const {
  library.log(3, fmt::format("S3036: an exception left on_event() of the module{}{}: {}", command.empty() ? "" : " at ",
                             command, what));
}

void ModuleService::State::caught(shunt_call* call, std::string_view command, std::string_view what) {
  log_exception(command, what);
  // The module may have let go of the call before it threw.
  for (ModuleCall* open = calls; open != nullptr; open = open->next) {
    if (open->handle() != call) continue;
    open->finish(failed_by_exception(), nullptr, {});
    return;
  }
}

void ModuleService::State::run(void (*function)(void*), void* argument) {
  Active active(options.activity, options.self.service, {}, 0);
  try {
    function(argument);
  } catch (const std::exception& exception) {
    caught(nullptr, {}, exception.what());
  } catch (...) {
    caught(nullptr, {}, "something that is no std::exception");
  }
}

void ModuleService::State::detach() {
  if (is_attached && module.detach != nullptr) {
    Active active(options.activity, options.self.service, {}, 0);
    try {
      module.detach(attached, context());
    } catch (...) {
      library.log(3, "S3036: an exception left detach() of the module");
    }
  }
  is_attached = false;
  *alive = false;
  while (calls != nullptr) calls->abandon();
  sites.clear();
  // The analyzer does not see that a work takes itself off the list when it is destroyed.
  while (works != nullptr) delete works;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
}

ModuleService::ModuleService(Own<State> state) : state_(std::move(state)) {}
ModuleService::~ModuleService() { state_->detach(); }

Result<Own<ModuleService>> ModuleService::create(const Library& library, loop::Loop& loop, call::Caller& caller,
                                                 ModuleOptions options) {
  auto service = Own<ModuleService>(new ModuleService(make_own<State>(library, loop, caller, std::move(options))));
  State& state = *service->state_;
  state.attached = state.module.self;
  if (state.module.attach != nullptr) {
    Active active(state.options.activity, state.options.self.service, {}, 0);
    try {
      state.attached = state.module.attach(state.module.self, state.context());
    } catch (...) {
      state.attached = nullptr;
    }
    if (state.attached == nullptr) {
      return fail(Code::failed_precondition, "S3035",
                  fmt::format("{}: the module could not start; its log says why", library.path()));
    }
  }
  state.is_attached = true;
  return service;
}

void ModuleService::begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) {
  State& state = *state_;
  std::uint32_t index = state.find(open.command);
  if (index == state.module.command_count) return call->finish(state.no_such_command(open.command), {});
  auto* incoming = new IncomingCall(state, std::move(call), open, index);
  incoming->start(open, std::move(opening), index);
}

std::size_t ModuleService::running() const { return state_->incoming; }

}  // namespace shunt::library
