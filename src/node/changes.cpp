#include "node/changes.h"

#include <algorithm>

namespace shunt::node {

namespace {

using manifest::EngineOptions;
using manifest::ServiceManifest;

void add_engine(const EngineOptions& before, const EngineOptions& now, std::vector<std::string>& out) {
  auto differs = [&](const char* key, auto EngineOptions::* field) {
    if (before.*field != now.*field) out.push_back(std::string("engine.") + key);
  };
  const std::size_t known = out.size();
  differs("backend", &EngineOptions::backend);
  differs("concurrency", &EngineOptions::concurrency);
  differs("crashlog-limit", &EngineOptions::crashlog_limit);
  differs("heartbeat-timeout", &EngineOptions::heartbeat_timeout);
  differs("pool-limit", &EngineOptions::pool_limit);
  differs("queue-limit", &EngineOptions::queue_limit);
  differs("startup-timeout", &EngineOptions::startup_timeout);
  differs("termination-timeout", &EngineOptions::termination_timeout);
  differs("threads", &EngineOptions::threads);
  if (out.size() == known && !(before == now)) out.emplace_back("engine");
}

bool same_reach(const std::vector<call::Reach>& one, const std::vector<call::Reach>& other) {
  return std::ranges::equal(one, other, [](const call::Reach& a, const call::Reach& b) {
    return a.service == b.service && a.command == b.command;
  });
}

bool same_command(const call::CommandDefinition& one, const call::CommandDefinition& other) {
  return one.name == other.name && one.description == other.description && one.request_schema == other.request_schema &&
         one.response_schema == other.response_schema && one.effect == other.effect && one.stream == other.stream &&
         one.timeout == other.timeout && one.blocking == other.blocking && one.encoding == other.encoding;
}

bool same_placement(const call::Placement& one, const call::Placement& other) {
  for (auto distance : {call::Distance::local, call::Distance::shm, call::Distance::unix_, call::Distance::grpc}) {
    if (one.allows(distance) != other.allows(distance)) return false;
  }
  return true;
}

bool same_cors(const std::optional<manifest::Cors>& one, const std::optional<manifest::Cors>& other) {
  if (!one || !other) return one.has_value() == other.has_value();
  return one->origins == other->origins && one->headers == other->headers && one->credentials == other->credentials &&
         one->max_age == other->max_age;
}

}  // namespace

Changes changes_of(const Hosted& before, const ServiceManifest& now, const std::string& now_code) {
  Changes out;
  const auto& old = before.manifest;
  add_engine(old.engine, now.engine, out.host);
  if (old.type != now.type) out.host.emplace_back("type");
  if (old.args != now.args) out.host.emplace_back("args");
  if (old.env != now.env) out.host.emplace_back("env");
  if (old.python != now.python) out.host.emplace_back("python");
  if (old.folder != now.folder) out.host.emplace_back("folder");
  if (before.code != now_code && old.args == now.args && old.env == now.env && old.type == now.type &&
      old.python == now.python) {
    out.host.emplace_back("code");
  }

  const auto& was = old.definition;
  const auto& is = now.definition;
  auto add = [&](bool same, const char* key) {
    if (!same) out.route.emplace_back(key);
  };
  add(same_reach(was.uses, is.uses), "uses");
  add(was.allow == is.allow && was.allow_all == is.allow_all, "allow");
  add(was.exposed == is.exposed, "expose");
  add(was.auth == is.auth, "auth");
  add(old.tokens == now.tokens, "tokens");
  add(same_placement(was.placement, is.placement), "placement");
  add(same_cors(old.cors, now.cors), "cors");
  add(was.timeout == is.timeout, "timeout");
  add(was.version == is.version, "version");
  add(was.description == is.description, "description");
  add(old.proto == now.proto, "proto");
  add(std::ranges::equal(
          was.commands, is.commands,
          [](const auto& a, const auto& b) { return a.first == b.first && same_command(a.second, b.second); }),
      "commands");
  return out;
}

}  // namespace shunt::node
