#include "node/pool_host.h"

#include <fmt/format.h>

#include <utility>

#include "call/path_stats.h"
#include "node/describe.h"

namespace shunt::node {

namespace {

pool::PoolOptions pool_options(const manifest::ServiceManifest& manifest, std::string hash) {
  auto command = worker_command(manifest);
  pool::PoolOptions options;
  options.service = manifest.definition.full_name;
  options.definition_hash = std::move(hash);
  options.argv = std::move(command.argv);
  options.env = std::move(command.env);
  options.cwd = manifest.folder.string();
  options.workers = static_cast<std::size_t>(manifest.engine.pool_limit);
  options.queue_limit = static_cast<std::size_t>(manifest.engine.queue_limit);
  options.concurrency = static_cast<std::uint32_t>(manifest.engine.concurrency);
  options.crashlog_limit = static_cast<std::size_t>(manifest.engine.crashlog_limit);
  options.startup_timeout = manifest.engine.startup_timeout;
  options.heartbeat_timeout = manifest.engine.heartbeat_timeout;
  options.termination_timeout = manifest.engine.termination_timeout;
  return options;
}

// What a service logs through its SDK comes as "warning: text" on standard error. The same word printed there by
// anything else means the same.
std::pair<std::string_view, std::string_view> leveled(pool::OutputStream stream, std::string_view line) {
  if (stream == pool::OutputStream::err) {
    for (std::string_view level : {"debug", "info", "warning", "error"}) {
      if (line.starts_with(level) && line.substr(level.size()).starts_with(": ")) {
        return {level, line.substr(level.size() + 2)};
      }
    }
  }
  return {"output", line};
}

}  // namespace

PoolHost::PoolHost(Loops& loops, Broker& broker, call::Spawner& spawner, module::LogBook& log,
                   const manifest::ServiceManifest& manifest, std::string hash, HostChanged changed)
    : control_(loops.control().loop),
      log_(log),
      changed_(std::move(changed)),
      links_(loops, broker, manifest.definition.full_name, static_cast<std::uint32_t>(manifest.engine.concurrency),
             manifest.engine.link != manifest::WorkerLink::unix_),
      outputs_(loops.control().loop) {
  std::vector<loop::Loop*> all;
  for (std::size_t i = 0; i < loops.all(); i++) all.push_back(&loops.at(i).loop);
  pool_ = make_own<pool::Pool>(pool::PoolWiring{std::move(all), spawner, links_, outputs_, *this, *this},
                               pool_options(manifest, std::move(hash)));
}

PoolHost::~PoolHost() = default;

void PoolHost::start(std::vector<call::SpawnedWorker>& living) { pool_->start(living); }

loop::Task<void> PoolHost::retire(Deadline deadline) {
  pool_->pass_on();
  co_await pool_->drain(deadline);
}

void PoolHost::report(module::ServiceReport& to) {
  to.queued = pool_->queue().queued;
  to.state = pool_->is_complete()  ? "ready"
             : pool_->is_failing() ? "failing"
             : pool_->is_ready()   ? "degraded"
                                   : "starting";
  for (const auto& worker : pool_->status()) {
    module::InstanceReport instance;
    instance.name = worker.name;
    instance.pid = worker.pid;
    instance.state = pool::state_name(worker.state);
    instance.in_flight = worker.in_flight;
    instance.served = worker.served;
    instance.restarts = worker.restarts;
    instance.last_error = worker.last_error;
    if (worker.pid != 0) {
      instance.link = call::distance_name(worker.distance);
      instance.link_why = worker.distance_why;
    }
    if (worker.next_start) {
      auto left = Deadline(*worker.next_start).left(control_.refresh_now());
      instance.retry_in = format_duration(std::chrono::ceil<std::chrono::seconds>(left));
    }
    to.in_flight += instance.in_flight;
    to.restarts += instance.restarts;
    if (!worker.last_error.empty()) {
      to.last_error = worker.last_error;
      to.crash_log.assign(worker.crash_log.begin(), worker.crash_log.end());
    }
    to.instances.push_back(std::move(instance));
  }
}

void PoolHost::on_line(const pool::WorkerIdentity& worker, pool::OutputStream stream, std::string_view line) {
  auto [level, text] = leveled(stream, line);
  log_.add(
      {.service = worker.service, .instance = worker.name(), .level = std::string(level), .text = std::string(text)});
}

void PoolHost::on_note(const pool::WorkerIdentity& worker, std::string_view note) {
  log_.add({.service = worker.service, .instance = worker.name(), .level = "warning", .text = std::string(note)});
}

}  // namespace shunt::node
