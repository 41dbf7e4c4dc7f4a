#include "loop/epoll_loop.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "os/cpu.h"
#include "os/run_delay.h"

namespace shunt::loop {

namespace {
Instant monotonic_now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return {std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec};
}
std::uint32_t mask_of(bool writable) {
  return EPOLLIN | EPOLLRDHUP | static_cast<std::uint32_t>(EPOLLET) | (writable ? EPOLLOUT : 0u);
}

/// While pollers keep a loop busy: how often it looks at its descriptors.
constexpr Duration system_every = std::chrono::microseconds(20);
/// How often it forgets pollers that have had nothing.
constexpr Duration rest_every = std::chrono::milliseconds(1);
/// How many looks go between two looks at the clock.
constexpr int looks_per_clock = 8;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}
}  // namespace

void Poller::stop_polling() {
  if (loop_ != nullptr) loop_->drop(*this);
}

void Watch::want_writable(bool wanted) {
  if (loop_ == nullptr || std::exchange(wants_writable_, wanted) == wanted) return;
  epoll_event event{};
  event.events = mask_of(wanted);
  event.data.ptr = this;
  epoll_ctl(loop_->fd(), EPOLL_CTL_MOD, fd_, &event);
}

void Watch::unwatch() {
  if (loop_ == nullptr) return;
  epoll_event none{};
  epoll_ctl(loop_->fd(), EPOLL_CTL_DEL, fd_, &none);
  // An event of this turn that is still to be told must find nobody.
  for (auto& event : loop_->pending()) {
    if (event == this) event = nullptr;
  }
  loop_ = nullptr;
}

struct EpollLoop::State {
  std::string name;
  Duration slow_turn;
  int epoll = -1;
  int wake = -1;
  std::atomic<bool> stopping{false};
  std::atomic<std::thread::id> thread;
  std::string_view activity;
  std::string scratch;

  // The one lock of a loop: other threads post under it. Never held while anything runs.
  std::mutex mutex;
  std::vector<Closure> posted;  // GUARDED_BY(mutex)
  std::atomic<bool> has_posted{false};
  std::vector<Closure> running;

  static constexpr int batch = 256;
  std::array<epoll_event, batch> events;
  std::vector<Watch*> pending;  // Of this turn, still to be told.

  std::vector<Poller*> pollers;  // A dropped one leaves a hole until the end of the turn.
  std::size_t holes = 0;
  Instant system_asked{0};
  Instant rested{0};
  SpinPolicy policy{{}};
  os::RunDelay run_delay;
  std::size_t cores = 0;  // That this thread may use; 0: not asked yet.

  ~State() {
    for (Poller* poller : pollers) {
      if (poller != nullptr) poller->loop_ = nullptr;
    }
    if (epoll >= 0) close(epoll);
    if (wake >= 0) close(wake);
  }
};

std::vector<Watch*>& EpollLoop::pending() { return state_->pending; }

EpollLoop::EpollLoop(Own<State> state) : state_(std::move(state)) {
  set_now(monotonic_now());
  state_->thread = std::this_thread::get_id();
}

EpollLoop::~EpollLoop() = default;

