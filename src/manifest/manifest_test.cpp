#include "manifest/manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "manifest/document.h"
#include "manifest/ids.h"
#include "manifest/keys.h"

namespace shunt::manifest {
namespace {
namespace fs = std::filesystem;
using namespace std::chrono_literals;

const fs::path good = fs::path(SHUNT_SOURCE_DIR) / "tests/golden/manifest/good";

/// A folder of the test's own with an empty service.py, gone at its end.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "shunt-manifest-XXXXXX").string();
    path_ = mkdtemp(name.data());
    write("service.py", "");
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const fs::path& name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string all(const std::vector<Diagnostic>& diagnostics) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) out += render(diagnostic);
  return out;
}

AppManifest load_good(std::string text) {
  const Folder folder;
  LoadResult result = load_text("shunt.json", std::move(text), folder.path());
  EXPECT_TRUE(result.app.has_value()) << all(result.diagnostics);
  return result.app.value_or(AppManifest{});
}

TEST(Manifest, every_key_becomes_a_value) {
  const LoadResult result = load_app(good);
  ASSERT_TRUE(result.app) << all(result.diagnostics);
  const AppManifest& app = *result.app;
  EXPECT_EQ(app.name, "shop");
  EXPECT_EQ(app.version, "1.2.0");
  EXPECT_EQ(app.description, "A shop.");
  EXPECT_EQ(app.folder, good);
  EXPECT_EQ(app.path, good / "shunt.json");
  EXPECT_EQ(app.listen, (std::vector<std::string>{"127.0.0.1:8080", "https://[::1]:0"}));
  EXPECT_EQ(app.http.header_limit, 32u << 10);
  EXPECT_EQ(app.http.body_limit, 8u << 20);
  EXPECT_EQ(app.http.connection_limit, 500u);
  EXPECT_EQ(app.http.header_timeout, 5s);
  EXPECT_EQ(app.http.idle_timeout, 1min);
  EXPECT_FALSE(app.http.write_timeout);
  ASSERT_EQ(app.services.size(), 2u);

  const ServiceManifest& prices = app.services[0];
  EXPECT_EQ(prices.type, "c++");
  EXPECT_EQ(prices.definition.full_name, "shop.prices");
  EXPECT_EQ(prices.definition.version, "1.2.0");
  EXPECT_EQ(prices.args, (std::vector<std::string>{(good / "libprices.so").string(), "--fast"}));
  EXPECT_EQ(prices.engine.backend, Backend::thread);
  EXPECT_EQ(prices.engine.threads, 2);
  EXPECT_EQ(prices.definition.allow, (std::vector<std::string>{"shop.cart", "other.thing"}));
  EXPECT_FALSE(prices.expose_said);
  EXPECT_EQ(prices.definition.timeout, 60s);

  const ServiceManifest& cart = app.services[1];
  EXPECT_EQ(cart.env, (std::map<std::string, std::string>{{"EMPTY", ""}, {"LEVEL", "debug"}}));
  EXPECT_EQ(cart.python, "python3");
  EXPECT_EQ(cart.engine.backend, Backend::process);
  EXPECT_EQ(cart.engine.pool_limit, 4);
  EXPECT_EQ(cart.engine.queue_limit, 10);
  EXPECT_EQ(cart.engine.concurrency, 5);
  EXPECT_EQ(cart.engine.startup_timeout, 20s);
  EXPECT_EQ(cart.engine.heartbeat_timeout, 30s);
  EXPECT_EQ(cart.engine.termination_timeout, 2500ms);
  EXPECT_EQ(cart.engine.crashlog_limit, 100);
  EXPECT_TRUE(cart.definition.allow_all);
  EXPECT_TRUE(cart.definition.exposed);
  EXPECT_EQ(cart.definition.auth, call::Auth::token);
  EXPECT_EQ(cart.tokens, good / "tokens.txt");
  EXPECT_EQ(cart.definition.timeout, 5s);
  const call::CommandDefinition& total = cart.definition.commands.at("total");
  EXPECT_EQ(total.effect, call::Effect::none);
  EXPECT_EQ(total.timeout, 2s);
  EXPECT_EQ(total.request_schema, R"({"type":"object"})");
}

