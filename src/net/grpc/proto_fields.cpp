#include "net/grpc/proto_fields.h"

namespace shunt::net {

namespace {
constexpr std::uint32_t kind_varint = 0;
constexpr std::uint32_t kind_fixed64 = 1;
constexpr std::uint32_t kind_bytes = 2;
constexpr std::uint32_t kind_fixed32 = 5;
}  // namespace

void ProtoWriter::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
  out_ += static_cast<char>(value);
}

void ProtoWriter::integer(std::uint32_t field, std::uint64_t value) {
  varint(std::uint64_t{field} << 3 | kind_varint);
  varint(value);
}

void ProtoWriter::bytes(std::uint32_t field, std::string_view value) {
  varint(std::uint64_t{field} << 3 | kind_bytes);
  varint(value.size());
  out_ += value;
}

bool ProtoReader::varint(std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 70 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    if (shift < 64) value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return true;
  }
  return fail();
}

bool ProtoReader::fixed(std::size_t size) {
  if (rest_.size() < size) return fail();
  for (std::size_t i = size; i-- > 0;) integer_ = integer_ << 8 | static_cast<unsigned char>(rest_[i]);
  rest_.remove_prefix(size);
  return true;
}

bool ProtoReader::next() {
  if (broken_ || rest_.empty()) return false;
  integer_ = 0;
  bytes_ = {};
  std::uint64_t tag = 0;
  if (!varint(tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return fail();
  field_ = static_cast<std::uint32_t>(tag >> 3);
  const auto kind = static_cast<std::uint32_t>(tag & 7);
  is_bytes_ = kind == kind_bytes;
  switch (kind) {
    case kind_varint:
      return varint(integer_);
    case kind_fixed64:
      return fixed(8);
    case kind_fixed32:
      return fixed(4);
    case kind_bytes: {
      std::uint64_t size = 0;
      if (!varint(size) || size > rest_.size()) return fail();
      bytes_ = rest_.substr(0, size);
      rest_.remove_prefix(size);
      return true;
    }
    default:
      return fail();  // Groups are not written by anybody whom we read.
  }
}

}  // namespace shunt::net
