// shunt logs: what services logged, and go on logging.
#include "cli/logs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/node_client.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump(-1, ' ', false, json::error_handler_t::replace);
}

/// When it was logged: "time" as it stands, or "time_ms" (since 1970) in this machine's time zone.
std::string time_of(const json& entry) {
  const auto found = entry.find("time_ms");
  if (found == entry.end() || !found->is_number_integer()) return text_of(entry, "time");
  const auto ms = found->get<std::int64_t>();
  const std::time_t seconds = ms / 1000;
  std::tm local{};
  if (ms < 0 || ::localtime_r(&seconds, &local) == nullptr) return {};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", local.tm_year + 1900, local.tm_mon + 1, local.tm_mday,
                     local.tm_hour, local.tm_min, local.tm_sec, ms % 1000);
}

std::string painted_level(const std::string& level, const Style& style) {
  if (level == "error" || level == "fatal" || level == "critical") return style.red(level);
  if (level == "warning" || level == "warn") return style.yellow(level);
  return style.dim(level);
}

}  // namespace

std::string render_log_line(std::string_view line, const Style& style) {
  const json entry = json::parse(line, nullptr, false);
  if (!entry.is_object()) return printable(line) + "\n";
  const std::string instance = text_of(entry, "instance");
  const std::string service = text_of(entry, "service");
  // An instance's name usually starts with its service's: one of both is enough then.
  const std::string who = instance.empty() || instance.starts_with(service) ? (instance.empty() ? service : instance)
                                                                            : service + " " + instance;
  std::string out;
  if (const std::string time = time_of(entry); !time.empty()) out += style.dim(printable(time)) + " ";
  if (!who.empty()) out += style.bold(printable(who)) + " ";
  if (const std::string level = text_of(entry, "level"); !level.empty() && level != "output")
    out += painted_level(printable(level), style) + " ";
  // A text of several lines (a traceback) keeps them.
  const std::string text = text_of(entry, "text");
  std::string_view rest = text;
  while (rest.ends_with('\n')) rest.remove_suffix(1);
  for (bool first = true; first || !rest.empty(); first = false) {
    const auto end = rest.find('\n');
    out += (first ? "" : "    ") + printable(rest.substr(0, end)) + "\n";
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return out;
}

int logs(const LogsCommand& command) {
  json request = {{"follow", command.follow}, {"lines", command.lines}};
  if (!command.service.empty()) request["service"] = command.service;
  const auto endpoint = find_node(command.node);
  if (!endpoint) return report(endpoint.error());
  auto client = HttpClient::dial(*endpoint);
  if (!client) return report(client.error());
  const auto head =
      client->post("/manager/logs", {{"content-type", "application/json"}, {"accept", "application/x-ndjson"}},
                   request.dump(-1, ' ', false, json::error_handler_t::replace));
  if (!head) return report(head.error());
  if (head->status != 200) {
    const auto body = client->read_all(1024UL * 1024);
    return report(body ? read_error(head->status, *body) : body.error());
  }
  const Style style = Style::for_descriptor(STDOUT_FILENO);
  std::optional<Status> failed;
  LineSplitter splitter;
  const auto print = [&](std::string_view line) {
    if (auto error = error_line(line)) {
      failed = std::move(error);
    } else {
      write_out(command.json ? std::string(line) + "\n" : render_log_line(line, style));
    }
  };
  while (true) {
    const auto piece = client->read_piece();
    if (!piece) return report(piece.error());
    if (piece->empty()) break;
    splitter.add(*piece, print);
  }
  if (!splitter.rest().empty()) print(splitter.rest());
  return failed ? report(*failed) : 0;
}

}  // namespace shunt::cli