TEST(Manifest, an_app_of_one_service_has_its_folders_name) {
  const Folder folder;
  const fs::path app = folder.path() / "greeter";
  fs::create_directory(app);
  std::ofstream(app / "greeter.py") << "";
  std::ofstream(app / "shunt.json") << R"({"type": "python", "args": "greeter.py"})";
  const LoadResult result = load_app(app);
  ASSERT_TRUE(result.app) << all(result.diagnostics);
  EXPECT_EQ(result.app->name, "greeter");
  EXPECT_TRUE(result.app->single);
  EXPECT_EQ(result.app->services[0].definition.full_name, "greeter");
  EXPECT_EQ(result.app->services[0].definition.name, "greeter");
}

TEST(Manifest, what_it_does_not_say_has_the_documented_default) {
  const AppManifest app = load_good(R"({"name": "a", "type": "python", "args": "service.py"})");
  const ServiceManifest& service = app.services.at(0);
  EXPECT_EQ(service.engine.backend, Backend::process);
  EXPECT_EQ(service.engine.pool_min, 1);
  EXPECT_EQ(service.engine.pool_limit, 1);
  EXPECT_TRUE(service.definition.uses.empty());
  EXPECT_FALSE(service.definition.exposed);
  EXPECT_FALSE(service.auth_said);
}

TEST(Manifest, only_a_pool_min_raises_the_pool_limit) {
  const AppManifest app =
      load_good(R"({"name": "a", "type": "python", "args": "service.py", "engine": {"pool-min": 3}})");
  EXPECT_EQ(app.services.at(0).engine.pool_limit, 3);
}

