#pragma once
// The direct way: a unary call to a service that lives on the caller's own loop, as one function call. What every call
// needs (may it, where to, how long, who counts) is decided once by the Router and kept in a DirectRoute; each call asks
// only whether that still holds. What does not fit (another loop, a link that drains, a call too deep) goes through
// Router::start(), which says everything that there is to say.
//
// It knows neither how a service is called nor what a message is: library/direct_call.h does.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/time.h"
#include "call/definition.h"
#include "call/instance.h"
#include "call/link.h"
#include "call/open_calls.h"
#include "call/path_stats.h"
#include "call/policy.h"
#include "call/stats.h"
#include "loop/loop.h"

namespace shunt::call {

struct Route;
class Service;

/// What a link has to offer whose service lives on its loop: the service itself.
/// Threads: the loop's; `served` may be read by any.
struct DirectPort {
  DirectPort(loop::Loop& on, Service& to, LinkLimits limit) : loop(on), service(to), limits(limit), calls(on) {}

  loop::Loop& loop;
  Service& service;  ///< While is_open.
  const LinkLimits limits;
  OpenCalls calls;                       ///< Those of the link, and direct ones that wait.
  bool is_open = true;                   ///< The link is there.
  std::atomic<std::uint64_t> served{0};  ///< Direct calls that have ended; the loop alone writes.

  void count_served() { served.store(served.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
};

/// When a direct call began, if anybody looked at the clock.
struct DirectTime {
  Instant began;
  bool is_timed = false;
};

/// Where the direct calls of one command go, for one caller. Made by Router::direct(), void when the Router has another
/// routing (Caller::direct_revision()).
///
/// Time: looking at the clock costs a third of such a call. So of the calls that end where they began only some are timed:
/// each, until there are enough of them to tell how long they take and whenever the last one was slow; else each
/// sixteenth. One that is timed stands for those since the one before it, so what is told of all is as true as a sample
/// is. What the clock itself takes is taken off. Calls that wait are timed one by one.
///
/// Threads: the loop's. Lifetime: while anyone holds it (Ref), or a call is under way; what it points at stays until the
/// routing changes and its calls have ended.
class DirectRoute {
 public:
  /// Keeps a route. Copies count.
  class Ref {
   public:
    Ref() = default;
    explicit Ref(DirectRoute* route) : route_(route) {
      if (route_ != nullptr) route_->refs_++;
    }
    Ref(const Ref& other) : Ref(other.route_) {}
    Ref(Ref&& other) noexcept : route_(std::exchange(other.route_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
      std::swap(route_, other.route_);
      return *this;
    }
    ~Ref() {
      if (route_ != nullptr && --route_->refs_ == 0 && route_->calls_ == 0) route_->unused();
    }
    [[nodiscard]] DirectRoute* get() const { return route_; }
    DirectRoute* operator->() const { return route_; }
    explicit operator bool() const { return route_ != nullptr; }

   private:
    DirectRoute* route_ = nullptr;
  };

  /// What a Router found; the references are into the route.
  struct Found {
    loop::Loop& loop;
    std::size_t loop_index;
    std::shared_ptr<const Route> route;
    const CommandDefinition& command;
    CommandStats& stats;
    std::shared_ptr<PathStats> paths;
    const std::string& caller;  ///< PathStats::caller()
    Instance& instance;
    std::shared_ptr<DirectPort> port;
  };
  explicit DirectRoute(Found found);
  DirectRoute(const DirectRoute&) = delete;
  DirectRoute& operator=(const DirectRoute&) = delete;

  [[nodiscard]] loop::Loop& loop() const { return loop_; }
  [[nodiscard]] DirectPort& port() const { return *port_; }
  [[nodiscard]] Service& service() const { return port_->service; }
  [[nodiscard]] const CommandDefinition& command() const { return command_; }
  [[nodiscard]] const ServiceDefinition& definition() const;
  /// Of a call for which nobody gave one.
  [[nodiscard]] Deadline default_deadline() const { return Deadline::after(loop_.now(), timeout_); }

  /// Whether a call can begin this way now, `depth` calls deep in this turn's stack.
  [[nodiscard]] bool has_way(std::size_t request_bytes) const {
    const DirectPort& port = *port_;
    return port.is_open && !port.calls.draining && !instance_.closed.load(std::memory_order_acquire) &&
           port.calls.stats.calls_open < port.limits.calls_max && request_bytes <= port.limits.message_bytes_max &&
           loop_.depth < depth_max;
  }

  /// A call begins. Then either ended_at_once(), or suspended() and later ended().
  DirectTime begin() {
    calls_++;
    loop_.depth++;
    port_->calls.stats.calls_opened++;
    stats_.start(loop_index_);
    if (--until_timed_ > 0) [[likely]]
      return {};
    return {loop_.refresh_now(), true};
  }
  /// What was called has returned; the call may go on.
  void returned() { loop_.depth--; }
  void ended_at_once(const DirectTime& time, Code code) {
    stats_.count_code(loop_index_, code);
    path_.count(code == Code::ok);
    port_->count_served();
    if (time.is_timed) [[unlikely]] {
      timed(loop_.refresh_now() - time.began);
    } else {
      untimed_++;
    }
    unhold();
  }
  void suspended(DirectTime& time);
  void ended(const DirectTime& time, Code code);
  /// The words for a deadline that passed while the call ran.
  [[nodiscard]] Status deadline_status(const DirectTime& time, Deadline deadline) const;

  static constexpr int timed_of = 16;
  static constexpr int timed_first = 64;
  static constexpr Duration fast_max = std::chrono::microseconds(2);

 private:
  friend class Router;
  ~DirectRoute();
  void timed(Duration took);
  /// The Router has another routing: lets go of this one's when no call needs it.
  void retire();
  void unhold() {
    if (--calls_ == 0 && (is_retired_ || refs_ == 0)) [[unlikely]]
      unused();
  }
  void unused();  // No call is under way: may free it.

  loop::Loop& loop_;
  const std::size_t loop_index_;
  const CommandDefinition& command_;  // Of route_.
  CommandStats& stats_;               // Of route_.
  Instance& instance_;                // Of route_.
  PathShard& path_;                   // Of paths_.
  const Duration timeout_;
  const Duration clock_cost_;
  std::shared_ptr<PathStats> paths_;    // Owners: the house, routings, and who counts there.
  std::shared_ptr<const Route> route_;  // Owners: the routing, and whoever calls by it.
  std::shared_ptr<DirectPort> port_;    // Owners: the link, and the routes to it.
  int refs_ = 0;
  int calls_ = 0;  // Under way.
  int until_timed_ = 1;
  int timed_ = 0;              // How many were, up to timed_first.
  std::uint64_t untimed_ = 0;  // Since the last one that was.
  bool is_retired_ = false;
  // All of a Router.
  DirectRoute** head_ = nullptr;
  DirectRoute* next_ = nullptr;
  DirectRoute* previous_ = nullptr;
};

}  // namespace shunt::call
