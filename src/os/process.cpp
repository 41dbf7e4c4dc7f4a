#include "os/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "os/error.h"
#include "os/file.h"

extern char** environ;

namespace shunt::os {

namespace {

ProcessEnd end_of(const siginfo_t& info, const rusage& usage) {
  ProcessEnd end;
  end.pid = info.si_pid;
  end.by_signal = info.si_code != CLD_EXITED;
  end.core_dumped = info.si_code == CLD_DUMPED;
  end.value = info.si_status;
  end.memory_peak_kib = usage.ru_maxrss;
  return end;
}

/// waitid() with the usage that glibc's wrapper leaves out.
Result<std::optional<ProcessEnd>> wait_id(idtype_t kind, id_t id, int options) {
  siginfo_t info{};
  rusage usage{};
  while (::syscall(SYS_waitid, kind, id, &info, options, &usage) != 0) {
    if (errno != EINTR) return system_failure("wait for a process", errno);
  }
  if (info.si_pid == 0) return std::nullopt;
  return end_of(info, usage);
}

/// What went wrong in the child between fork and exec.
struct ChildFailure {
  enum Step : int { parent_gone, descriptors, folder, execute };
  Step step;
  int error;
};

/// All that the child needs, made ready before the fork: there it may not allocate.
struct ChildPlan {
  const char* program;
  const char* cwd;
  std::vector<char*> argv;
  std::vector<char*> env;
  std::vector<std::pair<int, int>> descriptors;
  int lowest_spare = 3;  ///< Above every number that the program shall see.
  int report = -1;
  bool own_group;
  int death_signal;
  pid_t parent;
};

[[noreturn]] void give_up(int report, ChildFailure::Step step, int error) {
  ChildFailure failure{step, error};
  [[maybe_unused]] ssize_t ignored = ::write(report, &failure, sizeof failure);
  ::_exit(127);
}

void reset_signals() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < 65; ++signal) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void run_child(ChildPlan& plan) {
  if (plan.own_group) ::setpgid(0, 0);
  if (plan.death_signal != 0) {
    ::prctl(PR_SET_PDEATHSIG, plan.death_signal);
    // The parent may have ended before prctl(): then nobody would ever send it.
    if (::getppid() != plan.parent) give_up(plan.report, ChildFailure::parent_gone, ESRCH);
  }
  reset_signals();
  // First out of the way of every number that is wanted, then into place.
  int report = ::fcntl(plan.report, F_DUPFD_CLOEXEC, plan.lowest_spare);
  if (report < 0) give_up(plan.report, ChildFailure::descriptors, errno);
  for (auto& [from, to] : plan.descriptors) {
    from = ::fcntl(from, F_DUPFD_CLOEXEC, plan.lowest_spare);
    if (from < 0) give_up(report, ChildFailure::descriptors, errno);
  }
  // Also what a library opened without close-on-exec. An old kernel refuses: then our own discipline has to do.
  ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  for (auto& [from, to] : plan.descriptors) {
    if (::dup2(from, to) < 0) give_up(report, ChildFailure::descriptors, errno);
  }
  if (plan.cwd != nullptr && ::chdir(plan.cwd) != 0) give_up(report, ChildFailure::folder, errno);
  ::execve(plan.program, plan.argv.data(), plan.env.data());
  give_up(report, ChildFailure::execute, errno);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& each : strings) result.push_back(const_cast<char*>(each.c_str()));
  result.push_back(nullptr);
  return result;
}

std::string_view value_of(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& each : env) {
    if (each.size() > name.size() && each.starts_with(name) && each[name.size()] == '=') {
      return std::string_view(each).substr(name.size() + 1);
    }
  }
  return {};
}

Status not_started(const std::string& program, const ChildFailure& failure, const std::string& cwd) {
  char buffer[128];
  std::string_view words = strerror_r(failure.error, buffer, sizeof buffer);
  switch (failure.step) {
    case ChildFailure::folder:
      return {code_of_errno(failure.error), "S3001",
              fmt::format("{} can't start in the folder {}: {}", program, cwd, words)};
    case ChildFailure::execute:
      return {code_of_errno(failure.error), "S3001",
              fmt::format("{} can't start: {}{}", program, words,
                          failure.error == ENOENT ? " (the program, or the interpreter in its first line)" : "")};
    case ChildFailure::descriptors:
    case ChildFailure::parent_gone:
      break;
  }
  return {code_of_errno(failure.error), "S3001", fmt::format("{} can't start: {}", program, words)};
}

}  // namespace

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

std::string ProcessEnd::to_string() const {
  if (!by_signal) return fmt::format("exited with status {}", value);
  return fmt::format("was killed by signal {} ({}){}", value, signal_name(value), core_dumped ? ", core dumped" : "");
}

