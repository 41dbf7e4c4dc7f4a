#pragma once
// SupervisorClient: the node's side of the supervisor's socket. It asks for listeners and processes, and hears of the end
// of both: a worker's, and its own (SIGTERM).

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/own.h"
#include "call/spawner.h"
#include "loop/epoll_loop.h"
#include "loop/event.h"
#include "supervisor/activity_page.h"

namespace shunt::supervisor {

/// What a node is told without asking. On the client's loop.
class ClientEvents {
 public:
  /// Drain and exit; `fast`: do not wait for what is open. May come twice, first slow then fast.
  virtual void on_shutdown(bool fast) = 0;
  /// Read again what may have changed on the disk: manifests, code, certificates.
  virtual void on_reload() {}
  /// The supervisor is gone, and everything with it: exit at once.
  virtual void on_supervisor_lost() = 0;

 protected:
  ~ClientEvents() = default;
};

struct Listeners {
  std::vector<os::Fd> sockets;
  std::string bound;  ///< "127.0.0.1:40123": with the port that was picked.
};

/// How the node before this one ended.
struct SupervisorInfo {
  std::uint64_t restarts = 0;
  std::string last_end;    ///< "was killed by signal 11 (SIGSEGV)"; empty for the first node.
  std::string last_words;  ///< What it was doing: "module prices, command get".
};

/// Threads: its loop's. Lifetime: outlives its tasks; the loop and the events outlive it.
class SupervisorClient final : public call::Spawner {
 public:
  /// Takes the descriptors that the environment names, and removes the names.
  /// Errors: failed_precondition when this process was not started by a supervisor.
  static Result<Own<SupervisorClient>> create(loop::EpollLoop& loop, ClientEvents& events);
  /// The same with a socket and no activity page: for tests.
  static Result<Own<SupervisorClient>> create(loop::EpollLoop& loop, ClientEvents& events, os::Fd socket);
  ~SupervisorClient() override;

  /// Sockets that listen at `address` (HOST:PORT, or unix:PATH), bound once and kept over restarts of the node. The same
  /// address asked for twice is two listeners (port 0), in the order of asking. Errors: S5001, S5003.
  loop::Task<Result<Listeners>> listen(std::string address, std::size_t sockets);
  loop::Task<Result<SupervisorInfo>> info();

  loop::Task<Result<call::SpawnedWorker>> spawn_worker(call::WorkerStart start) override;
  loop::Task<Result<call::SpawnedDescribe>> spawn_describe(call::DescribeStart start) override;
  loop::Task<Result<std::vector<os::Fd>>> relink(pid_t pid, std::size_t links) override;
  loop::Task<Result<os::Fd>> renew_broker(pid_t pid) override;
  loop::Task<Result<std::vector<call::SpawnedWorker>>> workers() override;
  void kill(pid_t pid, int signal) override;
  void on_exit(pid_t pid, Ended ended) override;
  void forget_exit(pid_t pid) override;

  /// Where this node writes what it is doing; nullptr for a client made with a socket.
  [[nodiscard]] ActivityPage* activity();

 private:
  struct State;
  explicit SupervisorClient(Own<State> state);
  Own<State> state_;
};

/// True when this process was started by a supervisor: it is a node.
bool is_node_environment();

}  // namespace shunt::supervisor
