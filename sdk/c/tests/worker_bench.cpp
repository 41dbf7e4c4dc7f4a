// What a unary call costs through libshunt and one unix socket, node and worker taking turns in one thread: the sum of both
// sides' CPU, without any wake-up. Sixty-four in flight shows what batching gives.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "shunt/shunt.h"
#include "test_node.h"

namespace shunt::sdk {
namespace {

void unary_calls(benchmark::State& state) {
  auto in_flight = static_cast<std::size_t>(state.range(0));
  TestNode node;
  setenv("SHUNT_LINKS", fmt::format("{}", node.add_link().release()).c_str(), 1);
  setenv("SHUNT_SERVICE", "shop.cart", 1);
  shunt_worker* worker = shunt_worker_open(nullptr, nullptr);
  const shunt_api* api = shunt_worker_api(worker);
  std::vector<Own<NodeCaller>> callers(in_flight);
  std::array<shunt_event, 64> events;
  std::size_t answered = 0;
  for ([[maybe_unused]] auto _ : state) {
    for (auto& caller : callers) {
      if (caller && !caller->status) continue;
      if (caller) answered++;
      caller = node.unary("echo", "hello");
    }
    node.turn();
    int count = shunt_worker_poll(worker, events.data(), events.size(), 0);
    for (int i = 0; i < count; i++) {
      api->finish(events[i].call, nullptr, events[i].message, nullptr, 0);
      api->release(events[i].call);
    }
    shunt_worker_flush(worker);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(answered));
  callers.clear();
  shunt_worker_close(worker);
}
BENCHMARK(unary_calls)->Arg(1)->Arg(64);

}  // namespace
}  // namespace shunt::sdk

BENCHMARK_MAIN();
