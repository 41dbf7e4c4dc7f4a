// shunt reload: a running node takes up its manifests again.
#include "cli/reload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/node_client.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<int>() : 0;
}

manifest::Diagnostic diagnostic_of(const json& object) {
  manifest::Diagnostic diagnostic;
  diagnostic.severity = text(object, "severity") == "warning" ? manifest::Severity::warning : manifest::Severity::error;
  diagnostic.id = text(object, "id");
  diagnostic.file = text(object, "file");
  diagnostic.line = number(object, "line");
  diagnostic.column = number(object, "column");
  diagnostic.message = text(object, "message");
  diagnostic.source_line = text(object, "source");
  diagnostic.caret_width = number(object, "width");
  diagnostic.caret_offset = diagnostic.column > 0 ? diagnostic.column - 1 : 0;
  diagnostic.known = text(object, "known");
  diagnostic.fix = text(object, "fix");
  return diagnostic;
}

const json& list(const json& object, const char* key) {
  static const json none = json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : none;
}

}  // namespace

Result<ReloadAnswer> ask_to_reload(const NodeAddress& node) {
  // As long as it takes: every service may use its startup-timeout.
  SHUNT_TRY(std::string body, call_manager(node, "reload", "{}", std::nullopt));
  const json root = json::parse(body, nullptr, false);
  if (!root.is_object() || !root.contains("applied")) {
    return fail(Code::unknown, "S5008", "the node's answer is not what `reload` answers; is it of another version?");
  }
  ReloadAnswer answer;
  answer.applied = root.value("applied", json()) == json(true);
  answer.refused = text(root, "refused");
  for (const json& each : list(root, "services")) {
    if (!each.is_object()) continue;
    std::vector<std::string> what;
    for (const json& key : list(each, "what")) {
      if (key.is_string()) what.push_back(key.get<std::string>());
    }
    answer.services.push_back({.name = text(each, "name"),
                               .change = text(each, "change"),
                               .what = fmt::format("{}", fmt::join(what, ", ")),
                               .from = text(each, "from"),
                               .to = text(each, "to")});
  }
  for (const json& each : list(root, "diagnostics")) {
    if (each.is_object()) answer.diagnostics.push_back(diagnostic_of(each));
  }
  answer.json = std::move(body);
  return answer;
}

void print(const ReloadAnswer& answer) {
  const bool colored = Style::for_descriptor(STDERR_FILENO).is_colored();
  for (const auto& diagnostic : answer.diagnostics) {
    write_err(manifest::render(diagnostic, colored ? manifest::Colour::yes : manifest::Colour::no));
  }
  if (!answer.applied) {
    write_err(Status(Code::failed_precondition, "S5080", "not reloaded, what ran goes on: " + printable(answer.refused))
                  .to_string() +
              "\n");
    return;
  }
  bool any = false;
  for (const auto& service : answer.services) {
    if (service.change == "same") continue;
    any = true;
    std::string more = service.what;
    if (!service.from.empty() && !service.to.empty() && service.from != service.to) {
      more += fmt::format("{}{} -> {}", more.empty() ? "" : "; ", service.from, service.to);
    }
    write_out(fmt::format("{} {}{}\n", printable(service.name), printable(service.change),
                          more.empty() ? "" : " (" + printable(more) + ")"));
  }
  if (!any) write_out("nothing has changed\n");
}

int reload(const ReloadCommand& command) {
  const auto answer = ask_to_reload(command.node);
  if (!answer) return report(answer.error());
  if (command.json) {
    write_out(answer->json + "\n");
  } else {
    print(*answer);
  }
  return answer->applied ? 0 : 1;
}

}  // namespace shunt::cli
