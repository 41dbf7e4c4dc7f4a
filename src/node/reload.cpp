#include "node/reload.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/changes.h"
#include "node/describe.h"

namespace shunt::node {

using manifest::Diagnostic;
using module::ReloadReport;

namespace {

/// So long a new worker must have been ready without an end: what dies right after its start replaces nobody.
constexpr Duration steady = std::chrono::milliseconds(300);
constexpr Duration poll = std::chrono::milliseconds(50);

std::string_view backend_name(const manifest::ServiceManifest& service) {
  return service.engine.backend == manifest::Backend::thread ? "thread" : "process";
}

}  // namespace

struct Reload::Waiting {
  Waiting(Reload& its_reload, loop::Loop& loop) : reload(its_reload), event(loop) { reload.waiting_.push_back(this); }
  ~Waiting() {
    std::erase(reload.waiting_, this);
    std::erase(reload.current_, this);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  Reload& reload;
  loop::Event event;
  ReloadReport report;
};

/// One service as the manifests say it now.
struct Reload::Candidate {
  Own<Hosted> next;
  Hosted* old = nullptr;  ///< nullptr: there was none of that name.
  Changes changes;
  std::vector<Diagnostic> diagnostics;
  bool fresh = false;  ///< It needs a host of its own.

  /// Nothing is lost when this one can't be hosted: it could not before.
  [[nodiscard]] bool was_absent() const { return old != nullptr && old->host == nullptr; }
  void give_up(const Diagnostic& why) {
    next->failure = fmt::format("{} {}", why.id, why.message);
    next->settled = true;
    fresh = false;
  }
};

Reload::Reload(loop::EpollLoop& control, Loops& loops, Hosting& hosting, ReloadHouse& house, Duration drain_timeout)
    : control_(control),
      loops_(loops),
      hosting_(hosting),
      house_(house),
      drain_timeout_(drain_timeout),
      changed_(control),
      retired_(control),
      scope_(control) {}

Reload::~Reload() = default;

// --- Who asks -------------------------------------------------------------------------------------------------------

loop::Task<ReloadReport> Reload::run() {
  Waiting mine(*this, control_);
  begin();
  co_await mine.event.wait();
  co_return std::move(mine.report);
}

void Reload::ask(std::function<void(const ReloadReport&)> told) {
  tell_.push_back(std::move(told));
  begin();
}

void Reload::begin() {
  if (!std::exchange(serving_, true)) scope_.spawn(serve());
}

loop::Task<void> Reload::serve() {
  while (!waiting_.empty() || !tell_.empty()) {
    current_ = std::exchange(waiting_, {});
    auto tell = std::exchange(tell_, {});
    auto report = co_await once();
    for (auto& told : tell) told(report);
    for (auto* waiting : std::exchange(current_, {})) {
      waiting->report = report;
      waiting->event.set();
    }
  }
  serving_ = false;
  retired_.set();
}

// --- One reload -----------------------------------------------------------------------------------------------------

loop::Task<ReloadReport> Reload::once() {
  ReloadReport report;
  auto all_settled = [this] { return std::ranges::all_of(house_.hosted(), &Hosted::settled); };
  while (!all_settled() && !house_.is_stopping()) {
    co_await changed_.wait(Deadline::after(control_.refresh_now(), poll));
  }
  auto manifests = house_.read_again();
  for (const auto& diagnostic : manifests.diagnostics) report.diagnostics.push_back(manifest::to_json(diagnostic));
  if (!manifests.whole()) {
    const auto first = std::ranges::find(manifests.diagnostics, manifest::Severity::error, &Diagnostic::severity);
    report.refused = manifest::to_status(*first).to_string();
    co_return report;
  }
  std::vector<Candidate> all;
  for (const auto& app : manifests.apps) {
    for (const auto& service : app.services) {
      Candidate candidate;
      candidate.next = make_own<Hosted>();
      candidate.next->manifest = service;
      auto old =
          std::ranges::find_if(house_.hosted(), [&](const auto& one) { return one->name() == candidate.next->name(); });
      if (old != house_.hosted().end()) candidate.old = old->get();
      all.push_back(std::move(candidate));
    }
  }
  bool good = co_await learn(all, report);
  if (good) good = co_await start(all, report);
  if (good) good = co_await await_ready(all, report);
  if (good && house_.is_stopping()) {
    report.refused = "the node is shutting down";
    good = false;
  }
  if (!good) {
    co_await take_back(all);
    co_return report;
  }
  co_await publish(std::move(manifests), all, report);
  co_return report;
}

void Reload::refuse(const Candidate& candidate, const Diagnostic& why, ReloadReport& report) {
  const auto text = manifest::to_status(why).to_string();
  if (report.refused.empty()) report.refused = text;
  if (candidate.old != nullptr && candidate.old->host != nullptr) {
    candidate.old->refused = fmt::format("what it should run now does not start: {} {}", why.id, why.message);
  }
}

namespace {

loop::Task<void> learn_one(Hosting& hosting, Hosted& hosted, std::vector<Diagnostic>& out) {
  out = co_await hosting.learn(hosted);
}

}  // namespace

// Asks every service what it is: answers are kept by content, so of what did not change nothing runs.
loop::Task<bool> Reload::learn(std::vector<Candidate>& all, ReloadReport& report) {
  {
    loop::Scope asking(control_);
    for (auto& each : all) asking.spawn(learn_one(hosting_, *each.next, each.diagnostics));
    co_await asking.join();
  }
  bool good = true;
  for (auto& each : all) {
    for (const auto& diagnostic : each.diagnostics) report.diagnostics.push_back(manifest::to_json(diagnostic));
    const auto error = std::ranges::find(each.diagnostics, manifest::Severity::error, &Diagnostic::severity);
    if (error != each.diagnostics.end()) {
      if (each.was_absent()) {
        each.give_up(*error);
      } else {
        refuse(each, *error, report);
        good = false;
      }
      continue;
    }
    if (each.old != nullptr) {
      each.changes = changes_of(*each.old, each.next->manifest, content_hash(each.next->manifest));
    }
    each.fresh = each.old == nullptr || each.old->host == nullptr || !each.changes.host.empty();
  }
  co_return good;
}

loop::Task<bool> Reload::start(std::vector<Candidate>& all, ReloadReport& report) {
  std::vector<call::SpawnedWorker> none;
  for (auto& each : all) {
    if (!each.fresh) continue;
    auto failed = co_await hosting_.start(*each.next, none, each.old);
    if (!failed) continue;
    report.diagnostics.push_back(manifest::to_json(*failed));
    if (each.was_absent()) {
      each.give_up(*failed);
      continue;
    }
    refuse(each, *failed, report);
    co_return false;
  }
  co_return true;
}

namespace {

/// How the start of a host went wrong, if it did: a worker of it has ended, or could not be started at all.
std::string trouble_of(ServiceHost& host) {
  module::ServiceReport report;
  host.report(report);
  if (report.last_error.empty()) return {};
  std::string text = report.last_error;
  for (const auto& line : report.crash_log) text += "; " + line;
  return text;
}

}  // namespace

loop::Task<bool> Reload::await_ready(std::vector<Candidate>& all, ReloadReport& report) {
  bool has_pool = false;
  Duration longest(0);
  for (const auto& each : all) {
    if (!each.fresh || each.next->manifest.engine.backend == manifest::Backend::thread) continue;
    has_pool = true;
    longest = std::max(longest, each.next->manifest.engine.startup_timeout);
  }
  if (!has_pool) co_return true;
  const Deadline limit = Deadline::after(control_.refresh_now(), longest + std::chrono::seconds(1));
  std::optional<Instant> since;
  for (;;) {
    if (house_.is_stopping()) co_return true;
    const Instant now = control_.refresh_now();
    bool ready = true;
    for (auto& each : all) {
      if (!each.fresh) continue;
      auto& host = *each.next->host;
      auto trouble = trouble_of(host);
      const bool late = !host.is_ready() && limit.passed(now);
      if (trouble.empty() && late) trouble = fmt::format("not ready within its startup-timeout: {}", host.why_absent());
      if (!trouble.empty() && !each.was_absent()) {
        auto why = manifest::diagnostic_at(each.next->manifest, "args", "S3040", std::move(trouble));
        report.diagnostics.push_back(manifest::to_json(why));
        refuse(each, why, report);
        co_return false;
      }
      // One that could not be called before keeps trying, as after a start of the node.
      ready = ready && (host.is_ready() || each.was_absent());
    }
    if (!ready) since.reset();
    if (ready && !since) since = now;
    if (since && now - *since >= steady) co_return true;
    co_await changed_.wait(Deadline::after(now, poll));
  }
}

// Nothing of it was published, so nobody calls it.
loop::Task<void> Reload::take_back(std::vector<Candidate>& all) {
  loop::Scope ending(control_);
  for (auto& each : all) {
    if (each.next->host != nullptr) ending.spawn(each.next->host->retire(Deadline(control_.refresh_now())));
  }
  co_await ending.join();
  co_await barrier();
  for (auto& each : all) each.next->host = nullptr;
}

loop::Task<void> Reload::publish(Manifests manifests, std::vector<Candidate>& all, ReloadReport& report) {
  std::vector<Own<Hosted>> before = std::move(house_.hosted());
  std::vector<Own<Hosted>> services;
  auto tell = [&](std::string change, const Hosted& hosted, std::vector<std::string> what, const Hosted* old) {
    report.services.push_back({.name = hosted.name(),
                               .change = std::move(change),
                               .what = std::move(what),
                               .from = std::string(old != nullptr ? backend_name(old->manifest) : ""),
                               .to = std::string(backend_name(hosted.manifest))});
  };
  for (auto& each : all) {
    auto& next = *each.next;
    auto what = each.changes.host;
    what.insert(what.end(), each.changes.route.begin(), each.changes.route.end());
    if (each.fresh) {
      tell(each.old != nullptr ? "replaced" : "added", next, std::move(what), each.old);
    } else if (next.failure.empty()) {
      next.host = std::move(each.old->host);
      next.code = each.old->code;
      next.settled = true;
      hosting_.count_on(next, each.old);
      tell(what.empty() ? "same" : "updated", next, std::move(what), each.old);
    } else {
      tell("failed", next, std::move(what), each.old);
    }
    services.push_back(std::move(each.next));
  }
  for (auto& old : before) {
    if (std::ranges::none_of(services, [&](const auto& one) { return one->name() == old->name(); })) {
      tell("removed", *old, {}, old.get());
      report.services.back().to = "";
    }
  }
  house_.commit(std::move(manifests.apps), std::move(services));
  report.applied = true;
  // From here on no call begins by the routing of before.
  co_await barrier();
  for (auto& old : before) {
    if (old->host == nullptr) continue;
    retiring_.push_back(make_own<Retiring>(std::move(old)));
    scope_.spawn(retire(*retiring_.back()));
  }
}

// --- What was replaced ----------------------------------------------------------------------------------------------

/// Every loop has finished what was posted to it.
loop::Task<void> Reload::barrier() {
  for (std::size_t i = 0; i < loops_.all(); i++) co_await loops_.run_on(i, [] {});
}

loop::Task<void> Reload::retire(Retiring& retiring) {
  auto& hosted = *retiring.hosted;
  const Duration limit = house_.is_stopping() ? Duration(0) : drain_timeout_;
  co_await hosted.host->retire(Deadline::after(control_.refresh_now(), limit));
  // What a host has posted may post once more.
  co_await barrier();
  co_await barrier();
  hosted.host = nullptr;
  std::erase_if(retiring_, [&](const auto& each) { return each.get() == &retiring; });
  retired_.set();
}

void Reload::report_retiring(module::ServiceReport& to) const {
  for (const auto& each : retiring_) {
    if (each->hosted->name() != to.name || each->hosted->host == nullptr) continue;
    module::ServiceReport old;
    each->hosted->host->report(old);
    for (auto& instance : old.instances) {
      instance.state = "draining";
      to.in_flight += instance.in_flight;
      to.instances.push_back(std::move(instance));
    }
  }
}

loop::Task<void> Reload::finish() {
  while (serving_ || !retiring_.empty()) {
    changed_.set();
    co_await retired_.wait();
  }
}

void Reload::hurry(Deadline deadline) {
  for (auto& each : retiring_) {
    if (each->hosted->host != nullptr) each->hosted->host->hurry(deadline);
  }
}

void Reload::forget() {
  scope_.cancel();
  retiring_.clear();
}

}  // namespace shunt::node
