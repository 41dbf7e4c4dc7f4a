#include "pool/worker.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

namespace shunt::pool {

namespace {

/// How long after a process's end its links are read on for what it had still said.
constexpr Duration last_words_wait = std::chrono::milliseconds(200);
/// How long after SIGKILL the news of the end is waited for. A process that hangs in the kernel is given up.
constexpr Duration kill_wait = std::chrono::seconds(10);
/// A worker that refused and does not answer WAIT is tried again after this.
constexpr Duration grant_wait = std::chrono::seconds(1);
constexpr std::size_t crash_line_bytes_max = 4096;
/// A worker is judged by pulses that it missed, not by the time that passed: a node that was stopped itself judges nobody.
constexpr unsigned pulses_missed_max = 3;

}  // namespace

std::string_view state_name(WorkerState state) {
  switch (state) {
    case WorkerState::starting:
      return "starting";
    case WorkerState::ready:
      return "ready";
    case WorkerState::busy:
      return "busy";
    case WorkerState::draining:
      return "draining";
    case WorkerState::ending:
      return "ending";
    case WorkerState::backing_off:
      return "backing-off";
    case WorkerState::stopped:
      return "stopped";
  }
  return "unknown";
}

struct Worker::GrantTimeout final : loop::Timer {
  explicit GrantTimeout(Worker& its_worker) : worker(its_worker) {}
  void fire() override {
    if (worker.instance_) worker.queue_.granted(*worker.instance_, 0);
  }
  Worker& worker;
};

struct Worker::WhyTimeout final : loop::Timer {
  explicit WhyTimeout(Worker& its_worker) : worker(its_worker) {}
  void fire() override {
    if (!worker.instance_) return;
    worker.instance_->answer_why_for_now(
        Status(Code::unavailable, "S1008", fmt::format("{} closed the connection", worker.identity_.to_string()))
            .with_retry(Retry::reconnect));
  }
  Worker& worker;
};

/// A link ended and no news of the process's end has come: it lives, and is of no use.
struct Worker::LostTimeout final : loop::Timer {
  explicit LostTimeout(Worker& its_worker) : worker(its_worker) {}
  void fire() override { worker.fail(worker.lost_); }
  Worker& worker;
};

Worker::Worker(PoolWiring& wiring, const PoolOptions& options, std::size_t number, TicketQueue& queue,
               WorkerEvents& events)
    : wiring_(wiring),
      options_(options),
      queue_(queue),
      events_(events),
      identity_{options.service, number, 0},
      since_(wiring.control().now()),
      backoff_(options.backoff_first),
      changed_(wiring.control()),
      grant_timeout_(make_own<GrantTimeout>(*this)),
      why_timeout_(make_own<WhyTimeout>(*this)),
      lost_timeout_(make_own<LostTimeout>(*this)),
      scope_(wiring.control()) {}

Worker::~Worker() {
  scope_.cancel();
  if (identity_.pid != 0) {
    wiring_.spawner.forget_exit(identity_.pid);
    if (!end_) wiring_.spawner.kill(identity_.pid, SIGKILL);
  }
  if (instance_) {
    queue_.remove(*instance_);
    instance_->retire(Status(Code::unavailable, "S1015", "the pool is gone").with_retry(Retry::reconnect));
  }
}

void Worker::start(std::optional<call::SpawnedWorker> living) {
  living_ = std::move(living);
  scope_.spawn(live());
}

void Worker::stop(Deadline drain) {
  stopping_ = true;
  drain_until_ = drain_until_.is_never() ? drain : earlier(drain_until_, drain);
  changed_.set();
}

WorkerStatus Worker::status() const {
  WorkerStatus status;
  status.name = identity_.name();
  status.state = state_;
  status.pid = identity_.pid;
  status.served = served_before_;
  if (instance_) {
    status.in_flight = instance_->in_flight.load(std::memory_order_relaxed);
    status.placed = status.in_flight;
    status.distance = instance_->distance();
    status.distance_why = instance_->why();
    // Calls that came to it directly are known to itself only.
    if (const auto* load = instance_->load()) status.in_flight = std::max(status.in_flight, load->read().running);
    status.capacity = instance_->capacity.load(std::memory_order_relaxed);
    status.served += instance_->served.load(std::memory_order_relaxed);
    bool full = status.capacity > 0 && status.in_flight >= status.capacity;
    bool blocked = instance_->blocking_in_flight.load(std::memory_order_relaxed) > 0;
    if (state_ == WorkerState::ready && (full || blocked)) status.state = WorkerState::busy;
  }
  status.restarts = restarts_;
  status.software = software_;
  status.since = since_;
  status.next_start = next_start_;
  status.last_error = last_error_;
  status.crash_log = crash_log_;
  status.memory_peak_kib = memory_peak_kib_;
  return status;
}

void Worker::want_slot() {
  WorkerLink* control = instance_ ? instance_->control_link() : nullptr;
  if (control != nullptr) control->wait(restarts_ + 1, Deadline::after(wiring_.control().now(), grant_wait));
  wiring_.control().arm(*grant_timeout_, wiring_.control().now() + grant_wait);
}

// --- A life ---------------------------------------------------------------------------------------------------------

loop::Task<void> Worker::live() {
  while (!stopping_) {
    co_await live_once();
    if (stopping_) break;
    co_await back_off();
    if (!stopping_) restarts_++;
  }
  set_state(WorkerState::stopped);
}

loop::Task<void> Worker::live_once() {
  end_.reset();
  broken_.clear();
  ready_at_.reset();
  lines_.clear();
  software_.clear();
  missed_ = 0;
  set_state(WorkerState::starting);
  if (co_await begin()) {
    if (co_await shake_hands()) co_await serve();
    if (stopping_ && !end_ && broken_.empty()) {
      co_await drain();
    } else if (!end_) {
      co_await end_process(SIGKILL);
    }
  }
  co_await clean_up();
}

/// Starts the process, or takes over the one that lives on. False when that failed: broken_ says why.
loop::Task<bool> Worker::begin() {
  call::SpawnedWorker process;
  std::size_t links = wiring_.loops.size();
  if (living_) {
    process = std::move(*living_);
    living_.reset();
    identity_.pid = process.pid;
    // First: its links are of the node that this socket leads to.
    if (auto broker = co_await wiring_.spawner.renew_broker(process.pid)) process.broker = std::move(*broker);
    auto sockets = co_await wiring_.spawner.relink(process.pid, links);
    if (sockets) {
      process.links = std::move(*sockets);
    } else {
      broken_ = std::string(sockets.error().message());
    }
  } else {
    call::WorkerStart start;
    start.key = worker_key(options_);
    start.service = options_.service;
    start.argv = options_.argv;
    start.env = options_.env;
    start.cwd = options_.cwd;
    start.links = links;
    start.broker = true;
    auto spawned = co_await wiring_.spawner.spawn_worker(std::move(start));
    if (!spawned) {
      broken_ = std::string(spawned.error().message());
      co_return false;
    }
    process = std::move(*spawned);
    identity_.pid = process.pid;
  }
  wiring_.spawner.on_exit(identity_.pid, [this](const os::ProcessEnd& end) { on_end(end); });
  read_output(std::move(process.out), OutputStream::out);
  read_output(std::move(process.err), OutputStream::err);
  settled_.assign(links, false);
  closed_.assign(links, false);
  instance_ = std::make_shared<WorkerInstance>(wiring_, identity_, static_cast<InstanceEvents&>(*this));
  instance_->capacity.store(options_.concurrency, std::memory_order_relaxed);
  instance_->make_links(std::move(process.links));
  if (process.broker) wiring_.links.open_broker(instance_, std::move(process.broker));
  co_return true;
}

loop::Task<bool> Worker::shake_hands() {
  Deadline limit = Deadline::after(wiring_.control().now(), options_.startup_timeout);
  pongs_ = pings_;
  bool greeted = false;
  while (!end_ && broken_.empty() && !stopping_) {
    bool open = std::ranges::all_of(settled_, [](bool each) { return each; });
    // HELLO may come before what a service does at its start, which may need its links; whoever answers is at work.
    if (open && !greeted) {
      greeted = true;
      if (WorkerLink* control = instance_->control_link()) control->ping(++pings_);
    }
    if (open && pongs_ == pings_) {
      ready_at_ = wiring_.control().now();
      queue_.add(instance_);
      set_state(WorkerState::ready);
      co_return true;
    }
    if (!co_await changed_.wait(limit)) {
      fail(fmt::format("did not {} within its startup-timeout of {}", greeted ? "begin to serve" : "say HELLO",
                       format_duration(options_.startup_timeout)));
    }
  }
  co_return false;
}

loop::Task<void> Worker::serve() {
  Duration pulse = std::max<Duration>(options_.heartbeat_timeout / pulses_missed_max, std::chrono::milliseconds(1));
  pongs_ = pings_;
  Instant next = wiring_.control().now() + pulse;
  while (!end_ && broken_.empty() && !stopping_) {
    if (co_await changed_.wait(Deadline(next))) continue;
    if (feel_pulse()) next = wiring_.control().now() + pulse;
  }
}

/// Looks at the last ping's answer and sends the next. False when the worker was given up.
bool Worker::feel_pulse() {
  // A blocking command keeps a worker from answering; what hangs in one is found by its deadline.
  bool excused = instance_->blocking_in_flight.load(std::memory_order_relaxed) > 0;
  if (const auto* told = instance_->load(); told != nullptr && !excused) {
    // One that came to it directly, until its deadline.
    const auto load = told->read();
    excused = load.blocking > 0 && wiring_.control().now() < load.blocking_until;
  }
  missed_ = excused || pongs_ == pings_ ? 0 : missed_ + 1;
  if (missed_ >= pulses_missed_max) {
    fail(fmt::format("did not answer its heartbeat for {}", format_duration(options_.heartbeat_timeout)));
    return false;
  }
  if (WorkerLink* control = instance_->control_link(); control != nullptr && (missed_ > 0 || pongs_ == pings_)) {
    control->ping(++pings_);
  }
  return true;
}

loop::Task<void> Worker::drain() {
  set_state(WorkerState::draining);
  queue_.close(*instance_);
  while (!end_ && instance_->in_flight.load(std::memory_order_acquire) > 0) {
    if (drain_until_.passed(wiring_.control().now())) break;
    co_await changed_.wait(drain_until_);
  }
  // Only now: before, it would refuse the calls that its own calls make.
  if (WorkerLink* control = instance_->control_link(); control != nullptr && !end_) control->goaway("shutting down");
  co_await end_process(SIGTERM);
}

/// Ends with the process's end, or when even SIGKILL does not help.
loop::Task<void> Worker::end_process(int signal) {
  queue_.close(*instance_);
  if (state_ != WorkerState::draining) set_state(WorkerState::ending);
  wiring_.spawner.kill(identity_.pid, signal);
  Deadline limit =
      Deadline::after(wiring_.control().now(), signal == SIGKILL ? kill_wait : options_.termination_timeout);
  while (!end_ && co_await changed_.wait(limit)) {
  }
  if (end_) co_return;
  if (signal != SIGKILL) {
    wiring_.log.on_note(identity_, fmt::format("{} did not end within its termination-timeout of {}: killing it",
                                               identity_.to_string(), format_duration(options_.termination_timeout)));
    co_await end_process(SIGKILL);
  } else {
    wiring_.log.on_note(identity_, fmt::format("{} can't be killed; it is left behind", identity_.to_string()));
  }
}

/// After the end: reads what was still said, keeps the crash log, lets go of the instance.
loop::Task<void> Worker::clean_up() {
  if (state_ == WorkerState::ready) set_state(WorkerState::ending);
  if (instance_) {
    queue_.remove(*instance_);
    Status why = Status(Code::unavailable, "S1008", fmt::format("{} {}", identity_.to_string(), end_text()))
                     .with_retry(Retry::reconnect);
    instance_->answer_why(why);
    // Its last answers may still be in the sockets: each link ends by itself when it has read them.
    Deadline limit = Deadline::after(wiring_.control().now(), last_words_wait);
    while (!std::ranges::all_of(closed_, [](bool each) { return each; }) && co_await changed_.wait(limit)) {
    }
    wiring_.links.close_broker(*instance_);
    instance_->retire(std::move(why));
    served_before_ += instance_->served.load(std::memory_order_relaxed);
  }
  if (out_) out_->finish();
  if (err_) err_->finish();
  out_ = nullptr;
  err_ = nullptr;
  grant_timeout_->disarm();
  why_timeout_->disarm();
  lost_timeout_->disarm();
  if (!stopping_) {
    last_error_ = fmt::format("{} {}", identity_.to_string(), end_text());
    crash_log_.assign(lines_.begin(), lines_.end());
    bool steady = ready_at_ && wiring_.control().now() - *ready_at_ >= options_.steady_after;
    failures_ = steady ? 1 : failures_ + 1;
    if (steady) backoff_ = options_.backoff_first;
  }
  if (identity_.pid != 0) wiring_.spawner.forget_exit(identity_.pid);
  // Whether calls still hold on to it: from here it is theirs.
  instance_ = nullptr;
}

loop::Task<void> Worker::back_off() {
  Instant now = wiring_.control().now();
  next_start_ = now + backoff_;
  wiring_.log.on_note(identity_, fmt::format("{}; next start in {}", last_error_, format_duration(backoff_)));
  identity_.pid = 0;
  backoff_ = std::min(backoff_ * 2, options_.backoff_max);
  set_state(WorkerState::backing_off);
  while (!stopping_ && co_await changed_.wait(Deadline(*next_start_))) {
  }
  next_start_.reset();
}

// --- What is heard --------------------------------------------------------------------------------------------------

void Worker::read_output(os::Fd pipe, OutputStream stream) {
  Own<Output>& output = stream == OutputStream::out ? out_ : err_;
  output = wiring_.outputs.read(std::move(pipe), [this, stream](std::string_view line) {
    wiring_.log.on_line(identity_, stream, line);
    if (options_.crashlog_limit == 0) return;
    if (lines_.size() >= options_.crashlog_limit) lines_.pop_front();
    lines_.emplace_back(line.substr(0, crash_line_bytes_max));
  });
}

void Worker::on_end(const os::ProcessEnd& end) {
  end_ = end;
  memory_peak_kib_ = end.memory_peak_kib;
  if (instance_) {
    queue_.close(*instance_);
    instance_->answer_why(Status(Code::unavailable, "S1008", fmt::format("{} {}", identity_.to_string(), end_text()))
                              .with_retry(Retry::reconnect));
  }
  changed_.set();
}

/// "did not answer its heartbeat for 30s and was killed by signal 9 (SIGKILL)".
std::string Worker::end_text() const {
  if (!end_) return broken_.empty() ? std::string("is gone") : broken_;
  if (broken_.empty()) return end_->to_string();
  return fmt::format("{} and {}", broken_, end_->to_string());
}

void Worker::set_state(WorkerState state) {
  state_ = state;
  since_ = wiring_.control().now();
  events_.on_worker_change();
}

void Worker::fail(std::string why) {
  if (broken_.empty() && !end_) broken_ = std::move(why);
  changed_.set();
}

void Worker::on_link_opened(std::size_t loop_index, const WorkerHello& hello) {
  settled_[loop_index] = true;
  if (loop_index == wiring_.control_index()) {
    software_ = hello.software;
    std::uint32_t ours = options_.concurrency;
    std::uint32_t theirs = hello.concurrency;
    std::uint32_t both = ours == 0 ? theirs : theirs == 0 ? ours : std::min(ours, theirs);
    instance_->capacity.store(both, std::memory_order_relaxed);
    if (!hello.name.empty() && hello.name != options_.service) {
      fail(fmt::format("serves \"{}\", not \"{}\": check `args` in the manifest", hello.name, options_.service));
    }
  }
  changed_.set();
}

void Worker::on_link_closed(std::size_t loop_index, const Status& why) {
  closed_[loop_index] = true;
  changed_.set();
  if (end_) return;
  if (state_ == WorkerState::starting && loop_index != wiring_.control_index() && !settled_[loop_index]) {
    instance_->make_crossing(loop_index);  // It serves fewer links than there are loops.
    return;
  }
  // Its end may be on its way: then that is the better reason.
  if (lost_timeout_->is_armed()) return;
  lost_ = fmt::format("closed its connection ({})", why.message());
  wiring_.control().arm(*lost_timeout_, wiring_.control().now() + options_.why_wait);
}

void Worker::on_crossing(std::size_t loop_index, bool made) {
  settled_[loop_index] = made;
  if (!made) fail("closed a link that it should serve");
  changed_.set();
}

void Worker::on_link_pong(std::uint64_t number) {
  pongs_ = std::max(pongs_, std::min(number, pings_));
  if (state_ == WorkerState::starting) changed_.set();
}

void Worker::on_link_grant(const Status& status, std::uint64_t grant) {
  // Refused even a place in its queue: the timer tries again.
  if (!status.is_ok() || !instance_) return;
  grant_timeout_->disarm();
  queue_.granted(*instance_, grant);
}

void Worker::on_link_goaway(std::string_view reason) {
  if (stopping_ || end_) return;
  if (instance_) queue_.close(*instance_);
  wiring_.log.on_note(identity_, fmt::format("{} says that it ends: {}", identity_.to_string(), reason));
}

void Worker::on_why_asked() {
  // A known end was answered already.
  if (!end_ && !why_timeout_->is_armed()) {
    wiring_.control().arm(*why_timeout_, wiring_.control().now() + options_.why_wait);
  }
}

}  // namespace shunt::pool
