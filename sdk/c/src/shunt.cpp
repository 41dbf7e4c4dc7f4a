// The functions of shunt.h for workers: a thin skin over Worker. Everything of C is here; no thought is.
#include "shunt/shunt.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"
#include "worker/environment.h"

using shunt::Status;
using shunt::sdk::read_struct;
using shunt::sdk::to_view;
using shunt::sdk::Worker;
using shunt::sdk::WorkerCall;

namespace {

shunt_call* api_open(shunt_context* context, const shunt_open* open, shunt_message* first, void* user) {
  return Worker::from(context).open(open, first, user);
}
void api_set_user(shunt_call* call, void* user) { WorkerCall::from(call).set_user(user); }
int api_send(shunt_call* call, shunt_message* message, uint32_t flags) {
  return WorkerCall::from(call).send(message, flags);
}
void api_half_close(shunt_call* call) { WorkerCall::from(call).half_close(); }
void api_consume(shunt_call* call, size_t cost) { WorkerCall::from(call).consume(cost); }
void api_send_metadata(shunt_call* call, const shunt_pair* metadata, size_t count) {
  WorkerCall::from(call).send_metadata(metadata, count);
}
void api_finish(shunt_call* call, const shunt_status* status, shunt_message* last, const shunt_pair* trailers,
                size_t trailer_count) {
  WorkerCall::from(call).finish(status, last, trailers, trailer_count);
}
void api_cancel(shunt_call* call, uint32_t reason) {
  bool known = reason >= SHUNT_CANCEL_CALLER && reason <= SHUNT_CANCEL_PROTOCOL;
  WorkerCall::from(call).cancel(known ? static_cast<shunt::call::Cancel>(reason) : shunt::call::Cancel::caller);
}
void api_release(shunt_call* call) { WorkerCall::from(call).release(); }

int64_t api_now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// A worker's log is its standard error, which the node collects line by line. One write, so that threads' lines stay whole.
void api_log(shunt_context*, int level, shunt_slice text) {
  constexpr const char* names[] = {"debug", "info", "warning", "error"};
  std::string line = fmt::format("{}: {}\n", names[level < 0 ? 0 : level > 3 ? 3 : level], to_view(text));
  [[maybe_unused]] auto written = write(STDERR_FILENO, line.data(), line.size());
}

constexpr shunt_api worker_api = {
    .size = sizeof(shunt_api),
    .abi_major = SHUNT_ABI_MAJOR,
    .abi_minor = SHUNT_ABI_MINOR,
    .open = api_open,
    .set_user = api_set_user,
    .send = api_send,
    .half_close = api_half_close,
    .consume = api_consume,
    .send_metadata = api_send_metadata,
    .finish = api_finish,
    .cancel = api_cancel,
    .release = api_release,
    .now = api_now,
    .log = api_log,
    .defer = nullptr,
    .post = nullptr,
    .timer = nullptr,
    .timer_cancel = nullptr,
    .site = nullptr,
    .unary = nullptr,
    .who = nullptr,
};

}  // namespace

extern "C" {

int shunt_is_worker(void) { return shunt::worker::is_worker_environment() ? 1 : 0; }

shunt_worker* shunt_worker_open(const shunt_worker_options* options, shunt_status* error) {
  // The slices that *error shows live until the next call of this function, as its contract says.
  static thread_local Status last_error;
  shunt_worker_options given = read_struct(options);
  Worker::Options wanted;
  wanted.concurrency = given.concurrency;
  wanted.software = to_view(given.sdk);
  wanted.definition = to_view(given.definition);
  auto worker = Worker::create(std::move(wanted));
  if (worker) return worker->release()->handle();
  last_error = std::move(worker).error();
  if (error != nullptr) *error = shunt::sdk::show_status(last_error);
  return nullptr;
}

const shunt_api* shunt_worker_api(shunt_worker*) { return &worker_api; }
shunt_context* shunt_worker_context(shunt_worker* worker) { return Worker::from(worker).context(); }
shunt_slice shunt_worker_service(shunt_worker* worker) { return shunt::sdk::to_slice(Worker::from(worker).service()); }
int shunt_worker_fd(shunt_worker* worker) { return Worker::from(worker).fd(); }
int shunt_worker_poll(shunt_worker* worker, shunt_event* events, int capacity, int64_t timeout_ns) {
  return Worker::from(worker).poll(events, capacity, timeout_ns);
}
int shunt_event_is_void(const shunt_event* event) {
  return event->call != nullptr && WorkerCall::from(event->call).is_void() ? 1 : 0;
}
int64_t shunt_worker_idle_ns(shunt_worker* worker) { return Worker::from(worker).idle_ns(); }
void shunt_worker_flush(shunt_worker* worker) { Worker::from(worker).flush(); }
void shunt_worker_wake(shunt_worker* worker) { Worker::from(worker).wake(); }
void shunt_worker_drain(shunt_worker* worker) { Worker::from(worker).drain(); }
void shunt_worker_close(shunt_worker* worker) { delete &Worker::from(worker); }

}  // extern "C"
