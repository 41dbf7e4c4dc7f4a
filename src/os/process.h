#pragma once
// Processes: start one, watch it by pidfd, end it, and say how it ended. spawn() forks, so it is for the supervisor, which
// has one thread; between fork and exec only async-signal-safe calls are made, so tests with threads may use it too.

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

/// How a process ended.
struct ProcessEnd {
  pid_t pid = 0;
  bool by_signal = false;
  int value = 0;  ///< The exit status, or the signal.
  bool core_dumped = false;
  long memory_peak_kib = 0;  ///< Of this process alone, when it was reaped by us.

  [[nodiscard]] bool is_success() const { return !by_signal && value == 0; }
  /// "exited with status 3", "was killed by signal 9 (SIGKILL)".
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const ProcessEnd&, const ProcessEnd&) = default;
};

/// "SIGKILL"; "signal 77" for one without a name.
std::string signal_name(int signal);

struct SpawnOptions {
  std::string program;  ///< What is executed; empty: argv[0]. Without a slash it is looked for in PATH of `env`.
  std::vector<std::string> argv;
  std::vector<std::string> env;  ///< Complete, as NAME=VALUE.
  std::string cwd;               ///< Empty: ours.
  /// (ours, its number there). All else is closed; 0, 1 and 2 are ours unless named here.
  std::vector<std::pair<int, int>> descriptors;
  bool own_group = true;  ///< The leader of a new process group.
  int death_signal = 9;   ///< Sent when the thread that spawned it ends; 0: none.
};

struct Process {
  pid_t pid = 0;
  Fd pidfd;
};

/// Starts a program. Signal mask and dispositions are reset. Returns when exec has succeeded or failed.
/// Errors: S3001, naming the program and what failed (not_found, permission_denied, …).
Result<Process> spawn(const SpawnOptions& options);

/// The environment of this process.
std::vector<std::string> environment();
/// `base` with the NAME=VALUE of `overrides` set; a bare NAME removes it.
std::vector<std::string> merge_environment(std::vector<std::string> base, const std::vector<std::string>& overrides);
/// Where `program` is found: itself if it has a slash, else in `path` (colons). Errors: not_found.
Result<std::string> find_program(std::string_view program, std::string_view path);

Result<Fd> open_pidfd(pid_t pid);
/// Errors: not_found when it has ended and was reaped.
Result<void> send_signal(int pidfd, int signal);
/// To a whole process group. One that is empty is no error.
void signal_group(pid_t leader, int signal);

/// Reaps a child if it has ended; nothing while it runs.
Result<std::optional<ProcessEnd>> try_wait(int pidfd);
/// Waits for the child's end. For tests and small tools.
Result<ProcessEnd> wait_for(int pidfd);

/// A child that has ended and was not reaped yet, ours or adopted; 0 when there is none. It stays so until reap().
pid_t next_ended_child();
std::optional<ProcessEnd> reap(pid_t pid);
/// The living and dead children of this process, adopted ones too.
std::vector<pid_t> children();

/// Orphans below this process become its children.
Result<void> become_subreaper();
/// The name that `ps` shows; at most 15 bytes.
void set_process_name(std::string_view name);

}  // namespace shunt::os
