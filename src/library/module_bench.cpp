// What a call of a module costs: through router, policy and local link into a real shared library, and back.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "call/router.h"
#include "library/library.h"
#include "library/module_service.h"
#include "link/local/local_link.h"
#include "loop/epoll_loop.h"

namespace shunt::library {
namespace {

struct LocalInstance final : call::Instance {
  LocalInstance(loop::Loop& loop, call::Service& service) : local(link::LocalLink::create(loop, service)) {}
  call::Link* link(std::size_t) override { return local.get(); }
  call::Distance distance() const override { return call::Distance::local; }
  std::string name() const override { return "bench/0"; }
  Own<link::LocalLink> local;
};

// Hears one answer.
struct Caller final : call::CallerEvents {
  void on_message(call::Message message) override { answer = std::move(message); }
  void on_end(Status status, call::Metadata) override {
    if (!status.is_ok()) fmt::print(stderr, "{}\n", status.to_string());
  }
  call::Message answer;
};

struct House {
  House() {
    library = Library::load(MODULES "/liblibrary_test_bench.so", {}).value();
    ModuleOptions options;
    options.self = {.kind = call::PrincipalKind::service, .service = "bench"};
    service = ModuleService::create(*library, *loop, router, options).value();
    auto definition = std::make_shared<call::ServiceDefinition>();
    definition->app = definition->name = definition->full_name = "bench";
    definition->allow_all = true;
    definition->uses = {{"bench", ""}};
    auto stats = std::make_shared<call::ServiceStats>();
    for (std::string command : {"get", "get_now", "bytes", "repeat", "repeat_now"}) {
      definition->commands[command].name = command;
      stats->commands[command] = std::make_unique<call::CommandStats>(1);
    }
    auto route = std::make_shared<call::Route>();
    route->definition = definition;
    route->stats = stats;
    route->instances.push_back(std::make_shared<LocalInstance>(*loop, *service));
    auto routing = std::make_shared<call::Routing>();
    routing->routes["bench"] = route;
    router.install(routing);
  }
  std::string ask(std::string_view command, std::string_view request) {
    Caller caller;
    auto call = router.start({.service = "bench",
                              .command = command,
                              .deadline = Deadline(loop->now() + std::chrono::hours(1)),
                              .principal = &node},
                             caller, call::Opening::unary(call::Message(Bytes::forever(request))));
    return std::string(caller.answer.bytes().view());
  }
  Own<loop::EpollLoop> loop = loop::EpollLoop::create({.name = "bench", .slow_turn = Duration::zero()}).value();
  SeededRandom random{1};
  call::Router router{*loop, 0, random};
  call::Principal node{.kind = call::PrincipalKind::node};
  Own<Library> library;
  Own<ModuleService> service;
};

void module_to_module_typed(benchmark::State& state, const char* command) {
  House house;
  constexpr int batch = 1000;
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(house.ask(command, fmt::format("{{\"n\":{}}}", batch)));
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK_CAPTURE(module_to_module_typed, coroutine, "repeat");
BENCHMARK_CAPTURE(module_to_module_typed, plain_function, "repeat_now");

void json_to_module(benchmark::State& state) {
  House house;
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(house.ask("get", R"({"sku":"apple"})"));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(json_to_module);

void bytes_to_module(benchmark::State& state) {
  House house;
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(house.ask("bytes", "0123456789012345678901234567890123456789012345678901234567890123"));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(bytes_to_module);

}  // namespace
}  // namespace shunt::library

BENCHMARK_MAIN();
