#include "module/manager.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "module/explain.h"

namespace shunt::module {

using nlohmann::ordered_json;

namespace {

call::Message message(const ordered_json& value) {
  // What services print need not be UTF-8.
  return call::Message(Bytes::adopt(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace)));
}

ordered_json to_json(const InstanceReport& instance) {
  return {{"name", instance.name},
          {"pid", instance.pid},
          {"state", instance.state},
          {"in_flight", instance.in_flight},
          {"served", instance.served},
          {"restarts", instance.restarts},
          {"last_error", instance.last_error},
          {"retry_in", instance.retry_in},
          {"link", instance.link},
          {"link_why", instance.link_why}};
}

ordered_json to_json(const ServiceReport& service) {
  ordered_json instances = ordered_json::array();
  for (const auto& instance : service.instances) instances.push_back(to_json(instance));
  return {{"name", service.name},
          {"type", service.type},
          {"backend", service.backend},
          {"state", service.state},
          {"version", service.version},
          {"calls", service.calls},
          {"errors", service.errors},
          {"in_flight", service.in_flight},
          {"queued", service.queued},
          {"restarts", service.restarts},
          {"last_error", service.last_error},
          {"commands", service.commands},
          {"crash_log", service.crash_log},
          {"instances", instances}};
}

ordered_json to_json(const PeerReport& peer) {
  return {{"address", peer.address},
          {"name", peer.name},
          {"node", peer.node},
          {"state", peer.state},
          {"software", peer.software},
          {"links", peer.links},
          {"round_trip_us", peer.round_trip_us},
          {"in_flight", peer.in_flight},
          {"served", peer.served},
          {"last_error", peer.last_error},
          {"services", peer.services}};
}

// The request as an object; an empty body is an empty object.
loop::Task<Result<ordered_json>> request(call::ServerCall& call) {
  auto first = co_await call.receive();
  if (!first) co_return ordered_json::object();
  auto text = first->bytes();
  if (text.empty()) co_return ordered_json::object();
  auto value = ordered_json::parse(text.view(), nullptr, false);
  if (!value.is_object()) {
    co_return fail(Code::invalid_argument, "S5020", "the request must be a JSON object");
  }
  co_return value;
}

call::CommandDefinition command(std::string name, std::string description, std::string request_schema,
                                call::StreamShape stream, call::Effect effect) {
  return {.name = std::move(name),
          .description = std::move(description),
          .request_schema = std::move(request_schema),
          .response_schema = R"({"type":"object"})",
          .effect = effect,
          .stream = stream};
}

}  // namespace

Manager::Manager(loop::Loop& loop, LogBook& log, ManagerActions actions)
    : loop_(loop), log_(log), actions_(std::move(actions)), service_(loop) {
  service_.add("ps", [this](call::ServerCall& call) { return ps(call); });
  service_.add("logs", [this](call::ServerCall& call) { return logs(call); });
  service_.add("explain", [this](call::ServerCall& call) { return explain(call); });
  service_.add("proto", [this](call::ServerCall& call) { return proto(call); });
  service_.add("reload", [this](call::ServerCall& call) { return reload(call); });
  service_.add("stop", [this](call::ServerCall& call) { return stop(call); });
  service_.add("version", [this](call::ServerCall& call) { return version(call); });
}

