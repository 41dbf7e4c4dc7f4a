#pragma once
// EpollOutputs: reads the stdout and stderr of workers on an EpollLoop, line by line. A line that is longer than the limit
// is told in pieces. A turn reads a bounded amount of each pipe, so that a chatty worker does not hold up the control loop:
// its writes wait instead, as with any full pipe.

#include "loop/epoll_loop.h"
#include "pool/wiring.h"

namespace shunt::pool {

class EpollOutputs final : public Outputs {
 public:
  static constexpr std::size_t line_bytes_max = 16 << 10;
  static constexpr std::size_t turn_bytes_max = 256 << 10;

  explicit EpollOutputs(loop::EpollLoop& loop) : loop_(loop) {}
  Own<Output> read(os::Fd pipe, Line line) override;

 private:
  loop::EpollLoop& loop_;
};

}  // namespace shunt::pool
