// shunt new: the folder of a new service that runs at once.
#include "cli/new.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/names.h"
#include "cli/commands.h"
#include "cli/embedded.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view template_folder = "templates/";

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  while (true) {
    const auto found = text.find(what);
    out += text.substr(0, found);
    if (found == std::string_view::npos) return out;
    out += by;
    text.remove_prefix(found + what.size());
  }
}

std::vector<std::string_view> languages() {
  std::vector<std::string_view> found;
  for (const EmbeddedFile& file : embedded_files()) {
    if (!file.path.starts_with(template_folder)) continue;
    std::string_view language = file.path.substr(template_folder.size());
    language = language.substr(0, language.find('/'));
    if (language == "cpp") language = "c++";
    if (std::ranges::find(found, language) == found.end()) found.push_back(language);
  }
  return found;
}

/// Where this Shunt is: the folder that holds the binary, or the one above when that is called bin.
std::string own_prefix() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const fs::path folder = self.parent_path();
  return (folder.filename() == "bin" ? folder.parent_path() : folder).string();
}

Result<void> write_files(const fs::path& folder, const std::vector<NewFile>& files) {
  std::error_code error;
  if (!fs::create_directory(folder, error)) {
    if (!error)
      return fail(Code::already_exists, "S5006",
                  fmt::format("{} is there already. Choose another name, or remove it first.", folder.string()));
    return fail(Code::failed_precondition, "S5010",
                fmt::format("{} can't be made: {}.", folder.string(), error.message()));
  }
  for (const NewFile& file : files) {
    const fs::path path = folder / file.path;
    fs::create_directories(path.parent_path(), error);
    std::ofstream out(path, std::ios::binary);
    out << file.content;
    out.close();
    if (!out) return fail(Code::failed_precondition, "S5010", fmt::format("{} can't be written.", path.string()));
    if (file.content.starts_with("#!"))
      fs::permissions(path, fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec,
                      fs::perm_options::add, error);
  }
  return {};
}

std::string quoted_if_needed(const std::string& text) {
  const bool plain = std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+").contains(c);
  });
  return plain ? text : "'" + replaced(text, "'", "'\\''") + "'";
}

std::string next_steps(std::string_view language, const std::string& name) {
  std::error_code error;
  const std::string self = fs::read_symlink("/proc/self/exe", error).string();
  // Typed as it is when `shunt` is in PATH, else by its path, so that the lines work as they stand.
  std::string shunt = "shunt";
  bool in_path = false;
  const char* variable = std::getenv("PATH");
  std::string_view path = variable == nullptr ? "" : variable;
  while (!path.empty()) {
    const auto end = path.find(':');
    in_path = in_path || fs::equivalent(fs::path(path.substr(0, end)) / "shunt", self, error);
    path = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
  }
  if (!in_path && !self.empty()) shunt = quoted_if_needed(self);
  std::string out = "Next:\n";
  if (language == "c++") {
    out += fmt::format(
        "  cmake -S {0} -B {0}/build -G Ninja -D CMAKE_CXX_COMPILER=clang++-19 && cmake --build {0}/build\n", name);
  }
  out += fmt::format("  {} run {}\n", shunt, name);
  out += fmt::format("  {} call {}.greet '{{\"name\": \"Ann\"}}'      # in another terminal\n", shunt, name);
  return out;
}

}  // namespace

Result<std::vector<NewFile>> files_of_new(std::string_view language, std::string_view name, std::string_view prefix) {
  const auto known = languages();
  if (language == "cpp") language = "c++";
  if (std::ranges::find(known, language) == known.end()) {
    const auto near = nearest(language, known);
    return fail(Code::invalid_argument, "S5007",
                fmt::format("there is no template for '{}'. {}There are: {}.", language,
                            near ? fmt::format("The nearest is {}. ", *near) : "", fmt::join(known, ", ")));
  }
  if (!is_service_name(name))
    return fail(
        Code::invalid_argument, "S5013",
        fmt::format(
            "'{}' can't be the name of a service: it starts with a letter from a to z and goes on with at most 62 "
            "such letters, digits, - and _.",
            name));
  std::string identifier(name);
  std::ranges::replace(identifier, '-', '_');
  const auto fill = [&](std::string_view text) {
    return replaced(replaced(replaced(text, "@NAME@", name), "@IDENTIFIER@", identifier), "@SHUNT_PREFIX@", prefix);
  };
  const std::string folder = fmt::format("{}{}/", template_folder, language == "c++" ? "cpp" : language);
  std::vector<NewFile> files;
  for (const EmbeddedFile& file : embedded_files())
    if (file.path.starts_with(folder)) files.push_back({fill(file.path.substr(folder.size())), fill(file.content)});
  return files;
}

int create(const NewCommand& command) {
  const auto files = files_of_new(command.language, command.name, own_prefix());
  if (!files) {
    report(files.error());
    return exit_usage;
  }
  if (const auto written = write_files(command.name, *files); !written) return report(written.error());
  std::string out = fmt::format("{}/\n", command.name);
  for (const NewFile& file : *files) out += fmt::format("  {}\n", file.path);
  write_out(out + "\n" + next_steps(command.language == "cpp" ? "c++" : command.language, command.name));
  return 0;
}

}  // namespace shunt::cli
