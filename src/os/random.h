#pragma once
// The system's randomness: getrandom(2), in blocks.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/random.h"

namespace shunt::os {

/// Fit for secrets. Threads: one.
class SystemRandom final : public Random {
 public:
  std::uint64_t next() override;

 private:
  std::array<std::uint64_t, 32> block_{};
  std::size_t used_ = 32;
};

void fill_random(std::span<char> out);
/// `bytes` random bytes in hexadecimal: for ids and tokens.
std::string random_hex(std::size_t bytes);

}  // namespace shunt::os
