// shunt ps: what runs on a node.
#include "cli/ps.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/node_client.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

// The answer comes from a node that may be older or newer: what is missing or of another type is shown as nothing.
std::string text_of(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || found->is_null()) return {};
  return printable(found->is_string() ? found->get<std::string>()
                                      : found->dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string number_of(const json& object, const char* key) {
  const std::string text = text_of(object, key);
  return text.empty() ? "-" : text;
}

std::vector<json> list_of(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_array()) return {};
  return found->get<std::vector<json>>();
}

double seconds_of(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_number() ? found->get<double>() : 0;
}

Paint paint_of(const std::string& state) {
  if (state == "ready" || state == "running") return Paint::green;
  if (state == "failed" || state == "crashed" || state == "broken") return Paint::red;
  return Paint::yellow;
}

/// An instance that is to be started again says when.
std::string state_of(const json& instance) {
  const std::string retry = text_of(instance, "retry_in");
  return text_of(instance, "state") + (retry.empty() ? "" : " (" + retry + ")");
}

Cell error_cell(const json& object) {
  std::string text = text_of(object, "last_error");
  if (text.size() > 160) text = text.substr(0, text.find(' ', 150)) + " ...";
  return {std::move(text), Paint::red};
}

/// The nodes beside this one.
std::string render_peers(const std::vector<json>& peers, const Style& style) {
  if (peers.empty()) return "";
  Table table({{"PEER", Align::left},
               {"NODE", Align::left},
               {"STATE", Align::left},
               {"LINKS", Align::right},
               {"ROUND TRIP", Align::right},
               {"IN FLIGHT", Align::right},
               {"CALLS", Align::right},
               {"SERVICES", Align::left},
               {"LAST ERROR", Align::left}});
  for (const json& peer : peers) {
    const std::string address = text_of(peer, "address");
    const std::string state = text_of(peer, "state");
    const double round_trip_us = seconds_of(peer, "round_trip_us");
    std::string services;
    for (const json& each : list_of(peer, "services")) {
      if (each.is_string()) services += (services.empty() ? "" : ", ") + printable(each.get<std::string>());
    }
    if (services.size() > 60) services = services.substr(0, services.rfind(',', 60)) + ", ...";
    table.add({{address.empty() ? "(it dialled)" : address},
               {text_of(peer, "name")},
               {state, paint_of(state)},
               {number_of(peer, "links")},
               {round_trip_us > 0 ? fmt::format("{:.0f} us", round_trip_us) : "-"},
               {number_of(peer, "in_flight")},
               {number_of(peer, "served")},
               {services},
               error_cell(peer)});
  }
  return "\n" + table.render(style);
}

std::string node_line(const json& node, const Style& style) {
  std::string line = fmt::format("node {}, version {}, up {}", number_of(node, "pid"), number_of(node, "version"),
                                 format_age(seconds_of(node, "uptime_s")));
  for (const json& url : list_of(node, "listen"))
    if (url.is_string()) line += ", " + printable(url.get<std::string>());
  line += "\n";
  if (seconds_of(node, "restarts") > 0)
    line += style.yellow(fmt::format("restarts of the node: {}, last crash: {}", number_of(node, "restarts"),
                                     number_of(node, "last_crash"))) +
            "\n";
  return line;
}

/// The service's own row, with its only instance in it; further instances get rows below.
void add_service(Table& table, const json& service, const std::string& node_pid) {
  const auto instances = list_of(service, "instances");
  const std::string state = text_of(service, "state");
  const bool alone = instances.size() == 1;
  const bool in_node = text_of(service, "backend") == "thread";
  const auto row = [&](std::string name, const json& of, std::string type, std::string backend,
                       const std::string& state_text, std::string pid, std::string calls) {
    if (pid == "0") pid = in_node ? node_pid : "-";  // None of its own; or none yet.
    return std::vector<Cell>{{std::move(name)},
                             {std::move(type), Paint::dim},
                             {std::move(backend), Paint::dim},
                             {state_text, paint_of(state_text)},
                             {std::move(pid)},
                             {number_of(of, "in_flight")},
                             {std::move(calls)},
                             {number_of(of, "restarts")},
                             error_cell(of)};
  };
  const json& only = alone ? instances.front() : service;
  const bool waits = alone && !text_of(only, "retry_in").empty();
  table.add(row(text_of(service, "name"), service, text_of(service, "type"), text_of(service, "backend"),
                waits ? state_of(only) : state, alone ? number_of(only, "pid") : fmt::format("({})", instances.size()),
                number_of(service, "calls")));
  if (alone) return;
  for (const json& instance : instances)
    table.add(row("  " + text_of(instance, "name"), instance, "", "", state_of(instance), number_of(instance, "pid"),
                  number_of(instance, "served")));
}

}  // namespace

Result<std::string> render_ps(std::string_view answer, const Style& style) {
  const json root = json::parse(answer, nullptr, false);
  if (!root.is_object() || !root.contains("services"))
    return fail(Code::internal, "S5008", "the node's manager answered something that is no list of services.");
  const json node = root.value("node", json::object());
  std::string out = node_line(node, style);
  const auto services = list_of(root, "services");
  const std::string peers = render_peers(list_of(root, "peers"), style);
  if (services.empty()) return out + "no services\n" + peers;
  Table table({{"SERVICE", Align::left},
               {"TYPE", Align::left},
               {"BACKEND", Align::left},
               {"STATE", Align::left},
               {"PID", Align::right},
               {"IN FLIGHT", Align::right},
               {"CALLS", Align::right},
               {"RESTARTS", Align::right},
               {"LAST ERROR", Align::left}});
  for (const json& service : services) add_service(table, service, number_of(node, "pid"));
  return out + table.render(style) + peers;
}

std::string list_names(std::string_view answer, bool commands) {
  const json root = json::parse(answer, nullptr, false);
  std::string out;
  for (const json& service : list_of(root, "services")) {
    const std::string name = text_of(service, "name");
    if (!commands) out += name + "\n";
    if (commands)
      for (const json& each : list_of(service, "commands"))
        if (each.is_string()) out += fmt::format("{}.{}\n", name, printable(each.get<std::string>()));
  }
  return out;
}

int ps(const PsCommand& command) {
  const auto answer = call_manager(command.node, "ps", "{}");
  if (!answer) return report(answer.error());
  if (command.names || command.commands) {
    write_out(list_names(*answer, command.commands));
    return 0;
  }
  if (command.json) {
    write_out(*answer + (answer->ends_with('\n') ? "" : "\n"));
    return 0;
  }
  const auto text = render_ps(*answer, Style::for_descriptor(STDOUT_FILENO));
  if (!text) return report(text.error());
  write_out(*text);
  return 0;
}

}  // namespace shunt::cli
