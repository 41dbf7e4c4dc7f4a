#pragma once
// PoolHost: a service of the process backend. It gives a pool what it can't see itself: links over sockets, the routers
// that take its workers' calls, and how its language is started.

#include <memory>
#include <string>
#include <vector>

#include "call/spawner.h"
#include "manifest/manifest.h"
#include "module/log_book.h"
#include "node/loops.h"
#include "node/service_host.h"
#include "node/worker_links.h"
#include "pool/output_reader.h"
#include "pool/pool.h"

namespace shunt::node {

class Broker;

/// Threads: the control loop's. Lifetime: destroyed after retire(), or after the loops' threads have ended.
class PoolHost final : public ServiceHost, private pool::PoolEvents, private pool::LogSink {
 public:
  PoolHost(Loops& loops, Broker& broker, call::Spawner& spawner, module::LogBook& log,
           const manifest::ServiceManifest& manifest, std::string hash, HostChanged changed);
  ~PoolHost() override;
  /// Starts the workers. Those of this service and hash in `living`, which an earlier node left, are taken over.
  void start(std::vector<call::SpawnedWorker>& living);

  std::vector<std::shared_ptr<call::Instance>> instances() override { return pool_->instances(); }
  std::shared_ptr<call::Admission> admission() override { return pool_->admission(); }
  bool is_ready() override { return pool_->is_complete(); }
  std::string why_absent() override { return pool_->why_absent(); }
  void report(module::ServiceReport& to) override;
  loop::Task<void> stop(Deadline deadline) override { return pool_->drain(deadline); }
  loop::Task<void> retire(Deadline deadline) override;
  void hurry(Deadline deadline) override { pool_->hurry(deadline); }

 private:
  void on_pool_change() override { changed_(); }
  void on_line(const pool::WorkerIdentity& worker, pool::OutputStream stream, std::string_view line) override;
  void on_note(const pool::WorkerIdentity& worker, std::string_view note) override;

  loop::EpollLoop& control_;
  module::LogBook& log_;
  HostChanged changed_;
  WorkerLinks links_;
  pool::EpollOutputs outputs_;
  Own<pool::Pool> pool_;
};

}  // namespace shunt::node
