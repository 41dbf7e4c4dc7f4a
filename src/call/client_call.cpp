#include "call/client_call.h"

#include <utility>

namespace shunt::call {

ClientCall::ClientCall(Caller& caller, loop::Loop& loop, const CallStart& start, Opening opening)
    : arrived_(loop), credit_(loop) {
  call_ = caller.start(start, *this, std::move(opening));
}

ClientCall::ClientCall(loop::Loop& loop, Link& link, const Open& open, Opening opening)
    : arrived_(loop), credit_(loop) {
  call_ = link.open(open, *this, std::move(opening));
}

ClientCall::~ClientCall() = default;

void ClientCall::on_metadata(Metadata metadata) { metadata_ = std::move(metadata); }

void ClientCall::on_message(Message message) {
  messages_.push_back(std::move(message));
  arrived_.set();
}

void ClientCall::on_credit() {
  held_ = false;
  credit_.set();
}

void ClientCall::on_end(Status status, Metadata trailers) {
  ended_ = true;
  status_ = std::move(status);
  trailers_ = std::move(trailers);
  arrived_.set();
  credit_.set();
}

loop::Task<std::optional<Message>> ClientCall::receive() {
  while (messages_.empty() && !ended_) co_await arrived_.wait();
  if (messages_.empty()) co_return std::nullopt;
  Message message = std::move(messages_.front());
  messages_.pop_front();
  if (!ended_) call_->consumed(message.cost());
  co_return message;
}

loop::Task<bool> ClientCall::send(Message message, Last last) {
  while (held_ && !ended_) co_await credit_.wait();
  if (ended_) co_return false;
  Sent sent = call_->send(std::move(message), last);
  held_ = sent == Sent::held;
  co_return sent != Sent::ended;
}

void ClientCall::half_close() {
  if (!ended_) call_->half_close();
}

void ClientCall::cancel(Cancel reason) {
  if (!ended_) call_->cancel(reason);
}

loop::Task<Status> ClientCall::finish() {
  while (!ended_ || !messages_.empty()) {
    if (!co_await receive()) break;
  }
  co_return status_;
}

loop::Task<Result<Message>> call_unary(Caller& caller, loop::Loop& loop, CallStart start, Message request) {
  ClientCall call(caller, loop, start, Opening::unary(std::move(request)));
  auto answer = co_await call.receive();
  bool more = answer.has_value() && (co_await call.receive()).has_value();
  if (!call.ended()) {
    call.cancel(Cancel::caller);
    co_return fail(Code::internal, "S1014", "the command answered a unary call with more than one message");
  }
  if (!call.status().is_ok()) co_return std::unexpected(call.status());
  if (!answer) co_return fail(Code::internal, "S1014", "the command ended a unary call without a message");
  if (more) co_return fail(Code::internal, "S1014", "the command answered a unary call with more than one message");
  co_return std::move(*answer);
}

}  // namespace shunt::call
