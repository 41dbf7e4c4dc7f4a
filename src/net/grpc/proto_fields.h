#pragma once
// Protobuf's fields as bytes, for the few messages that gRPC itself is made of (status, health, reflection) and that must
// not need a protobuf library. It knows no descriptors. https://protobuf.dev/programming-guides/encoding/

#include <cstdint>
#include <string>
#include <string_view>

namespace shunt::net {

/// Appends fields to a message. Fields with proto3's default values are left out by the caller.
class ProtoWriter {
 public:
  explicit ProtoWriter(std::string& out) : out_(out) {}
  void integer(std::uint32_t field, std::uint64_t value);
  void bytes(std::uint32_t field, std::string_view value);

 private:
  void varint(std::uint64_t value);
  std::string& out_;
};

/// Reads a message field by field:  while (reader.next()) switch (reader.field()) …;  then is_whole() says whether the
/// bytes were a message at all.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}
  /// False at the end, and where the bytes break the format.
  bool next();
  [[nodiscard]] bool is_whole() const { return rest_.empty() && !broken_; }
  [[nodiscard]] std::uint32_t field() const { return field_; }
  /// Of a varint or a fixed field; 0 for one of another kind.
  [[nodiscard]] std::uint64_t integer() const { return integer_; }
  /// Of a field with a length; empty for one of another kind.
  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  [[nodiscard]] bool is_bytes() const { return is_bytes_; }

 private:
  bool varint(std::uint64_t& value);
  bool fixed(std::size_t size);
  bool fail() {
    broken_ = true;
    return false;
  }
  std::string_view rest_;
  std::string_view bytes_;
  std::uint64_t integer_ = 0;
  std::uint32_t field_ = 0;
  bool is_bytes_ = false;
  bool broken_ = false;
};

}  // namespace shunt::net
