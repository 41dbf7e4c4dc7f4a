#include "worker.h"

#include <algorithm>

#include "worker/environment.h"
#include "worker_links/mux_node_link.h"

namespace shunt::sdk {

namespace {
constexpr std::size_t holders_kept_max = 256;
constexpr std::size_t batch_max = 4096;
/// A runtime that never empties the queue still hears what is new, and its pings are answered.
constexpr int polls_without_turn_max = 16;
/// How long close() waits for answers to leave; after it they are lost.
constexpr Duration linger = std::chrono::seconds(1);
}  // namespace

Result<Own<Worker>> Worker::create(Options options) {
  SHUNT_TRY(auto environment, worker::take_environment());
  // What takes long in a turn here is not the runtime's code: that runs between polls.
  SHUNT_TRY(auto loop, loop::EpollLoop::create({.name = "worker", .slow_turn = Duration(0)}));
  Own<Worker> worker(new Worker(std::move(loop)));
  worker->service_ = environment.service;
  worker->maker_ = make_own<worker_links::MuxNodeLinkMaker>(*worker->loop_);
  worker::HostOptions host;
  host.concurrency = options.concurrency;
  host.software = std::move(options.software);
  host.definition = std::move(options.definition);
  SHUNT_TRY(worker->host_, worker::WorkerHost::create(*worker->loop_, *worker->maker_, *worker, *worker,
                                                      std::move(environment), std::move(host)));
  worker->flush();
  return worker;
}

Worker::~Worker() {
  retire_batch();
  flush();
  // The last answers may still wait for room in a socket. Nobody who reads is that slow.
  Deadline patience = Deadline::after(loop_->refresh_now(), linger);
  while (host_ && host_->has_unsent() && !patience.passed(loop_->refresh_now())) {
    loop_->turn(patience.left(loop_->now()));
  }
  for (auto& call : calls_) call->release();
  host_.reset();
}

int Worker::poll(shunt_event* events, int capacity, std::int64_t timeout_ns) {
  retire_batch();
  polling_ = true;
  loop_->finish_turn();
  if (head_ == queue_.size()) {
    bool woken = woken_.exchange(false, std::memory_order_acquire);
    loop_->turn(Duration(woken ? 0 : timeout_ns));
    woken_.store(false, std::memory_order_relaxed);
    polls_without_turn_ = 0;
  } else if (++polls_without_turn_ >= polls_without_turn_max) {
    loop_->turn(Duration(0));
    polls_without_turn_ = 0;
  }
  int count = fill(events, capacity);
  polling_ = false;
  if (head_ < queue_.size()) ring();
  return count;
}

std::int64_t Worker::idle_ns() {
  if (head_ < queue_.size()) return 0;
  Duration idle = loop_->idle_for();
  return idle == Duration::max() ? -1 : idle.count();
}

void Worker::flush() { loop_->finish_turn(); }

void Worker::wake() {
  woken_.store(true, std::memory_order_release);
  loop_->post([] {});
}

void Worker::ring() {
  if (std::exchange(rung_, true)) return;
  loop_->post([this] { rung_ = false; });
}

// ---- The queue -----------------------------------------------------------------------------------------------------

void Worker::push(std::uint32_t kind, WorkerCall* call, std::uint32_t flags, std::uint32_t reason) {
  enqueue({.kind = kind, .flags = flags, .reason = reason, .call = call, .cost = 0, .bytes = {}});
}

void Worker::push_message(std::uint32_t kind, WorkerCall* call, std::uint32_t flags, call::Message message) {
  std::size_t cost = message.cost();
  enqueue({.kind = kind, .flags = flags, .reason = 0, .call = call, .cost = cost, .bytes = message.bytes()});
}

void Worker::enqueue(Queued queued) {
  if (queued.call != nullptr) queued.call->events_out++;
  queue_.push_back(std::move(queued));
  if (!polling_) ring();
}

int Worker::fill(shunt_event* events, int capacity) {
  auto room = std::min(capacity > 0 ? static_cast<std::size_t>(capacity) : 0, batch_max);
  // Events point at these: they don't move while a batch is out.
  if (batch_messages_.capacity() < room) batch_messages_.reserve(room);
  int count = 0;
  while (head_ < queue_.size() && static_cast<std::size_t>(count) < room) {
    Queued& queued = queue_[head_++];
    if (queued.call != nullptr && queued.call->is_void()) {
      queued.bytes = Bytes();
      queued.call->events_out--;
      reuse(*queued.call);
      continue;
    }
    shunt_event& event = events[count++];
    event = {};
    event.size = sizeof event;
    event.kind = queued.kind;
    event.flags = queued.flags;
    event.reason = queued.reason;
    if (queued.call == nullptr) continue;
    event.call = queued.call->handle();
    event.cost = queued.cost;
    queued.call->show(event);
    if ((queued.flags & SHUNT_HAS_MESSAGE) != 0) show_message(event, queued);
    batch_calls_.push_back(queued.call);
  }
  // What was handed out must not pile up before a queue that never empties.
  if (head_ == queue_.size() || head_ >= batch_max) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  return count;
}

void Worker::show_message(shunt_event& event, Queued& queued) {
  Own<Holder> holder;
  if (holders_free_.empty()) {
    holder = make_own<Holder>();
  } else {
    holder = std::move(holders_free_.back());
    holders_free_.pop_back();
  }
  holder->bytes = std::move(queued.bytes);
  shunt_message message{};
  message.data = holder->bytes.data();
  message.size = holder->bytes.size();
  message.release = &Holder::release;
  message.owner = holder.get();
  batch_messages_.push_back(message);
  batch_holders_.push_back(std::move(holder));
  event.message = &batch_messages_.back();
}

void Worker::retire_batch() {
  for (std::size_t i = 0; i < batch_messages_.size(); i++) {
    auto& holder = batch_holders_[i];
    if (batch_messages_[i].release == nullptr) {
      // Taken: whoever took it frees it, or has done so.
      [[maybe_unused]] auto* theirs = holder.release();
    } else if (holders_free_.size() < holders_kept_max) {
      holder->bytes = Bytes();
      holders_free_.push_back(std::move(holder));
    }
  }
  batch_messages_.clear();
  batch_holders_.clear();
  for (WorkerCall* call : batch_calls_) {
    call->events_out--;
    reuse(*call);
  }
  batch_calls_.clear();
}

// ---- Calls ---------------------------------------------------------------------------------------------------------

WorkerCall& Worker::take_call() {
  if (calls_free_.empty()) {
    calls_.push_back(make_own<WorkerCall>(*this));
    return *calls_.back();
  }
  WorkerCall* call = calls_free_.back();
  calls_free_.pop_back();
  return *call;
}

void Worker::reuse(WorkerCall& call) {
  if (!call.is_reusable()) return;
  call.reset();
  calls_free_.push_back(&call);
}

void Worker::begin(call::IncomingHandle incoming, const call::Open& open, call::Opening opening) {
  WorkerCall& call = take_call();
  call.begin_incoming(std::move(incoming), open, opening);
  std::uint32_t flags = call.opening()->flags;
  if (opening.has_message) {
    push_message(SHUNT_EVENT_CALL, &call, flags, std::move(opening.message));
  } else {
    push(SHUNT_EVENT_CALL, &call, flags);
  }
}

shunt_call* Worker::open(const shunt_open* open, shunt_message* first, void* user) {
  shunt_open given = read_struct(open);
  WorkerCall& call = take_call();
  call.begin_outgoing(given, first, user);
  return call.handle();
}

}  // namespace shunt::sdk
