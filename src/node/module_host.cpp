#include "node/module_host.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

#include "link/local/cross_loop_link.h"
#include "link/local/local_link.h"
#include "loop/event.h"
#include "node/link_caller.h"

namespace shunt::node {

// A thread that runs nothing but this module. Its own calls cross over to a serving loop, which routes them.
struct ModuleHost::OwnThread {
  Own<loop::EpollLoop> loop;
  Own<call::Link> router_link;  ///< On the serving loop: to its forwarder.
  Own<call::Link> crossing;     ///< From here to that.
  Own<LinkCaller> caller;
  Own<library::ModuleService> service;
  std::shared_ptr<HostedInstance> instance;  // Owners: routing snapshots, the host and this.
  std::size_t home = 0;                      ///< The serving loop that routes its own calls.
  std::thread thread;

  ~OwnThread() {
    if (!thread.joinable()) return;
    loop->stop();
    thread.join();
  }
};

ModuleHost::ModuleHost(Loops& loops, supervisor::ActivityPage* activity, std::string name, int threads)
    : loops_(loops), activity_(activity), name_(std::move(name)), threads_(threads) {}

ModuleHost::~ModuleHost() {
  for (auto& own : own_threads_) {
    if (!own->thread.joinable()) continue;
    own->loop->stop();
    own->thread.join();
  }
  instances_.clear();
}

Result<Own<ModuleHost>> ModuleHost::load(Loops& loops, supervisor::ActivityPage* activity, module::LogBook& log,
                                         const manifest::ServiceManifest& manifest, const std::string& copies) {
  auto host = Own<ModuleHost>(new ModuleHost(loops, activity, manifest.definition.full_name, manifest.engine.threads));
  static constexpr std::array<std::string_view, 4> levels = {"debug", "info", "warning", "error"};
  auto sink = [&log, name = host->name_](int level, std::string_view text) {
    log.add({.service = name,
             .level = std::string(levels[static_cast<std::size_t>(std::clamp(level, 0, 3))]),
             .text = std::string(text)});
  };
  SHUNT_TRY(host->library_, library::Library::load(manifest.args.front(), std::move(sink), copies));
  return host;
}

void ModuleHost::enter(void* owner, std::string_view service, std::string_view command) {
  auto& note = *static_cast<Note*>(owner);
  // The loop keeps the last name until its turn is over: a slow turn is told at its end.
  if (!service.empty()) note.loop->set_activity(service);
  if (note.page == nullptr) return;
  if (service.empty()) {
    note.page->set_known(note.slot, 0);
    return;
  }
  // Told several times in each call, so names are known by where they stand; they live as long as the module.
  auto mixed = reinterpret_cast<std::uintptr_t>(command.empty() ? service.data() : command.data());
  auto& known = note.known[(mixed >> 4) % note.known.size()];
  if (known.service != service.begin() || known.command != command.begin()) {
    std::string text(service);
    if (!command.empty()) text.append(".").append(command);
    known = {service.begin(), command.begin(), note.page->learn(text)};
    if (known.number == 0) {
      known = {};
      note.page->set(note.slot, text);
      return;
    }
  }
  note.page->set_known(note.slot, known.number);
}

std::uint32_t ModuleHost::learn(void* owner, std::string_view service, std::string_view command) {
  return static_cast<Note*>(owner)->page->learn(fmt::format("{}.{}", service, command));
}

library::ModuleOptions ModuleHost::options(Note& note) const {
  library::ModuleOptions options;
  options.self.kind = call::PrincipalKind::service;
  options.self.service = name_;
  options.activity = {.enter = &ModuleHost::enter, .owner = &note};
  if (note.page != nullptr) {
    options.activity.running = note.page->known_of(note.slot);
    if (options.activity.running != nullptr) options.activity.learn = &ModuleHost::learn;
  }
  return options;
}

loop::Task<Result<void>> ModuleHost::start() {
  if (threads_ > 0) {
    for (int i = 0; i < threads_; i++) SHUNT_CO_CHECK(start_own_thread(i));
    started_ = true;
    co_return Result<void>();
  }
  services_.resize(loops_.serving());
  for (std::size_t i = 0; i < loops_.serving(); i++) {
    auto& routing = loops_.at(i);
    notes_.push_back(make_own<Note>(activity_, i, &routing.loop));
    Result<Own<library::ModuleService>> made = fail(Code::internal, "not attached");
    auto* result = &made;
    auto* note = notes_.back().get();
    co_await loops_.run_on(i, [this, result, note, &routing] {
      *result = library::ModuleService::create(*library_, routing.loop, routing.router, options(*note));
    });
    if (!made) co_return std::unexpected(std::move(made).error());
    services_[i] = std::move(*made);
  }
  std::vector<call::Service*> at_home(loops_.all(), nullptr);
  for (std::size_t i = 0; i < services_.size(); i++) at_home[i] = services_[i].get();
  instances_.push_back(HostedInstance::on_loops(loops_, name_, std::move(at_home)));
  started_ = true;
  co_return Result<void>();
}

Result<void> ModuleHost::start_own_thread(int number) {
  auto own = make_own<OwnThread>();
  auto name = fmt::format("{}/{}", name_, number);
  SHUNT_TRY(own->loop, loop::EpollLoop::create({.name = name, .slow_turn = Duration(0)}));
  own->home = static_cast<std::size_t>(number) % loops_.serving();
  auto& home = loops_.at(own->home);
  own->router_link = link::LocalLink::create(home.loop, home.forwarder);
  own->crossing = link::CrossLoopLink::create(*own->loop, home.loop, [link = own->router_link.get()] { return link; });
  own->caller = make_own<LinkCaller>(*own->crossing);

  // Slots beyond the loops' are for the threads of modules; they are taken in turn.
  static std::atomic<std::size_t> next_slot{0};
  std::size_t slots_left = supervisor::ActivityPage::slots - loops_.all();
  std::size_t slot = loops_.all() + next_slot.fetch_add(1) % slots_left;
  notes_.push_back(make_own<Note>(activity_, slot, own->loop.get()));

  Result<Own<library::ModuleService>> made = fail(Code::internal, "not attached");
  std::atomic<bool> attached{false};
  own->thread = std::thread([this, loop = own->loop.get(), caller = own->caller.get(), note = notes_.back().get(), slot,
                             name, &made, &attached] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    std::optional<supervisor::ThreadActivity> activity;
    if (activity_ != nullptr) activity.emplace(*activity_, slot);
    made = library::ModuleService::create(*library_, *loop, *caller, options(*note));
    attached.store(true);
    attached.notify_one();
    loop->run();
  });
  attached.wait(false);
  if (!made) return std::unexpected(std::move(made).error());
  own->service = std::move(*made);
  own->instance = HostedInstance::on_own_loop(loops_, name, *own->loop, *own->service);
  instances_.push_back(own->instance);
  own_threads_.push_back(std::move(own));
  return {};
}

