#include "library/module_calls.h"

#include <utility>
#include <vector>

#include "base/names.h"
#include "library/module_state.h"

namespace shunt::library {

namespace {

shunt_slice slice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view view(shunt_slice text) {
  return text.size == 0 ? std::string_view() : std::string_view(text.data, text.size);
}

std::vector<shunt_pair> pairs_of(const call::Metadata& metadata) {
  std::vector<shunt_pair> pairs;
  pairs.reserve(metadata.size());
  for (const auto& [key, value] : metadata) pairs.push_back({slice(key), slice(value)});
  return pairs;
}

void drop_bytes(void* given) { Bytes::drop(given); }

}  // namespace

shunt_event event_of(ModuleCall& call, std::uint32_t kind) {
  shunt_event event{};
  event.size = sizeof(event);
  event.kind = kind;
  event.call = call.handle();
  event.user = call.user;
  return event;
}

void tell_principal(const call::Principal& principal, shunt_open& open) {
  open.principal_kind = static_cast<std::uint32_t>(principal.kind);
  open.principal_service = slice(principal.service);
  open.principal_user = slice(principal.user);
  open.token = slice(principal.token);
}

// ---- Messages ---------------------------------------------------------------------------------------------------------

Lent::Lent(call::Message message) : cost(message.cost()) {
  if (message.is_typed()) {
    raw.type = message.type();
    raw.value = message.take_value();
    return;
  }
  Bytes bytes = message.bytes();
  raw.data = bytes.data();
  raw.size = bytes.size();
  raw.owner = bytes.give();
  raw.release = &drop_bytes;
}
Lent::~Lent() {
  if (raw.type != nullptr) {
    raw.type->destroy(raw.value);
  } else if (raw.release != nullptr) {
    raw.release(raw.owner);
  }
}

call::Message take_message(shunt_message* message) {
  if (message == nullptr) return {};
  if (message->type != nullptr) return {std::exchange(message->type, nullptr), message->value};
  std::string_view bytes(message->data, message->size);
  auto* release = std::exchange(message->release, nullptr);
  if (release == nullptr) return call::Message(Bytes::copy_of(bytes));
  if (bytes.empty()) {
    release(message->owner);
    return {};
  }
  return call::Message(Bytes::external(bytes.data(), bytes.size(), release, message->owner));
}

Status take_status(const shunt_status* status) {
  if (status == nullptr || status->code == 0) return {};
  auto code = status->code < code_count ? static_cast<Code>(status->code) : Code::unknown;
  std::string_view id = view(status->id);
  Status made = id.empty() ? Status(code, std::string(view(status->message)))
                           : Status(code, id, std::string(view(status->message)));
  // "Never started, go elsewhere" is a link's to say: a handler that hands on what another service answered has run.
  if (status->retry < 3) made.with_retry(static_cast<Retry>(status->retry));
  if (status->retry == 3) made.with_retry(Retry::later);
  if (status->details.size != 0) made.with_details(std::string(view(status->details)));
  return made;
}

// ---- Both kinds -------------------------------------------------------------------------------------------------------

void ModuleCall::join_service() {
  joined_ = true;
  next = state.calls;
  if (next != nullptr) next->previous_ = this;
  state.calls = this;
}
void ModuleCall::leave_service() {
  if (!std::exchange(joined_, false)) return;
  (previous_ != nullptr ? previous_->next : state.calls) = next;
  if (next != nullptr) next->previous_ = previous_;
  next = previous_ = nullptr;
}

ServedCall::~ServedCall() {
  if (gone_ != nullptr) *gone_ = true;
  while (children_ != nullptr) children_->leave_parent();
}

void ServedCall::make_principal() {
  auto made = std::make_shared<call::Principal>(*state.self);
  made->user = user_->user;
  made->token = user_->token;
  principal_ = std::move(made);
}

void ServedCall::tell(std::uint32_t kind) { state.deliver(event_of(*this, kind), command_, activity_); }

void ServedCall::tell_cancel(call::Cancel reason) {
  cancelled_ = true;
  bool gone = false;
  gone_ = &gone;
  shunt_event event = event_of(*this, SHUNT_EVENT_CANCEL);
  event.reason = static_cast<std::uint32_t>(reason);
  state.deliver(event, command_, activity_);
  // What it called on behalf of the cancelled call has no use any more.
  while (!gone && children_ != nullptr) {
    PlacedCall& child = *children_;
    child.leave_parent();
    child.cancel(reason);
  }
  if (!gone) gone_ = nullptr;
}

void PlacedCall::join_parent(ServedCall* parent) {
  parent_ = parent;
  if (parent_ == nullptr) return;
  next_sibling_ = parent_->children_;
  if (next_sibling_ != nullptr) next_sibling_->previous_sibling_ = this;
  parent_->children_ = this;
}

void PlacedCall::leave_parent() {
  if (parent_ == nullptr) return;
  (previous_sibling_ != nullptr ? previous_sibling_->next_sibling_ : parent_->children_) = next_sibling_;
  if (next_sibling_ != nullptr) next_sibling_->previous_sibling_ = previous_sibling_;
  next_sibling_ = previous_sibling_ = nullptr;
  parent_ = nullptr;
}

void PlacedCall::deliver(const shunt_event& event) {
  state.deliver(event, command(), parent_ != nullptr ? parent_->activity() : 0);
}

void PlacedCall::tell_answer(call::Message message) {
  static constexpr shunt_status ok = {.size = sizeof(shunt_status)};
  Lent lent(std::move(message));
  shunt_event event = event_of(*this, SHUNT_EVENT_END);
  event.flags = SHUNT_HAS_MESSAGE;
  event.status = &ok;
  event.message = &lent.raw;
  event.cost = lent.cost;
  deliver(event);
}

void PlacedCall::tell_end(const Status& status, const call::Metadata& trailers) {
  auto pairs = pairs_of(trailers);
  shunt_status told{};
  told.size = sizeof(told);
  told.code = static_cast<std::uint32_t>(status.code());
  told.retry = static_cast<std::uint32_t>(status.retry());
  told.id = slice(status.id());
  told.message = slice(status.message());
  told.details = slice(status.details());
  shunt_event event = event_of(*this, SHUNT_EVENT_END);
  event.status = &told;
  event.metadata = pairs.data();
  event.metadata_count = pairs.size();
  deliver(event);
}

// ---- Calls that come in -----------------------------------------------------------------------------------------------

IncomingCall::IncomingCall(ModuleService::State& owner, call::IncomingHandle call, const call::Open& open,
                           std::uint32_t index)
    : ServedCall(owner, owner.command_name(index), owner.activity_of(index), open.deadline, open.hops),
      call_(std::move(call)) {
  join_service();
  owner.incoming++;
  if (open.principal != nullptr && (!open.principal->user.empty() || !open.principal->token.empty())) {
    user_ = open.principal;
    make_principal();
    user_ = nullptr;  // It is borrowed.
  }
}

IncomingCall::~IncomingCall() { state.incoming--; }

void IncomingCall::start(const call::Open& open, call::Opening opening, std::uint32_t index) {
  call_->listen(*this);
  shunt_open told{};
  told.size = sizeof(told);
  told.command = index;
  told.target = state.module.commands[index].name;
  told.deadline_ns = open.deadline.is_never() ? SHUNT_NO_DEADLINE : open.deadline.at().ns;
  std::vector<shunt_pair> pairs;
  if (open.metadata != nullptr && !open.metadata->empty()) {
    pairs = pairs_of(*open.metadata);
    told.metadata = pairs.data();
    told.metadata_count = pairs.size();
  }
  if (open.principal != nullptr) tell_principal(*open.principal, told);
  shunt_event event = event_of(*this, SHUNT_EVENT_CALL);
  event.open = &told;
  event.flags = (opening.has_message ? SHUNT_HAS_MESSAGE : 0U) | (opening.last == call::Last::yes ? SHUNT_LAST : 0U);
  told.flags = event.flags;
  if (!opening.has_message) return state.deliver(event, command_, activity());
  Lent lent(std::move(opening.message));
  event.message = &lent.raw;
  event.cost = lent.cost;
  state.deliver(event, command_, activity());
}

void IncomingCall::on_message(call::Message message) {
  Lent lent(std::move(message));
  shunt_event event = event_of(*this, SHUNT_EVENT_MESSAGE);
  event.flags = SHUNT_HAS_MESSAGE;
  event.message = &lent.raw;
  event.cost = lent.cost;
  state.deliver(event, command_, activity());
}
void IncomingCall::on_cancel(call::Cancel reason) { tell_cancel(reason); }

call::Sent IncomingCall::send(call::Message message, call::Last) {
  return finished_ ? call::Sent::ended : call_->send(std::move(message));
}
void IncomingCall::consume(std::size_t cost) {
  if (!finished_) call_->consumed(cost);
}
void IncomingCall::send_metadata(call::Metadata metadata) {
  if (!finished_) call_->send_metadata(std::move(metadata));
}
void IncomingCall::finish(Status status, call::Message* last, call::Metadata trailers) {
  if (std::exchange(finished_, true)) return;
  if (status.is_ok() && last != nullptr) {
    if (trailers.empty()) return call_->finish_with(std::move(*last));
    call_->send(std::move(*last));
  }
  call_->finish(std::move(status), std::move(trailers));
}
void IncomingCall::release() { delete this; }
void IncomingCall::abandon() {
  finish(Status(Code::unavailable, "S1015", "the service is shutting down").with_retry(Retry::later), nullptr, {});
  delete this;
}

// ---- Calls that go out ------------------------------------------------------------------------------------------------

OutgoingCall::OutgoingCall(ModuleService::State& owner, ServedCall* parent, void* given_user) : PlacedCall(owner) {
  user = given_user;
  join_service();
  join_parent(parent);
}

void OutgoingCall::start(const shunt_open& open, call::Opening opening) {
  opening_ = true;
  begin(open, std::move(opening));
  opening_ = false;
  if (released_) delete this;
}

void OutgoingCall::begin(const shunt_open& open, call::Opening opening) {
  auto target = split_target(view(open.target));
  if (!target) {
    return on_end({Code::invalid_argument, "S3063",
                   "'" + std::string(view(open.target)) + "' is no target of a call: it must be SERVICE.COMMAND"},
                  {});
  }
  call::Metadata metadata;
  for (std::size_t i = 0; i < open.metadata_count; ++i) {
    auto added = metadata.add(view(open.metadata[i].key), view(open.metadata[i].value));
    if (!added) return on_end(std::move(added).error(), {});
  }
  auto deadline = open.deadline_ns == SHUNT_NO_DEADLINE ? Deadline() : Deadline(Instant{open.deadline_ns});
  if (parent_ != nullptr) {
    if (parent_->is_cancelled()) return on_end(call::cancel_status(call::Cancel::caller), {});
    deadline = earlier(deadline, parent_->deadline());
    principal_ = parent_->on_behalf();
  }
  call::CallStart start{.service = target->first,
                        .command = target->second,
                        .metadata = metadata.empty() ? nullptr : &metadata,
                        .deadline = deadline,
                        .principal = principal_ ? principal_.get() : state.self.get(),
                        .hops = parent_ != nullptr ? parent_->hops() : std::uint8_t{0},
                        .encoding = (open.flags & SHUNT_PROTO) != 0 ? call::Encoding::proto : call::Encoding::json};
  call_ = state.caller.start(start, *this, std::move(opening));
}

void OutgoingCall::on_metadata(call::Metadata metadata) {
  auto pairs = pairs_of(metadata);
  shunt_event event = event_of(*this, SHUNT_EVENT_METADATA);
  event.metadata = pairs.data();
  event.metadata_count = pairs.size();
  deliver(event);
}
void OutgoingCall::on_message(call::Message message) {
  Lent lent(std::move(message));
  shunt_event event = event_of(*this, SHUNT_EVENT_MESSAGE);
  event.flags = SHUNT_HAS_MESSAGE;
  event.message = &lent.raw;
  event.cost = lent.cost;
  deliver(event);
}
void OutgoingCall::on_credit() { deliver(event_of(*this, SHUNT_EVENT_CREDIT)); }
void OutgoingCall::on_end(Status status, call::Metadata trailers) {
  ended_ = true;
  tell_end(status, trailers);
}
void OutgoingCall::on_answer(call::Message message) {
  ended_ = true;
  tell_answer(std::move(message));
}

call::Sent OutgoingCall::send(call::Message message, call::Last last) {
  if (call_ == nullptr || ended_) return call::Sent::ended;
  return call_->send(std::move(message), last);
}
void OutgoingCall::half_close() {
  if (call_ != nullptr && !ended_) call_->half_close();
}
void OutgoingCall::consume(std::size_t cost) {
  if (call_ != nullptr && !ended_) call_->consumed(cost);
}
void OutgoingCall::cancel(call::Cancel reason) {
  if (call_ != nullptr && !ended_) call_->cancel(reason);
}
void OutgoingCall::release() {
  if (opening_) {
    released_ = true;
  } else {
    delete this;
  }
}
void OutgoingCall::abandon() { delete this; }

}  // namespace shunt::library
