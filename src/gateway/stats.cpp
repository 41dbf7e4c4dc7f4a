#include "gateway/stats.h"

#include <fmt/format.h>

namespace shunt::gateway {

namespace {

std::uint64_t sum(const GatewayStats::Shard* shards, std::size_t count,
                  std::atomic<std::uint64_t> GatewayStats::Shard::* counter) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < count; ++i) total += (shards[i].*counter).load(std::memory_order_relaxed);
  return total;
}

void write_one(std::string& out, std::string_view name, std::string_view kind, std::string_view help,
               std::uint64_t value) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n{} {}\n", name, help, name, kind, name, value);
}

}  // namespace

std::uint64_t GatewayStats::connections_open() const { return sum(shards_.get(), count_, &Shard::connections_open); }

void GatewayStats::write_prometheus(std::string& out) const {
  const auto total = [&](std::atomic<std::uint64_t> Shard::* counter) { return sum(shards_.get(), count_, counter); };
  write_one(out, "shunt_http_connections", "gauge", "Open HTTP connections.", total(&Shard::connections_open));
  write_one(out, "shunt_http_connections_accepted_total", "counter", "HTTP connections accepted.",
            total(&Shard::connections_accepted));
  write_one(out, "shunt_http_connections_refused_total", "counter", "HTTP connections refused at the limit.",
            total(&Shard::connections_refused));
  write_one(out, "shunt_http_received_bytes_total", "counter", "Bytes read from HTTP clients.",
            total(&Shard::bytes_received));
  write_one(out, "shunt_http_sent_bytes_total", "counter", "Bytes written to HTTP clients.", total(&Shard::bytes_sent));
  write_one(out, "shunt_http_clients_gone_total", "counter", "Clients that vanished while their call ran.",
            total(&Shard::clients_gone));
  write_one(out, "shunt_tls_handshakes_total", "counter", "TLS handshakes with clients.",
            total(&Shard::tls_handshakes));
  write_one(out, "shunt_tls_handshakes_resumed_total", "counter", "Of them, those that a ticket made short.",
            total(&Shard::tls_resumed));
  write_one(out, "shunt_tls_handshakes_failed_total", "counter", "TLS handshakes that came to nothing.",
            total(&Shard::tls_handshakes_failed));
  out += "# HELP shunt_http_answers_total HTTP answers by status.\n# TYPE shunt_http_answers_total counter\n";
  for (std::size_t status = 100; status < 600; ++status) {
    std::uint64_t answers = 0;
    for (std::size_t i = 0; i < count_; ++i) answers += shards_[i].answers[status].load(std::memory_order_relaxed);
    if (answers != 0) {
      fmt::format_to(std::back_inserter(out), "shunt_http_answers_total{{code=\"{}\"}} {}\n", status, answers);
    }
  }
  out += "# HELP shunt_grpc_answers_total gRPC answers by code.\n# TYPE shunt_grpc_answers_total counter\n";
  for (std::size_t code = 0; code < code_count; ++code) {
    std::uint64_t answers = 0;
    for (std::size_t i = 0; i < count_; ++i) answers += shards_[i].grpc_answers[code].load(std::memory_order_relaxed);
    if (answers != 0) {
      fmt::format_to(std::back_inserter(out), "shunt_grpc_answers_total{{code=\"{}\"}} {}\n",
                     code_name(static_cast<Code>(code)), answers);
    }
  }
}

}  // namespace shunt::gateway
