#include "worker/direct_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shunt::worker {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;

namespace {
constexpr std::size_t saved_bytes_max = 256u << 10;  // As a call's credit; what sends more can't be moved any more.

Duration shown(Duration duration) {
  return duration < std::chrono::milliseconds(10) ? std::chrono::floor<std::chrono::microseconds>(duration)
                                                  : std::chrono::floor<std::chrono::milliseconds>(duration);
}
}  // namespace

void DirectCall::begin(DirectWay way, const call::CallStart& start, call::Opening opening) {
  Keep keep(*this);
  way_ = std::move(way);
  loop::Loop& loop = host_->direct_loop();
  began_ = loop.refresh_now();
  host_->retry_budget = std::min(100.0, host_->retry_budget + 0.1);
  deadline_ = start.deadline;
  if (deadline_.is_never() && way_.command->timeout.count() > 0) {
    deadline_ = Deadline::after(began_, way_.command->timeout);
  }
  principal_ = start.principal;
  hops_ = start.hops;
  encoding_ = start.encoding;
  if (start.metadata != nullptr) metadata_ = make_own<Metadata>(*start.metadata);
  last_ = last_given_ = opening.last == Last::yes;
  if (opening.has_message) {
    // Bytes are shared, so keeping a copy to move costs a count.
    opening.message.bytes();
    sent_bytes_ = opening.message.cost();
    sent_.push_back(opening.message.copy());
    given_ = 1;
  }
  direct_ = true;
  service_ = way_.target->route->full_name;
  way_.target->in_flight++;
  call::Open open{.service = way_.target->route->full_name,
                  .command = way_.command->name,
                  .metadata = start.metadata,
                  .deadline = deadline_,
                  .principal = start.principal,
                  .hops = static_cast<std::uint8_t>(start.hops + 1),
                  .encoding = start.encoding};
  auto call = way_.target->link->calls().open(open, *this, std::move(opening));
  // It may have ended inside, or moved on; then this handle is only let go of.
  if (direct_) call_ = std::move(call);
}

void DirectCall::forget_sent() {
  sent_.clear();
  sent_bytes_ = given_ = 0;
  whole_ = false;
}

void DirectCall::accepted() {
  if (std::exchange(accepted_, true) || !direct_) return;
  if (way_.command->effect == call::Effect::any) forget_sent();
}

void DirectCall::answered() {
  accepted();
  if (std::exchange(answered_, true) || !direct_) return;
  forget_sent();
}

Sent DirectCall::send(Message message, Last last) {
  if (events_ == nullptr || last_ || call_ == nullptr) return Sent::ended;
  Keep keep(*this);
  if (last == Last::yes) last_ = true;
  const bool all_given = given_ == sent_.size();
  if (whole_) {
    message.bytes();
    sent_bytes_ += message.cost();
    if (direct_ && sent_bytes_ > saved_bytes_max) {
      forget_sent();
    } else if (direct_ || !all_given) {
      sent_.push_back(message.copy());
      if (all_given) given_++;
    }
  }
  // What was moved waits for its turn behind what has gone before.
  if (!all_given) return held_ = true, Sent::held;
  if (last == Last::yes) last_given_ = true;
  Sent sent = call_->send(std::move(message), last);
  held_ = sent == Sent::held;
  return events_ == nullptr ? Sent::ended : sent;
}

void DirectCall::half_close() {
  if (events_ == nullptr || std::exchange(last_, true) || call_ == nullptr) return;
  Keep keep(*this);
  if (given_ < sent_.size()) return;
  last_given_ = true;
  call_->half_close();
}

void DirectCall::cancel(Cancel reason) {
  if (events_ == nullptr || call_ == nullptr) return;
  Keep keep(*this);
  call_->cancel(reason);
}

void DirectCall::release() {
  events_ = nullptr;
  call_ = nullptr;
  leave(Code::cancelled);
  if (ByNode* host = std::exchange(host_, nullptr)) host->on_direct_released();
  unref();
}

void DirectCall::on_metadata(Metadata metadata) {
  answered();
  if (events_ != nullptr) events_->on_metadata(std::move(metadata));
}

