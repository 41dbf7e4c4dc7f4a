// shunt explain: which way a call from one service to another takes now, why, and what was measured of it.
#include "cli/explain.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "cli/commands.h"
#include "cli/node_client.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

constexpr std::size_t width = 80;

// The answer comes from a node that may be older or newer: what is missing or of another type is shown as nothing.
const json& part_of(const json& object, const char* key) {
  static const json none;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : none;
}

std::string text_of(const json& object, const char* key) {
  const json& part = part_of(object, key);
  return part.is_string() ? printable(part.get<std::string>()) : std::string();
}

std::uint64_t number_of(const json& object, const char* key) {
  const json& part = part_of(object, key);
  return part.is_number_unsigned() ? part.get<std::uint64_t>() : 0;
}

bool true_at(const json& object, const char* key) {
  const json& part = part_of(object, key);
  return part.is_boolean() && part.get<bool>();
}

/// "85ns", "1.2us", "340us", "12ms", "2.1s": three digits tell enough.
std::string latency_of(const json& measured, const char* key) {
  const json& part = part_of(measured, key);
  if (!part.is_number()) return "-";
  double value = part.get<double>() * 1000;
  const char* unit = "ns";
  for (const char* larger : {"us", "ms", "s"}) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  return value < 9.95 && unit != std::string_view("ns") ? fmt::format("{:.1f}{}", value, unit)
                                                        : fmt::format("{:.0f}{}", value, unit);
}

/// Words in lines of at most `width`, each after `indent`; the first stands after what is there already.
std::string wrapped(std::string_view text, std::size_t at, std::size_t indent) {
  std::string out;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
    if (at > indent && at + 1 + word.size() > width) {
      out += "\n" + std::string(indent, ' ');
      at = indent;
    } else if (at > indent) {
      out += ' ';
      at++;
    }
    out += word;
    at += word.size();
  }
  return out + "\n";
}

/// "  may    yes: …": a word, then what there is to say of it, in a column of its own.
std::string said(const Style& style, std::string_view word, const std::string& text) {
  constexpr std::size_t indent = 9;
  return style.dim(fmt::format("  {:<7}", word)) + wrapped(text, indent, indent);
}

Paint paint_of(const json& instance) {
  const std::string standing = text_of(instance, "standing");
  if (standing == "has room") return true_at(instance, "chosen") ? Paint::green : Paint::none;
  return standing == "forbidden" || standing == "closed" ? Paint::red : Paint::yellow;
}

std::string busy_of(const json& instance) {
  const std::uint64_t capacity = number_of(instance, "capacity");
  const std::uint64_t now = number_of(instance, "in_flight");
  return capacity == 0 ? fmt::format("{}", now) : fmt::format("{} of {}", now, capacity);
}

std::vector<Cell> row(std::string name, const json& of, Cell standing, std::string busy) {
  const json& measured = part_of(of, "measured");
  const std::uint64_t errors = number_of(measured, "errors");
  return {{std::move(name)},
          {text_of(of, "distance"), Paint::dim},
          std::move(standing),
          {std::move(busy)},
          {fmt::format("{}", number_of(measured, "calls"))},
          {fmt::format("{}", errors), errors == 0 ? Paint::none : Paint::red},
          {latency_of(measured, "p50_us")},
          {latency_of(measured, "p99_us")}};
}

std::string table_of(const json& root, const Style& style) {
  Table table({{"INSTANCE", Align::left},
               {"BY", Align::left},
               {"STATE", Align::left},
               {"BUSY", Align::right},
               {"CALLS", Align::right},
               {"ERRORS", Align::right},
               {"P50", Align::right},
               {"P99", Align::right}});
  for (const json& instance : part_of(root, "instances")) {
    table.add(row(text_of(instance, "name"), instance, {text_of(instance, "standing"), paint_of(instance)},
                  busy_of(instance)));
  }
  for (const json& one : part_of(root, "earlier")) table.add(row(text_of(one, "name"), one, {"gone", Paint::dim}, "-"));
  return table.render(style);
}

std::string reasons_of(const json& instance, const Style& style) {
  const bool chosen = true_at(instance, "chosen");
  std::string out = (chosen ? style.green(text_of(instance, "name")) : text_of(instance, "name")) + "\n";
  out += said(style, chosen ? "chosen" : "not", text_of(instance, "because"));
  return out + said(style, text_of(instance, "distance"), text_of(instance, "why_distance"));
}

std::string placement_of(const json& root) {
  const json& placement = part_of(root, "placement");
  const std::string pin = text_of(placement, "pin");
  if (!pin.empty()) return "only " + pin;
  std::string forbid;
  for (const json& each : part_of(placement, "forbid")) {
    if (each.is_string()) forbid += (forbid.empty() ? "never " : ", ") + printable(each.get<std::string>());
  }
  return forbid;
}

}  // namespace

Result<ExplainAnswer> render_explain(std::string_view answer, const Style& style) {
  const json root = json::parse(answer, nullptr, false);
  if (text_of(root, "outcome").empty() || !part_of(root, "instances").is_array()) {
    return fail(Code::internal, "S5008", "the node's manager answered something that explains no path.");
  }
  const std::string command = text_of(root, "command");
  const std::string outcome = text_of(root, "outcome");
  const bool permitted = true_at(root, "permitted");
  ExplainAnswer out;
  out.is_path = outcome == "goes" || outcome == "waits";
  std::string& text = out.text;
  text = style.bold(fmt::format("{} calls {}{}{}", text_of(root, "caller"), text_of(root, "callee"),
                                command.empty() ? "" : ".", command)) +
         "\n";
  text += said(style, "may", (permitted ? "yes: " : "no: ") + text_of(root, "because"));
  text += said(style, "goes", text_of(root, "says"));
  if (const std::string placement = placement_of(root); !placement.empty()) text += said(style, "placed", placement);
  for (const json& one : part_of(root, "direct")) {
    text += said(style, "direct",
                 fmt::format("{} to {} by {}, past the node: {}", text_of(one, "caller"), text_of(one, "callee"),
                             text_of(one, "distance"), text_of(one, "why_distance")));
  }
  const json& instances = part_of(root, "instances");
  const json& earlier = part_of(root, "earlier");
  if (instances.empty() && earlier.empty()) {
    text += said(style, "", "there is no instance, and nothing was measured");
    return out;
  }
  text += "\n" + table_of(root, style);
  for (const json& instance : instances) text += "\n" + reasons_of(instance, style);
  return out;
}

int explain(const ExplainCommand& command) {
  const auto answer = call_manager(
      command.node, "explain",
      fmt::format(R"({{"caller":{},"callee":{}}})", quote_json(command.caller), quote_json(command.callee)));
  if (!answer) return report(answer.error());
  const auto read = render_explain(*answer, Style::for_descriptor(STDOUT_FILENO));
  if (!read) return report(read.error());
  write_out(command.json ? *answer + (answer->ends_with('\n') ? "" : "\n") : read->text);
  return read->is_path ? 0 : 1;
}

}  // namespace shunt::cli
