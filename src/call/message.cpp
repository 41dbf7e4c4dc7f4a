#include "call/message.h"

#include <string>

namespace shunt::call {

Message Message::copy() const {
  if (type_ != nullptr) return {type_, type_->copy(value_)};
  return Message(bytes_);
}

const Bytes& Message::bytes() {
  if (type_ != nullptr) {
    std::string text;
    type_->write(
        value_, [](void* to, const char* data, std::size_t size) { static_cast<std::string*>(to)->append(data, size); },
        &text);
    reset();
    bytes_ = Bytes::adopt(std::move(text));
  }
  return bytes_;
}

std::size_t Message::size() const { return type_ != nullptr ? type_->weigh(value_) : bytes_.size(); }
std::size_t Message::cost() const { return size() + message_overhead; }

}  // namespace shunt::call