void DirectCall::on_message(Message message) {
  answered();
  if (events_ != nullptr) events_->on_message(std::move(message));
}

void DirectCall::on_answer(Message message) {
  Keep keep(*this);
  leave(Code::ok);
  if (events_ != nullptr) std::exchange(events_, nullptr)->on_answer(std::move(message));
}

void DirectCall::on_credit() {
  Keep keep(*this);
  accepted();
  held_ = false;
  pump();
  if (!held_ && events_ != nullptr) events_->on_credit();
}

/// A moved call: hands on what the caller had sent before.
void DirectCall::pump() {
  while (call_ != nullptr && given_ < sent_.size()) {
    const bool last = last_ && given_ + 1 == sent_.size();
    Message next = std::move(sent_[given_++]);
    if (last) last_given_ = true;
    if (call_->send(std::move(next), last ? Last::yes : Last::no) != Sent::more) {
      held_ = true;
      return;
    }
  }
  if (!direct_) {
    sent_.clear();
    given_ = 0;
  }
  if (call_ != nullptr && last_ && !std::exchange(last_given_, true)) call_->half_close();
}

bool DirectCall::may_move(const Status& status) const {
  if (!direct_ || host_ == nullptr || host_->is_closing() || events_ == nullptr || answered_ || !whole_) return false;
  if (deadline_.passed(host_->direct_loop().now())) return false;
  if (status.retry() == Retry::elsewhere && !accepted_) return true;
  const bool lost = status.code() == Code::unavailable && status.retry() == Retry::reconnect;
  return lost && way_.command->effect != call::Effect::any && host_->retry_budget >= 1;
}

void DirectCall::on_end(Status status, Metadata trailers) {
  Keep keep(*this);
  if (!status.is_ok() && may_move(status)) {
    if (status.retry() != Retry::elsewhere) host_->retry_budget -= 1;
    move_to_node();
    return;
  }
  if (direct_ && !status.is_ok()) status = explain(std::move(status));
  leave(status.code());
  if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), std::move(trailers));
}

void DirectCall::move_to_node() {
  // The node counts it from here on.
  direct_ = false;
  call_ = nullptr;
  host_->direct_links().left(*way_.target);
  way_.target = nullptr;
  accepted_ = false;
  call::Opening opening;
  given_ = 0;
  if (!sent_.empty()) {
    opening.has_message = true;
    opening.message = std::move(sent_[0]);
    given_ = 1;
  }
  last_given_ = last_ && sent_.size() <= 1;
  if (last_given_) opening.last = Last::yes;
  call::CallStart start{.service = service_,
                        .command = way_.command->name,
                        .metadata = metadata_.get(),
                        .deadline = deadline_,
                        .principal = principal_,
                        .hops = hops_,
                        .encoding = encoding_};
  auto call = host_->place_by_node(start, *this, std::move(opening));
  if (events_ == nullptr) return;  // It has ended inside.
  call_ = std::move(call);
  const bool was_held = std::exchange(held_, false);
  pump();
  if (was_held && !held_ && events_ != nullptr) events_->on_credit();
}

/// It is at no target any more.
void DirectCall::leave(Code code) {
  if (!std::exchange(direct_, false) || host_ == nullptr) return;
  loop::Loop& loop = host_->direct_loop();
  way_.counter->count(code, loop.refresh_now() - began_);
  host_->direct_links().counted();
  host_->direct_links().left(*std::exchange(way_.target, nullptr));
}

// As the node's router says it.
Status DirectCall::explain(Status status) const {
  if (host_ == nullptr || status.id() != "S1004" || status.code() != Code::deadline_exceeded) return status;
  const Duration ran = host_->direct_loop().refresh_now() - began_;
  return {Code::deadline_exceeded, "S1004",
          fmt::format("call {}.{}: waited {} for a worker, ran {}, deadline {}", way_.target->route->full_name,
                      way_.command->name, format_duration(Duration(0)), format_duration(shown(ran)),
                      format_duration(shown(deadline_.at() - began_ + std::chrono::microseconds(500))))};
}

}  // namespace shunt::worker
