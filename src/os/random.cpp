#include "os/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace shunt::os {

void fill_random(std::span<char> out) {
  while (!out.empty()) {
    ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    SHUNT_ASSERT(got > 0);  // A kernel without getrandom() is older than any we run on.
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t SystemRandom::next() {
  if (used_ == block_.size()) {
    fill_random({reinterpret_cast<char*>(block_.data()), sizeof block_});
    used_ = 0;
  }
  // Each number is forgotten as it is given.
  std::uint64_t number = block_[used_];
  block_[used_++] = 0;
  return number;
}

std::string random_hex(std::size_t bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string raw(bytes, '\0');
  fill_random(raw);
  std::string text;
  text.reserve(bytes * 2);
  for (char each : raw) {
    auto byte = static_cast<unsigned char>(each);
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace shunt::os
