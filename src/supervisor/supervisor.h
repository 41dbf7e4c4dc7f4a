#pragma once
// Supervisor: the small process that `shunt run` is first. It has one thread, and nothing of a service ever runs in it, so
// it does not die of one. It owns the listeners and the workers, and hands both to each node in turn.
//
//   shunt run (supervisor) --+-- node   (restarted when it dies)
//                            +-- worker (lives on while the node restarts)
//                            +-- ...
//
// It does not know what a service is: the node says what to start (message.h), the supervisor starts, watches, reaps.
// Nothing outlives it: each worker's process group is killed at the end, orphans below it are its children (subreaper),
// and PR_SET_PDEATHSIG is the second net.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "base/time.h"

namespace shunt::supervisor {

/// A node that exits with one of these (as sysexits.h: usage, configuration, unavailable, …) is not started again: it
/// would end the same way. The supervisor exits with it too. So does it with 0. Any other end is a crash.
inline constexpr int final_status_first = 64;
inline constexpr int final_status_last = 78;

struct SupervisorOptions {
  std::string program =
      "/proc/self/exe";  ///< The node. This way it is the same binary, even when its file was replaced.
  std::vector<std::string> node_argv;
  std::vector<std::string> node_env;  ///< Set over our own environment.
  std::string data_folder;            ///< Made if missing, and locked. Empty: none, for tests.

  Duration shutdown_limit = std::chrono::seconds(30);  ///< From the first SIGTERM until the node is killed.
  Duration fast_limit = std::chrono::seconds(5);       ///< The same from the second SIGTERM; a third kills at once.
  Duration worker_limit = std::chrono::seconds(5);  ///< What workers get from SIGTERM to SIGKILL once the node is gone.

  Duration backoff_first = std::chrono::milliseconds(100);  ///< Before a node that died is started again; doubles …
  Duration backoff_max = std::chrono::seconds(10);          ///< … up to this …
  Duration backoff_reset = std::chrono::seconds(30);        ///< … and is forgotten when a node lived this long.

  /// Where its own few lines go; default: stderr.
  std::function<void(std::string_view line)> log;
};

/// Threads: made and run on the only thread of its process. Lifetime: run() once.
class Supervisor {
 public:
  /// Errors: S5002 when the data folder is locked; what the system says.
  static Result<Own<Supervisor>> create(SupervisorOptions options);
  ~Supervisor();

  /// Runs until everything below has ended. Returns the exit status for the process.
  ///
  /// SIGTERM, SIGINT: the node drains and exits; again: faster; a third time: it is killed. SIGHUP: the node
  /// reloads; from a terminal that is gone it does what SIGTERM does.
  int run();

 private:
  struct State;
  explicit Supervisor(Own<State> state);
  Own<State> state_;
};

}  // namespace shunt::supervisor
