#include "call/server_call.h"

#include <fmt/format.h>

#include <utility>

namespace shunt::call {

ServerCall::ServerCall(loop::Loop& loop, IncomingHandle call, const Open& open, Opening opening)
    : command_(open.command),
      deadline_(open.deadline),
      hops_(open.hops),
      arrived_(loop),
      credit_(loop),
      cancel_event_(loop),
      call_(std::move(call)) {
  if (open.metadata != nullptr) metadata_ = *open.metadata;
  if (open.principal != nullptr) principal_ = *open.principal;
  if (opening.has_message) messages_.push_back(std::move(opening.message));
  half_closed_ = opening.last == Last::yes;
  call_->listen(*this);
}

ServerCall::~ServerCall() = default;

void ServerCall::on_message(Message message) {
  messages_.push_back(std::move(message));
  arrived_.set();
}

void ServerCall::on_half_close() {
  half_closed_ = true;
  arrived_.set();
}

void ServerCall::on_cancel(Cancel reason) {
  cancelled_ = reason;
  arrived_.set();
  credit_.set();
  cancel_event_.set();
}

void ServerCall::on_credit() {
  held_ = false;
  credit_.set();
}

loop::Task<std::optional<Message>> ServerCall::receive() {
  while (messages_.empty() && !half_closed_ && !cancelled_) co_await arrived_.wait();
  if (cancelled_ || messages_.empty()) co_return std::nullopt;
  Message message = std::move(messages_.front());
  messages_.pop_front();
  if (!finished_) call_->consumed(message.cost());
  co_return message;
}

loop::Task<bool> ServerCall::send(Message message) {
  while (held_ && !cancelled_) co_await credit_.wait();
  if (cancelled_ || finished_) co_return false;
  Sent sent = call_->send(std::move(message));
  held_ = sent == Sent::held;
  co_return sent != Sent::ended;
}

void ServerCall::send_metadata(Metadata metadata) {
  if (!cancelled_ && !finished_) call_->send_metadata(std::move(metadata));
}

loop::Task<Cancel> ServerCall::wait_cancelled() {
  while (!cancelled_) co_await cancel_event_.wait();
  co_return *cancelled_;
}

void ServerCall::finish(Status status, Metadata trailers) {
  if (finished_) return;
  finished_ = true;
  // "Never started, go elsewhere" is a link's to say. A handler that hands on what another service answered has run.
  if (status.retry() == Retry::elsewhere) status.with_retry(Retry::later);
  call_->finish(std::move(status), std::move(trailers));
}

void TaskService::begin(IncomingHandle call, const Open& open, Opening opening) {
  auto found = handlers_.find(open.command);
  if (found == handlers_.end()) {
    std::string known;
    for (const auto& [name, handler] : handlers_) known.append(known.empty() ? "" : ", ").append(name);
    call->finish(
        {Code::unimplemented, "S1005", fmt::format("there is no command '{}'; there are: {}", open.command, known)},
        {});
    return;
  }
  scope_.spawn(serve(make_own<ServerCall>(loop_, std::move(call), open, std::move(opening)), &found->second));
}

loop::Task<void> TaskService::serve(Own<ServerCall> call, const Handler* handler) {
  Status status = co_await (*handler)(*call);
  call->finish(std::move(status));
}

}  // namespace shunt::call