call::ServiceDefinition Manager::definition() {
  call::ServiceDefinition self;
  self.app = self.name = self.full_name = "manager";
  self.version = "1";
  self.description = "Looks at this node and stops it. What `shunt ps`, `shunt logs` and `shunt stop` call.";
  auto add = [&](call::CommandDefinition definition) { self.commands.emplace(definition.name, std::move(definition)); };
  add(command("ps", "What runs on this node, with state and counts.", R"({"type":"object","properties":{}})",
              call::StreamShape::unary, call::Effect::none));
  add(command(
      "logs", "The last lines of a service, or of all; with follow, also those that come.",
      R"({"type":"object","properties":{"service":{"type":"string"},"lines":{"type":"integer"},"follow":{"type":"boolean"}}})",
      call::StreamShape::server, call::Effect::none));
  add(command(
      "explain", "Which way a call from one service to another takes now, why, and what was measured of it.",
      R"({"type":"object","properties":{"caller":{"type":"string"},"callee":{"type":"string"}},"required":["caller","callee"]})",
      call::StreamShape::unary, call::Effect::none));
  add(command("proto", "The protobuf types of a service: .proto files and descriptors.",
              R"({"type":"object","properties":{"service":{"type":"string"}},"required":["service"]})",
              call::StreamShape::unary, call::Effect::none));
  add(command("reload", "Takes up what the manifests and the services' code say now: all of it or nothing.",
              R"({"type":"object","properties":{}})", call::StreamShape::unary, call::Effect::idempotent));
  add(command("stop", "Drains the node and ends it.", R"({"type":"object","properties":{}})", call::StreamShape::unary,
              call::Effect::idempotent));
  add(command("version", "The version of this node.", R"({"type":"object","properties":{}})", call::StreamShape::unary,
              call::Effect::none));
  // Following a log is not bounded by the default minute.
  self.commands.find("logs")->second.timeout = std::chrono::hours(24);
  // Each service may take its startup-timeout.
  self.commands.find("reload")->second.timeout = std::chrono::hours(1);
  return self;
}

loop::Task<Status> Manager::ps(call::ServerCall& call) {
  auto report = actions_.report();
  ordered_json services = ordered_json::array();
  for (const auto& service : report.services) services.push_back(to_json(service));
  ordered_json node = {{"pid", report.pid},           {"version", report.version},   {"state", report.state},
                       {"uptime_s", report.uptime_s}, {"restarts", report.restarts}, {"last_crash", report.last_crash},
                       {"listen", report.listen},     {"data", report.data}};
  ordered_json peers = ordered_json::array();
  for (const auto& peer : report.peers) peers.push_back(to_json(peer));
  ordered_json direct = ordered_json::array();
  for (const auto& link : report.direct) {
    direct.push_back({{"caller", link.caller}, {"callee", link.callee}, {"link", link.link}});
  }
  ordered_json apps = ordered_json::array();
  for (const auto& app : report.apps) apps.push_back({{"name", app.name}, {"manifest", app.manifest}});
  co_await call.send(
      message({{"node", node}, {"apps", apps}, {"services", services}, {"peers", peers}, {"direct", direct}}));
  co_return Status();
}

loop::Task<Status> Manager::version(call::ServerCall& call) {
  auto report = actions_.report();
  co_await call.send(message({{"version", report.version}, {"pid", report.pid}}));
  co_return Status();
}

loop::Task<Status> Manager::reload(call::ServerCall& call) {
  if (call.principal().kind != call::PrincipalKind::operator_) {
    co_return Status(Code::permission_denied, "S1010",
                     "only the operator reloads a node: `shunt reload`, or a call over the admin socket");
  }
  const auto report = co_await actions_.reload();
  ordered_json services = ordered_json::array();
  for (const auto& service : report.services) {
    services.push_back({{"name", service.name},
                        {"change", service.change},
                        {"what", service.what},
                        {"from", service.from},
                        {"to", service.to}});
  }
  ordered_json diagnostics = ordered_json::array();
  for (const auto& text : report.diagnostics) diagnostics.push_back(ordered_json::parse(text, nullptr, false));
  co_await call.send(message({{"applied", report.applied},
                              {"refused", report.refused},
                              {"revision", report.revision},
                              {"services", services},
                              {"diagnostics", diagnostics}}));
  co_return Status();
}

loop::Task<Status> Manager::stop(call::ServerCall& call) {
  // On a dev listener everybody on this machine reaches the manager; looking is theirs, stopping is the operator's.
  if (call.principal().kind != call::PrincipalKind::operator_) {
    co_return Status(Code::permission_denied, "S1010",
                     "only the operator stops a node: `shunt stop`, or a call over the admin socket");
  }
  co_await call.send(message(ordered_json::object()));
  actions_.stop();
  co_return Status();
}

namespace {

// While it lives, the event is set for each new line.
class Following {
 public:
  Following(loop::Loop& loop, LogBook& log) : log_(log), arrived(loop) {
    number_ = log.follow(loop, [this] { arrived.set(); });
  }
  ~Following() { log_.forget(number_); }
  Following(const Following&) = delete;
  Following& operator=(const Following&) = delete;

