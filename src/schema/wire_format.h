#pragma once
// Protobuf's wire format, both ways, as small functions. Knows no types. protobuf.dev/programming-guides/encoding.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace shunt::schema {

enum class WireType : std::uint8_t {
  varint = 0,
  fixed64 = 1,
  delimited = 2,
  group_begin = 3,
  group_end = 4,
  fixed32 = 5
};

/// As protobuf's own limit on nesting: what is deeper no generated class would read.
inline constexpr int depth_max = 100;

inline std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
inline std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

inline void put_varint(std::string& out, std::uint64_t value) {
  char bytes[10];
  std::size_t size = 0;
  for (; value >= 0x80; value >>= 7) bytes[size++] = static_cast<char>(value | 0x80);
  bytes[size++] = static_cast<char>(value);
  out.append(bytes, size);
}
inline void put_tag(std::string& out, std::uint32_t number, WireType type) {
  put_varint(out, (static_cast<std::uint64_t>(number) << 3) | static_cast<std::uint64_t>(type));
}
template <typename T>
void put_fixed(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

/// A length-delimited part whose size is known when it is done. Returns what end_delimited() needs.
inline std::size_t begin_delimited(std::string& out) {
  out.push_back('\0');
  return out.size();
}
inline void end_delimited(std::string& out, std::size_t begin) {
  std::uint64_t size = out.size() - begin;
  if (size < 0x80) {
    out[begin - 1] = static_cast<char>(size);
    return;
  }
  std::string length;
  put_varint(length, size);
  out.replace(begin - 1, 1, length);
}

/// Reads from a run of bytes. Each function is false, and the reader useless, when the bytes are not what it reads.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  [[nodiscard]] bool done() const { return at_ == end_; }
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] const char* at() const { return at_; }

  bool varint(std::uint64_t& out) {
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0) {
      out = static_cast<std::uint8_t>(*at_++);
      return true;
    }
    out = 0;
    for (int shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(*at_++);
      out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool tag(std::uint32_t& number, WireType& type) {
    std::uint64_t value;
    const char* begin = at_;
    if (!varint(value) || at_ - begin > short_max || value > 0xffffffffU || (value & 7) > 5 || value < 8) return false;
    number = static_cast<std::uint32_t>(value >> 3);
    type = static_cast<WireType>(value & 7);
    return true;
  }
  template <typename T>
  bool fixed(T& out) {
    if (left() < sizeof(T)) return false;
    std::memcpy(&out, at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  bool delimited(std::string_view& out) {
    std::uint64_t size;
    const char* begin = at_;
    if (!varint(size) || at_ - begin > short_max || size > left()) return false;
    out = {at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }
  /// Passes over the value of a field, a group's with all that is in it.
  bool skip(std::uint32_t number, WireType type, int depth = 0) {
    switch (type) {
      case WireType::varint: {
        std::uint64_t ignored;
        return varint(ignored);
      }
      case WireType::fixed64:
        return skip(8);
      case WireType::fixed32:
        return skip(4);
      case WireType::delimited: {
        std::string_view ignored;
        return delimited(ignored);
      }
      case WireType::group_begin: {
        std::string_view ignored;
        return group(number, ignored, depth);
      }
      case WireType::group_end:
        return false;
    }
    return false;
  }
  /// The content of a group whose opening tag has been read; its closing tag is read too.
  bool group(std::uint32_t number, std::string_view& out, int depth = 0) {
    if (depth >= depth_max) return false;
    const char* begin = at_;
    for (;;) {
      const char* before = at_;
      std::uint32_t inner;
      WireType type;
      if (!tag(inner, type)) return false;
      if (type == WireType::group_end) {
        out = {begin, static_cast<std::size_t>(before - begin)};
        return inner == number;
      }
      if (!skip(inner, type, depth + 1)) return false;
    }
  }

 private:
  static constexpr std::ptrdiff_t short_max = 5;  ///< Bytes of a tag or a size, which other parsers hold to.

  bool skip(std::size_t size) {
    if (left() < size) return false;
    at_ += size;
    return true;
  }
  const char* at_;
  const char* end_;
};

}  // namespace shunt::schema