TEST(Manifest, the_seeds_way_to_name_a_file_is_understood) {
  const Folder folder;
  const std::string path = (folder.path() / "service.py").string();
  const LoadResult result =
      load_text("shunt.json", R"({"name": "a", "type": "python", "args": "local://)" + path + R"("})", folder.path());
  ASSERT_TRUE(result.app) << all(result.diagnostics);
  EXPECT_EQ(result.app->services[0].args[0], path);
}

TEST(Manifest, uses_of_two_parts_may_be_a_command_or_a_service) {
  const AppManifest app = load_good(
      R"({"name": "a", "type": "python", "args": "service.py", "uses": ["x", "blob.get", "b.c.d", "b.Get"]})");
  const auto& uses = app.services.at(0).definition.uses;
  std::vector<std::string> told;
  for (const call::Reach& reach : uses) told.push_back(reach.service + "/" + reach.command);
  EXPECT_EQ(told, (std::vector<std::string>{"x/", "blob/get", "blob.get/", "b.c/d", "b/Get"}));
  EXPECT_EQ(app.services.at(0).uses.size(), 4u);
}

TEST(Manifest, an_interpreter_of_a_virtualenv_stays_the_symlink_it_is) {
  const Folder folder;
  fs::create_directories(folder.path() / ".venv/bin");
  fs::create_symlink(fs::path("../../service.py"), folder.path() / ".venv/bin/python");
  const LoadResult result =
      load_text("shunt.json", R"({"name": "a", "type": "python", "args": "service.py", "python": ".venv/bin/python"})",
                folder.path());
  ASSERT_TRUE(result.app) << all(result.diagnostics);
  EXPECT_EQ(result.app->services[0].python, (folder.path() / ".venv/bin/python").string());
}

TEST(Manifest, a_byte_order_mark_and_windows_line_ends_are_no_errors) {
  load_good("\xEF\xBB\xBF{\r\n\"name\": \"a\",\r\n\"type\": \"python\", \"args\": \"service.py\"\r\n}\r\n");
  const LoadResult result = load_text("shunt.json", "{\r\n\"naem\": 1\r\n}\r\n", "/");
  EXPECT_EQ(result.diagnostics.back().source_line, "\"naem\": 1");
}

TEST(Manifest, a_file_beyond_the_limit_is_not_read) {
  const Folder folder;
  folder.write("shunt.json", "{}" + std::string(file_bytes_max, ' '));
  const LoadResult result = load_app(folder.path());
  ASSERT_EQ(result.diagnostics.size(), 1u);
  EXPECT_EQ(result.diagnostics[0].id, ids::too_large);
  EXPECT_FALSE(result.app);
}

TEST(Manifest, what_is_no_regular_file_is_not_read) {
  const Folder folder;
  ASSERT_EQ(mkfifo((folder.path() / "shunt.json").c_str(), 0600), 0);
  EXPECT_EQ(load_app(folder.path()).diagnostics.at(0).id, ids::unreadable);
  fs::remove(folder.path() / "shunt.json");
  fs::create_directory(folder.path() / "shunt.json");
  EXPECT_EQ(load_app(folder.path()).diagnostics.at(0).id, ids::unreadable);
}

TEST(Manifest, a_nul_byte_hides_nothing_that_follows) {
  const std::string text("{}\0{\"type\": 1}", 14);
  EXPECT_EQ(load_text("shunt.json", text, "/").diagnostics.at(0).id, ids::syntax);
}

TEST(Manifest, many_keys_take_no_quadratic_time) {
  // The watchdog of the test run is the limit: 60 000 keys compared with each other would be 1.8 thousand million.
  std::string text = "{";
  for (int i = 0; i < 60'000; ++i) text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":0";
  const LoadResult result = load_text("shunt.json", text + "}", "/");
  EXPECT_EQ(result.diagnostics.size(), 51u);
  EXPECT_EQ(result.diagnostics.back().id, ids::too_many_errors);
}

TEST(Manifest, a_diagnostic_found_later_stands_at_its_key) {
  const AppManifest app = load_good("{\n\"name\": \"a\", \"type\": \"python\",\n  \"args\": \"service.py\"\n}");
  const Diagnostic diagnostic = diagnostic_at(app.services.at(0), "args", ids::does_not_load, "no", "", "yes");
  EXPECT_EQ(diagnostic.line, 3);
  EXPECT_EQ(diagnostic.column, 11);
  EXPECT_EQ(diagnostic.caret_width, 12);
  // A key that the manifest does not say: the service itself.
  EXPECT_EQ(diagnostic_at(app.services.at(0), "engine.pool-limit", ids::does_not_load, "no").line, 1);
  EXPECT_EQ(diagnostic_at(ServiceManifest{}, "args", ids::does_not_load, "no").line, 0);
  EXPECT_EQ(to_status(diagnostic).to_string(), "S2065 failed_precondition: shunt.json:3:11: no; yes");
}

TEST(MergeDescribed, takes_the_codes_word_and_adds_the_manifests) {
  AppManifest app = load_good(R"({"name": "a", "type": "python", "args": "service.py",
    "commands": {"get": {"effect": "none", "timeout": 5}}})");
  ServiceManifest& service = app.services.at(0);
  const auto diagnostics =
      merge_described(service, R"({"sdk": "python 0.1.0", "version": "3", "description": "Things.", "commands": {
    "get": {"description": "One thing.", "request": {"type": "object"}, "response": {}, "blocking": true},
    "all": {"stream": "server", "timeout": "10s", "effect": "idempotent"}}})");
  EXPECT_TRUE(diagnostics.empty()) << all(diagnostics);
  EXPECT_EQ(service.definition.version, "3");
  EXPECT_EQ(service.definition.description, "Things.");
  ASSERT_EQ(service.definition.commands.size(), 2u);
  const call::CommandDefinition& get = service.definition.commands.at("get");
  EXPECT_EQ(get.effect, call::Effect::none);
  EXPECT_EQ(get.timeout, 5s);
  EXPECT_EQ(get.description, "One thing.");
  EXPECT_EQ(get.request_schema, R"({"type":"object"})");
  EXPECT_EQ(get.response_schema, "{}");
  EXPECT_TRUE(get.blocking);
  const call::CommandDefinition& every = service.definition.commands.at("all");
  EXPECT_EQ(every.stream, call::StreamShape::server);
  EXPECT_EQ(every.effect, call::Effect::idempotent);
  EXPECT_EQ(every.timeout, 10s);
  // Described again, when the code has changed: what the manifest says is still its own word.
  EXPECT_TRUE(merge_described(service, R"({"commands": {"get": {}}})").empty());
}

TEST(MergeDescribed, changes_nothing_when_it_refuses) {
  AppManifest app =
      load_good(R"({"name": "a", "type": "python", "args": "service.py", "commands": {"get": {"effect": "none"}}})");
  ServiceManifest& service = app.services.at(0);
  EXPECT_TRUE(has_errors(merge_described(service, R"({"version": "2", "commands": {"put": {}}})")));
  EXPECT_EQ(service.definition.version, "");
  EXPECT_TRUE(service.definition.commands.contains("get"));
}

