#pragma once
// What the gateways of a node count. Each loop adds to its own shard; /metrics adds them up.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace shunt::gateway {

/// Threads: a shard is written by one loop, read by any.
class GatewayStats {
 public:
  struct alignas(64) Shard {
    std::atomic<std::uint64_t> connections_accepted{0};
    std::atomic<std::uint64_t> connections_refused{0};  ///< connections_max was reached.
    std::atomic<std::uint64_t> connections_open{0};
    std::atomic<std::uint64_t> bytes_received{0};
    std::atomic<std::uint64_t> bytes_sent{0};
    std::atomic<std::uint64_t> clients_gone{0};  ///< Clients that vanished while their call ran.
    std::atomic<std::uint64_t> tls_handshakes{0};
    std::atomic<std::uint64_t> tls_resumed{0};  ///< Of them.
    std::atomic<std::uint64_t> tls_handshakes_failed{0};
    std::array<std::atomic<std::uint64_t>, 600> answers{};              ///< By HTTP status; gRPC's are not among them.
    std::array<std::atomic<std::uint64_t>, code_count> grpc_answers{};  ///< By the code of the call.
  };

  explicit GatewayStats(std::size_t shards) : count_(shards), shards_(std::make_unique<Shard[]>(shards)) {}

  [[nodiscard]] Shard& shard(std::size_t index) { return shards_[index]; }
  [[nodiscard]] std::uint64_t connections_open() const;
  /// Appends Prometheus text.
  void write_prometheus(std::string& out) const;

  /// Adds where only one thread adds: no locked instruction.
  static void add(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

 private:
  std::size_t count_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace shunt::gateway
