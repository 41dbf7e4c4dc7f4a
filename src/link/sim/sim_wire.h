#pragma once
// SimWire: a wire between two links that does what a test tells it to: delay, jitter, partial writes, chunks cut anywhere, a
// stall, the loss of the peer. Everything follows from the options and the seed, so one seed replays a whole failure.

#include <cstdint>
#include <deque>
#include <string>

#include "base/own.h"
#include "base/random.h"
#include "link/mux_link.h"
#include "loop/loop.h"

namespace shunt::link {

struct SimWireOptions {
  std::uint64_t seed = 1;
  Duration delay{0};
  Duration jitter{0};                      ///< Added to each packet's delay, uniform in [0, jitter]. Never reorders.
  std::size_t write_bytes_max = SIZE_MAX;  ///< A write takes between one byte and this.
  std::size_t chunk_bytes_max = SIZE_MAX;  ///< What arrives is cut into pieces of one byte to this.
  std::size_t in_flight_bytes_max = 256 << 10;  ///< Beyond it a write takes nothing until something has arrived.
};

/// Threads: one, that of both loops. Lifetime: must outlive both carriers.
class SimWire {
 public:
  SimWire(loop::Loop& first, loop::Loop& second, SimWireOptions options);
  ~SimWire();
  SimWire(const SimWire&) = delete;
  SimWire& operator=(const SimWire&) = delete;

  /// The carriers of the two ends. Once each.
  Own<Carrier> first();
  Own<Carrier> second();

  /// Both ends hear that the other is gone, each after the delay; what is on the way is lost.
  void cut();
  /// While stalled nothing arrives; what is written waits.
  void stall(bool stalled);
  [[nodiscard]] std::size_t in_flight() const;

 private:
  class End;
  struct Direction;
  Own<Direction> directions_[2];
};

}  // namespace shunt::link
