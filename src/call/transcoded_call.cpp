#include "call/transcoded_call.h"

#include <utility>

namespace shunt::call {

struct TranscodedCall::Keep {
  explicit Keep(TranscodedCall& call) : kept(call) { kept.refs_++; }
  ~Keep() {
    // The analyzer does not count: whoever is on the stack holds one, so only the outermost gets to zero.
    if (--kept.refs_ == 0) delete &kept;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
  }
  Keep(const Keep&) = delete;
  Keep& operator=(const Keep&) = delete;
  TranscodedCall& kept;
};

Result<Message> TranscodedCall::turn(Side side, Message& message) const {
  const Encoding from = side == Side::request ? caller_ : callee_;
  const Encoding to = side == Side::request ? callee_ : caller_;
  SHUNT_TRY(Bytes turned, transcoder_->convert(side, from, to, message.bytes()));
  return Message(std::move(turned));
}

bool TranscodedCall::turn_opening(Opening& opening) {
  if (!opening.has_message) return true;
  Keep keep(*this);
  auto turned = turn(Side::request, opening.message);
  if (!turned) {
    fail(std::move(turned).error());
    return false;
  }
  opening.message = std::move(*turned);
  return true;
}

void TranscodedCall::begin(RoutedCall& inner, const CallStart& start, Opening opening) {
  Keep keep(*this);
  inner_ = OutgoingHandle(&inner);
  inner.begin(start, std::move(opening));
}

Sent TranscodedCall::send(Message message, Last last) {
  Keep keep(*this);
  if (inner_ == nullptr) return Sent::ended;
  auto turned = turn(Side::request, message);
  if (!turned) {
    fail(std::move(turned).error());
    return Sent::ended;
  }
  return inner_->send(std::move(*turned), last);
}

void TranscodedCall::half_close() {
  Keep keep(*this);
  if (inner_ != nullptr) inner_->half_close();
}

// The caller counts what it got; the callee's credit is in what was sent.
void TranscodedCall::consumed(std::size_t cost) {
  Keep keep(*this);
  consumed_ += cost;
  std::size_t credit = 0;
  while (!received_.empty() && received_.front().first <= consumed_) {
    consumed_ -= received_.front().first;
    credit += received_.front().second;
    received_.pop_front();
  }
  if (credit > 0 && inner_ != nullptr) inner_->consumed(credit);
}

void TranscodedCall::cancel(Cancel reason) {
  Keep keep(*this);
  if (inner_ != nullptr) inner_->cancel(reason);
}

void TranscodedCall::release() {
  Keep keep(*this);
  events_ = nullptr;
  inner_.reset();
  refs_--;  // The caller's own: whoever is on the stack holds the last one.
}

void TranscodedCall::on_metadata(Metadata metadata) {
  Keep keep(*this);
  if (events_ == nullptr) return;
  if (metadata.find("content-type")) {
    // What the handler says of its bytes is not true of what they are turned into.
    Metadata others;
    for (const auto& [key, value] : metadata) {
      if (key != "content-type") others.add_unchecked(key, value);
    }
    metadata = std::move(others);
  }
  events_->on_metadata(std::move(metadata));
}

void TranscodedCall::on_message(Message message) {
  Keep keep(*this);
  if (events_ == nullptr) return;
  const std::size_t cost = message.cost();
  auto turned = turn(Side::response, message);
  if (!turned) {
    fail(Status(Code::internal, "S1016", std::string(turned.error().message()))
             .with_context("the answer is not what the command's type says"));
    return;
  }
  received_.emplace_back(turned->cost(), cost);
  events_->on_message(std::move(*turned));
}

void TranscodedCall::on_answer(Message message) {
  Keep keep(*this);
  if (events_ == nullptr) return;
  auto turned = turn(Side::response, message);
  if (!turned) {
    fail(Status(Code::internal, "S1016", std::string(turned.error().message()))
             .with_context("the answer is not what the command's type says"));
    return;
  }
  std::exchange(events_, nullptr)->on_answer(std::move(*turned));
}

void TranscodedCall::on_credit() {
  Keep keep(*this);
  if (events_ != nullptr) events_->on_credit();
}

void TranscodedCall::on_end(Status status, Metadata trailers) {
  Keep keep(*this);
  if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), std::move(trailers));
}

// Ends it for the caller, and lets the callee know.
void TranscodedCall::fail(Status why) {
  CallerEvents* events = std::exchange(events_, nullptr);
  if (inner_ != nullptr) inner_->cancel(Cancel::protocol);
  if (events != nullptr) events->on_end(std::move(why), {});
}

}  // namespace shunt::call
