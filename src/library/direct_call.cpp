#include "library/direct_call.h"

#include <cstddef>
#include <utility>

#include "base/names.h"
#include "call/policy.h"
#include "library/module_state.h"

namespace shunt::library {

namespace {

bool has_user(const call::Principal& principal) { return !principal.user.empty() || !principal.token.empty(); }

}  // namespace

// ---- Where calls go ---------------------------------------------------------------------------------------------------

shunt_site* CallSite::find(ModuleService::State& caller, std::string_view target, const shunt_type* request,
                           const shunt_type* response) {
  const std::uint64_t* revision = caller.caller.direct_revision();
  auto names = split_target(target);
  if (revision == nullptr || !names || caller.sites.size() >= sites_max) return nullptr;
  caller.sites.push_back(make_own<CallSite>(caller, *revision, names->first, names->second, request, response));
  return reinterpret_cast<shunt_site*>(caller.sites.back().get());
}

void CallSite::resolve() {
  resolved_ = revision_;
  route_ = {};
  call::DirectRoute::Ref route(caller_.caller.direct(*caller_.self, service_, command_));
  if (!route) return;
  // What stands behind a link of this loop and is no module is called as any other.
  auto* service = dynamic_cast<ModuleService*>(&route->service());
  if (service == nullptr) return;
  ModuleService::State& callee = service->state();
  const shunt_module& module = callee.module;
  constexpr std::size_t least = offsetof(shunt_module, find_direct) + sizeof(module.find_direct);
  if (module.size < least || module.find_direct == nullptr) return;
  std::uint32_t index = callee.find(route->command().name);
  if (index == module.command_count) return;
  if (module.find_direct(module.self, index, request_, response_, &serve_) == 0) return;
  index_ = index;
  callee_ = &callee;
  route_ = std::move(route);
}

int CallSite::call(shunt_unary& unary) {
  if (resolved_ != revision_) [[unlikely]]
    resolve();
  call::DirectRoute* route = route_.get();
  // Whatever does not fit has its words on the long way.
  if (route == nullptr || !route->has_way(unary.request_bytes)) return SHUNT_ELSEWHERE;
  ServedCall* parent = nullptr;
  const call::Principal* from = caller_.self.get();
  std::uint8_t hops = 1;
  Deadline deadline(Instant{unary.deadline_ns});
  if (unary.parent != nullptr) {
    parent = ModuleCall::of(unary.parent).as_served();
    if (parent == nullptr || parent->is_cancelled() || parent->hops() >= call::hops_max) return SHUNT_ELSEWHERE;
    hops = static_cast<std::uint8_t>(parent->hops() + 1);
    deadline = earlier(deadline, parent->deadline());
    if (const auto& on_behalf = parent->on_behalf()) from = on_behalf.get();
  }
  if (deadline.is_never()) [[unlikely]]
    deadline = route->default_deadline();
  if (deadline.passed(route->loop().now())) return SHUNT_ELSEWHERE;
  return (new DirectCall(*this, deadline, *from, hops))->run(*this, unary, parent);
}

// ---- One call ---------------------------------------------------------------------------------------------------------

DirectCall::DirectCall(CallSite& site, Deadline deadline, const call::Principal& from, std::uint8_t hops)
    : ServedCall(*site.callee_, site.callee_->command_name(site.index_), site.callee_->activity_of(site.index_),
                 deadline, hops),
      route_(site.route_.get()),
      from_(from) {
  if (has_user(from)) user_ = &from;
}

DirectCall::~DirectCall() {
  if (is_counted_) state.incoming--;
}

int DirectCall::run(CallSite& site, shunt_unary& unary, ServedCall* parent) {
  // One by one: what is put together elsewhere first is read back wider than it was written, and that stalls.
  raw_.size = sizeof raw_;
  raw_.reserved = 0;
  raw_.call = handle();
  raw_.deadline_ns = deadline_.at().ns;
  raw_.request = unary.request;
  raw_.response = unary.response;
  raw_.response_bytes_max = route_->port().limits.message_bytes_max;
  // The site may go another way meanwhile: what it says now holds for this call.
  const shunt_direct_command serve = site.serve_;
  time_ = route_->begin();
  int result = state.serve(serve, raw_, command_, activity());
  route_->returned();
  if (result == SHUNT_ANSWERED) [[likely]] {
    route_->ended_at_once(time_, Code::ok);
    delete this;
    return SHUNT_ANSWERED;
  }
  go_on(site, unary, parent);
  return SHUNT_PENDING;
}

// The stack in which the call began goes, the call stays: until its caller has been told how it ended, and its callee has
// let go.
void DirectCall::go_on(CallSite& site, shunt_unary& unary, ServedCall* parent) {
  running_ = false;
  raw_.request = raw_.response = nullptr;
  if (!released_) {
    join_service();
    state.incoming++;
    is_counted_ = true;
  }
  Waiting& waiting = waiting_.emplace(*this, site.caller_);
  unary.call = waiting.handle();
  waiting.from = parent != nullptr && parent->on_behalf() != nullptr ? parent->on_behalf() : site.caller_.self;
  waiting.begin(parent, finished_);
  if (finished_) {
    ended_ = true;
    std::exchange(route_, nullptr)->ended_at_once(time_, status_.code());
    return;
  }
  route_->suspended(time_);
  route_->port().calls.add(waiting);
  route_->loop().arm(waiting, deadline_.at());
  // Its caller was cancelled while it began.
  if (parent != nullptr && parent->is_cancelled()) waiting.cancel(call::Cancel::caller);
}

// Counts how the call ended for its caller, who is still to be told.
void DirectCall::end(Code code) {
  ended_ = true;
  waiting_->leave_all();
  std::exchange(route_, nullptr)->ended(time_, code);
}

// Ends the call for both: the callee hears the reason, the caller the status.
void DirectCall::fail(Status status, call::Cancel reason) {
  if (ended_) return;
  Keep keep(*this);
  status_ = std::move(status);
  end(status_.code());
  if (!finished_ && !released_) tell_cancel(reason);
  tell_caller();
}

void DirectCall::pass_deadline() {
  route_->loop().refresh_now();
  fail(route_->deadline_status(time_, deadline_), call::Cancel::deadline);
}

// Where the caller has not yet said who hears of it, it asks by set_user().
void DirectCall::tell_caller() {
  Waiting& caller = *waiting_;
  if (caller.released) return;
  if (caller.user == nullptr) return caller.set_over();
  Keep keep(*this);
  if (answer_) {
    caller.tell_answer(*std::exchange(answer_, std::nullopt));
  } else {
    caller.tell_end(status_, {});
  }
}

// ---- The callee's end -------------------------------------------------------------------------------------------------

call::Sent DirectCall::send(call::Message, call::Last) { return call::Sent::ended; }

void DirectCall::send_metadata(call::Metadata metadata) {
  // Nobody reads it, and yet it has its limit.
  const auto& limits = route_ != nullptr ? route_->port().limits : call::LinkLimits{};
  if (finished_ || ended_ || metadata.cost() <= limits.metadata_bytes_max) return;
  finish(call::too_large(metadata.cost(), limits.metadata_bytes_max), nullptr, {});
}

void DirectCall::finish(Status status, call::Message* last, call::Metadata trailers) {
  if (std::exchange(finished_, true) || ended_) return;
  Keep keep(*this);
  const auto& limits = route_->port().limits;
  if (last != nullptr && status.is_ok() && last->size() > limits.message_bytes_max) {
    status = call::too_large(last->size(), limits.message_bytes_max);
  } else if (!trailers.empty() && trailers.cost() > limits.metadata_bytes_max) {
    status = call::too_large(trailers.cost(), limits.metadata_bytes_max);
  }
  status_ = std::move(status);
  if (last != nullptr && status_.is_ok()) answer_ = std::move(*last);
  if (running_) return;  // run() goes on from here.
  end(status_.code());
  tell_caller();
}

void DirectCall::release() {
  Keep keep(*this);
  finish({Code::internal, "S1013", "the service let go of the call without answering; see its log"}, nullptr, {});
  released_ = true;
  leave_service();
  unref();
}

void DirectCall::abandon() {
  Keep keep(*this);
  finish(Status(Code::unavailable, "S1015", "the service is shutting down").with_retry(Retry::later), nullptr, {});
  release();
}

void DirectCall::who(shunt_open& open) const { tell_principal(from_, open); }

// ---- The caller's end -------------------------------------------------------------------------------------------------

void DirectCall::Waiting::begin(ServedCall* parent, bool is_over) {
  join_service();
  join_parent(parent);
  if (is_over) set_over();
}

void DirectCall::Waiting::leave_all() {
  Timer::disarm();
  Node::leave();
}

call::Sent DirectCall::Waiting::send(call::Message, call::Last) { return call::Sent::ended; }

void DirectCall::Waiting::cancel(call::Cancel reason) { call.fail(call::cancel_status(reason), reason); }

void DirectCall::Waiting::release() {
  Keep keep(call);
  released = true;
  leave_service();
  leave_parent();
  if (!call.ended_) {
    call.end(Code::cancelled);
    if (!call.finished_ && !call.released_) call.tell_cancel(call::Cancel::caller);
  }
  call.unref();
}

}  // namespace shunt::library