TEST(Diagnostics, have_a_form_for_programs) {
  const LoadResult result =
      load_text("a\"b.json", "{\"naem\": 1, \"type\": \"python\", \"args\": \"service.py\"}", "/tmp");
  const std::string json = to_json(result.diagnostics.at(0));
  std::vector<Diagnostic> syntax;
  const auto node = parse(Source("", json), syntax);
  ASSERT_TRUE(node) << json;
  EXPECT_EQ(node->find("file")->value.text, "a\"b.json");
  EXPECT_EQ(node->find("severity")->value.text, "error");
  EXPECT_EQ(node->find("line")->value.text, "1");
}

TEST(Diagnostics, colours_only_when_asked) {
  const LoadResult result = load_text("shunt.json", "[]", "/");
  EXPECT_EQ(render(result.diagnostics.at(0)).find('\x1b'), std::string::npos);
  EXPECT_NE(render(result.diagnostics.at(0), Colour::yes).find('\x1b'), std::string::npos);
}

TEST(Manifest, cors_names_the_pages_that_may_call) {
  const AppManifest app = load_good(R"({"name": "a", "type": "python", "args": "service.py",
      "cors": {"origins": "HTTPS://App.Example", "headers": ["X-Trace", "*"], "max-age": "1h"}})");
  ASSERT_EQ(app.services.size(), 1u);
  const auto& cors = app.services[0].cors;
  ASSERT_TRUE(cors);
  EXPECT_EQ(cors->origins, std::vector<std::string>{"https://app.example"});
  EXPECT_EQ(cors->headers, (std::vector<std::string>{"x-trace", "*"}));
  EXPECT_FALSE(cors->credentials);
  EXPECT_EQ(cors->max_age, std::chrono::hours(1));
}

// ---- How calls travel ----

ServiceManifest placed(std::string_view keys) {
  const Folder folder;
  auto loaded = load_text(
      "shunt.json", fmt::format(R"({{"name": "a", "type": "python", "args": "service.py"{}}})", keys), folder.path());
  EXPECT_TRUE(loaded.app) << keys << all(loaded.diagnostics);
  return loaded.app ? std::move(loaded.app->services[0]) : ServiceManifest();
}

TEST(ManifestPlacement, without_it_every_distance_will_do) {
  const auto service = placed("");
  EXPECT_TRUE(service.definition.placement.is_free());
  EXPECT_EQ(service.engine.link, WorkerLink::automatic);
}

TEST(ManifestPlacement, a_pin_leaves_one_distance_and_says_the_link) {
  const auto service = placed(R"(, "placement": {"pin": "shm"})");
  for (auto each : call::distances) EXPECT_EQ(service.definition.placement.allows(each), each == call::Distance::shm);
  EXPECT_EQ(service.engine.link, WorkerLink::shm);
  EXPECT_EQ(placed(R"(, "placement": {"pin": "unix"})").engine.link, WorkerLink::unix_);
  EXPECT_EQ(placed(R"(, "placement": {"pin": "grpc"})").engine.link, WorkerLink::unix_);
}

TEST(ManifestPlacement, what_is_forbidden_is_one_or_a_list) {
  const auto one = placed(R"(, "placement": {"forbid": "grpc"})");
  EXPECT_FALSE(one.definition.placement.allows(call::Distance::grpc));
  EXPECT_TRUE(one.definition.placement.allows(call::Distance::unix_));
  EXPECT_EQ(one.engine.link, WorkerLink::automatic);
  const auto two = placed(R"(, "placement": {"forbid": ["grpc", "shm"]})");
  EXPECT_FALSE(two.definition.placement.allows(call::Distance::shm));
  EXPECT_EQ(two.engine.link, WorkerLink::unix_);
}

TEST(ManifestPlacement, the_link_of_the_workers_forbids_the_other_one) {
  const auto socket = placed(R"(, "engine": {"link": "unix"})");
  EXPECT_FALSE(socket.definition.placement.allows(call::Distance::shm));
  EXPECT_TRUE(socket.definition.placement.allows(call::Distance::grpc));
  const auto memory = placed(R"(, "engine": {"link": "shm"}, "placement": {"forbid": "grpc"})");
  EXPECT_FALSE(memory.definition.placement.allows(call::Distance::unix_));
  EXPECT_EQ(memory.engine.link, WorkerLink::shm);
  EXPECT_TRUE(placed(R"(, "engine": {"link": "auto"})").definition.placement.is_free());
}

