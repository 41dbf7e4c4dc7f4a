// The ends of calls that go over a MuxLink.

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

// --- OutCall ---------------------------------------------------------------------------------------------------------

MuxLink::OutCall::OutCall(State& link, call::CallerEvents& ear) : events(ear), sent_before(link.stats.bytes_sent) {
  state = &link;
  move_to(link.outgoing);
  link.outgoing_open++;
  link.stats.calls_opened++;
}

Sent MuxLink::OutCall::send(Message message, Last last) {
  if (over || has_waiting) return Sent::ended;
  Bytes bytes = message.take_bytes();
  if (auto limit = state->mux.limits().message_bytes_max; bytes.size() > limit) {
    State::Keep keep(*state);
    State& link = *state;
    link.mux.cancel(id, static_cast<std::uint8_t>(Cancel::protocol));
    link.end(*this, too_large(bytes.size(), limit), {});
    link.schedule();
    return Sent::ended;
  }
  if (opening_held) {
    waiting = std::move(bytes);
    waiting_last = last;
    has_waiting = true;
    return Sent::held;
  }
  Sent sent = sent_of(state->mux.send(id, std::move(bytes), last == Last::yes));
  state->schedule();
  return sent;
}

void MuxLink::OutCall::half_close() {
  if (over) return;
  if (has_waiting) {
    waiting_last = Last::yes;
    return;
  }
  state->mux.half_close(id);
  state->schedule();
}

void MuxLink::OutCall::on_credit() {
  bool untold = std::exchange(opening_held, false);
  if (!std::exchange(has_waiting, false)) {
    // Whoever was not told to wait is not told to go on.
    if (!untold) events.on_credit();
    return;
  }
  auto sent = state->mux.send(id, std::exchange(waiting, {}), waiting_last == Last::yes);
  state->schedule();
  if (sent == wire::MuxSent::more && waiting_last == Last::no) events.on_credit();
}

void MuxLink::OutCall::consumed(std::size_t cost) {
  if (over) return;
  state->mux.consumed(id, cost);
  state->schedule();
}

void MuxLink::OutCall::cancel(Cancel reason) {
  if (over) return;
  State& link = *state;
  State::Keep keep(link);
  link.mux.cancel(id, static_cast<std::uint8_t>(reason));
  link.end(*this, call::cancel_status(reason), {});
  link.schedule();
}

void MuxLink::OutCall::release() {
  State* link = state;
  bool open = !over;
  wire::CallId call = id;
  delete this;
  if (link == nullptr || !open) return;
  State::Keep keep(*link);
  link->outgoing_open--;
  if (!link->closed) link->mux.cancel(call, static_cast<std::uint8_t>(Cancel::caller));
  link->schedule();
  link->check_drained();
}

void MuxLink::OutCall::fire() {
  State& link = *state;
  State::Keep keep(link);
  link.mux.cancel(id, static_cast<std::uint8_t>(Cancel::deadline));
  link.end(*this,
           {Code::deadline_exceeded, "S1004", fmt::format("the deadline passed before {} had answered", link.peer())},
           {});
  link.schedule();
}

// --- InCall ----------------------------------------------------------------------------------------------------------

MuxLink::InCall::InCall(State& link) {
  state = &link;
  move_to(link.incoming);
  link.incoming_unfinished++;
}

void MuxLink::InCall::abort(const Status& status, Cancel reason) {
  if (over) return;
  State& link = *state;
  wire::StatusFrame frame;
  frame.code = status.code();
  frame.retry = status.retry();
  frame.id = status.id();
  frame.message = status.message();
  link.mux.finish(id, frame, wire::Unsent::drop);
  link.end_incoming(*this);
  link.schedule();
  if (events != nullptr) events->on_cancel(reason);
}

void MuxLink::InCall::fire() {
  abort({Code::deadline_exceeded, "S1004", "the deadline passed while the call ran"}, Cancel::deadline);
}

void MuxLink::InCall::send_metadata(Metadata metadata) {
  if (over || finished) return;
  State& link = *state;
  if (auto viewed = view(metadata, link.mux.limits().metadata_bytes_max, link.views); !viewed) {
    abort(viewed.error(), Cancel::protocol);
    return;
  }
  link.mux.metadata(id, link.views);
  link.schedule();
}

Sent MuxLink::InCall::send(Message message) {
  if (over || finished) return Sent::ended;
  State& link = *state;
  Bytes bytes = message.take_bytes();
  if (auto limit = link.mux.limits().message_bytes_max; bytes.size() > limit) {
    abort(too_large(bytes.size(), limit), Cancel::protocol);
    return Sent::ended;
  }
  Sent sent = sent_of(link.mux.send(id, std::move(bytes), false));
  link.schedule();
  return sent;
}

void MuxLink::InCall::consumed(std::size_t cost) {
  if (over || finished) return;
  state->mux.consumed(id, cost);
  state->schedule();
}

void MuxLink::InCall::finish(Status status, Metadata trailers) {
  if (finished || state == nullptr) return;
  finished = true;
  State& link = *state;
  State::Keep keep(link);
  link.incoming_unfinished--;
  if (!link.closed) {
    if (!over) {
      if (auto viewed = view(trailers, link.mux.limits().metadata_bytes_max, link.views); !viewed) {
        status = std::move(viewed).error();
      }
    } else {
      link.views.clear();
    }
    wire::StatusFrame frame;
    frame.code = status.code();
    frame.retry = status.retry();
    frame.id = status.id();
    frame.message = status.message();
    frame.details = status.details();
    std::swap(frame.trailers, link.views);
    if ((beginning || link.options.refuses_late) && !status.is_ok() && status.retry() == Retry::elsewhere) {
      link.mux.refuse(id, frame);
    } else {
      // Begun, so not safe to move, whatever the status says that the handler hands on.
      if (frame.retry == Retry::elsewhere) frame.retry = Retry::later;
      link.mux.finish(id, frame);
    }
    std::swap(frame.trailers, link.views);
    link.schedule();
  }
  if (!over) link.end_incoming(*this);
  link.check_drained();
}

void MuxLink::InCall::finish_with(Message message) {
  if (finished || state == nullptr) return;
  State& link = *state;
  if (over || link.closed) {
    finish({}, {});
    return;
  }
  Bytes bytes = message.take_bytes();
  if (auto limit = link.mux.limits().message_bytes_max; bytes.size() > limit) {
    finish(too_large(bytes.size(), limit), {});
    return;
  }
  finished = true;
  link.incoming_unfinished--;
  link.mux.answer(id, std::move(bytes));
  link.schedule();
  link.end_incoming(*this);
  if (!link.drains.empty()) {
    State::Keep keep(link);
    link.check_drained();
  }
}

void MuxLink::InCall::release() {
  if (!finished) finish({Code::internal, "S1013", "the service let go of the call without finishing it"}, {});
  delete this;
}

}  // namespace shunt::link
