// Every error text of a manifest, kept as a file: tests/golden/manifest/NAME holds what a user wrote and expected.txt what
// Shunt says to it. SHUNT_UPDATE_GOLDEN=1 writes the answers anew; read the difference before you commit it.
//
// A case is NAME/shunt.json, or several apps in folders NAME/app*, or the paths in NAME/paths.txt. NAME/described.json is
// what the code says of the first service; NAME/listen.txt has "loopback" or "any", and "--dev".
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "manifest/document.h"
#include "manifest/hosting.h"
#include "manifest/manifest.h"

namespace shunt::manifest {
namespace {
namespace fs = std::filesystem;

const fs::path source_folder = SHUNT_SOURCE_DIR;
const fs::path golden = source_folder / "tests/golden/manifest";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> paths_of(const fs::path& name) {
  std::vector<fs::path> out;
  if (fs::exists(golden / name / "paths.txt")) {
    std::istringstream lines(read(golden / name / "paths.txt"));
    for (std::string line; std::getline(lines, line);) out.push_back(name / line);
    return out;
  }
  for (const auto& entry : fs::directory_iterator(golden / name)) {
    if (entry.is_directory() && entry.path().filename().string().starts_with("app")) {
      out.push_back(name / entry.path().filename());
    }
  }
  std::ranges::sort(out);
  return out.empty() ? std::vector{name} : out;
}

std::string said_of(const fs::path& name) {
  std::string out;
  std::vector<AppManifest> apps;
  for (const fs::path& path : paths_of(name)) {
    LoadResult result = load_app(path);
    for (const Diagnostic& diagnostic : result.diagnostics) out += render(diagnostic);
    EXPECT_EQ(result.app.has_value(), !has_errors(result.diagnostics)) << name;
    if (result.app) apps.push_back(std::move(*result.app));
  }
  for (const Conflict& conflict : check_together(apps)) out += render(conflict.diagnostic);
  if (fs::exists(name / "listen.txt") && !apps.empty()) {
    const std::string how = read(name / "listen.txt");
    const Listening listening{.loopback = how.starts_with("loopback"), .expose_all = how.contains("--dev")};
    for (const Diagnostic& diagnostic : check_listen(apps[0], listening)) out += render(diagnostic);
  }
  if (fs::exists(name / "described.json") && !apps.empty()) {
    for (const Diagnostic& d : merge_described(apps[0].services[0], read(name / "described.json"))) out += render(d);
  }
  if (name == "hosting" && !apps.empty()) {
    const ServiceManifest& service = apps[0].services[0];
    for (const Diagnostic& diagnostic :
         {no_entry_point(service), wrong_abi(service, 2, 1),
          does_not_load(service, "libnone.so: cannot open shared object file"),
          does_not_import(service, "ModuleNotFoundError: No module named 'flask'", "main.py:1"),
          does_not_import(service, "SyntaxError: invalid syntax", "main.py:7"),
          describe_timed_out(service, std::chrono::seconds(10)),
          describe_crashed(service, "signal 11 (SIGSEGV)", "terminate called")}) {
      out += render(diagnostic);
    }
  }
  return out;
}

/// Paths in messages are those of the test, wherever the tree stands.
class Here {
 public:
  Here() : before_(fs::current_path()) { fs::current_path(golden); }
  ~Here() { fs::current_path(before_); }

 private:
  fs::path before_;
};

std::vector<fs::path> cases() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(golden)) out.push_back(entry.path().filename());
  std::ranges::sort(out);
  return out;
}

TEST(ManifestGolden, every_error_says_what_its_file_says) {
  const Here here;
  const bool update = std::getenv("SHUNT_UPDATE_GOLDEN") != nullptr;
  for (const fs::path& name : cases()) {
    const std::string said = said_of(name);
    if (update) std::ofstream(golden / name / "expected.txt", std::ios::binary) << said;
    EXPECT_EQ(said, read(golden / name / "expected.txt")) << "case " << name;
  }
}

/// Ids between "S2" and the next that is not a digit.
std::set<std::string> ids_in(std::string_view text) {
  std::set<std::string> out;
  for (std::size_t at = text.find("S2"); at != std::string_view::npos; at = text.find("S2", at + 1)) {
    const std::string_view id = text.substr(at, 5);
    if (id.size() == 5 && std::ranges::all_of(id.substr(1), [](char c) { return c >= '0' && c <= '9'; }))
      out.emplace(id);
  }
  return out;
}

TEST(ManifestGolden, every_id_is_documented_and_has_a_case) {
  const auto in_code = ids_in(read(source_folder / "src/manifest/ids.h"));
  Source source("errors.json", read(source_folder / "spec/errors.json"));
  std::vector<Diagnostic> diagnostics;
  const auto root = parse(source, diagnostics);
  ASSERT_TRUE(root) << render(diagnostics.at(0));
  std::set<std::string> documented;
  for (const Member& member : root->find("errors")->value.members) {
    // From S2072 to S2089 they are schema/'s, which tests them itself.
    if (!member.key.starts_with("S2") || (member.key >= "S2072" && member.key < "S2090")) continue;
    documented.insert(member.key);
    for (std::string_view key : {"title", "text", "fix"}) EXPECT_NE(member.value.find(key), nullptr) << member.key;
  }
  EXPECT_EQ(documented, in_code);

  std::set<std::string> shown_somewhere;
  for (const fs::path& name : cases()) shown_somewhere.merge(ids_in(read(golden / name / "expected.txt")));
  // These two need a file that is too large to keep, or one that can't be kept: manifest_test.cpp has them.
  shown_somewhere.insert({"S2002", "S2003"});
  EXPECT_EQ(shown_somewhere, in_code);
}

}  // namespace
}  // namespace shunt::manifest
