#pragma once
// How values become messages of the C ABI and back. Part of <shunt/service.h>; nothing here is for users.

#include <concepts>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "shunt/fields.h"
#include "shunt/shunt.h"

namespace shunt {
inline namespace sdk {
namespace detail {

inline shunt_slice slice(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(shunt_slice slice) {
  return slice.size == 0 ? std::string_view() : std::string_view(slice.data, slice.size);
}

/// A class that protoc generated, by what it can do: this header includes nothing of protobuf's.
template <typename T>
concept ProtoMessage = requires(const T message, T parsed, const std::string& text) {
  { message.SerializeAsString() } -> std::convertible_to<std::string>;
  { parsed.ParseFromString(text) } -> std::convertible_to<bool>;
  { message.GetTypeName() } -> std::convertible_to<std::string>;
};

/// The type that values of T travel as; nullptr: as bytes.
template <typename T>
const shunt_type* message_type() {
  if constexpr (std::is_void_v<T> || std::is_same_v<T, Bytes> || ProtoMessage<T>) {
    return nullptr;
  } else {
    return &type_of<T>();
  }
}

template <typename T>
shunt_message to_message(const shunt_type* type, T&& value) {
  using Value = std::remove_cvref_t<T>;
  shunt_message message{};
  if constexpr (std::is_same_v<Value, Bytes> || ProtoMessage<Value>) {
    std::string* owner = nullptr;
    if constexpr (ProtoMessage<Value>) {
      owner = new std::string(value.SerializeAsString());
    } else {
      owner = new std::string(std::move(value.data));
    }
    message.data = owner->data();
    message.size = owner->size();
    message.owner = owner;
    message.release = [](void* owned) { delete static_cast<std::string*>(owned); };
  } else {
    message.type = type;
    message.value = make_box<Value>(std::forward<Value>(value));
  }
  return message;
}
/// What a command without a value answers, and is asked with.
inline shunt_message empty_object() {
  shunt_message message{};
  message.data = "{}";
  message.size = 2;
  message.release = [](void*) {};
  return message;
}

/// A message that was received and is ours now.
class Received {
 public:
  Received() = default;
  /// Takes it out of an event.
  Received(shunt_message& message, std::size_t cost) : message_(message), cost_(cost) {
    if (message.type != nullptr) {
      message.type = nullptr;
    } else if (message.release != nullptr) {
      message.release = nullptr;
    } else {
      auto* owner = new std::string(message.data, message.size);
      message_.data = owner->data();
      message_.owner = owner;
      message_.release = [](void* owned) { delete static_cast<std::string*>(owned); };
    }
  }
  Received(Received&& other) noexcept : message_(std::exchange(other.message_, {})), cost_(other.cost_) {}
  Received& operator=(Received&& other) noexcept {
    std::swap(message_, other.message_);
    std::swap(cost_, other.cost_);
    return *this;
  }
  ~Received() {
    if (message_.type != nullptr) {
      message_.type->destroy(message_.value);
    } else if (message_.release != nullptr) {
      message_.release(message_.owner);
    }
  }
  shunt_message& message() { return message_; }
  [[nodiscard]] std::size_t cost() const { return cost_; }

 private:
  shunt_message message_{};
  std::size_t cost_ = 0;
};

/// Messages in the order in which they came. Bounded by the credit of the call. Mostly there is one: it needs no memory.
class Inbox {
 public:
  Inbox() {}  // NOLINT(modernize-use-equals-default): of a union
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() {
    if (has_front_) front_.~Received();
    while (first_ != nullptr) unlink();
  }
  [[nodiscard]] bool empty() const { return !has_front_; }
  void push(shunt_message& message, std::size_t cost) {
    if (!has_front_) {
      new (&front_) Received(message, cost);
      has_front_ = true;
      return;
    }
    auto* node = new (Pool::allocate(sizeof(Node))) Node{Received(message, cost), nullptr};
    (last_ != nullptr ? last_->next : first_) = node;
    last_ = node;
  }
  Received pop() {
    if (!has_front_) return {};
    Received message = std::move(front_);
    front_.~Received();
    has_front_ = first_ != nullptr;
    if (has_front_) new (&front_) Received(unlink());
    return message;
  }

 private:
  struct Node {
    Received message;
    Node* next;
  };
  Received unlink() {
    Node* node = std::exchange(first_, first_->next);
    if (first_ == nullptr) last_ = nullptr;
    Received message = std::move(node->message);
    node->~Node();
    Pool::free(node, sizeof(Node));
    return message;
  }
  // Made when it is needed: most calls of a module have nothing in it, ever.
  union {
    Received front_;
  };
  bool has_front_ = false;
  Node* first_ = nullptr;
  Node* last_ = nullptr;
};

inline std::string text_of(const shunt_message& message) {
  std::string text;
  if (message.type == nullptr) {
    if (message.size != 0) text.assign(message.data, message.size);
  } else {
    message.type->write(
        message.value,
        [](void* to, const char* data, std::size_t size) { static_cast<std::string*>(to)->append(data, size); }, &text);
  }
  return text;
}

template <typename T>
bool read_text(std::string_view text, T& out, std::optional<Error>& error) {
  if constexpr (Described<T>) {
    if (text.empty()) text = "{}";  // No body: every field that must be there is missing, and the error says which.
  }
  Input in(text);
  if (Codec<T>::read(in, out) && in.finish()) return true;
  error = std::move(in.error());
  return false;
}

/// Whether a value of T, or the lack of one, can be handed over where it stands: it has a type of its own.
template <typename T>
inline constexpr bool is_direct = std::is_void_v<T> || (!std::is_same_v<T, Bytes> && !ProtoMessage<T>);

/// What a message of T weighs against limits.
template <typename T>
std::size_t weigh(const T& value) {
  return Codec<T>::weigh(value);
}

/// A value taken from a message: where it came typed, the sender's box itself, else what was read.
template <typename T>
class Argument {
 public:
  Argument() = default;
  Argument(const Argument&) = delete;
  Argument& operator=(const Argument&) = delete;
  ~Argument() {
    if (box_ != nullptr) type_->destroy(box_);
  }

  bool load(const shunt_type* mine, shunt_message* message, std::optional<Error>& error) {
    if constexpr (std::is_same_v<T, Bytes>) {
      local_.emplace(message != nullptr ? text_of(*message) : std::string());
      return true;
    } else if constexpr (ProtoMessage<T>) {
      if (local_.emplace().ParseFromString(message != nullptr ? text_of(*message) : std::string())) return true;
      error = invalid_argument("these bytes are no " + std::string(local_->GetTypeName())).with_id("S1041");
      return false;
    } else {
      if (message == nullptr) return read_text(std::string_view(), local_.emplace(), error);
      if (message->type == nullptr) {
        return read_text(std::string_view(message->data, message->size), local_.emplace(), error);
      }
      if (!same_type(*mine, *message->type)) return read_text<T>(text_of(*message), local_.emplace(), error);
      type_ = message->type;
      box_ = message->value;
      message->type = nullptr;
      return true;
    }
  }
  T&& take() { return std::move(box_ != nullptr ? *static_cast<T*>(box_) : *local_); }

 private:
  const shunt_type* type_ = nullptr;
  void* box_ = nullptr;
  std::optional<T> local_;
};

inline Error to_error(const shunt_status& status) {
  return Error(static_cast<Code>(status.code <= 16 ? status.code : 2), std::string(view(status.message)))
      .with_id(std::string(view(status.id)))
      .with_details(std::string(view(status.details)))
      .with_retry(static_cast<Retry>(status.retry <= 3 ? status.retry : 0));
}
/// Borrows from `error`.
inline shunt_status to_status(const Error& error) {
  shunt_status status{};
  status.size = sizeof(status);
  status.code = static_cast<std::uint32_t>(error.code());
  status.retry = static_cast<std::uint32_t>(error.retry());
  status.id = slice(error.id());
  status.message = slice(error.message());
  status.details = slice(error.details());
  return status;
}

}  // namespace detail
}  // namespace sdk
}  // namespace shunt