Result<Own<EpollLoop>> EpollLoop::create(Options options) {
  auto state = make_own<State>();
  state->name = std::move(options.name);
  state->slow_turn = options.slow_turn;
  state->policy = SpinPolicy(options.spin);
  state->epoll = epoll_create1(EPOLL_CLOEXEC);
  state->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (state->epoll < 0 || state->wake < 0) {
    return fail(Code::resource_exhausted, fmt::format("no descriptor for a loop: {}", std::strerror(errno)));
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  if (epoll_ctl(state->epoll, EPOLL_CTL_ADD, state->wake, &event) != 0) {
    return fail(Code::resource_exhausted, fmt::format("epoll: {}", std::strerror(errno)));
  }
  return Own<EpollLoop>(new EpollLoop(std::move(state)));
}

Instant EpollLoop::refresh_now() {
  set_now(monotonic_now());
  return Loop::now();
}

void EpollLoop::post(Closure closure) {
  {
    std::lock_guard lock(state_->mutex);
    state_->posted.push_back(std::move(closure));
  }
  // Ring only when the bell is silent: one system call for many posts.
  if (!state_->has_posted.exchange(true, std::memory_order_acq_rel)) {
    std::uint64_t one = 1;
    [[maybe_unused]] auto written = write(state_->wake, &one, sizeof one);
  }
}

bool EpollLoop::is_here() const { return state_->thread.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

void EpollLoop::stop() {
  state_->stopping.store(true, std::memory_order_release);
  std::uint64_t one = 1;
  [[maybe_unused]] auto written = write(state_->wake, &one, sizeof one);
}

int EpollLoop::fd() const { return state_->epoll; }

std::string EpollLoop::take_scratch() {
  auto scratch = std::exchange(state_->scratch, {});
  if (scratch.size() != scratch_bytes) {
    scratch.resize_and_overwrite(scratch_bytes, [](char*, std::size_t size) { return size; });
  }
  return scratch;
}

void EpollLoop::give_scratch(std::string scratch) { state_->scratch = std::move(scratch); }

void EpollLoop::set_activity(std::string_view activity) { state_->activity = activity; }

Result<void> EpollLoop::watch(Watch& watch, int fd, Interest interest) {
  SHUNT_ASSERT(watch.loop_ == nullptr);
  watch.wants_writable_ = interest == Interest::both;
  epoll_event event{};
  event.events = mask_of(watch.wants_writable_);
  event.data.ptr = &watch;
  if (epoll_ctl(state_->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail(Code::resource_exhausted,
                fmt::format("epoll: can't watch descriptor {}: {}", fd, std::strerror(errno)));
  }
  watch.loop_ = this;
  watch.fd_ = fd;
  return {};
}

// --- Pollers ---------------------------------------------------------------------------------------------------------

void EpollLoop::poll_more(Poller& poller) {
  if (poller.loop_ != nullptr) return;
  poller.loop_ = this;
  poller.slot_ = state_->pollers.size();
  poller.was_busy_ = true;
  state_->pollers.push_back(&poller);
}

void EpollLoop::drop(Poller& poller) {
  state_->pollers[poller.slot_] = nullptr;
  state_->holes++;
  poller.loop_ = nullptr;
}

bool EpollLoop::shares_core() const { return state_->cores == 1 || state_->policy.is_crowded(now()); }

std::size_t EpollLoop::polled() const { return state_->pollers.size() - state_->holes; }

bool EpollLoop::rest_pollers(Rest which) {
  auto& pollers = state_->pollers;
  auto is_meant = [which](const Poller* poller) {
    return poller != nullptr && (which == Rest::all || !poller->was_busy_);
  };
  bool any = false;
  for (Poller* poller : pollers) {
    if (!is_meant(poller)) continue;
    poller->arm();
    any = true;
  }
  // One fence for all: between what arm() stored and what rest() loads. The other side has its own between what it
  // brings and its look at whether to ring.
  if (any) std::atomic_thread_fence(std::memory_order_seq_cst);
  bool quiet = true;
  std::size_t kept = 0;
  for (Poller* poller : pollers) {
    if (poller == nullptr) continue;
    if (is_meant(poller) && poller->rest()) {
      poller->loop_ = nullptr;
      continue;
    }
    quiet = quiet && !is_meant(poller);
    poller->was_busy_ = false;
    poller->slot_ = kept;
    pollers[kept++] = poller;
  }
  pollers.resize(kept);
  state_->holes = 0;
  return quiet;
}

bool EpollLoop::spin(Instant wake_at) {
  auto& state = *state_;
  auto found = [&state] {
    for (const Poller* poller : state.pollers) {
      if (poller != nullptr && poller->peek()) return true;
    }
    return false;
  };
  if (found()) {
    refresh_now();
    return true;
  }
  if (wake_at.ns == 0) return false;
  Instant start = refresh_now();
  if (state.cores == 0) state.cores = os::usable_cores();
  // On one core the peer's time is our delay. There it is the yield that lets everybody run.
  if (state.cores > 1 && state.policy.wants_delay(start)) state.policy.delay(start, state.run_delay.total_ns());
  Duration budget = state.policy.budget(start);
  if (budget.count() > 0 && start < wake_at) {
    Instant until = std::min(start + budget, wake_at);
    do {
      if (state.cores == 1) {
        sched_yield();
        if (found() || state.has_posted.load(std::memory_order_relaxed)) {
          state.policy.found();
          refresh_now();
          return true;
        }
      } else {
        for (int i = 0; i < looks_per_clock; i++) {
          if (found() || state.has_posted.load(std::memory_order_relaxed)) {
            state.policy.found();
            return true;
          }
          relax();
        }
      }
    } while (refresh_now() < until);
    if (until < wake_at) state.policy.missed();
  }
  return !rest_pollers(Rest::all);
}

// --- Turns -----------------------------------------------------------------------------------------------------------

Duration EpollLoop::idle_for() {
  if (has_ready() || state_->has_posted.load(std::memory_order_acquire)) return Duration(0);
  if (!state_->pollers.empty() && !rest_pollers(Rest::all)) return Duration(0);
  return next_timer().left(refresh_now());
}

bool EpollLoop::turn(Duration wait) {
  auto& state = *state_;
  state.thread.store(std::this_thread::get_id(), std::memory_order_relaxed);

  // Until when this turn may wait.
  Instant wake_at{0};
  if (wait.count() != 0 && !has_ready() && !state.has_posted.load(std::memory_order_acquire)) {
    wake_at = next_timer().at();
    if (wait.count() > 0) wake_at = std::min(wake_at, Deadline::after(refresh_now(), wait).at());
  }
  bool found = !state.pollers.empty() && spin(wake_at);
  int count = 0;
  if (!found || now() - state.system_asked >= system_every) {
    int milliseconds = 0;
    if (!found && wake_at.ns > 0) {
      milliseconds = -1;
      if (wake_at.ns != INT64_MAX) {
        // Rounded up: a timer must be due when we wake, or we would spin until it is.
        auto whole = (std::max<std::int64_t>(wake_at.ns - refresh_now().ns, 0) + 999'999) / 1'000'000;
        milliseconds = static_cast<int>(std::min<std::int64_t>(whole, 1'000'000'000));
      }
    }
    count = epoll_wait(state.epoll, state.events.data(), State::batch, milliseconds);
    state.system_asked = refresh_now();
    if (!state.pollers.empty() && now() - state.rested >= rest_every) {
      state.rested = now();
      rest_pollers(Rest::quiet_ones);
    }
  }
  // Told from a list that unwatch() can clear: a watch may be destroyed by a closure, a timer or another one's event.
  state.pending.clear();
  for (int i = 0; i < count; i++) state.pending.push_back(static_cast<Watch*>(state.events[i].data.ptr));
  Instant began = now();
  state.activity = {};

  if (state.has_posted.load(std::memory_order_acquire)) {
    std::uint64_t rings = 0;
    [[maybe_unused]] auto read_bytes = read(state.wake, &rings, sizeof rings);
    state.has_posted.store(false, std::memory_order_release);
    {
      std::lock_guard lock(state.mutex);
      std::swap(state.running, state.posted);
    }
    for (auto& closure : state.running) {
      closure();
      closure = nullptr;
    }
    state.running.clear();
  }

  run_timers();

  for (int i = 0; i < count; i++) {
    Watch* watch = state.pending[i];
    if (watch == nullptr) continue;
    auto mask = state.events[i].events;
    bool broken = (mask & (EPOLLERR | EPOLLHUP)) != 0;
    watch->is_hung_up_ = broken || (mask & EPOLLRDHUP) != 0;
    watch->on_ready(broken || (mask & (EPOLLIN | EPOLLRDHUP)) != 0, broken || (mask & EPOLLOUT) != 0);
  }
  state.pending.clear();
  // By index: a poller may begin to poll others, or drop itself.
  for (std::size_t i = 0; i < state.pollers.size(); i++) {
    Poller* poller = state.pollers[i];
    if (poller == nullptr || !poller->poll()) continue;
    if (state.pollers[i] == poller) poller->was_busy_ = true;
  }
  if (state.holes > 0) {
    std::erase(state.pollers, nullptr);
    for (std::size_t i = 0; i < state.pollers.size(); i++) state.pollers[i]->slot_ = i;
    state.holes = 0;
  }
  run_ready();

  if (state.slow_turn.count() > 0) {
    Duration took = monotonic_now() - began;
    if (took > state.slow_turn) {
      fmt::print(stderr, "shunt: loop {}: a turn took {} (the limit is {}){}{}\n", state.name,
                 format_duration(std::chrono::duration_cast<std::chrono::milliseconds>(took)),
                 format_duration(state.slow_turn), state.activity.empty() ? "" : "; it ran ", state.activity);
    }
  }
  return !state.stopping.load(std::memory_order_acquire);
}

void EpollLoop::run() {
  while (turn(Duration(-1))) {
  }
  state_->stopping.store(false, std::memory_order_release);
  if (!state_->has_posted.load(std::memory_order_acquire)) {
    std::uint64_t rings = 0;
    [[maybe_unused]] auto read_bytes = read(state_->wake, &rings, sizeof rings);
  }
}

}  // namespace shunt::loop
