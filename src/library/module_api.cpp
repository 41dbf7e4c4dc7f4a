#include "library/module_api.h"

#include <time.h>

#include <utility>

#include "library/module_state.h"

namespace shunt::library {

namespace {

constinit thread_local LoadLog* load_log = nullptr;

std::string_view view(shunt_slice text) {
  return text.size == 0 ? std::string_view() : std::string_view(text.data, text.size);
}

// What breaks the rules of metadata is left out, and said.
call::Metadata metadata_of(ModuleCall& call, const shunt_pair* pairs, std::size_t count) {
  call::Metadata metadata;
  for (std::size_t i = 0; i < count; ++i) {
    auto added = metadata.add(view(pairs[i].key), view(pairs[i].value));
    if (!added) call.state.library.log(2, "metadata was left out: " + added.error().to_string());
  }
  return metadata;
}

shunt_call* api_open(shunt_context* context, const shunt_open* open, shunt_message* first, void* user) {
  ServedCall* parent = open->parent != nullptr ? ModuleCall::of(open->parent).as_served() : nullptr;
  auto* call = new OutgoingCall(ModuleService::State::of(context), parent, user);
  call::Opening opening;
  if ((open->flags & SHUNT_HAS_MESSAGE) != 0 && first != nullptr) {
    opening.message = take_message(first);
    opening.has_message = true;
  }
  if ((open->flags & SHUNT_LAST) != 0) opening.last = call::Last::yes;
  shunt_call* handle = call->handle();
  call->start(*open, std::move(opening));  // May free it: a module may let go at the first event.
  return handle;
}

void api_set_user(shunt_call* call, void* user) { ModuleCall::of(call).set_user(user); }

int api_send(shunt_call* call, shunt_message* message, std::uint32_t flags) {
  auto last = (flags & SHUNT_LAST) != 0 ? call::Last::yes : call::Last::no;
  return static_cast<int>(ModuleCall::of(call).send(take_message(message), last));
}

void api_half_close(shunt_call* call) { ModuleCall::of(call).half_close(); }
void api_consume(shunt_call* call, std::size_t cost) { ModuleCall::of(call).consume(cost); }

void api_send_metadata(shunt_call* call, const shunt_pair* metadata, std::size_t count) {
  ModuleCall::of(call).send_metadata(metadata_of(ModuleCall::of(call), metadata, count));
}

void api_finish(shunt_call* call, const shunt_status* status, shunt_message* last, const shunt_pair* trailers,
                std::size_t trailer_count) {
  auto& ended = ModuleCall::of(call);
  call::Message message = take_message(last);
  ended.finish(take_status(status), last != nullptr ? &message : nullptr,
               trailer_count != 0 ? metadata_of(ended, trailers, trailer_count) : call::Metadata());
}

void api_cancel(shunt_call* call, std::uint32_t reason) {
  bool known = reason >= SHUNT_CANCEL_CALLER && reason <= SHUNT_CANCEL_PROTOCOL;
  ModuleCall::of(call).cancel(known ? static_cast<call::Cancel>(reason) : call::Cancel::caller);
}

void api_release(shunt_call* call) { ModuleCall::of(call).release(); }

std::int64_t api_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void api_log(shunt_context* context, int level, shunt_slice text) {
  if (context != nullptr) return ModuleService::State::of(context).library.log(level, view(text));
  if (load_log != nullptr) load_log->text.append(load_log->text.empty() ? "" : "; ").append(view(text));
}

void api_defer(shunt_context* context, void (*function)(void*), void* argument) {
  (new ModuleWork(ModuleService::State::of(context), function, argument))->defer();
}

void api_post(shunt_context* context, void (*function)(void*), void* argument) {
  auto& state = ModuleService::State::of(context);
  state.loop.post([&state, alive = state.alive, function, argument] {
    if (*alive) state.run(function, argument);
  });
}

void* api_timer(shunt_context* context, std::int64_t deadline_ns, void (*function)(void*), void* argument) {
  auto* work = new ModuleWork(ModuleService::State::of(context), function, argument);
  work->at(deadline_ns == SHUNT_NO_DEADLINE ? Deadline() : Deadline(Instant{deadline_ns}));
  return work;
}

void api_timer_cancel(shunt_context*, void* timer) { delete static_cast<ModuleWork*>(timer); }

shunt_site* api_site(shunt_context* context, shunt_slice target, const shunt_type* request,
                     const shunt_type* response) {
  return CallSite::find(ModuleService::State::of(context), view(target), request, response);
}

int api_unary(shunt_site* site, shunt_unary* call) { return CallSite::of(site).call(*call); }

void api_who(shunt_call* call, shunt_open* open) { ModuleCall::of(call).who(*open); }

}  // namespace

LoadLog::LoadLog() : outer_(load_log) { load_log = this; }
LoadLog::~LoadLog() { load_log = outer_; }

const shunt_api& module_api() {
  static constexpr shunt_api api = {.size = sizeof(shunt_api),
                                    .abi_major = SHUNT_ABI_MAJOR,
                                    .abi_minor = SHUNT_ABI_MINOR,
                                    .open = &api_open,
                                    .set_user = &api_set_user,
                                    .send = &api_send,
                                    .half_close = &api_half_close,
                                    .consume = &api_consume,
                                    .send_metadata = &api_send_metadata,
                                    .finish = &api_finish,
                                    .cancel = &api_cancel,
                                    .release = &api_release,
                                    .now = &api_now,
                                    .log = &api_log,
                                    .defer = &api_defer,
                                    .post = &api_post,
                                    .timer = &api_timer,
                                    .timer_cancel = &api_timer_cancel,
                                    .site = &api_site,
                                    .unary = &api_unary,
                                    .who = &api_who};
  return api;
}

}  // namespace shunt::library
