#pragma once
// PoolOptions: how the workers of one service are started and kept. Each limit with its default, unit and reason.

#include <cstddef>
#include <string>
#include <vector>

#include "base/time.h"

namespace shunt::pool {

struct PoolOptions {
  std::string service;          ///< Full name.
  std::string definition_hash;  ///< A worker of another definition is never adopted.
  std::vector<std::string> argv;
  std::vector<std::string> env;  ///< Set over the node's.
  std::string cwd;               ///< The app's folder.

  std::size_t workers = 1;          ///< engine.pool-limit: all of them are started at once.
  std::size_t queue_limit = 100;    ///< engine.queue-limit: tickets that wait; one more is refused at once.
  std::uint32_t concurrency = 0;    ///< engine.concurrency: calls at once in each; 0: what the worker says.
  std::size_t crashlog_limit = 50;  ///< engine.crashlog-limit: lines kept of what a worker wrote before it ended.

  Duration startup_timeout = std::chrono::seconds(10);     ///< From the start until HELLO on every link.
  Duration heartbeat_timeout = std::chrono::seconds(30);   ///< Without an answer for so long a worker is killed.
  Duration termination_timeout = std::chrono::seconds(5);  ///< From SIGTERM until SIGKILL.

  Duration backoff_first = std::chrono::seconds(1);  ///< Before a worker that ended is started again; doubles …
  Duration backoff_max = std::chrono::seconds(30);   ///< … up to this …
  Duration steady_after = std::chrono::seconds(1);   ///< … and is forgotten when it had been ready for so long.
  /// So many ends in a row, none of them steady, of every worker: calls no longer wait but are answered S1009.
  std::size_t failing_after = 2;
  /// How long a link that broke waits for the news of its worker's end, so that its calls can say how it ended.
  Duration why_wait = std::chrono::milliseconds(50);
};

/// By which a later node knows a living worker for its own.
inline std::string worker_key(const PoolOptions& options) { return options.service + ":" + options.definition_hash; }

}  // namespace shunt::pool
