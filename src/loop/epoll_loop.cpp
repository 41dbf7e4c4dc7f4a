#include "loop/epoll_loop.h"

#include <fmt/format.h>
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
#include <vector>

#include "base/check.h"

namespace shunt::loop {

namespace {
Instant monotonic_now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return {std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec};
}
}  // namespace

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

  // The one lock of a loop: other threads post under it. Never held while anything runs.
  std::mutex mutex;
  std::vector<Closure> posted;  // GUARDED_BY(mutex)
  std::atomic<bool> has_posted{false};
  std::vector<Closure> running;

  static constexpr int batch = 256;
  std::array<epoll_event, batch> events;
  std::vector<Watch*> pending;  // Of this turn, still to be told.

  ~State() {
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

void EpollLoop::set_activity(std::string_view activity) { state_->activity = activity; }

Result<void> EpollLoop::watch(Watch& watch, int fd) {
  SHUNT_ASSERT(watch.loop_ == nullptr);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &watch;
  if (epoll_ctl(state_->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail(Code::resource_exhausted,
                fmt::format("epoll: can't watch descriptor {}: {}", fd, std::strerror(errno)));
  }
  watch.loop_ = this;
  watch.fd_ = fd;
  return {};
}

Duration EpollLoop::idle_for() {
  if (has_ready() || state_->has_posted.load(std::memory_order_acquire)) return Duration(0);
  return next_timer().left(refresh_now());
}

bool EpollLoop::turn(Duration wait) {
  auto& state = *state_;
  state.thread.store(std::this_thread::get_id(), std::memory_order_relaxed);

  Duration idle = wait.count() == 0 ? Duration(0) : idle_for();
  if (wait.count() >= 0 && wait < idle) idle = wait;
  int milliseconds = -1;
  if (idle != Duration::max()) {
    // Rounded up: a timer must be due when we wake, or we would spin until it is.
    auto whole = (idle.count() + 999'999) / 1'000'000;
    milliseconds = static_cast<int>(std::min<std::int64_t>(whole, 1'000'000'000));
  }
  int count = epoll_wait(state.epoll, state.events.data(), State::batch, milliseconds);
  // Told from a list that unwatch() can clear: a watch may be destroyed by a closure, a timer or another one's event.
  state.pending.clear();
  for (int i = 0; i < count; i++) state.pending.push_back(static_cast<Watch*>(state.events[i].data.ptr));
  Instant began = refresh_now();
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
