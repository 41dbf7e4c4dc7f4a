// Calls that go directly from module to module on one loop: two real shared libraries behind a router and local links.
#include "library/direct_call.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "call/client_call.h"
#include "call/router.h"
#include "library/library.h"
#include "library/module_service.h"
#include "link/local/local_link.h"
#include "loop/epoll_loop.h"
#include "loop/scope.h"

// Everything that asks the heap by operator new in this process is counted, the modules too: the program exports these.
namespace {
[[maybe_unused]] std::atomic<std::uint64_t> allocations{0};
}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !(defined(__has_feature) && (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)))
#define COUNTS_ALLOCATIONS 1
__attribute__((visibility("default"))) void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
__attribute__((visibility("default"))) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((visibility("default"))) void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace shunt::library {
namespace {

using call::Principal;
using call::PrincipalKind;
using namespace std::chrono_literals;

struct LocalInstance final : call::Instance {
  LocalInstance(loop::Loop& loop, call::Service& service, call::LinkLimits limits)
      : local(link::LocalLink::create(loop, service, limits)) {}
  call::Link* link(std::size_t) override { return local.get(); }
  call::Distance distance() const override { return call::Distance::local; }
  std::string name() const override { return "test/0"; }
  std::uint64_t served_directly() const { return local->direct()->served.load(); }
  Own<link::LocalLink> local;
};

struct Asked {
  int n = 0;
  int times = 1;
  int timeout_ms = 0;
  bool long_way = false;
};
/// What asker's commands take.
std::string question(std::string_view command, Asked asked = {}) {
  return fmt::format(R"({{"command":"{}","n":{},"times":{},"timeout_ms":{},"long_way":{}}})", command, asked.n,
                     asked.times, asked.timeout_ms, asked.long_way);
}

struct Direct : testing::Test {
  struct Hosted {
    std::vector<std::string> log;
    Own<Library> library;
    Own<ModuleService> service;
    std::shared_ptr<LocalInstance> instance;
    std::shared_ptr<call::ServiceDefinition> definition;
    std::shared_ptr<call::ServiceStats> stats = std::make_shared<call::ServiceStats>();
  };

  Direct() {
    host("asker", {"number", "numbers", "words", "nothing", "drop", "back"});
    host("teller", {"twice", "twice_now", "nothing", "say", "grow", "later", "never", "refuse", "refuse_later",
                    "refuse_now", "fail", "trail", "who", "back"});
    install();
  }
  ~Direct() override {
    router.install(std::make_shared<call::Routing>());
    for (auto& [name, hosted] : modules) hosted.instance.reset();
    for (auto& [name, hosted] : modules) hosted.service.reset();
  }

  void host(const std::string& name, const std::vector<std::string>& commands) {
    Hosted& hosted = modules[name];
    hosted.library =
        Library::load(fmt::format("{}/liblibrary_test_{}.so", MODULES, name), [&](int, std::string_view words) {
          hosted.log.emplace_back(words);
        }).value();
    ModuleOptions options;
    options.self = {.kind = PrincipalKind::service, .service = name};
    hosted.service = ModuleService::create(*hosted.library, *loop, router, options).value();
    hosted.instance = std::make_shared<LocalInstance>(*loop, *hosted.service, limits);
    hosted.definition = std::make_shared<call::ServiceDefinition>();
    hosted.definition->app = "test";
    hosted.definition->name = hosted.definition->full_name = name;
    hosted.definition->uses = {{"asker", ""}, {"teller", ""}};
    for (auto& command : commands) {
      hosted.definition->commands[command].name = command;
      hosted.stats->commands[command] = std::make_unique<call::CommandStats>(1);
    }
  }
  /// Publishes what is in `modules` now.
  void install() {
    auto routing = std::make_shared<call::Routing>();
    routing->paths = paths;
    for (auto& [name, hosted] : modules) {
      auto route = std::make_shared<call::Route>();
      // A copy, as a reload would make: what a published routing says does not change.
      route->definition = std::make_shared<call::ServiceDefinition>(*hosted.definition);
      route->stats = hosted.stats;
      if (hosted.instance != nullptr) route->instances.push_back(hosted.instance);
      route->arrange();
      routing->routes[name] = route;
    }
    router.install(routing);
  }

  /// What asker's command says: its answer's text, or the status in one line.
  std::string ask(std::string_view command, std::string_view request, Duration timeout = 10s) {
    std::string result;
    scope.spawn(unary(command, std::string(request), timeout, result));
    loop->run();
    return result;
  }
  loop::Task<void> unary(std::string_view command, std::string request, Duration timeout, std::string& result) {
    auto answer = co_await call::call_unary(router, *loop,
                                            {.service = "asker",
                                             .command = command,
                                             .deadline = Deadline::after(loop->refresh_now(), timeout),
                                             .principal = &outside},
                                            call::Message(Bytes::copy_of(request)));
    result = answer ? std::string(answer->bytes().view()) : answer.error().to_string();
    loop->stop();
  }
  std::uint64_t went_directly() { return modules["teller"].instance->served_directly(); }
  const call::CommandStats& stats(std::string_view command) { return modules["teller"].stats->of(command); }
  bool teller_logged(std::string_view words) {
    for (auto& line : modules["teller"].log) {
      if (line.find(words) != std::string::npos) return true;
    }
    return false;
  }
  void settle() {
    for (int i = 0; i < 10; ++i) loop->turn(Duration::zero());
  }
  /// Turns the loop until a call has begun to wait at the teller.
  void until_one_waits() {
    while (modules["teller"].instance->local->stats().calls_open == 0) loop->turn(Duration(1ms));
  }

  Own<loop::EpollLoop> loop = loop::EpollLoop::create({.name = "test", .slow_turn = Duration::zero()}).value();
  SeededRandom random{1};
  std::shared_ptr<call::PathStats> paths = std::make_shared<call::PathStats>(1);
  call::Router router{*loop, 0, random};
  Principal outside{.kind = PrincipalKind::node, .service = {}, .user = {}, .token = {}};
  call::LinkLimits limits{.message_bytes_max = 10'000};
  std::map<std::string, Hosted> modules;
  loop::Scope scope{*loop};
};

TEST_F(Direct, a_call_between_modules_of_one_loop_goes_directly_and_is_counted) {
  EXPECT_EQ(ask("number", question("twice", {.n = 21})), R"({"n":42})");
  EXPECT_EQ(ask("number", question("twice_now", {.n = 21})), R"({"n":42})");
  EXPECT_EQ(ask("words", question("say", {.n = 3})), R"({"text":"xxx"})");
  EXPECT_EQ(ask("nothing", question("")), "{}");
  EXPECT_EQ(went_directly(), 4u);
  for (auto command : {"twice", "twice_now", "say", "nothing"}) {
    EXPECT_EQ(stats(command).started(), 1u) << command;
    EXPECT_EQ(stats(command).ended(Code::ok), 1u) << command;
    std::uint64_t timed = 0;
    for (std::size_t i = 0; i <= call::latency_bounds.size(); i++) timed += stats(command).latency(i);
    EXPECT_EQ(timed, 1u) << command;
  }
  auto path = paths->report("asker", "teller");
  ASSERT_EQ(path.size(), 1u);
  EXPECT_EQ(path[0].counts.calls, 4u);
  EXPECT_EQ(path[0].counts.timed(), 4u);
  EXPECT_EQ(path[0].key.distance, call::Distance::local);
}

TEST_F(Direct, of_many_quick_calls_some_are_timed_and_stand_for_all) {
  EXPECT_EQ(ask("number", question("twice", {.n = 1, .times = 10000})), R"({"n":20000})");
  EXPECT_EQ(stats("twice").ended(Code::ok), 10000u);
  auto counts = paths->report("asker", "teller")[0].counts;
  EXPECT_EQ(counts.calls, 10000u);
  EXPECT_GT(counts.timed(), 10000u - call::DirectRoute::timed_of);
  EXPECT_LE(counts.timed(), 10000u);
}

TEST_F(Direct, a_call_asks_nothing_of_the_heap) {
#ifdef COUNTS_ALLOCATIONS
  // Warm: frames and calls come from pools.
  ask("number", question("twice", {.n = 1, .times = 100}));
  const auto before = allocations.load();
  ask("number", question("twice", {.n = 1, .times = 1}));
  const auto one = allocations.load() - before;
  ask("number", question("twice", {.n = 1, .times = 1001}));
  const auto many = allocations.load() - before - one;
  EXPECT_GT(one, 0u) << "what is counted";
  // The question and its answer are JSON, a digit longer.
  EXPECT_LE(many, one + 2);
  EXPECT_EQ(went_directly(), 1102u);
#else
  GTEST_SKIP() << "a sanitizer has the heap";
#endif
}

TEST_F(Direct, an_answer_that_comes_later_wakes_its_caller) {
  EXPECT_EQ(ask("number", question("later", {.n = 21})), R"({"n":42})");
  EXPECT_EQ(ask("numbers", question("later", {.n = 0, .times = 10})), R"({"n":90})");
  EXPECT_EQ(went_directly(), 11u);
  EXPECT_EQ(stats("later").ended(Code::ok), 11u);
  EXPECT_EQ(modules["teller"].instance->in_flight.load(), 0u);
  EXPECT_EQ(modules["teller"].service->running(), 0u);
}

TEST_F(Direct, answers_that_came_at_once_wait_until_they_are_awaited) {
  EXPECT_EQ(ask("numbers", question("twice", {.n = 0, .times = 10})), R"({"n":90})");
  EXPECT_EQ(went_directly(), 10u);
}

TEST_F(Direct, errors_have_the_words_of_the_long_way) {
  for (auto command : {"refuse", "refuse_later", "refuse_now", "fail"}) {
    auto request = [&](bool long_way) { return question(command, {.n = 1, .long_way = long_way}); };
    auto said = ask("number", request(false));
    EXPECT_EQ(said, ask("number", request(true))) << command;
    EXPECT_EQ(said.find("42"), std::string::npos);
  }
  EXPECT_EQ(went_directly(), 4u);
  EXPECT_EQ(stats("refuse").ended(Code::not_found), 2u);
  EXPECT_EQ(stats("fail").ended(Code::internal), 2u);
  EXPECT_TRUE(teller_logged("secret"));
}

TEST_F(Direct, an_answer_with_metadata_comes_too) {
  EXPECT_EQ(ask("number", question("trail", {.n = 7})), R"({"n":7})");
}

TEST_F(Direct, the_callee_learns_who_calls_now_and_after_it_waited) {
  EXPECT_EQ(ask("words", question("who")), R"({"text":"asker asker "})");
  outside.user = "ann";
  EXPECT_EQ(ask("words", question("who")), R"({"text":"asker asker ann"})");
  EXPECT_EQ(went_directly(), 2u);
}

TEST_F(Direct, a_deadline_that_passes_while_the_callee_waits_ends_it_for_both) {
  auto said = ask("number", question("never", {.n = 1, .timeout_ms = 20}));
  EXPECT_NE(said.find("S1004 deadline_exceeded"), std::string::npos) << said;
  settle();
  EXPECT_TRUE(teller_logged("woken by cancel"));
  EXPECT_EQ(stats("never").ended(Code::deadline_exceeded), 1u);
  EXPECT_EQ(modules["teller"].instance->in_flight.load(), 0u);
}

TEST_F(Direct, the_callers_deadline_bounds_its_calls) {
  auto said = ask("number", question("never", {.n = 1}), 20ms);
  EXPECT_NE(said.find("deadline_exceeded"), std::string::npos) << said;
  settle();
  EXPECT_TRUE(teller_logged("woken by cancel"));
}

TEST_F(Direct, dropping_an_answer_cancels_its_call) {
  EXPECT_EQ(ask("drop", question("never")), "{}");
  settle();
  EXPECT_TRUE(teller_logged("woken by cancel"));
  EXPECT_EQ(stats("never").ended(Code::cancelled), 1u);
  EXPECT_EQ(modules["teller"].service->running(), 0u);
}

TEST_F(Direct, when_the_caller_is_cancelled_so_is_what_it_waits_for) {
  std::string result;
  {
    loop::Scope brief(*loop);
    brief.spawn(unary("number", question("never"), 10s, result));
    until_one_waits();
  }
  settle();
  EXPECT_TRUE(teller_logged("woken by cancel"));
  EXPECT_EQ(modules["teller"].service->running(), 0u);
}

TEST_F(Direct, a_permission_that_is_withdrawn_is_missed_at_the_next_call) {
  EXPECT_EQ(ask("number", question("twice", {.n = 1})), R"({"n":2})");
  modules["asker"].definition->uses.clear();
  install();
  auto said = ask("number", question("twice", {.n = 1}));
  EXPECT_NE(said.find("permission_denied"), std::string::npos) << said;
  modules["asker"].definition->uses = {{"teller", "twice"}};
  install();
  EXPECT_EQ(ask("number", question("twice", {.n = 1})), R"({"n":2})");
  EXPECT_EQ(went_directly(), 2u);
}

TEST_F(Direct, a_callee_that_was_removed_is_missed_at_the_next_call) {
  EXPECT_EQ(ask("number", question("twice", {.n = 1})), R"({"n":2})");
  auto kept = modules.extract("teller");
  install();
  auto said = ask("number", question("twice", {.n = 1}));
  EXPECT_NE(said.find("not_found"), std::string::npos) << said;
  kept.mapped().instance.reset();
  kept.mapped().service.reset();
}

TEST_F(Direct, a_new_instance_is_found_at_the_next_call) {
  EXPECT_EQ(ask("number", question("twice", {.n = 1})), R"({"n":2})");
  auto& teller = modules["teller"];
  auto old = std::exchange(teller.instance, std::make_shared<LocalInstance>(*loop, *teller.service, limits));
  install();
  std::weak_ptr<LocalInstance> gone = old;
  old.reset();
  EXPECT_TRUE(gone.expired()) << "no site keeps what was replaced";
  EXPECT_EQ(ask("number", question("twice", {.n = 1})), R"({"n":2})");
  EXPECT_EQ(went_directly(), 1u);
}

TEST_F(Direct, a_closed_instance_takes_no_calls) {
  EXPECT_EQ(ask("number", question("twice", {.n = 1})), R"({"n":2})");
  modules["teller"].instance->closed.store(true);
  auto said = ask("number", question("twice", {.n = 1}));
  EXPECT_NE(said.find("unavailable"), std::string::npos) << said;
}

TEST_F(Direct, a_call_that_waits_keeps_what_it_needs_of_a_routing_that_is_replaced) {
  std::string result;
  scope.spawn(unary("number", question("later", {.n = 21}), 10s, result));
  until_one_waits();
  install();
  loop->run();
  EXPECT_EQ(result, R"({"n":42})");
  EXPECT_EQ(stats("later").ended(Code::ok), 1u);
}

TEST_F(Direct, a_link_that_goes_ends_the_calls_that_wait) {
  std::string result;
  scope.spawn(unary("number", question("never"), 10s, result));
  until_one_waits();
  modules["teller"].instance->local.reset();
  loop->run();
  EXPECT_NE(result.find("S1008"), std::string::npos) << result;
  settle();
  EXPECT_TRUE(teller_logged("woken by cancel"));
}

TEST_F(Direct, a_drain_waits_for_calls_that_wait_and_lets_none_begin) {
  std::string result;
  scope.spawn(unary("number", question("later", {.n = 21}), 10s, result));
  until_one_waits();
  bool drained = false;
  scope.spawn([](LocalInstance& instance, bool& done) -> loop::Task<void> {
    co_await instance.local->drain(Deadline::never());
    done = true;
  }(*modules["teller"].instance, drained));
  EXPECT_FALSE(drained);
  auto said = ask("number", question("twice", {.n = 1}));
  EXPECT_NE(said.find("unavailable"), std::string::npos) << said;
  while (result.empty() || !drained) loop->turn(Duration(1ms));
  EXPECT_EQ(result, R"({"n":42})");
}

TEST_F(Direct, a_service_that_goes_ends_what_it_serves) {
  std::string result;
  scope.spawn(unary("number", question("never"), 10s, result));
  until_one_waits();
  modules["teller"].service.reset();
  loop->run();
  EXPECT_NE(result.find("unavailable"), std::string::npos) << result;
}

TEST_F(Direct, a_service_that_goes_lets_go_of_what_it_called) {
  std::string result;
  scope.spawn(unary("number", question("never"), 10s, result));
  until_one_waits();
  modules["asker"].service.reset();
  loop->run();
  settle();
  EXPECT_TRUE(teller_logged("woken by cancel"));
  EXPECT_EQ(modules["teller"].service->running(), 0u);
}

TEST_F(Direct, messages_keep_to_the_limit_both_ways) {
  EXPECT_EQ(ask("words", question("grow", {.n = 3})), R"({"text":"xxx"})");
  auto large_answer = ask("words", question("grow", {.n = 20000}));
  EXPECT_NE(large_answer.find("S1007"), std::string::npos) << large_answer;
  auto large_request = ask("words", question("say", {.n = 20000}));
  EXPECT_NE(large_request.find("S1007"), std::string::npos) << large_request;
  EXPECT_EQ(stats("grow").ended(Code::resource_exhausted), 1u);
  EXPECT_EQ(stats("say").ended(Code::resource_exhausted), 1u);
}

TEST_F(Direct, modules_that_call_each_other_nest_and_a_circle_ends) {
  EXPECT_EQ(ask("back", R"({"n":5})"), R"({"n":5})");
  // Deeper than calls may nest in one stack: the rest begins later in the turn.
  EXPECT_EQ(ask("back", R"({"n":25})"), R"({"n":25})");
  auto said = ask("back", R"({"n":1000})");
  EXPECT_NE(said.find("S1006"), std::string::npos) << said;
  EXPECT_GT(went_directly(), 3u);
}

TEST_F(Direct, only_a_call_that_waits_counts_as_under_way) {
  std::string result;
  scope.spawn(unary("number", question("later", {.n = 21}), 10s, result));
  until_one_waits();
  EXPECT_EQ(modules["teller"].instance->in_flight.load(), 1u);
  EXPECT_EQ(modules["teller"].service->running(), 1u);
  EXPECT_EQ(stats("later").started(), 1u);
  EXPECT_EQ(stats("later").ended(Code::ok), 0u);
  loop->run();
  EXPECT_EQ(result, R"({"n":42})");
}

}  // namespace
}  // namespace shunt::library
