#include "node/hosting.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "node/contracts.h"
#include "node/describe.h"
#include "node/module_host.h"
#include "node/pool_host.h"
#include "schema/derive.h"

namespace shunt::node {

using manifest::Diagnostic;

namespace {

std::string copies_folder(const std::string& data) { return data + "/modules"; }

}  // namespace

void forget_copies(const std::string& data) {
  std::error_code ignored;
  std::filesystem::remove_all(copies_folder(data), ignored);
}

Hosting::Hosting(HostingOptions options) : options_(std::move(options)) {}

loop::Task<std::vector<Diagnostic>> Hosting::learn(Hosted& hosted) {
  auto& service = hosted.manifest;
  std::vector<Diagnostic> all;
  auto described = co_await describe(options_.control, options_.supervisor, service, options_.data + "/describe");
  if (!described) {
    all.push_back(std::move(described).error());
    co_return all;
  }
  all = manifest::merge_described(service, *described);
  if (!manifest::has_errors(all)) {
    auto more = give_contract(service);
    all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  if (!manifest::has_errors(all) && service.definition.contract == nullptr) {
    if (auto derived = schema::derive_into(service.definition); !derived) {
      const Status& why = derived.error();
      all.push_back(manifest::diagnostic_at(service, "args", why.id(), std::string(why.message())));
    }
  }
  co_return all;
}

void Hosting::count_on(Hosted& hosted, const Hosted* before) const {
  const auto& commands = hosted.manifest.definition.commands;
  auto counted_already = [&](const auto& command) { return before->stats->commands.contains(command.first); };
  if (before != nullptr && commands.size() == before->stats->commands.size() &&
      std::ranges::all_of(commands, counted_already)) {
    hosted.stats = before->stats;
    return;
  }
  // A new object: the one before is in a routing that other loops read.
  auto stats = std::make_shared<call::ServiceStats>();
  for (const auto& [command, definition] : commands) {
    auto& counts = stats->commands[command];
    if (before != nullptr) {
      if (auto found = before->stats->commands.find(command); found != before->stats->commands.end()) {
        counts = found->second;
      }
    }
    if (counts == nullptr) counts = std::make_shared<call::CommandStats>(options_.loops.all());
  }
  if (before != nullptr) stats->retries.store(before->stats->retries.load());
  hosted.stats = std::move(stats);
}

loop::Task<std::optional<Diagnostic>> Hosting::start(Hosted& hosted, std::vector<call::SpawnedWorker>& living,
                                                     const Hosted* before) {
  const auto& service = hosted.manifest;
  count_on(hosted, before);
  hosted.code = content_hash(service);
  if (service.engine.backend == manifest::Backend::thread) {
    auto host = ModuleHost::load(options_.loops, options_.supervisor.activity(), options_.log, service,
                                 copies_folder(options_.data));
    Result<void> started;
    if (host) started = co_await (*host)->start();
    if (!host || !started) {
      const Status why = host ? started.error() : host.error();
      if (host) co_await (*host)->retire(Deadline(options_.control.now()));
      co_return manifest::diagnostic_at(service, "args", why.id(), std::string(why.message()));
    }
    hosted.host = std::move(*host);
  } else {
    auto host = make_own<PoolHost>(options_.loops, options_.broker, options_.supervisor, options_.log, service,
                                   hosted.code, options_.changed);
    auto* pool = host.get();
    hosted.host = std::move(host);
    pool->start(living);
  }
  hosted.settled = true;
  co_return std::nullopt;
}

std::shared_ptr<call::Route> route_of(const Hosted& hosted) {
  auto route = std::make_shared<call::Route>();
  route->definition = std::make_shared<call::ServiceDefinition>(hosted.manifest.definition);
  route->stats = hosted.stats;
  if (hosted.host == nullptr) {
    route->why_absent = hosted.failure.empty() ? "it is starting" : hosted.failure;
    return route;
  }
  route->instances = hosted.host->instances();
  route->admission = hosted.host->admission();
  route->why_absent = hosted.host->why_absent();
  route->arrange();
  return route;
}

module::ServiceReport report_of(const Hosted& hosted) {
  module::ServiceReport service;
  const auto& manifest = hosted.manifest;
  service.name = manifest.definition.full_name;
  service.type = manifest.type;
  service.backend = manifest.engine.backend == manifest::Backend::thread ? "thread" : "process";
  service.version = manifest.definition.version;
  for (const auto& [command, definition] : manifest.definition.commands) service.commands.push_back(command);
  for (const auto& [command, stats] : hosted.stats->commands) {
    service.calls += stats->started();
    for (int code = 1; code < code_count; code++) service.errors += stats->ended(static_cast<Code>(code));
  }
  if (hosted.host != nullptr) {
    hosted.host->report(service);
  } else {
    service.state = hosted.failure.empty() ? "starting" : "failed";
    service.last_error = hosted.failure;
  }
  if (!hosted.refused.empty()) service.last_error = hosted.refused;
  return service;
}

}  // namespace shunt::node
