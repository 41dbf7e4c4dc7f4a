#pragma once
// Spawner: who starts and ends processes. On a node that is the supervisor's client (supervisor/client.h); in a simulation
// a test's own. A spawner knows processes and descriptors; what they are for is the pool's.

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "loop/task.h"
#include "os/fd.h"
#include "os/process.h"

namespace shunt::call {

struct WorkerStart {
  std::string key;      ///< Says what it is to a later node, which may adopt it: service and definition's hash.
  std::string service;  ///< Full name: SHUNT_SERVICE.
  std::vector<std::string> argv;
  std::vector<std::string> env;  ///< NAME=VALUE set over the node's own environment; a bare NAME is removed.
  std::string cwd;
  std::size_t links = 1;  ///< Stream sockets between it and the node; the first is the control link.
  bool broker = false;    ///< Also a SEQPACKET socket by which direct links are brokered.
};

/// A worker that runs, with the node's ends.
struct SpawnedWorker {
  std::string key;
  pid_t pid = 0;
  os::Fd pidfd;
  std::vector<os::Fd> links;  ///< Empty for one that lives on from an earlier node: relink() makes new ones.
  os::Fd broker;              ///< As asked for; the same: renew_broker().
  os::Fd out;                 ///< What it writes to stdout.
  os::Fd err;                 ///< The same of stderr.
};

struct DescribeStart {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd;
};

/// A throwaway process that says what a service is, on the descriptor that SHUNT_DESCRIBE_FD names.
struct SpawnedDescribe {
  pid_t pid = 0;
  os::Fd pidfd;
  os::Fd answer;
  os::Fd output;  ///< stdout and stderr together: why it failed.
};

/// Threads: the control loop's. Lifetime: outlives its tasks.
class Spawner {
 public:
  using Ended = std::move_only_function<void(const os::ProcessEnd&)>;

  virtual ~Spawner() = default;
  /// Errors: S3001 when the program does not start, resource_exhausted S3002 when a limit of the system or the request
  /// is met, unavailable when the supervisor is gone.
  virtual loop::Task<Result<SpawnedWorker>> spawn_worker(WorkerStart start) = 0;
  virtual loop::Task<Result<SpawnedDescribe>> spawn_describe(DescribeStart start) = 0;
  /// Gives a living worker new links, and returns our ends.
  virtual loop::Task<Result<std::vector<os::Fd>>> relink(pid_t pid, std::size_t links) = 0;
  /// Gives a living worker a new broker socket, and returns our end. To be asked before relink(). Errors: unimplemented.
  virtual loop::Task<Result<os::Fd>> renew_broker(pid_t pid) {
    (void)pid;
    co_return fail(Code::unimplemented, "this spawner knows no broker sockets");
  }
  /// The workers that live on from an earlier node.
  virtual loop::Task<Result<std::vector<SpawnedWorker>>> workers() = 0;
  /// Sends a signal; SIGKILL goes to the whole process group. One that has ended is no error.
  virtual void kill(pid_t pid, int signal) = 0;
  /// Tells once how that process ended, on the control loop, also when it has ended already. It was reaped by then.
  virtual void on_exit(pid_t pid, Ended ended) = 0;
  virtual void forget_exit(pid_t pid) = 0;
};

}  // namespace shunt::call
