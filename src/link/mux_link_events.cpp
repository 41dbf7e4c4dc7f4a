// What the mux tells a link, handed to the calls and to the owner. Once closed, the mux may know calls that are gone.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "link/mux_link_state.h"

namespace shunt::link {

using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Sent;

void MuxLink::State::on_hello(const wire::Hello& hello) {
  if (closed) return;
  if (!hello.name.empty()) peer_name = hello.name;
  if (!mux.same_clock()) {
    Instant now = loop.refresh_now();
    mux.rewrite_deadlines([now](std::int64_t at) { return at == INT64_MAX ? at : at - now.ns; });
  }
  if (owner != nullptr) owner->on_open(hello);
}

void MuxLink::State::on_open(wire::CallId id, const wire::OpenFrame& frame, Bytes* first, bool last) {
  if (closed) return;
  Deadline deadline = read_deadline(frame.deadline_ns);
  if (deadline.passed(loop.now())) {
    finish_unbegun(id, Code::deadline_exceeded, "S1004", "the deadline had passed when the call arrived");
    return;
  }
  call::Open open;
  open.service = frame.service;
  open.command = frame.command;
  open.deadline = deadline;
  open.grant = frame.grant;
  open.hops = frame.hops;
  open.encoding = frame.encoding == 1 ? call::Encoding::proto : call::Encoding::json;
  call::Opening opening;
  if (first != nullptr) {
    opening.message = Message(std::move(*first));
    opening.has_message = true;
  }
  opening.last = last ? Last::yes : Last::no;

  bool is_bare = frame.token.empty() && (!options.trust_principal || (frame.path != 0 && frame.principal_user.empty()));
  if (is_bare && frame.metadata.empty()) {
    open.principal = options.trust_principal ? &principal_of_path(frame) : &options.peer;
    begin(id, open, std::move(opening));
    return;
  }
  call::Principal principal = options.peer;
  if (options.trust_principal) {
    principal = told_principal(frame);
    principal.user = frame.principal_user;
  }
  // It is signed, so it may be handed on by somebody who is not believed.
  if (!frame.token.empty()) principal.token = frame.token.substr(0, call::token_bytes_max);
  open.principal = &principal;
  Metadata metadata;
  if (!frame.metadata.empty()) {
    metadata = owned(frame.metadata);
    open.metadata = &metadata;
  }
  begin(id, open, std::move(opening));
}

void MuxLink::State::begin(wire::CallId id, const call::Open& open, call::Opening opening) {
  auto* call = new InCall(*this);
  call->id = id;
  mux.set_user(id, static_cast<Node*>(call));
  stats.calls_opened++;
  bool gone = false;
  call->gone = &gone;
  service.begin(call::IncomingHandle(call), open, std::move(opening));
  if (gone) return;
  call->gone = nullptr;
  call->beginning = false;
  if (!call->over && !call->finished && !open.deadline.is_never()) loop.arm(*call, open.deadline.at());
}

call::Principal MuxLink::State::told_principal(const wire::OpenFrame& frame) {
  call::Principal principal;
  if (frame.principal_kind <= static_cast<std::uint8_t>(call::PrincipalKind::node)) {
    principal.kind = static_cast<call::PrincipalKind>(frame.principal_kind);
  }
  principal.service = frame.principal_service;
  return principal;
}

const call::Principal& MuxLink::State::principal_of_path(const wire::OpenFrame& frame) {
  if (path_principals.size() <= frame.path) path_principals.resize(frame.path + std::size_t{1});
  auto& principal = path_principals[frame.path];
  if (!principal) principal = told_principal(frame);
  return *principal;
}

void MuxLink::State::on_path(std::uint16_t number) {
  if (number < path_principals.size()) path_principals[number].reset();
}

void MuxLink::State::on_answer(wire::CallId, void* user, Bytes message) {
  if (closed) return;
  OutCall& call = out_call(user);
  if (call.events.wants_answer()) {
    end_silently(call);
    Keep keep(*this);
    call.events.on_answer(Message(std::move(message)));
    check_drained();
    return;
  }
  // Whoever hears the message may let go of the call, or end it.
  bool gone = false;
  call.gone = &gone;
  call.events.on_message(Message(std::move(message)));
  if (gone) return;
  call.gone = nullptr;
  if (!call.over) end(call, {}, {});
}

void MuxLink::State::on_message(wire::CallId id, void* user, Bytes message) {
  if (closed) return;
  if (is_outgoing(id)) {
    out_call(user).events.on_message(Message(std::move(message)));
  } else if (auto& call = in_call(user); call.events != nullptr) {
    call.events->on_message(Message(std::move(message)));
  }
}

void MuxLink::State::on_credit(wire::CallId id, void* user) {
  if (closed) return;
  if (is_outgoing(id)) {
    out_call(user).on_credit();
  } else if (auto& call = in_call(user); call.events != nullptr) {
    call.events->on_credit();
  }
}

}  // namespace shunt::link
