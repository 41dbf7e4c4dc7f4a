#include "net/grpc/envelope.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace shunt::net {

std::array<char, envelope_prefix_bytes> envelope_prefix(std::uint8_t flags, std::size_t size) {
  SHUNT_ASSERT(size <= UINT32_MAX);
  return {static_cast<char>(flags), static_cast<char>(size >> 24), static_cast<char>(size >> 16),
          static_cast<char>(size >> 8), static_cast<char>(size)};
}

void append_envelope(std::string& out, std::uint8_t flags, std::string_view message) {
  const auto prefix = envelope_prefix(flags, message.size());
  out.append(prefix.data(), prefix.size());
  out.append(message);
}

bool EnvelopeReader::read_prefix() {
  if (prefix_size_ == envelope_prefix_bytes) return true;
  const std::size_t taken = std::min(envelope_prefix_bytes - prefix_size_, piece_.size());
  if (taken > 0) std::memcpy(prefix_.data() + prefix_size_, piece_.data(), taken);
  prefix_size_ += taken;
  piece_.remove_prefix(taken);
  if (prefix_size_ < envelope_prefix_bytes) return false;
  const auto byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(prefix_[i])}; };
  size_ = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
  return true;
}

EnvelopeReader::Event EnvelopeReader::next(Envelope& out) {
  if (!read_prefix()) return Event::need_more;
  if (size_ > message_bytes_max_) return Event::too_large;
  if (part_.empty() && piece_.size() >= size_) {
    out.message = size_ == 0 ? Bytes() : Bytes::copy_of(piece_.substr(0, size_));
    piece_.remove_prefix(size_);
  } else {
    const std::size_t taken = std::min(size_ - part_.size(), piece_.size());
    const std::size_t needed = part_.size() + taken;
    // Announced is not sent: what is reserved grows with what has come.
    if (needed > part_.capacity()) part_.reserve(std::min(size_, std::max(reserved_bytes_max, 4 * needed)));
    part_.append(piece_.substr(0, taken));
    piece_.remove_prefix(taken);
    if (part_.size() < size_) return Event::need_more;
    out.message = Bytes::adopt(std::exchange(part_, {}));
  }
  out.flags = static_cast<std::uint8_t>(prefix_[0]);
  prefix_size_ = 0;
  return Event::message;
}

}  // namespace shunt::net
