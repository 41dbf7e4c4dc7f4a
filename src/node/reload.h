#pragma once
// Reload: a running node takes up what its manifests and its services' code say now, all of it or nothing. Whatever must
// run anew is started first and must be ready; then the routing is published in one step; then what it replaces lets its
// open calls end and goes. So a service moves between thread and process under load without a failed call, and a version
// that does not start leaves the one before where it was.
//
// It knows neither gateways nor listeners: the house reads and commits.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/own.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "loop/task.h"
#include "module/manager.h"
#include "node/hosting.h"
#include "node/manifests.h"

namespace shunt::node {

/// What a reload asks of the house.
class ReloadHouse {
 public:
  /// Reads and checks; what it finds wrong, also with other files that manifests name, is among the diagnostics.
  virtual Manifests read_again() = 0;
  /// From here on these are the services and apps: publishes them. `services` are moved out of the old list or new.
  virtual void commit(std::vector<manifest::AppManifest> apps, std::vector<Own<Hosted>> services) = 0;
  /// What is hosted now.
  virtual std::vector<Own<Hosted>>& hosted() = 0;
  [[nodiscard]] virtual bool is_stopping() const = 0;
  /// For people, in the node's log.
  virtual void say(std::string_view level, std::string text) = 0;

 protected:
  ~ReloadHouse() = default;
};

/// Threads: the control loop's. Lifetime: hosting, loops and house outlive it.
class Reload final {
 public:
  Reload(loop::EpollLoop& control, Loops& loops, Hosting& hosting, ReloadHouse& house, Duration drain_timeout);
  ~Reload();

  /// Takes up what the files say when it begins. One runs at a time; who asks meanwhile gets the next one's report, and
  /// those who ask together share it. Dropping the task does not stop the reload.
  loop::Task<module::ReloadReport> run();
  /// The same for who does not wait for the report; `told` gets it.
  void ask(std::function<void(const module::ReloadReport&)> told);
  /// A host said that something changed.
  void on_change() { changed_.set(); }
  /// Adds the instances of a service that drain.
  void report_retiring(module::ServiceReport& to) const;
  /// Waits for what is under way, which hurries when the house is stopping, and for hosts that drain.
  loop::Task<void> finish();
  /// Hosts that drain have no longer than until then.
  void hurry(Deadline deadline);
  /// Lets go of hosts that drain: the loops have stopped.
  void forget();

 private:
  struct Candidate;
  struct Waiting;
  struct Retiring {
    explicit Retiring(Own<Hosted> its) : hosted(std::move(its)) {}
    Own<Hosted> hosted;
  };

  void begin();
  loop::Task<void> serve();
  loop::Task<module::ReloadReport> once();
  loop::Task<bool> learn(std::vector<Candidate>& all, module::ReloadReport& report);
  loop::Task<bool> start(std::vector<Candidate>& all, module::ReloadReport& report);
  loop::Task<bool> await_ready(std::vector<Candidate>& all, module::ReloadReport& report);
  loop::Task<void> take_back(std::vector<Candidate>& all);
  loop::Task<void> publish(Manifests manifests, std::vector<Candidate>& all, module::ReloadReport& report);
  loop::Task<void> retire(Retiring& retiring);
  loop::Task<void> barrier();
  void refuse(const Candidate& candidate, const manifest::Diagnostic& why, module::ReloadReport& report);

  loop::EpollLoop& control_;
  Loops& loops_;
  Hosting& hosting_;
  ReloadHouse& house_;
  const Duration drain_timeout_;
  std::vector<Waiting*> waiting_;                                       ///< For the next report.
  std::vector<std::function<void(const module::ReloadReport&)>> tell_;  ///< The same.
  std::vector<Waiting*> current_;                                       ///< For that of the reload that runs.
  bool serving_ = false;
  loop::Event changed_;
  loop::Event retired_;
  std::vector<Own<Retiring>> retiring_;
  loop::Scope scope_;
};

}  // namespace shunt::node