std::vector<std::shared_ptr<call::Instance>> ModuleHost::instances() { return {instances_.begin(), instances_.end()}; }

void ModuleHost::report(module::ServiceReport& to) {
  to.state = started_ ? "ready" : "starting";
  for (const auto& instance : instances_) {
    to.instances.push_back({.name = instance->name(),
                            .state = "ready",
                            .in_flight = instance->in_flight.load(),
                            .served = instance->served_in_all()});
    to.in_flight += instance->in_flight.load();
  }
}

loop::Task<void> ModuleHost::stop(Deadline) {
  // Its calls have ended with the gateways and the pools; whoever is left hears it when the loops end.
  for (auto& instance : instances_) instance->closed.store(true);
  co_return;
}

// The calls that it has not let go of, on the serving loops; of others' modules too, which count nowhere else.
loop::Task<std::size_t> ModuleHost::running() {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < services_.size(); i++) {
    if (services_[i] == nullptr) continue;
    co_await loops_.run_on(i, [service = services_[i].get(), &sum] { sum += service->running(); });
  }
  co_return sum;
}

loop::Task<void> ModuleHost::retire(Deadline deadline) {
  retire_until_ = earlier(retire_until_, deadline);
  for (auto& instance : instances_) instance->closed.store(true);
  auto is_busy = [this] {
    return std::ranges::any_of(instances_, [](const auto& one) { return one->in_flight.load() > 0; });
  };
  auto& control = loops_.control().loop;
  // Who leaves a module tells nobody, which is what makes calling one cheap; so we look.
  Duration pause = std::chrono::milliseconds(1);
  while (!retire_until_.passed(control.refresh_now())) {
    if (!is_busy() && co_await running() == 0) break;
    co_await loop::sleep_for(control, pause);
    pause = std::min<Duration>(pause * 2, std::chrono::milliseconds(50));
  }
  if (threads_ == 0) {
    for (auto& instance : instances_) co_await instance->close(loops_);
    for (std::size_t i = 0; i < services_.size(); i++) {
      co_await loops_.run_on(i, [this, i] { services_[i] = nullptr; });
    }
  }
  for (auto& own : own_threads_) {
    if (co_await leave_own_thread(*own)) continue;
    // Its thread is inside a function of the module that does not return; what it may touch must stay.
    library_->log(3, fmt::format("a thread of {} does not return from the module: it is left behind", name_));
    for (auto& each : own_threads_) (void)each.release();  // NOLINT(bugprone-unused-return-value)
    for (auto& note : notes_) (void)note.release();        // NOLINT(bugprone-unused-return-value)
    (void)library_.release();                              // NOLINT(bugprone-unused-return-value)
    break;
  }
  own_threads_.clear();
  // The names that loops keep until the end of their turn are ours.
  for (std::size_t i = 0; i < loops_.all(); i++) co_await loops_.run_on(i, [] {});
}

// False when its thread does not answer.
loop::Task<bool> ModuleHost::leave_own_thread(OwnThread& own) {
  constexpr Duration patience = std::chrono::seconds(2);
  auto& control = loops_.control().loop;
  co_await own.instance->close(loops_);  // Links from the serving loops to it.
  struct Left {
    explicit Left(loop::Loop& loop) : event(loop) {}
    loop::Event event;
  };
  auto left = std::make_shared<Left>(control);  // Owners: this and the closure on its way to the thread and back.
  own.loop->post([&own, left, &control] {
    own.instance->close_home();
    own.service = nullptr;
    own.crossing = nullptr;
    control.post([left] { left->event.set(); });
  });
  if (!co_await left->event.wait(Deadline::after(control.refresh_now(), patience))) co_return false;
  co_await loops_.run_on(own.home, [&own] { own.router_link = nullptr; });
  own.loop->stop();
  own.thread.join();
  co_return true;
}

}  // namespace shunt::node
