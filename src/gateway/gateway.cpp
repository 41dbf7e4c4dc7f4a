#include "gateway/gateway.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gateway/connection/connection.h"
#include "gateway/shared.h"
#include "loop/event.h"

namespace shunt::gateway {

namespace {

constexpr int accepts_max = 64;            // At once, before connections have their turn.
constexpr std::size_t refusals_max = 256;  // Beyond the limit this many are told why; more are just closed.
constexpr Duration accept_retry = std::chrono::milliseconds(100);
constexpr Duration farewell_time = std::chrono::milliseconds(250);

// Accepts on one socket.
class Listener final : private loop::Watch, private loop::Timer, private loop::Runnable {
 public:
  using Accepted = std::function<void(int fd, const std::shared_ptr<const ListenerPolicy>& policy)>;

  Listener(loop::Loop& loop, int fd, ListenerPolicy policy, Accepted accepted)
      : loop_(loop),
        fd_(fd),
        policy_(std::make_shared<const ListenerPolicy>(std::move(policy))),
        accepted_(std::move(accepted)) {}
  ~Listener() {
    Watch::unwatch();
    ::close(fd_);
  }
  Result<void> begin(loop::EpollLoop& loop) { return loop.watch(*this, fd_); }
  /// All that the kernel has queued.
  void accept_all() {
    while (accept_some()) {
    }
  }

 private:
  void on_ready(bool, bool) override {
    if (accept_some()) loop_.ready(*this);
  }
  void run() override { on_ready(true, false); }
  void fire() override { on_ready(true, false); }

  // True when there may be more.
  bool accept_some() {
    for (int i = 0; i < accepts_max; ++i) {
      const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        // Fails on a unix socket, which has no such delay.
        const int one = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        accepted_(fd, policy_);
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // Out of descriptors or memory: they wait in the kernel's queue until some are free again.
      if (errno != EAGAIN && errno != EWOULDBLOCK) loop_.arm(*this, loop_.now() + accept_retry);
      return false;
    }
    return true;
  }

  loop::Loop& loop_;
  const int fd_;
  const std::shared_ptr<const ListenerPolicy> policy_;  // Owners: the listener and its connections.
  const Accepted accepted_;
};

}  // namespace

struct Gateway::State {
  State(loop::EpollLoop& loop, call::Router& router, GatewayStats& stats, std::size_t shard, GatewayLimits limits,
        GatewayHooks hooks)
      : shared(loop, router, stats, shard, limits, std::move(hooks)), emptied(loop), reaper(*this) {
    shared.reaper = &reaper;
  }

  void take(int fd, const std::shared_ptr<const ListenerPolicy>& policy);
  loop::Task<void> drain(Deadline deadline);

  struct Reaper final : loop::Runnable {
    explicit Reaper(State& to) : state(to) {}
    void run() override {
      state.shared.retired.clear();
      if (state.shared.connections.empty()) state.emptied.set();
    }
    State& state;
  };

  Shared shared;
  loop::Event emptied;
  Reaper reaper;
  std::vector<Own<Listener>> listeners;
  Deadline drain_until = Deadline::never();
};

void Gateway::State::take(int fd, const std::shared_ptr<const ListenerPolicy>& policy) {
  const std::uint64_t open = shared.stats.connections_open();
  const bool is_full = open >= shared.limits.connections_max && !policy->operator_socket;
  if (is_full) GatewayStats::add(shared.shard.connections_refused);
  if (is_full && open >= shared.limits.connections_max + refusals_max) {
    ::close(fd);
    return;
  }
  GatewayStats::add(shared.shard.connections_accepted);
  GatewayStats::add(shared.shard.connections_open);
  shared.connections.push_back(make_own<Connection>(shared, fd, policy));
  Connection& connection = *shared.connections.back();
  connection.index = shared.connections.size() - 1;
  if (is_full) {
    connection.begin_refused();
  } else {
    connection.begin();
  }
}

loop::Task<void> Gateway::State::drain(Deadline deadline) {
  for (const auto& listener : listeners) listener->accept_all();
  listeners.clear();
  shared.draining = true;
  // Backwards: a connection that closes gives its place to the last one.
  for (std::size_t i = shared.connections.size(); i > 0; --i) shared.connections[i - 1]->drain();
  drain_until = earlier(drain_until, deadline);
  while (!shared.connections.empty() && !drain_until.passed(shared.loop.now())) co_await emptied.wait(drain_until);
  if (shared.connections.empty()) co_return;

  for (std::size_t i = shared.connections.size(); i > 0; --i) {
    if (i <= shared.connections.size()) shared.connections[i - 1]->shut_down();
  }
  const Deadline farewell = Deadline::after(shared.loop.now(), farewell_time);
  while (!shared.connections.empty()) {
    if (!co_await emptied.wait(farewell)) break;
  }
}

Gateway::Gateway(loop::EpollLoop& loop, call::Router& router, GatewayStats& stats, std::size_t shard,
                 GatewayLimits limits, GatewayHooks hooks)
    : state_(make_own<State>(loop, router, stats, shard, limits, std::move(hooks))) {}

Gateway::~Gateway() {
  const std::size_t open = state_->shared.connections.size();
  GatewayStats::add(state_->shared.shard.connections_open,
                    static_cast<std::uint64_t>(-static_cast<std::int64_t>(open)));
}

Result<void> Gateway::listen(int fd, ListenerPolicy policy) {
  State& state = *state_;
  auto listener = make_own<Listener>(
      state.shared.loop, fd, std::move(policy),
      [&state](int accepted, const std::shared_ptr<const ListenerPolicy>& of) { state.take(accepted, of); });
  SHUNT_CHECK(listener->begin(state.shared.loop));
  state.listeners.push_back(std::move(listener));
  return {};
}

void Gateway::adopt(int fd, const ListenerPolicy& policy) {
  state_->take(fd, std::make_shared<const ListenerPolicy>(policy));
}

void Gateway::set_tokens(std::shared_ptr<const TokenTable> tokens) {
  state_->shared.tokens = tokens ? std::move(tokens) : std::make_shared<const TokenTable>();
}

void Gateway::set_tls(std::shared_ptr<const net::TlsContext> context) { state_->shared.tls = std::move(context); }

void Gateway::set_cors(std::shared_ptr<const CorsTable> cors) {
  state_->shared.cors = cors ? std::move(cors) : std::make_shared<const CorsTable>();
}

loop::Task<void> Gateway::drain(Deadline deadline) { return state_->drain(deadline); }

void Gateway::hurry(Deadline deadline) {
  state_->drain_until = earlier(state_->drain_until, deadline);
  state_->emptied.set();
}

std::size_t Gateway::connections() const { return state_->shared.connections.size(); }

}  // namespace shunt::gateway