Result<Process> spawn(const SpawnOptions& options) {
  if (options.argv.empty()) return fail(Code::invalid_argument, "S3001", "the list of arguments is empty");
  const std::string& wanted = options.program.empty() ? options.argv[0] : options.program;
  auto program = find_program(wanted, value_of(options.env, "PATH"));
  if (!program) return fail(Code::not_found, "S3001", std::string(program.error().message()));
  SHUNT_TRY(Pipe report, make_pipe(Blocking::yes, Blocking::yes));

  ChildPlan plan{};
  plan.program = program->c_str();
  plan.cwd = options.cwd.empty() ? nullptr : options.cwd.c_str();
  plan.argv = pointers(options.argv);
  plan.env = pointers(options.env);
  plan.descriptors = options.descriptors;
  plan.lowest_spare = 3;
  for (auto& [from, to] : plan.descriptors) plan.lowest_spare = std::max(plan.lowest_spare, to + 1);
  plan.report = report.write.get();
  plan.own_group = options.own_group;
  plan.death_signal = options.death_signal;
  plan.parent = ::getpid();

  // No signal may run a handler of ours in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = ::fork();
  int error = errno;
  if (pid == 0) run_child(plan);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return system_failure(fmt::format("start {}: fork", wanted), error);

  // In both, so that it is done whoever comes first.
  if (options.own_group) ::setpgid(pid, pid);
  Process process{pid, {}};
  report.write.close();
  ChildFailure failure{};
  ssize_t got = 0;
  while ((got = ::read(report.read.get(), &failure, sizeof failure)) < 0 && errno == EINTR) {
  }
  if (got == sizeof failure) {
    reap(pid);
    return std::unexpected(not_started(wanted, failure, options.cwd));
  }
  auto pidfd = open_pidfd(pid);
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    reap(pid);
    return std::unexpected(std::move(pidfd).error());
  }
  process.pidfd = std::move(*pidfd);
  return process;
}

std::vector<std::string> environment() {
  std::vector<std::string> result;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) result.emplace_back(*each);
  return result;
}

std::vector<std::string> merge_environment(std::vector<std::string> base, const std::vector<std::string>& overrides) {
  for (const std::string& each : overrides) {
    std::string_view name = std::string_view(each).substr(0, each.find('='));
    std::erase_if(base, [&](const std::string& old) {
      return old.size() > name.size() && old.starts_with(name) && old[name.size()] == '=';
    });
    if (name.size() != each.size()) base.push_back(each);
  }
  return base;
}

Result<std::string> find_program(std::string_view program, std::string_view path) {
  if (program.find('/') != std::string_view::npos) return std::string(program);
  if (path.empty()) path = "/usr/local/bin:/usr/bin:/bin";
  for (std::string_view rest = path; !program.empty();) {
    auto colon = rest.find(':');
    std::string_view folder = rest.substr(0, colon);
    std::string candidate = fmt::format("{}/{}", folder.empty() ? "." : folder, program);
    if (is_file(candidate) && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return fail(Code::not_found, fmt::format("there is no program \"{}\" in PATH ({})", program, path));
}

Result<Fd> open_pidfd(pid_t pid) {
  long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return system_failure(fmt::format("watch process {}", pid), errno);
  return Fd(static_cast<int>(fd));
}

Result<void> send_signal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) != 0) {
    return system_failure(fmt::format("send {}", signal_name(signal)), errno);
  }
  return {};
}

void signal_group(pid_t leader, int signal) {
  // 0 and 1 would mean our own group and everything there is.
  if (leader > 1) ::kill(-leader, signal);
}

Result<std::optional<ProcessEnd>> try_wait(int pidfd) {
  return wait_id(P_PIDFD, static_cast<id_t>(pidfd), WEXITED | WNOHANG);
}

Result<ProcessEnd> wait_for(int pidfd) {
  SHUNT_TRY(auto end, wait_id(P_PIDFD, static_cast<id_t>(pidfd), WEXITED));
  return *end;
}

pid_t next_ended_child() {
  siginfo_t info{};
  if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return 0;
  return info.si_pid;
}

std::optional<ProcessEnd> reap(pid_t pid) {
  auto end = wait_id(P_PID, static_cast<id_t>(pid), WEXITED);
  return end ? *end : std::nullopt;
}

namespace {

/// The parent of a process, from the fields after its name in /proc/PID/stat: the name may hold anything.
pid_t parent_of(pid_t pid) {
  auto stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat) return 0;
  auto close = stat->rfind(')');
  if (close == std::string::npos || close + 4 >= stat->size()) return 0;
  pid_t parent = 0;
  const char* begin = stat->data() + close + 4;
  std::from_chars(begin, stat->data() + stat->size(), parent);
  return parent;
}

}  // namespace

std::vector<pid_t> children() {
  std::vector<pid_t> result;
  DIR* folder = ::opendir("/proc");
  if (folder == nullptr) return result;
  pid_t self = ::getpid();
  while (const dirent* entry = ::readdir(folder)) {
    pid_t pid = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    auto [stop, error] = std::from_chars(entry->d_name, end, pid);
    if (error == std::errc() && stop == end && parent_of(pid) == self) result.push_back(pid);
  }
  ::closedir(folder);
  return result;
}

Result<void> become_subreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return system_failure("become a subreaper", errno);
  return {};
}

void set_process_name(std::string_view name) {
  std::string text(name.substr(0, 15));
  ::prctl(PR_SET_NAME, text.c_str());
}

}  // namespace shunt::os
