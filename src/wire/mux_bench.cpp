// A unary call through two muxes back to back, without any I/O: what the protocol itself costs.

#include <benchmark/benchmark.h>

#include <string>

#include "wire/mux.h"

namespace shunt::wire {
namespace {

struct Echo final : MuxEvents {
  Mux mux;
  std::uint64_t ended = 0;
  explicit Echo(Side side) : mux(side, {}, {}, *this) {}
  void answer(CallId id, Bytes message) {
    mux.send(id, std::move(message), true);
    mux.finish(id, {});
  }
  void on_hello(const Hello&) override {}
  void on_open(CallId id, const OpenFrame&, Bytes* first, bool) override {
    if (first != nullptr) answer(id, std::move(*first));
  }
  void on_metadata(CallId, void*, const MetadataView&) override {}
  void on_message(CallId id, void* user, Bytes message) override {
    if (user == nullptr) {
      answer(id, std::move(message));
    } else {
      mux.consumed(id, message.size() + message_overhead);
    }
  }
  void on_half_close(CallId, void*) override {}
  void on_status(CallId, void*, const StatusFrame&) override { ended++; }
  void on_refused(CallId, void*, const StatusFrame&) override {}
  void on_cancel(CallId, void*, std::uint8_t) override {}
  void on_credit(CallId, void*) override {}
  void on_pong(std::uint64_t) override {}
  void on_goaway(std::string_view) override {}
  void on_wait(std::uint64_t, const WaitFrame&) override {}
  void on_grant(std::uint64_t, const GrantFrame&) override {}
  void on_load(const LoadFrame&) override {}
};

void move(Echo& from, Echo& to) {
  while (from.mux.has_output()) {
    iovec vectors[64];
    int count = from.mux.output(vectors, 64);
    std::size_t size = 0;
    for (int i = 0; i < count; i++) {
      (void)to.mux.receive({static_cast<char*>(vectors[i].iov_base), vectors[i].iov_len});
      size += vectors[i].iov_len;
    }
    from.mux.written(size);
  }
}

void unary(benchmark::State& state) {
  Echo caller(Side::dialler);
  Echo callee(Side::acceptor);
  move(caller, callee);
  move(callee, caller);
  auto batch = state.range(0);
  Bytes message = Bytes::adopt(std::string(static_cast<std::size_t>(state.range(1)), 'x'));
  OpenFrame open{.service = "shop.cart", .command = "total", .deadline_ns = 123};
  for (auto _ : state) {
    for (std::int64_t i = 0; i < batch; i++) {
      CallId id = caller.mux.open(open, false, &caller);
      caller.mux.send(id, message, true);
    }
    move(caller, callee);
    move(callee, caller);
  }
  if (caller.ended != static_cast<std::uint64_t>(state.iterations() * batch)) state.SkipWithError("calls were lost");
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(unary)->ArgNames({"batch", "bytes"})->Args({1, 64})->Args({100, 64})->Args({1, 100'000});

}  // namespace

}  // namespace shunt::wire

BENCHMARK_MAIN();
