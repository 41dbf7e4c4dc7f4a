#pragma once
// Numbers and texts of frames, to bytes and back; for the files that hold the codecs.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/frame.h"

namespace shunt::wire {

static_assert(std::endian::native == std::endian::little,
              "the wire is little endian, and so is every machine we run on");

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof bytes);
}

template <typename T>
T load_at(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
/// `from` must be long enough.
template <typename T>
T load_at(std::string_view from) {
  T value;
  from.copy(reinterpret_cast<char*>(&value), sizeof value);
  return value;
}

/// Texts whose length the wire gives 16 bits are cut there; the floors above hold them far below it.
inline std::uint16_t short_size(std::string_view text) {
  return static_cast<std::uint16_t>(std::min<std::size_t>(text.size(), 0xffff));
}
inline std::string_view cut(std::string_view text) { return text.substr(0, 0xffff); }

/// The error of what breaks the protocol.
std::unexpected<Status> broken(std::string_view what);

/// Reads fields one after the other; once one does not fit, all that follow are empty and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  T get() {
    if (bytes_.size() < sizeof(T)) {
      fail();
      return T{};
    }
    T value = load_at<T>(bytes_);
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view text(std::size_t size) {
    if (bytes_.size() < size) {
      fail();
      return {};
    }
    auto part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }

 private:
  void fail() {
    ok_ = false;
    bytes_ = {};
  }
  std::string_view bytes_;
  bool ok_ = true;
};

/// How many bytes encode_metadata() writes; 0 for none.
std::uint32_t metadata_size(const MetadataView& metadata);

}  // namespace shunt::wire
