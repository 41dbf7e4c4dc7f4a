#include "gateway/call_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shunt::gateway {

void CallExchange::open(const Request& request) {
  Shared& shared = carrier_.shared();
  over_ = false;
  began_ = shared.loop.now();
  if (!shared.hooks.access_log) return;
  log_method_ = request.method;
  log_target_ = request.target;
}

void CallExchange::start_call(call::Encoding encoding, call::Opening opening) {
  call::CallStart start;
  start.service = target_->route->definition->full_name;
  start.command = target_->command_name;
  start.metadata = request_metadata_.empty() ? nullptr : &request_metadata_;
  start.deadline = deadline_;
  start.principal = &principal_;
  start.encoding = encoding;
  start_call_by(
      [&](call::CallerEvents& events) { return carrier_.shared().router.start(start, events, std::move(opening)); });
}

void CallExchange::keep(call::OutgoingHandle handle) {
  call_ = std::move(handle);
  if (has_too_many_) {
    call_->cancel(call::Cancel::protocol);
  } else {
    give_credit();
  }
}

// A callee that answers at once would otherwise call us, and we it, ever deeper.
void CallExchange::give_credit() {
  if (starting_ || giving_credit_) return;
  giving_credit_ = true;
  while (call_ && owed_ > 0 && unsent() <= carrier_.shared().limits.unsent_bytes_max) {
    call_->consumed(std::exchange(owed_, 0));
  }
  giving_credit_ = false;
}

void CallExchange::drained() {
  if (!call_ || owed_ == 0) return;
  if (carrier_.unsent() <= carrier_.shared().limits.unsent_bytes_max / 2) wait_for_room();
}

void CallExchange::wait_for_room() {
  Shared& shared = carrier_.shared();
  shared.loop.arm(credit_timer_, shared.loop.now());
}

bool CallExchange::count_collected(std::size_t held) {
  Shared& shared = carrier_.shared();
  const std::size_t others = shared.collected_bytes - collected_;
  if (held > collected_ && others + held > shared.limits.collected_bytes_max) {
    fail(503, Status(Code::resource_exhausted, "S4003", "too many request bodies are on their way at once")
                  .with_retry(Retry::later));
    return false;
  }
  collected_ = held;
  shared.collected_bytes = others + held;
  return true;
}

Status CallExchange::judge(Status status, bool lacks_message) const {
  if (has_too_many_) {
    return {Code::internal, "S1014",
            fmt::format("{} answered a unary call with more than one message",
                        target_ == nullptr ? std::string_view("the command") : target_->command_name)};
  }
  if (status.is_ok() && lacks_message) {
    return {Code::internal, "S1014", "the command ended a unary call without a message"};
  }
  if (is_shutting_down_ && !status.is_ok()) {
    return Status(Code::unavailable, "S1015", "the node shut down before the call had ended").with_retry(Retry::later);
  }
  return status;
}

void CallExchange::abandon() {
  over_ = true;
  calling_ = held_ = false;
  credit_timer_.disarm();
  release_collected();
  call_.reset();
}

void CallExchange::shut_down() {
  is_shutting_down_ = true;
  carrier_.close_after();
  if (call_) call_->cancel(call::Cancel::shutdown);
}

void CallExchange::close(int http_status, bool counted, std::optional<Code> grpc_status) {
  Shared& shared = carrier_.shared();
  over_ = true;
  calling_ = held_ = false;
  credit_timer_.disarm();
  release_collected();
  if (counted) GatewayStats::add(shared.shard.answers[static_cast<std::size_t>(std::clamp(http_status, 0, 599))]);
  if (shared.hooks.access_log) {
    AccessRecord record;
    record.method = log_method_;
    record.target = log_target_;
    record.status = http_status;
    record.grpc_status = grpc_status;
    record.bytes = carrier_.written();
    record.took = shared.loop.now() - began_;
    record.user = principal_.user;
    shared.hooks.access_log(record);
  }
  carrier_.go_on();
}

}  // namespace shunt::gateway
