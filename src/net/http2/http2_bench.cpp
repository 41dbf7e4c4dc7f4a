// A gRPC-like unary call: what HTTP/2 itself costs, without sockets. `server` feeds recorded requests to a server and throws
// its answers away; `round_trip` has a client on the other side; `body` carries 1 MiB up.

#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "net/http2/session.h"

namespace shunt::net {
namespace {

constexpr std::string_view message("\0\0\0\0\x40................................................................", 69);
const std::array<Header, 2> answer_head{{{"content-type", "application/grpc"}, {"grpc-encoding", "identity"}}};
const std::array<Header, 2> answer_trailers{{{"grpc-status", "0"}, {"grpc-message", ""}}};
const std::array<Header, 4> request_head{
    {{"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", "bench/1.0"}, {"grpc-timeout", "1S"}}};

struct Server;

struct Call final : Http2StreamEvents {
  void on_data(std::string_view piece, bool end) override;
  void on_close(Http2Error error) override;
  Http2Stream* stream = nullptr;
  Server* server = nullptr;
};

struct Server final : Http2Events {
  Http2StreamEvents* on_request(Http2Stream& stream, const Http2Head& /*head*/, bool /*end*/) override {
    if (idle.empty()) idle.push_back(&calls.emplace_back());
    Call* call = idle.back();
    idle.pop_back();
    call->stream = &stream;
    call->server = this;
    return call;
  }
  void on_output() override {}

  std::deque<Call> calls;
  std::vector<Call*> idle;
  std::size_t bytes = 0;
  std::size_t closed = 0;
  Own<Http2Session> session = make_http2_server(*this, {.connection_window = 0x7fff'ffff});
};

void Call::on_data(std::string_view piece, bool end) {
  stream->consumed(piece.size());
  server->bytes += piece.size();
  if (!end) return;
  stream->send_head(200, answer_head, false);
  stream->send(message, false);
  stream->send_trailers(answer_trailers);
}

void Call::on_close(Http2Error /*error*/) {
  ++server->closed;
  server->idle.push_back(this);
}

struct Client final : Http2Events, Http2StreamEvents {
  void on_output() override {}
  void on_data(std::string_view piece, bool /*end*/) override { bytes += piece.size(); }
  void on_close(Http2Error /*error*/) override { ++closed; }
  Http2Stream* ask() {
    auto stream =
        session->request({"POST", "http", "localhost:50051", "/echo.Echo/Say", {}, 0, request_head}, false, *this);
    if (!stream.has_value()) std::abort();
    return *stream;
  }

  std::size_t bytes = 0;
  std::size_t closed = 0;
  Own<Http2Session> session = make_http2_client(*this, {.connection_window = 0x7fff'ffff});
};

void carry(Http2Session& from, Http2Session& to, std::string& buffer) {
  buffer.clear();
  while (from.collect(buffer, 64u << 10)) {
    if (!to.receive(buffer, 0).has_value()) std::abort();
    buffer.clear();
  }
  if (!buffer.empty() && !to.receive(buffer, 0).has_value()) std::abort();
}

void greet(Server& server, Client& client, std::string& buffer) {
  for (int i = 0; i < 3; ++i) {
    carry(*client.session, *server.session, buffer);
    carry(*server.session, *client.session, buffer);
  }
}

void round_trip(benchmark::State& state) {
  Server server;
  Client client;
  std::string buffer;
  greet(server, client, buffer);
  const auto calls = static_cast<std::size_t>(state.range(0));
  for ([[maybe_unused]] auto _ : state) {
    for (std::size_t i = 0; i < calls; ++i) client.ask()->send(message, true);
    carry(*client.session, *server.session, buffer);
    carry(*server.session, *client.session, buffer);
  }
  if (client.closed != calls * static_cast<std::size_t>(state.iterations())) std::abort();
  state.SetItemsProcessed(static_cast<std::int64_t>(client.closed));
}
BENCHMARK(round_trip)->Arg(1)->Arg(64);

// Recorded beforehand: batches of requests, as a client sends them once its dynamic table is warm.
void server(benchmark::State& state) {
  const auto calls = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t batches = 20'000;
  std::string buffer;
  while (state.KeepRunningBatch(static_cast<std::int64_t>(batches))) {
    state.PauseTiming();
    Server server;
    std::vector<std::string> requests;
    {
      Server other;
      Client client;
      greet(other, client, buffer);
      // The server under test hears the same greeting.
      Client again;
      greet(server, again, buffer);
      for (std::size_t batch = 0; batch < batches; ++batch) {
        for (std::size_t i = 0; i < calls; ++i) again.ask()->send(message, true);
        requests.emplace_back();
        again.session->collect(requests.back(), std::size_t{1} << 30);
        // Its streams end by another server's answers.
        (void)other.session->receive(requests.back(), 0);
        buffer.clear();
        other.session->collect(buffer, std::size_t{1} << 30);
        (void)again.session->receive(buffer, 0);
      }
    }
    state.ResumeTiming();
    for (const std::string& request : requests) {
      if (!server.session->receive(request, 0).has_value()) std::abort();
      buffer.clear();
      server.session->collect(buffer, std::size_t{1} << 30);
    }
    state.PauseTiming();
    if (server.closed != calls * batches) std::abort();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(calls) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(server)->Arg(1)->Arg(16);

void body(benchmark::State& state) {
  Server server;
  Client client;
  std::string buffer;
  greet(server, client, buffer);
  const Bytes large = Bytes::copy_of(std::string(std::size_t{1} << 20, 'x'));
  for ([[maybe_unused]] auto _ : state) {
    client.ask()->send(large, true);
    const std::size_t closed = client.closed;
    while (client.closed == closed) {
      carry(*client.session, *server.session, buffer);
      carry(*server.session, *client.session, buffer);
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(server.bytes));
}
BENCHMARK(body);

}  // namespace
}  // namespace shunt::net

BENCHMARK_MAIN();
