#include "link/grpc/link_message.h"

#include <algorithm>

#include "base/check.h"

namespace shunt::link {

namespace {

constexpr std::uint64_t frames_tag = 1u << 3 | 2;
constexpr std::uint64_t proof_tag = 2u << 3 | 2;
constexpr std::size_t proof_bytes_max = 64;

std::unexpected<Status> broken(const char* what) {
  return fail(Code::data_loss, "S1022", std::string("interconnect: ") + what);
}

}  // namespace

LinkMessageHead::LinkMessageHead(std::size_t size) {
  SHUNT_ASSERT(size <= link_message_bytes_max);
  std::array<char, 4> number{};
  std::size_t digits = 0;
  for (std::size_t left = size;; left >>= 7) {
    number[digits++] = static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    if (left <= 0x7f) break;
  }
  const std::size_t message = 1 + digits + size;
  bytes_[0] = 0;
  for (std::size_t i = 0; i < 4; ++i) bytes_[1 + i] = static_cast<char>(message >> (24 - 8 * i));
  bytes_[5] = static_cast<char>(frames_tag);
  std::copy_n(number.begin(), digits, bytes_.begin() + 6);
  size_ = 6 + digits;
}

std::string proof_message(std::string_view proof) {
  SHUNT_ASSERT(proof.size() <= proof_bytes_max);
  std::string text = {
      0, 0, 0, 0, static_cast<char>(proof.size() + 2), static_cast<char>(proof_tag), static_cast<char>(proof.size())};
  return text.append(proof);
}

Result<void> LinkMessageReader::read(std::string_view piece, std::string& frames) {
  while (!piece.empty()) SHUNT_CHECK(step(piece, frames));
  return {};
}

Result<void> LinkMessageReader::step(std::string_view& piece, std::string& frames) {
  switch (at_) {
    case At::prefix:
      return read_prefix(piece);
    case At::tag:
    case At::size:
      return read_number(piece);
    case At::frames:
    case At::proof:
    case At::skip:
      break;
  }
  const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(field_left_, piece.size()));
  if (at_ == At::frames) frames.append(piece.substr(0, part));
  if (at_ == At::proof) proof_.append(piece.substr(0, part));
  piece.remove_prefix(part);
  field_left_ -= part;
  message_left_ -= part;
  if (field_left_ == 0) end_field();
  return {};
}

Result<void> LinkMessageReader::read_prefix(std::string_view& piece) {
  while (prefix_size_ < prefix_.size() && !piece.empty()) {
    prefix_[prefix_size_++] = static_cast<unsigned char>(piece.front());
    piece.remove_prefix(1);
  }
  if (prefix_size_ < prefix_.size()) return {};
  prefix_size_ = 0;
  if (prefix_[0] != 0) return broken("a message is compressed, which was not agreed");
  message_left_ = 0;
  for (std::size_t i = 1; i < prefix_.size(); ++i) message_left_ = message_left_ << 8 | prefix_[i];
  at_ = message_left_ > 0 ? At::tag : At::prefix;
  return {};
}

// A field's tag, its size, or the value of a field that is not ours.
Result<void> LinkMessageReader::read_number(std::string_view& piece) {
  while (!piece.empty()) {
    if (message_left_ == 0) return broken("a message ends inside a field");
    const auto byte = static_cast<unsigned char>(piece.front());
    piece.remove_prefix(1);
    --message_left_;
    if (shift_ > 63 || (shift_ == 63 && byte > 1)) return broken("a number of more than 64 bits");
    number_ |= std::uint64_t{byte & 0x7fu} << shift_;
    shift_ += 7;
    if ((byte & 0x80) != 0) continue;
    const std::uint64_t number = number_;
    number_ = shift_ = 0;
    if (at_ == At::size) return begin_field(number);
    tag_ = number;
    switch (tag_ & 7) {
      case 0:
        at_ = At::size;  // The value, as if it were a size: begin_field() knows.
        break;
      case 1:
      case 5:
        return begin_field((tag_ & 7) == 1 ? 8 : 4);
      case 2:
        at_ = At::size;
        break;
      default:
        return broken("a field of a wire type that protobuf does not have");
    }
    if (message_left_ == 0) return broken("a message ends inside a field");
    return {};
  }
  if (message_left_ == 0) return broken("a message ends inside a field");
  return {};
}

Result<void> LinkMessageReader::begin_field(std::uint64_t size) {
  field_left_ = (tag_ & 7) == 0 ? 0 : size;
  if (field_left_ > message_left_) return broken("a field is longer than its message");
  if (tag_ == frames_tag) {
    at_ = At::frames;
  } else if (tag_ == proof_tag) {
    if (has_proof_ || !proof_.empty() || size > proof_bytes_max) return broken("a proof that is none");
    at_ = At::proof;
  } else {
    at_ = At::skip;
  }
  if (field_left_ == 0) end_field();
  return {};
}

void LinkMessageReader::end_field() {
  if (at_ == At::proof) has_proof_ = true;
  at_ = message_left_ > 0 ? At::tag : At::prefix;
}

}  // namespace shunt::link