 private:
  LogBook& log_;
  std::uint64_t number_ = 0;

 public:
  loop::Event arrived;
};

}  // namespace

// A short name means the one service that has it, as in a call.
Result<std::string> Manager::full_name(const std::string& name) const {
  if (name.empty() || name == "node" || name == "manager") return name;
  std::vector<std::string> found;
  std::vector<std::string> all = {"node"};
  for (const auto& service : actions_.report().services) {
    if (service.name == name) return name;
    if (service.name.ends_with("." + name)) found.push_back(service.name);
    all.push_back(service.name);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return fail(Code::not_found, "S1002",
                fmt::format("there is no service '{}'; there are: {}", name, fmt::join(all, ", ")));
  }
  return fail(Code::failed_precondition, "S1003",
              fmt::format("'{}' may be any of {}; write the full name", name, fmt::join(found, ", ")));
}

loop::Task<Status> Manager::proto(call::ServerCall& call) {
  auto asked = co_await request(call);
  if (!asked) co_return asked.error();
  const auto service = asked->value("service", ordered_json());
  if (!service.is_string()) co_return Status(Code::invalid_argument, "S5020", "'service' must be a string");
  const auto name = full_name(service.get<std::string>());
  if (!name) co_return name.error();
  if (name->empty() || *name == "node") {
    co_return Status(Code::not_found, "S1002", fmt::format("there is no service '{}'; `shunt ps` lists them", *name));
  }
  const auto report = actions_.proto(*name);
  if (!report) co_return report.error();
  ordered_json files = ordered_json::array();
  for (const auto& file : report->files) files.push_back({{"name", file.name}, {"text", file.text}});
  co_await call.send(message({{"service", report->service},
                              {"derived", report->derived},
                              {"file", report->file},
                              {"files", files},
                              {"descriptor_set", encode_base64(report->descriptor_set, Padding::yes)}}));
  co_return Status();
}

loop::Task<Status> Manager::explain(call::ServerCall& call) {
  auto asked = co_await request(call);
  if (!asked) co_return asked.error();
  const auto caller = asked->value("caller", ordered_json());
  const auto callee = asked->value("callee", ordered_json());
  if (!caller.is_string() || !callee.is_string()) {
    co_return Status(Code::invalid_argument, "S5020", "'caller' and 'callee' must be strings");
  }
  const auto explanation =
      co_await actions_.explain({.caller = caller.get<std::string>(), .callee = callee.get<std::string>()});
  if (!explanation) co_return explanation.error();
  co_await call.send(call::Message(Bytes::adopt(explain_json(*explanation))));
  co_return Status();
}

loop::Task<Status> Manager::logs(call::ServerCall& call) {
  auto asked = co_await request(call);
  if (!asked) co_return asked.error();
  auto service = asked->value("service", ordered_json(""));
  auto lines = asked->value("lines", ordered_json(100));
  auto follow = asked->value("follow", ordered_json(false));
  if (!service.is_string() || !lines.is_number_unsigned() || !follow.is_boolean()) {
    co_return Status(Code::invalid_argument, "S5020",
                     "'service' must be a string, 'lines' a number from 0 and 'follow' true or false");
  }
  auto resolved = full_name(service.get<std::string>());
  if (!resolved) co_return resolved.error();
  std::string name = std::move(*resolved);
  Following following(loop_, log_);
  std::uint64_t told = 0;
  std::size_t limit = lines.get<std::size_t>();
  for (;;) {
    for (auto& line : log_.after(told, name, limit)) {
      told = line.number;
      ordered_json entry = {{"time_ms", line.unix_ms},
                            {"service", line.service},
                            {"instance", line.instance},
                            {"level", line.level},
                            {"text", line.text}};
      if (!co_await call.send(message(entry))) co_return Status();
    }
    if (!follow.get<bool>() || call.cancelled()) co_return Status();
    limit = 1000;
    // A second is only for noticing a caller that has gone while nothing is written.
    co_await following.arrived.wait(Deadline::after(loop_.now(), std::chrono::seconds(1)));
  }
}

}  // namespace shunt::module
