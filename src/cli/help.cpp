// shunt help and shunt version.
#include "cli/help.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/names.h"
#include "cli/build_info.h"
#include "cli/commands.h"
#include "cli/embedded.h"
#include "shunt/shunt.h"
#include "wire/frame.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

json to_json(const ErrorEntry& entry) {
  return {{"id", entry.id}, {"title", entry.title}, {"code", entry.code}, {"text", entry.text}, {"fix", entry.fix}};
}

/// S1: calls. S2: manifests. And so on.
std::string_view area(std::string_view id) {
  if (id.starts_with("S1")) return "calls";
  if (id.starts_with("S2")) return "manifests";
  if (id.starts_with("S3")) return "hosting: modules, workers, pools";
  if (id.starts_with("S4")) return "the gateway";
  return "the command line and the node";
}

std::string render_list(const std::vector<ErrorEntry>& catalogue, const Style& style) {
  std::string out = "Type `shunt COMMAND --help` for a command, `shunt help ID` for one of these errors.\n";
  std::string_view last;
  for (const ErrorEntry& entry : catalogue) {
    if (const auto now = area(entry.id); now != last) {
      out += fmt::format("\n{}\n", style.bold(now));
      last = now;
    }
    out += fmt::format("  {}  {}\n", entry.id, entry.title);
  }
  return out;
}

}  // namespace

std::vector<ErrorEntry> error_catalogue() {
  std::vector<ErrorEntry> catalogue;
  for (const EmbeddedFile& file : embedded_files()) {
    if (file.path != "errors.json") continue;
    const json root = json::parse(file.content, nullptr, false);
    if (!root.is_object()) continue;
    const json errors = root.value("errors", json::object());
    for (const auto& [id, entry] : errors.items()) {
      const auto text = [&entry](const char* key) {
        const auto found = entry.find(key);
        return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string();
      };
      catalogue.push_back({id, text("title"), text("code"), text("text"), text("fix")});
    }
  }
  std::ranges::sort(catalogue, {}, &ErrorEntry::id);
  return catalogue;
}

std::string wrapped(std::string_view text, std::string_view indent, std::size_t columns) {
  std::string out;
  std::string line;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    const bool line_break = end < text.size() && text[end] == '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && indent.size() + line.size() + 1 + word.size() > columns) {
      out += fmt::format("{}{}\n", indent, line);
      line.clear();
    }
    if (!word.empty()) line += (line.empty() ? "" : " ") + std::string(word);
    if (line_break) {
      out += fmt::format("{}{}\n", indent, line);
      line.clear();
    }
  }
  if (!line.empty()) out += fmt::format("{}{}\n", indent, line);
  return out;
}

Result<std::string> render_error(const std::vector<ErrorEntry>& catalogue, std::string_view asked, const Style& style) {
  std::string id(asked);
  for (char& c : id) c = c == 's' ? 'S' : c;
  const auto found = std::ranges::find(catalogue, id, &ErrorEntry::id);
  if (found == catalogue.end()) {
    std::vector<std::string_view> ids;
    for (const ErrorEntry& entry : catalogue) ids.push_back(entry.id);
    const auto near = nearest(id, ids);
    return fail(Code::not_found, "S5005",
                fmt::format("there is no error '{}'. {}`shunt help` lists them all.", asked,
                            near ? fmt::format("The nearest is {}. ", *near) : ""));
  }
  std::string out = fmt::format("{}  {}  {}\n\n", style.bold(found->id), style.bold(found->title),
                                style.dim(fmt::format("({})", found->code)));
  out += wrapped(found->text, "  ", 100);
  if (!found->fix.empty()) out += fmt::format("\n{}\n{}", style.green("What to do"), wrapped(found->fix, "  ", 100));
  return out;
}

int help(const HelpCommand& command) {
  const auto catalogue = error_catalogue();
  const Style style = Style::for_descriptor(STDOUT_FILENO);
  if (command.json) {
    json out = json::array();
    for (const ErrorEntry& entry : catalogue)
      if (command.topic.empty() || command.topic == entry.id) out.push_back(to_json(entry));
    if (!out.empty()) {
      write_out((command.topic.empty() ? out : out.front()).dump(2) + "\n");
      return 0;
    }
  } else if (command.topic.empty()) {
    write_out(render_list(catalogue, style));
    return 0;
  }
  const auto page = render_error(catalogue, command.topic, style);
  if (!page) return report(page.error());
  write_out(*page);
  return 0;
}

int version(const VersionCommand& command) {
  const std::string abi = fmt::format("{}.{}", SHUNT_ABI_MAJOR, SHUNT_ABI_MINOR);
  const std::string wire = fmt::format("{}.{}", wire::version_major, wire::version_minor);
  const std::string compiler = fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
  if (command.json) {
    const json out = {
        {"version", SHUNT_VERSION}, {"commit", build_commit()}, {"abi", abi}, {"wire", wire}, {"compiler", compiler}};
    write_out(out.dump() + "\n");
  } else {
    write_out(
        fmt::format("shunt {} (commit {}, ABI {}, wire {}, {})\n", SHUNT_VERSION, build_commit(), abi, wire, compiler));
  }
  return 0;
}

}  // namespace shunt::cli
