#include "worker_links/module_worker.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/version.h"
#include "library/module_service.h"
#include "loop/epoll_loop.h"
#include "os/signal.h"
#include "worker/host.h"
#include "worker_links/mux_node_link.h"

namespace shunt::worker_links {

namespace {

class WorkerProcess final : public worker::HostEvents, public call::Caller, public call::Service {
 public:
  WorkerProcess(loop::EpollLoop& loop, const library::Library& library, std::string service)
      : loop_(loop), library_(library), name_(std::move(service)), maker_(loop) {}

  // The module is attached after the host is there, since its calls go out by the host.
  Result<void> start(worker::Environment environment) {
    worker::HostOptions options;
    options.software = fmt::format("c++ {}", version);
    options.definition = std::string(library_.definition());
    SHUNT_TRY(host_,
              worker::WorkerHost::create(loop_, maker_, *this, *this, std::move(environment), std::move(options)));
    library::ModuleOptions module;
    module.self.kind = call::PrincipalKind::service;
    module.self.service = name_;
    module.activity = {.enter = &WorkerProcess::enter, .owner = &loop_};
    SHUNT_TRY(module_, library::ModuleService::create(library_, loop_, *this, std::move(module)));
    return {};
  }
  void drain() { host_->drain(); }

  call::OutgoingHandle start(const call::CallStart& start, call::CallerEvents& events, call::Opening opening) override {
    return host_->start(start, events, std::move(opening));
  }
  void begin(call::IncomingHandle call, const call::Open& open, call::Opening opening) override {
    module_->begin(std::move(call), open, std::move(opening));
  }

 private:
  static void enter(void* loop, std::string_view service, std::string_view) {
    static_cast<loop::EpollLoop*>(loop)->set_activity(service);
  }
  void on_drain() override {}
  void on_drained() override { loop_.stop(); }
  void on_lost() override { loop_.stop(); }

  loop::EpollLoop& loop_;
  const library::Library& library_;
  const std::string name_;
  MuxNodeLinkMaker maker_;
  Own<worker::WorkerHost> host_;
  Own<library::ModuleService> module_;
};

// SIGTERM is the order to drain.
class TerminateWatch final : private loop::Watch {
 public:
  TerminateWatch(loop::EpollLoop& loop, os::SignalFd signals, WorkerProcess& process)
      : signals_(std::move(signals)), process_(process) {
    (void)loop.watch(*this, signals_.fd());
  }

 private:
  void on_ready(bool, bool) override {
    bool told = false;
    while (signals_.read().has_value()) told = true;
    if (told) process_.drain();
  }
  os::SignalFd signals_;
  WorkerProcess& process_;
};

int fail_with(const Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

}  // namespace

int run_module_worker(const library::Library& library, worker::Environment environment) {
  // Ctrl-C in a terminal goes to the whole foreground group; the supervisor decides what becomes of us.
  signal(SIGINT, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  auto signals = os::SignalFd::create({SIGTERM});
  if (!signals) return fail_with(signals.error());
  auto loop = loop::EpollLoop::create({.name = environment.service});
  if (!loop) return fail_with(loop.error());
  WorkerProcess worker(**loop, library, environment.service);
  if (auto started = worker.start(std::move(environment)); !started) return fail_with(started.error());
  TerminateWatch terminate(**loop, std::move(*signals), worker);
  (*loop)->run();
  return 0;
}

std::optional<bool> describe_if_asked(std::string_view definition) {
  const char* text = getenv("SHUNT_DESCRIBE_FD");
  if (text == nullptr) return std::nullopt;
  int fd = -1;
  auto [end, error] = std::from_chars(text, text + std::strlen(text), fd);
  if (error != std::errc() || *end != '\0' || fd < 0) return false;
  while (!definition.empty()) {
    const ssize_t n = write(fd, definition.data(), definition.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    definition.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void log_to_stderr(int level, std::string_view text) {
  static constexpr const char* levels[] = {"debug", "info", "warning", "error"};
  std::fprintf(stderr, "%s: %.*s\n", levels[level & 3], static_cast<int>(text.size()), text.data());
}

}  // namespace shunt::worker_links
