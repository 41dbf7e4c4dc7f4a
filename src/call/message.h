#pragma once
// Message: one message of a call. Bytes, or, inside one process, a typed value that both ends know by its fingerprint
// and that becomes bytes only where somebody needs bytes.

#include <cstddef>
#include <utility>

#include "base/bytes.h"
#include "shunt/shunt.h"

namespace shunt::call {

/// What each message costs of a stream's credit beyond its bytes, so that empty messages are bounded too.
inline constexpr std::size_t message_overhead = 64;

/// Move-only: a typed value has one owner. Threads: one at a time.
class Message {
 public:
  Message() = default;
  explicit Message(Bytes bytes) : bytes_(std::move(bytes)) {}
  /// Takes over `value`, which `type->destroy` frees. `type` must outlive the message (a module's types live as long
  /// as the module, which is never unloaded while a call is open).
  Message(const shunt_type* type, void* value) : type_(type), value_(value) {}
  Message(Message&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        type_(std::exchange(other.type_, nullptr)),
        value_(std::exchange(other.value_, nullptr)) {}
  Message& operator=(Message&& other) noexcept {
    if (this != &other) {
      reset();
      bytes_ = std::move(other.bytes_);
      type_ = std::exchange(other.type_, nullptr);
      value_ = std::exchange(other.value_, nullptr);
    }
    return *this;
  }
  ~Message() { reset(); }

  /// A second message with the same content: shares bytes, copies a typed value.
  [[nodiscard]] Message copy() const;

  [[nodiscard]] bool is_typed() const { return type_ != nullptr; }
  [[nodiscard]] const shunt_type* type() const { return type_; }
  /// Gives the typed value away; the message is empty after it. The caller frees it by type()->destroy.
  [[nodiscard]] void* take_value() {
    type_ = nullptr;
    return std::exchange(value_, nullptr);
  }
  [[nodiscard]] const void* value() const { return value_; }

  /// The message as bytes; serializes a typed value (and keeps the bytes).
  const Bytes& bytes();
  /// The same, for whoever has no more use for the message: it may be empty after it.
  Bytes take_bytes() {
    if (!is_typed()) return std::move(bytes_);
    return bytes();
  }
  /// What it counts against credit: its bytes, or what its type says they would be, and the overhead.
  [[nodiscard]] std::size_t cost() const;
  /// Its size against a message limit.
  [[nodiscard]] std::size_t size() const;

 private:
  void reset() {
    if (type_ != nullptr) type_->destroy(value_);
    type_ = nullptr;
    value_ = nullptr;
  }
  Bytes bytes_;
  const shunt_type* type_ = nullptr;
  void* value_ = nullptr;
};

}  // namespace shunt::call