// ---- spec/manifest.schema.json ----

const Node& at(const Node& node, std::string_view key) {
  static const Node none;
  const Member* member = node.find(key);
  EXPECT_NE(member, nullptr) << key;
  return member == nullptr ? none : member->value;
}

std::optional<Node> published_schema() {
  std::ifstream file(fs::path(SHUNT_SOURCE_DIR) / "spec/manifest.schema.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<Diagnostic> syntax;
  auto root = parse(Source("manifest.schema.json", text), syntax);
  EXPECT_TRUE(root) << all(syntax);
  return root;
}

/// The schema and the code know the same keys, and agree on which are built: `false` stands for what is not.
void expect_same_keys(const Node& properties, std::vector<Key> keys, std::string_view where) {
  std::set<std::string, std::less<>> in_schema;
  for (const Member& member : properties.members) in_schema.insert(member.key);
  for (const Key& key : keys) {
    const Member* member = properties.find(key.name);
    if (member == nullptr) {
      ADD_FAILURE() << key.name << " is not in the schema of " << where;
      continue;
    }
    in_schema.erase(member->key);
    EXPECT_EQ(member->value.find("not") == nullptr, key.not_built.empty()) << key.name;
    EXPECT_NE(member->value.find("description"), nullptr) << key.name;
  }
  EXPECT_TRUE(in_schema.empty()) << where << " does not know " << *in_schema.begin();
}

std::vector<Key> keys(Where where) {
  const auto list = keys_of(where);
  return {list.begin(), list.end()};
}

TEST(ManifestSchema, has_the_keys_that_the_code_knows_and_no_others) {
  const auto root = published_schema();
  ASSERT_TRUE(root);
  const Node& defs = at(*root, "$defs");
  std::vector<Key> top = keys(Where::app);
  for (const Key& key : keys(Where::service)) {
    if (std::ranges::find(top, key.name, &Key::name) == top.end()) top.push_back(key);
  }
  expect_same_keys(at(*root, "properties"), top, "the top level");
  expect_same_keys(at(at(defs, "service"), "properties"), keys(Where::service), "a service");
  expect_same_keys(at(at(defs, "engine"), "properties"), keys(Where::engine), "engine");
  expect_same_keys(at(at(defs, "command"), "properties"), keys(Where::command), "a command");
  expect_same_keys(at(at(defs, "http"), "properties"), keys(Where::http), "http");
  expect_same_keys(at(at(defs, "cors"), "properties"), keys(Where::cors), "cors");
  expect_same_keys(at(at(defs, "placement"), "properties"), keys(Where::placement), "placement");
}

TEST(ManifestSchema, has_the_defaults_of_the_code) {
  const auto root = published_schema();
  ASSERT_TRUE(root);
  const Node& engine = at(at(at(*root, "$defs"), "engine"), "properties");
  auto said = [&](std::string_view key) { return at(at(engine, key), "default").text; };
  const EngineOptions options;
  EXPECT_EQ(said("pool-min"), std::to_string(options.pool_min));
  EXPECT_EQ(said("pool-limit"), std::to_string(options.pool_limit));
  EXPECT_EQ(said("queue-limit"), std::to_string(options.queue_limit));
  EXPECT_EQ(said("concurrency"), std::to_string(options.concurrency));
  EXPECT_EQ(said("crashlog-limit"), std::to_string(options.crashlog_limit));
  EXPECT_EQ(said("link"), "auto");
  EXPECT_EQ(said("threads"), std::to_string(options.threads));
  EXPECT_EQ(said("startup-timeout"), format_duration(options.startup_timeout));
  EXPECT_EQ(said("heartbeat-timeout"), format_duration(options.heartbeat_timeout));
  EXPECT_EQ(said("termination-timeout"), format_duration(options.termination_timeout));
  const Node& service = at(at(at(*root, "$defs"), "service"), "properties");
  EXPECT_EQ(at(at(service, "timeout"), "default").text, format_duration(call::ServiceDefinition().timeout));
}

}  // namespace
}  // namespace shunt::manifest
