#pragma once
// What a pool needs of the world and does not know: how a link is made of a descriptor, how a pipe is read, where lines
// go. node/ implements it with the real things, tests with simulated ones.

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "call/link.h"
#include "call/spawner.h"
#include "loop/loop.h"
#include "os/fd.h"

namespace shunt::pool {

/// Which worker it is about.
struct WorkerIdentity {
  std::string service;     ///< Full name.
  std::size_t number = 0;  ///< 1 for the first of the pool.
  pid_t pid = 0;

  /// "cart#2".
  [[nodiscard]] std::string name() const;
  /// "worker cart#2 (pid 812)".
  [[nodiscard]] std::string to_string() const;
};

/// What a worker said in its HELLO.
struct WorkerHello {
  std::string name;               ///< The service that it serves.
  std::string software;           ///< "python 0.1.0".
  std::uint32_t concurrency = 0;  ///< Calls at once; 0: without limit of its own.
  std::string definition;
};

/// What a link tells the pool. Called on the link's loop, never from inside WorkerLink's constructor.
class WorkerLinkEvents {
 public:
  using Told = std::move_only_function<void(Status)>;

  virtual void on_opened(const WorkerHello& hello) = 0;
  /// The link has ended, and its calls with it. Once.
  virtual void on_closed(const Status& why) = 0;
  virtual void on_pong(std::uint64_t number) = 0;
  virtual void on_grant(std::uint64_t ticket, const Status& status, std::uint64_t grant) = 0;
  /// The worker drains by itself: it takes no new calls.
  virtual void on_goaway(std::string_view reason) = 0;
  /// For a carrier that has met the end of its socket: the reason with which the link's calls should end, S1008 naming the
  /// worker's end if that is known within PoolOptions::why_wait. Told once, later, on the link's loop.
  virtual void ask_why(Told told) = 0;

 protected:
  ~WorkerLinkEvents() = default;
};

/// A link to a worker, with what only the pool says on it.
class WorkerLink {
 public:
  /// Ends its calls as unavailable; no event comes after.
  virtual ~WorkerLink() = default;
  virtual call::Link& link() = 0;
  virtual void ping(std::uint64_t number) = 0;
  virtual void wait(std::uint64_t ticket, Deadline deadline) = 0;
  virtual void goaway(std::string_view reason) = 0;
  /// Its calls end as `why`; on_closed comes.
  virtual void close(Status why) = 0;
};

class WorkerInstance;

/// Threads: make_link() and make_crossing() are called on the loop that they are for.
class LinkFactory {
 public:
  virtual ~LinkFactory() = default;
  /// A link over a connected stream socket, on the loop of that index. `events` lives longer than the link.
  virtual Own<WorkerLink> make_link(std::size_t loop_index, os::Fd socket, const WorkerIdentity& worker,
                                    WorkerLinkEvents& events) = 0;
  /// For a worker that closed the link of that loop at once (it serves one link only): a link by way of the control loop,
  /// where `target` answers the real one, or nullptr when it is gone. nullptr: such workers are not accepted.
  virtual Own<call::Link> make_crossing(std::size_t loop_index, std::function<call::Link*()> target) {
    (void)loop_index, (void)target;
    return nullptr;
  }
  /// A worker was started, or taken over: its broker socket, over which shorter ways to it are made. On the control loop.
  virtual void open_broker(const std::shared_ptr<WorkerInstance>& instance, os::Fd socket) {
    (void)instance, (void)socket;
  }
  /// Its process has ended. On the control loop.
  virtual void close_broker(const WorkerInstance& instance) { (void)instance; }
};

enum class OutputStream : std::uint8_t { out, err };

/// Lines that a worker writes, and what the pool has to say of it. Threads: the control loop's.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void on_line(const WorkerIdentity& worker, OutputStream stream, std::string_view line) = 0;
  /// "worker cart#2 (pid 812) was killed by signal 9 (SIGKILL); next start in 1s".
  virtual void on_note(const WorkerIdentity& worker, std::string_view note) = 0;
};

/// A pipe that is read.
class Output {
 public:
  virtual ~Output() = default;
  /// Reads what is there now, and tells a last line that has no end: the writer is gone.
  virtual void finish() = 0;
};

/// Reads pipes by lines. Threads: the control loop's.
class Outputs {
 public:
  using Line = std::move_only_function<void(std::string_view line)>;
  virtual ~Outputs() = default;
  virtual Own<Output> read(os::Fd pipe, Line line) = 0;
};

/// What a pool tells its node, on the control loop.
class PoolEvents {
 public:
  /// Instances came or went, or why there are none: publish a new routing.
  virtual void on_pool_change() = 0;

 protected:
  ~PoolEvents() = default;
};

/// Everything outlives the pool, and the loops outlive the instances.
struct PoolWiring {
  /// By the index with which Instance::link() is asked; the last is the control loop.
  std::vector<loop::Loop*> loops;
  call::Spawner& spawner;
  LinkFactory& links;
  Outputs& outputs;
  LogSink& log;
  PoolEvents& events;

  [[nodiscard]] loop::Loop& control() const { return *loops.back(); }
  [[nodiscard]] std::size_t control_index() const { return loops.size() - 1; }
};

}  // namespace shunt::pool
