#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/names.h"
#include "worker.h"

namespace shunt::sdk {

namespace {

// What of a call's metadata goes on to the calls that are made on its behalf.
constexpr std::array<std::string_view, 3> trace_keys = {"traceparent", "tracestate", "baggage"};

Result<call::Metadata> read_metadata(const shunt_pair* pairs, std::size_t count) {
  call::Metadata metadata;
  for (std::size_t i = 0; i < count; i++) SHUNT_CHECK(metadata.add(to_view(pairs[i].key), to_view(pairs[i].value)));
  return metadata;
}

/// The same where there is no way to answer an error: what is bad is left out, and the log says so.
call::Metadata read_what_is_good(const shunt_pair* pairs, std::size_t count, std::string_view what) {
  call::Metadata metadata;
  for (std::size_t i = 0; i < count; i++) {
    auto added = metadata.add(to_view(pairs[i].key), to_view(pairs[i].value));
    if (!added) fmt::print(stderr, "shunt: {} left out: {}\n", what, added.error().to_string());
  }
  return metadata;
}

void show_metadata(const call::Metadata& metadata, std::vector<shunt_pair>& pairs) {
  pairs.clear();
  for (auto& [key, value] : metadata) pairs.push_back({to_slice(key), to_slice(value)});
}

}  // namespace

call::Message take_message(shunt_message* message) {
  if (message == nullptr) return call::Message(Bytes());
  shunt_message taken = std::exchange(*message, shunt_message{});
  if (taken.type != nullptr) return call::Message(taken.type, taken.value);
  if (taken.release == &Holder::release) {
    // One of ours goes on as it came.
    Own<Holder> holder(static_cast<Holder*>(taken.owner));
    if (taken.data == holder->bytes.data() && taken.size == holder->bytes.size()) {
      return call::Message(std::move(holder->bytes));
    }
    taken.owner = holder.release();
  }
  if (taken.release == nullptr) return call::Message(Bytes::copy_of(std::string_view(taken.data, taken.size)));
  return call::Message(Bytes::external(taken.data, taken.size, taken.release, taken.owner));
}

Status read_status(const shunt_status* from) {
  shunt_status status = read_struct(from);
  if (status.code == 0) return Status();
  Code code = status.code < code_count ? static_cast<Code>(status.code) : Code::unknown;
  Status result(code, to_view(status.id), std::string(to_view(status.message)));
  // "Never started, go elsewhere" is a link's to say: a handler that hands on what another service answered has run.
  if (status.retry < static_cast<std::uint32_t>(Retry::elsewhere)) result.with_retry(static_cast<Retry>(status.retry));
  if (status.retry == static_cast<std::uint32_t>(Retry::elsewhere)) result.with_retry(Retry::later);
  if (status.details.size > 0) result.with_details(std::string(to_view(status.details)));
  return result;
}

shunt_status show_status(const Status& status) {
  shunt_status shown{};
  shown.size = sizeof shown;
  shown.code = static_cast<std::uint32_t>(status.code());
  shown.retry = static_cast<std::uint32_t>(status.retry());
  shown.id = to_slice(status.id());
  shown.message = to_slice(status.message());
  shown.details = to_slice(status.details());
  return shown;
}

// ---- Beginning -----------------------------------------------------------------------------------------------------

void WorkerCall::begin_incoming(call::IncomingHandle call, const call::Open& open, const call::Opening& opening) {
  incoming_ = true;
  incoming_end_ = std::move(call);
  command_ = open.command;
  deadline_ = open.deadline;
  hops_ = open.hops;
  if (open.metadata != nullptr) metadata_ = *open.metadata;
  if (open.principal != nullptr) principal_ = *open.principal;
  show_metadata(metadata_, pairs_);

  open_ = {};
  open_.size = sizeof open_;
  open_.flags = (opening.has_message ? SHUNT_HAS_MESSAGE : 0u) | (opening.last == call::Last::yes ? SHUNT_LAST : 0u);
  open_.target = to_slice(command_);
  open_.deadline_ns = deadline_.at().ns;
  open_.metadata = pairs_.data();
  open_.metadata_count = pairs_.size();
  open_.principal_kind = static_cast<std::uint32_t>(principal_.kind);
  open_.principal_service = to_slice(principal_.service);
  open_.principal_user = to_slice(principal_.user);
  open_.token = to_slice(principal_.token);
  open_.command = UINT32_MAX;
  incoming_end_->listen(*this);
}

void WorkerCall::begin_outgoing(const shunt_open& open, shunt_message* first, void* user) {
  user_ = user;
  call::Opening opening;
  opening.has_message = (open.flags & SHUNT_HAS_MESSAGE) != 0;
  opening.last = (open.flags & SHUNT_LAST) != 0 ? call::Last::yes : call::Last::no;
  if (opening.has_message) opening.message = take_message(first);

  call::Metadata metadata;
  if (auto read = read_opening(open, metadata); !read) {
    fail_open(std::move(read).error());
    return;
  }
  auto target = split_target(to_view(open.target));
  if (!target || target->first.empty() || target->second.empty()) {
    fail_open(Status(Code::invalid_argument, "S3063",
                     fmt::format("\"{}\" names no command: a call goes to \"SERVICE.COMMAND\", such as \"prices.get\"",
                                 to_view(open.target))));
    return;
  }
  WorkerCall* parent = open.parent == nullptr ? nullptr : &from(open.parent);
  if (parent != nullptr && parent->cancelled_) {
    fail_open(call::cancel_status(*parent->cancelled_));
    return;
  }
  call::CallStart start;
  start.service = target->first;
  start.command = target->second;
  start.metadata = metadata.empty() ? nullptr : &metadata;
  start.deadline = deadline_;
  start.principal = &principal_;
  start.hops = hops_;
  start.encoding = (open.flags & SHUNT_PROTO) != 0 ? call::Encoding::proto : call::Encoding::json;
  auto& host = worker_.host();
  if (parent != nullptr && parent->incoming_end_) {
    parent->adopt(*this);
    outgoing_end_ = host.start_beside(*parent->incoming_end_, start, *this, std::move(opening));
  } else {
    outgoing_end_ = host.start(start, *this, std::move(opening));
  }
}

Result<void> WorkerCall::read_opening(const shunt_open& open, call::Metadata& metadata) {
  SHUNT_TRY(metadata, read_metadata(open.metadata, open.metadata_count));
  deadline_ = Deadline(Instant{open.deadline_ns});
  principal_.kind = call::PrincipalKind::service;
  principal_.service = worker_.service();
  principal_.token = to_view(open.token);
  if (open.parent == nullptr) return {};

  WorkerCall& parent = from(open.parent);
  deadline_ = earlier(deadline_, parent.deadline_);
  hops_ = parent.hops_;
  principal_.user = parent.principal_.user;
  if (principal_.token.empty()) principal_.token = parent.principal_.token;
  for (auto key : trace_keys) {
    auto value = parent.metadata_.find(key);
    if (value && !metadata.find(key)) metadata.add_unchecked(std::string(key), std::string(*value));
  }
  return {};
}

void WorkerCall::fail_open(Status why) { on_end(std::move(why), {}); }

// ---- What the runtime does -----------------------------------------------------------------------------------------

shunt_sent WorkerCall::send(shunt_message* message, std::uint32_t flags) {
  call::Message taken = take_message(message);
  call::Sent sent = call::Sent::ended;
  if (incoming_) {
    if (!finished_ && incoming_end_) sent = incoming_end_->send(std::move(taken));
  } else if (!ended_ && outgoing_end_) {
    sent = outgoing_end_->send(std::move(taken), (flags & SHUNT_LAST) != 0 ? call::Last::yes : call::Last::no);
  }
  if (sent == call::Sent::ended) return SHUNT_ENDED;
  held_ = sent == call::Sent::held;
  return held_ ? SHUNT_HELD : SHUNT_MORE;
}

void WorkerCall::half_close() {
  if (outgoing_end_ && !ended_) outgoing_end_->half_close();
}

void WorkerCall::consume(std::size_t cost) {
  if (cost == 0) return;
  if (incoming_end_ && !finished_) incoming_end_->consumed(cost);
  if (outgoing_end_ && !ended_) outgoing_end_->consumed(cost);
}

void WorkerCall::send_metadata(const shunt_pair* pairs, std::size_t count) {
  if (incoming_end_ && !finished_) incoming_end_->send_metadata(read_what_is_good(pairs, count, "metadata"));
}

void WorkerCall::finish(const shunt_status* status, shunt_message* last, const shunt_pair* trailers,
                        std::size_t trailer_count) {
  call::Message message;
  if (last != nullptr) message = take_message(last);
  if (!incoming_ || finished_ || !incoming_end_) return;
  finished_ = true;
  Status how = read_status(status);
  call::Metadata metadata = read_what_is_good(trailers, trailer_count, "a trailer");
  if (!how.is_ok() || last == nullptr) {
    incoming_end_->finish(std::move(how), std::move(metadata));
  } else if (held_ && !cancelled_) {
    // The last message waits for credit like every other; the end waits behind it.
    pending_ = make_own<PendingFinish>(PendingFinish{std::move(how), std::move(message), std::move(metadata)});
  } else if (metadata.empty()) {
    incoming_end_->finish_with(std::move(message));
  } else {
    incoming_end_->send(std::move(message));
    incoming_end_->finish(Status(), std::move(metadata));
  }
}

void WorkerCall::finish_pending() {
  auto pending = std::move(pending_);
  if (!cancelled_) incoming_end_->send(std::move(pending->last));
  incoming_end_->finish(std::move(pending->status), std::move(pending->trailers));
  if (!released_) return;
  incoming_end_.reset();
  worker_.reuse(*this);
}

void WorkerCall::cancel(call::Cancel reason) {
  if (outgoing_end_ && !ended_) outgoing_end_->cancel(reason);
}

void WorkerCall::release() {
  if (std::exchange(released_, true)) return;
  leave_parent();
  while (first_child_ != nullptr) first_child_->leave_parent();
  outgoing_end_.reset();
  if (!pending_) incoming_end_.reset();
  worker_.reuse(*this);
}

void WorkerCall::adopt(WorkerCall& child) {
  child.parent_ = this;
  child.next_sibling_ = first_child_;
  if (first_child_ != nullptr) first_child_->previous_sibling_ = &child;
  first_child_ = &child;
}

void WorkerCall::leave_parent() {
  if (parent_ == nullptr) return;
  if (parent_->first_child_ == this) parent_->first_child_ = next_sibling_;
  if (previous_sibling_ != nullptr) previous_sibling_->next_sibling_ = next_sibling_;
  if (next_sibling_ != nullptr) next_sibling_->previous_sibling_ = previous_sibling_;
  parent_ = next_sibling_ = previous_sibling_ = nullptr;
}

// ---- What the kernel tells -----------------------------------------------------------------------------------------

void WorkerCall::on_metadata(call::Metadata metadata) {
  metadata_ = std::move(metadata);
  show_metadata(metadata_, pairs_);
  worker_.push(SHUNT_EVENT_METADATA, this);
}

void WorkerCall::on_message(call::Message message) {
  worker_.push_message(SHUNT_EVENT_MESSAGE, this, SHUNT_HAS_MESSAGE, std::move(message));
}

void WorkerCall::on_half_close() { worker_.push(SHUNT_EVENT_HALF_CLOSE, this); }

void WorkerCall::on_credit() {
  held_ = false;
  if (pending_) {
    finish_pending();
  } else {
    worker_.push(SHUNT_EVENT_CREDIT, this);
  }
}

void WorkerCall::on_cancel(call::Cancel reason) {
  cancelled_ = reason;
  while (first_child_ != nullptr) {
    WorkerCall& child = *first_child_;
    child.leave_parent();
    child.cancel(reason);
  }
  if (pending_) {
    finish_pending();
  } else {
    worker_.push(SHUNT_EVENT_CANCEL, this, 0, static_cast<std::uint32_t>(reason));
  }
}

void WorkerCall::on_end(Status status, call::Metadata trailers) {
  ended_ = true;
  leave_parent();
  status_ = std::move(status);
  trailers_ = std::move(trailers);
  shown_status_ = show_status(status_);
  show_metadata(trailers_, trailer_pairs_);
  worker_.push(SHUNT_EVENT_END, this);
}

void WorkerCall::show(shunt_event& event) const {
  event.user = user_;
  switch (event.kind) {
    case SHUNT_EVENT_CALL:
      event.open = &open_;
      break;
    case SHUNT_EVENT_METADATA:
      event.metadata = pairs_.data();
      event.metadata_count = pairs_.size();
      break;
    case SHUNT_EVENT_END:
      event.status = &shown_status_;
      event.metadata = trailer_pairs_.data();
      event.metadata_count = trailer_pairs_.size();
      break;
    default:
      break;
  }
}

void WorkerCall::reset() {
  user_ = nullptr;
  incoming_ = held_ = ended_ = finished_ = released_ = false;
  hops_ = 0;
  cancelled_.reset();
  deadline_ = Deadline();
  command_.clear();
  principal_ = {};
  metadata_ = {};
  trailers_ = {};
  status_ = Status();
  pairs_.clear();
  trailer_pairs_.clear();
  open_ = {};
}

}  // namespace shunt::sdk
