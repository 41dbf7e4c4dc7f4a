#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "cli/call.h"
#include "cli/command_line.h"
#include "cli/explain.h"
#include "cli/help.h"
#include "cli/logs.h"
#include "cli/new.h"
#include "cli/node_client.h"
#include "cli/proto.h"
#include "cli/ps.h"
#include "cli/settings.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

using Variables = std::map<std::string, std::string>;

Environment variables(Variables values = {{"HOME", "/home/ann"}}) {
  return [values = std::move(values)](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

std::expected<Command, Exit> parse(std::vector<const char*> arguments, const Environment& environment = variables()) {
  arguments.insert(arguments.begin(), "shunt");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data(), environment);
}

template <typename T>
T parsed(std::vector<const char*> arguments, const Environment& environment = variables()) {
  auto command = parse(std::move(arguments), environment);
  if (!command) {
    ADD_FAILURE() << command.error().err << command.error().out;
    return {};
  }
  return std::get<T>(*command);
}

std::string complaint(std::vector<const char*> arguments) {
  auto command = parse(std::move(arguments));
  EXPECT_FALSE(command.has_value());
  if (command) return {};
  EXPECT_EQ(command.error().code, exit_usage);
  return command.error().err;
}

TEST(CommandLine, proto_prints_or_writes_the_types_of_a_service) {
  auto proto = parsed<ProtoCommand>({"proto", "shop.cart", "--data", "/data"});
  EXPECT_EQ(proto.service, "shop.cart");
  EXPECT_EQ(proto.node.data, "/data");
  EXPECT_TRUE(proto.out.empty() && proto.descriptor_set.empty());
  EXPECT_EQ(parsed<ProtoCommand>({"proto", "cart", "-o", "protos"}).out, "protos");
  EXPECT_EQ(parsed<ProtoCommand>({"proto", "cart", "--descriptor-set", "-"}).descriptor_set, "-");
  EXPECT_NE(complaint({"proto"}).find("SERVICE"), std::string::npos);
}

TEST(Proto, an_answer_has_files_below_the_folder_alone) {
  auto answer = read_proto_answer(
      R"({"file":"shop/cart.proto","files":[{"name":"shop/a.proto","text":"a"},{"name":"shop/cart.proto","text":"c"}],
          "descriptor_set":"CgA="})");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->main, 1u);
  EXPECT_EQ(answer->files[1].text, "c");
  EXPECT_EQ(answer->descriptor_set, std::string("\x0a\x00", 2));
  for (const char* name : {"../x", "/etc/x", "a/../../x", "a/", "", "."}) {
    const std::string bad = std::string(R"({"files":[{"name":")") + name + R"(","text":""}],"descriptor_set":""})";
    EXPECT_FALSE(read_proto_answer(bad).has_value()) << name;
  }
  for (const char* bad :
       {"", "[]", "{}", R"({"files":[]})", R"({"files":[{"name":"a","text":""}],"descriptor_set":"?"})"}) {
    EXPECT_FALSE(read_proto_answer(bad).has_value()) << bad;
  }
}

TEST(CommandLine, explain_takes_who_calls_whom) {
  const auto explain = parsed<ExplainCommand>({"explain", "cart", "shop.prices.get", "--json", "--data", "/data"});
  EXPECT_EQ(explain.caller, "cart");
  EXPECT_EQ(explain.callee, "shop.prices.get");
  EXPECT_TRUE(explain.json);
  EXPECT_EQ(explain.node.data, "/data");
  EXPECT_FALSE(complaint({"explain", "cart"}).empty());
}

TEST(CommandLine, as_if_remote_has_its_options_after_an_equals_sign_or_none) {
  EXPECT_EQ(parsed<node::RunOptions>({"run", "a"}).as_if_remote, std::nullopt);
  EXPECT_EQ(parsed<node::RunOptions>({"run", "--as-if-remote", "a"}).as_if_remote, "");
  EXPECT_EQ(parsed<node::RunOptions>({"run", "--as-if-remote=latency=2ms,fault=0.01", "a"}).as_if_remote,
            "latency=2ms,fault=0.01");
  const auto bad = complaint({"run", "a", "--as-if-remote=delay=2ms"});
  EXPECT_NE(bad.find("latency, jitter, fault and seed"), std::string::npos) << bad;
  auto run = parsed<node::RunOptions>({"run", "a"}, variables({{"SHUNT_AS_IF_REMOTE", "jitter=1ms"}}));
  EXPECT_EQ(run.as_if_remote, "jitter=1ms");
  run = parsed<node::RunOptions>({"run", "a"}, variables({{"SHUNT_AS_IF_REMOTE", "1"}}));
  EXPECT_EQ(run.as_if_remote, "");
}

/// What is kept in tests/golden/cli; with SHUNT_UPDATE_GOLDEN=1 it is written anew.
std::string read_golden(const std::string& name, const std::string& now) {
  const auto path = std::filesystem::path(SHUNT_SOURCE_DIR) / "tests/golden/cli" / name;
  if (std::getenv("SHUNT_UPDATE_GOLDEN") != nullptr) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << now;
  }
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Explain, a_path_is_shown_in_eighty_columns) {
  const auto shown = render_explain(R"json({
    "caller": "shop.cart", "callee": "shop.prices", "command": "get", "permitted": true,
    "because": "shop.cart has \"uses\" with prices, and shop.prices has no \"allow\", which is the services of the same app",
    "outcome": "goes", "says": "to shop.prices#1 (pid 812), by shm",
    "placement": {"pin": null, "forbid": ["grpc"]}, "queue": {"exists": true, "waiters": false},
    "instances": [
      {"name": "shop.prices#1 (pid 812)", "distance": "shm", "why_distance": "another process of this host, over shared memory",
       "standing": "has room", "in_flight": 2, "capacity": 10, "chosen": true, "because": "the nearest with room",
       "measured": {"calls": 123456, "errors": 3, "p50_us": 0.712, "p99_us": 4.25}},
      {"name": "shop.prices@far", "distance": "grpc", "why_distance": "another node, over gRPC", "standing": "forbidden",
       "in_flight": 0, "capacity": null, "chosen": false, "because": "\"placement\" forbids grpc",
       "measured": {"calls": 0, "errors": 0, "p50_us": null, "p99_us": null}}],
    "direct": [],
    "earlier": [{"name": "shop.prices#1", "distance": "unix", "measured": {"calls": 10, "errors": 0, "p50_us": 21, "p99_us": 1500}}]
})json",
                                    Style::plain());
  ASSERT_TRUE(shown.has_value());
  EXPECT_TRUE(shown->is_path);
  EXPECT_EQ(shown->text, read_golden("explain.txt", shown->text));
}

TEST(Explain, what_is_refused_is_no_path) {
  const auto shown = render_explain(
      R"({"caller": "a", "callee": "b", "permitted": false, "because": "no \"uses\"", "outcome": "refused", "says": "nowhere",
          "instances": []})",
      Style::plain());
  ASSERT_TRUE(shown.has_value());
  EXPECT_FALSE(shown->is_path);
  EXPECT_NE(shown->text.find("no: no \"uses\""), std::string::npos) << shown->text;
  EXPECT_EQ(render_explain("[]", Style::plain()).error().id(), "S5008");
  EXPECT_EQ(render_explain(R"({"outcome": "goes", "instances": 3})", Style::plain()).error().id(), "S5008");
}

TEST(CommandLine, flags_go_over_environment_over_default) {
  auto run = parsed<node::RunOptions>({"run", "shop"});
  EXPECT_TRUE(run.listen.empty());
  EXPECT_EQ(run.data, "/home/ann/.local/state/shunt");
  EXPECT_FALSE(run.dev.has_value());

  const Variables set = {
      {"HOME", "/home/ann"}, {"SHUNT_LISTEN", "127.0.0.1:1,[::1]:2"}, {"SHUNT_DATA", "/srv/a"}, {"SHUNT_DEV", "0"}};
  run = parsed<node::RunOptions>({"run", "shop"}, variables(set));
  EXPECT_EQ(run.listen, (std::vector<std::string>{"127.0.0.1:1", "[::1]:2"}));
  EXPECT_EQ(run.data, "/srv/a");
  EXPECT_EQ(run.dev, false);

  run = parsed<node::RunOptions>({"run", "shop", "--listen", "127.0.0.1:3", "--data", "/srv/b/", "--dev"},
                                 variables(set));
  EXPECT_EQ(run.listen, (std::vector<std::string>{"127.0.0.1:3"}));
  EXPECT_EQ(run.data, "/srv/b");
  EXPECT_EQ(run.dev, true);
}

TEST(CommandLine, several_paths_and_listen_addresses_in_any_order) {
  const auto run = parsed<node::RunOptions>({"run", "--listen", "127.0.0.1:0", "shop", "--listen", "[::1]:0", "blog"});
  EXPECT_EQ(run.paths, (std::vector<std::string>{"shop", "blog"}));
  EXPECT_EQ(run.listen, (std::vector<std::string>{"127.0.0.1:0", "[::1]:0"}));
}

TEST(CommandLine, limits_of_run_take_units) {
  const auto run = parsed<node::RunOptions>({"run", "a", "--body-limit", "64MiB", "--idle-timeout", "250ms"});
  EXPECT_EQ(run.body_bytes_max, 64U << 20);
  EXPECT_EQ(run.idle_timeout, std::chrono::milliseconds(250));
  EXPECT_FALSE(run.header_timeout.has_value());
}

TEST(CommandLine, the_data_folder_follows_xdg) {
  EXPECT_EQ(*default_data_folder(variables({{"XDG_STATE_HOME", "/state"}, {"HOME", "/h"}})), "/state/shunt");
  EXPECT_EQ(*default_data_folder(variables({{"XDG_STATE_HOME", "relative"}, {"HOME", "/h"}})), "/h/.local/state/shunt");
}

TEST(CommandLine, call_takes_json_that_looks_like_anything) {
  for (const char* text : {"[1,2]", "{\"a\": [1, 2]}", "\"text\"", "-", "@file", "null", "ps", "[\"a\",\"b\"]"})
    EXPECT_EQ(parsed<CallCommand>({"call", "a.b", text}).argument, text);
  EXPECT_FALSE(parsed<CallCommand>({"call", "a.b"}).argument.has_value());
  const auto call = parsed<CallCommand>(
      {"call", "a.b", "{}", "-m", "user=ann", "--metadata", "x=y=z", "--timeout", "2s", "--at", "h:1"});
  EXPECT_EQ(call.metadata, (std::vector<std::pair<std::string, std::string>>{{"user", "ann"}, {"x", "y=z"}}));
  EXPECT_EQ(call.timeout, std::chrono::seconds(2));
  EXPECT_EQ(call.node.at, "h:1");
}

TEST(CommandLine, a_service_may_be_called_as_a_command_is) {
  EXPECT_EQ(parsed<LogsCommand>({"logs", "ps"}).service, "ps");
  const auto logs = parsed<LogsCommand>({"logs", "-f", "run", "-n", "5"});
  EXPECT_EQ(logs.service, "run");
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.lines, 5U);
}

TEST(CommandLine, mistakes_are_told_with_the_nearest_word) {
  EXPECT_NE(complaint({"rnu", "shop"}).find("The nearest is: shunt run."), std::string::npos);
  EXPECT_NE(complaint({"ps", "--jsn"}).find("there is no option --jsn. The nearest is --json."), std::string::npos);
  EXPECT_NE(complaint({"call", "prices"}).find("'prices' is not SERVICE.COMMAND"), std::string::npos);
  EXPECT_NE(complaint({"call", "a.b", "{}", "more"}).find("'more' is one argument too many"), std::string::npos);
  EXPECT_NE(complaint({"call", "a.b", "--metadata", "x"}).find("is not KEY=VALUE"), std::string::npos);
  EXPECT_NE(complaint({"call", "a.b", "--metadata", "x=a\r\nb: c"}).find("is not KEY=VALUE"), std::string::npos);
  EXPECT_NE(complaint({"call", "a.b", "-m", "Content-Length=5"}).find("belongs to HTTP itself"), std::string::npos);
  EXPECT_NE(complaint({"call", "a/x.b"}).find("is not SERVICE.COMMAND"), std::string::npos);
  EXPECT_NE(complaint({"call", "a.b", "--timeout", "soon"}).find("--timeout"), std::string::npos);
  EXPECT_NE(complaint({"run"}).find("PATH"), std::string::npos);
  EXPECT_NE(complaint({"run", "a", "--listen", "8080"}).find("is not ADDR:PORT"), std::string::npos);
  EXPECT_NE(complaint({"run", "a", "--dev", "--no-dev"}).find("--dev"), std::string::npos);
}

TEST(CommandLine, tls_is_a_certificate_that_is_given_or_made) {
  auto run = parsed<node::RunOptions>({"run", "shop", "--tls", "self", "--listen", "https://127.0.0.1:0"});
  EXPECT_TRUE(run.tls_self);
  EXPECT_EQ(run.listen, (std::vector<std::string>{"https://127.0.0.1:0"}));
  run = parsed<node::RunOptions>({"run", "shop", "--tls-cert", "/c.pem", "--tls-client-ca", "/ca.pem"});
  EXPECT_FALSE(run.tls_self);
  EXPECT_EQ(run.tls_cert, "/c.pem");
  EXPECT_EQ(run.tls_key, "/c.pem");
  EXPECT_TRUE(run.tls_client_required);

  const Variables set = {{"HOME", "/home/ann"},
                         {"SHUNT_TLS_CERT", "/a/c.pem"},
                         {"SHUNT_TLS_KEY", "/a/k.pem"},
                         {"SHUNT_TLS_CLIENT_CA", "/a/ca.pem"},
                         {"SHUNT_TLS_CLIENT", "optional"}};
  run = parsed<node::RunOptions>({"run", "shop"}, variables(set));
  EXPECT_EQ(run.tls_cert, "/a/c.pem");
  EXPECT_EQ(run.tls_key, "/a/k.pem");
  EXPECT_EQ(run.tls_client_ca, "/a/ca.pem");
  EXPECT_FALSE(run.tls_client_required);
  run = parsed<node::RunOptions>({"run", "shop", "--tls", "self", "--tls-client", "required"}, variables(set));
  EXPECT_TRUE(run.tls_self && run.tls_client_required);
  EXPECT_EQ(run.tls_cert, "");

  EXPECT_NE(complaint({"run", "a", "--tls", "yes"}).find("may only be self"), std::string::npos);
  EXPECT_NE(complaint({"run", "a", "--tls", "self", "--tls-cert", "c"}).find("--tls"), std::string::npos);
  EXPECT_NE(complaint({"run", "a", "--tls-key", "k"}).find("without --tls-cert"), std::string::npos);
  EXPECT_NE(complaint({"run", "a", "--tls", "self", "--tls-client", "required"}).find("--tls-client-ca FILE"),
            std::string::npos);
  EXPECT_NE(complaint({"run", "a", "--tls-client-ca", "c"}).find("--tls self"), std::string::npos);
}

TEST(CommandLine, whom_to_trust_belongs_to_https) {
  const auto ps = parsed<PsCommand>({"ps", "--at", "https://127.0.0.1:1", "--cacert", "ca.pem", "--cert", "me.pem"});
  EXPECT_EQ(ps.node.cacert, "ca.pem");
  EXPECT_EQ(ps.node.key, "me.pem");
  EXPECT_EQ(parsed<CallCommand>({"call", "a.b", "--at", "grpcs://127.0.0.1:1", "--cacert", "ca.pem"}).node.cacert,
            "ca.pem");
  EXPECT_NE(complaint({"ps", "--insecure"}).find("--at https://"), std::string::npos);
  EXPECT_NE(complaint({"ps", "--at", "http://a:1", "--cacert", "c"}).find("--at https://"), std::string::npos);
  EXPECT_NE(complaint({"ps", "--at", "https://a:1", "--key", "k"}).find("without --cert"), std::string::npos);
}

TEST(CommandLine, help_is_there_for_everything) {
  EXPECT_EQ(parse({}).error().code, 0);
  EXPECT_EQ(parse({"--help"}).error().code, 0);
  for (const char* name : {"run", "call", "ps", "check", "new", "logs", "stop", "version", "help", "completions"}) {
    const auto by_flag = parse({name, "--help"});
    ASSERT_FALSE(by_flag.has_value());
    EXPECT_EQ(by_flag.error().code, 0);
    EXPECT_NE(by_flag.error().out.find("Usage: shunt "), std::string::npos) << by_flag.error().out;
    EXPECT_EQ(parse({"help", name}).error().out, by_flag.error().out);
    EXPECT_NE(parse({"--help"}).error().out.find(name), std::string::npos);
  }
  EXPECT_EQ(parsed<HelpCommand>({"help", "S1002"}).topic, "S1002");
}

TEST(Settings, a_wrong_variable_is_named) {
  EXPECT_EQ(load_settings(variables({{"SHUNT_DEV", "maybe"}})).error().id(), "S5009");
  EXPECT_NE(load_settings(variables({{"SHUNT_LISTEN", "everywhere"}})).error().message().find("everywhere"),
            std::string_view::npos);
}

TEST(Settings, listen_addresses) {
  for (const char* good :
       {"127.0.0.1:0", "localhost:65535", "[::1]:80", "0.0.0.0:8080", "https://0.0.0.0:8443", "http://[::]:80"})
    EXPECT_TRUE(is_listen_address(good)) << good;
  for (const char* bad : {"", ":", "8080", ":8080", "a:", "a:65536", "a:-1", "::1:80", "[]:1", "a:1x", "https://",
                          "https://a", "ftp://a:1"})
    EXPECT_FALSE(is_listen_address(bad)) << bad;
}

TEST(Request, json_is_checked_with_its_place) {
  const auto error = json_request("{\n  \"sku\": tea\n}", "basket.json").error();
  EXPECT_EQ(error.id(), "S5017");
  EXPECT_NE(error.message().find("basket.json, line 2, column"), std::string_view::npos) << error.message();
  EXPECT_NE(error.message().find("\n    \"sku\": t"), std::string_view::npos) << error.message();
  EXPECT_NE(error.message().find('^'), std::string_view::npos);
}

TEST(Request, one_value_is_json_and_several_are_a_stream) {
  EXPECT_EQ(json_request("{\"a\":\n 1}\n", "stdin")->content_type, "application/json");
  const auto stream = json_request("{\"a\": 1}\n\n{\"a\": 2}", "stdin");
  EXPECT_EQ(stream->content_type, "application/x-ndjson");
  EXPECT_EQ(stream->bytes, "{\"a\": 1}\n{\"a\": 2}\n");
  EXPECT_NE(json_request("{\"a\": 1}\n{\"a\": }", "stdin").error().message().find("line 2"), std::string_view::npos);
}

TEST(Request, hostile_json_is_an_error_not_a_crash) {
  for (const std::string& text : {std::string(), std::string("\n\n\n"), std::string("\0", 1), std::string(100'000, '['),
                                  std::string("\xff\xfe"), std::string(5000, 'x'), std::string("1e999")})
    EXPECT_EQ(json_request(text, "stdin").error().id(), "S5017");
}

TEST(Node, addresses) {
  EXPECT_EQ(find_node({"", "/data"})->socket, "/data/admin.sock");
  EXPECT_EQ(find_node({"http://localhost:81/", ""})->port, "81");
  EXPECT_EQ(find_node({"http://localhost", ""})->port, "80");
  EXPECT_EQ(find_node({"http://[::1]:81", ""})->host, "::1");
  EXPECT_FALSE(find_node({"http://localhost", ""})->tls);
  EXPECT_TRUE(find_node({"https://localhost", ""})->tls);
  EXPECT_EQ(find_node({"https://localhost", ""})->port, "443");
  EXPECT_EQ(find_node({"https://[::1]:81", ""})->to_string(), "https://[::1]:81");
  NodeAddress secure{"https://localhost:1", ""};
  secure.insecure = true;
  EXPECT_FALSE(find_node(secure)->tls->verify);
  secure.cacert = "/no/such/file";
  EXPECT_EQ(find_node(secure).error().id(), "S5034");
  EXPECT_EQ(find_node({"10.0.0.1:81", ""})->host, "10.0.0.1");
  EXPECT_EQ(find_node({"unix:/run/x.sock", ""})->socket, "/run/x.sock");
  EXPECT_EQ(find_node({"/", ""})->socket, "//admin.sock");
  for (const char* bad : {"https://", "https://a:1/path", "http://", "http://a:1/path", "nothing", "/no/such/folder",
                          "a:b", "unix:", "x@y:1"})
    EXPECT_EQ(find_node({bad, ""}).error().id(), "S5004") << bad;
}

TEST(Node, errors_are_read_from_connects_form) {
  auto error = read_error(404, R"({"code": "not_found", "message": "no service x", "id": "S1002"})");
  EXPECT_EQ(error.to_string(), "S1002 not_found: no service x");
  error = read_error(
      503,
      R"({"code": "unavailable", "message": "m", "details": [{"type": "shunt.Error", "debug": {"id": "S1008"}}]})");
  EXPECT_EQ(error.id(), "S1008");
  EXPECT_EQ(read_error(504, "<html>").code(), Code::deadline_exceeded);
  EXPECT_EQ(read_error(500, "null").code(), Code::internal);
  EXPECT_EQ(read_error(429, "[1]").code(), Code::resource_exhausted);
  EXPECT_FALSE(read_error(500, "{}").message().empty());
}

TEST(Node, a_streams_error_is_its_last_line) {
  EXPECT_FALSE(error_line(R"({"n": 1})").has_value());
  EXPECT_FALSE(error_line(R"({"$error": 1, "n": 2})").has_value());
  EXPECT_EQ(error_line(R"({"$error": {"code": "internal", "message": "x"}})")->code(), Code::internal);
}

TEST(Node, lines_are_whole_however_they_arrive) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  for (const char c : std::string_view("{\"a\":1}\n\n{\"b\":2}\nrest"))
    splitter.add(std::string_view(&c, 1), [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_EQ(lines, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"}));
  EXPECT_EQ(splitter.rest(), "rest");
}

/// Answers one connection on a unix socket with fixed bytes, in pieces of `piece` bytes.
class FixedServer {
 public:
  FixedServer(std::string answer, std::size_t piece) {
    char name[] = "/tmp/shunt-cli-test-XXXXXX";
    folder_ = ::mkdtemp(name);
    fd_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd_ < 0) throw std::runtime_error(std::strerror(errno));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s/admin.sock", folder_.c_str());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    thread_ = std::thread([this, answer = std::move(answer), piece] {
      const int peer = ::accept(fd_, nullptr, nullptr);
      if (peer < 0) return;
      char buffer[4096];
      while (request_.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = ::recv(peer, buffer, sizeof buffer, 0);
        if (got <= 0) break;
        request_.append(buffer, static_cast<std::size_t>(got));
      }
      for (std::size_t at = 0; at < answer.size(); at += piece)
        ::send(peer, answer.data() + at, std::min(piece, answer.size() - at), MSG_NOSIGNAL);
      ::close(peer);
    });
  }
  ~FixedServer() {
    join();
    ::close(fd_);
    std::filesystem::remove_all(folder_);
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] NodeAddress address() const { return {"", folder_}; }
  [[nodiscard]] const std::string& request() {
    join();
    return request_;
  }

 private:
  std::string folder_;
  int fd_ = -1;
  std::string request_;
  std::thread thread_;
};

TEST(HttpClient, reads_every_way_that_a_body_may_end) {
  for (const std::size_t piece : {1UL, 7UL, 4096UL}) {
    for (const std::string answer : {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
                                     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                     "chunked\r\n\r\n6;x=y\r\nhello \r\n5\r\nworld\r\n0\r\nx: y\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\n\r\nhello world"}) {
      FixedServer server(answer, piece);
      const auto body = call_manager(server.address(), "ps", "{}");
      ASSERT_TRUE(body.has_value()) << body.error().to_string();
      EXPECT_EQ(*body, "hello world");
      EXPECT_TRUE(server.request().starts_with("POST /manager/ps HTTP/1.1\r\n")) << server.request();
    }
  }
}

TEST(HttpClient, a_broken_answer_is_an_error_with_its_id) {
  const std::pair<const char*, const char*> cases[] = {
      {"SSH-2.0-OpenSSH\r\n", "S5008"},
      {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "S5008"},
      {"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "S5008"},
      {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "S5008"},
      {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n", "S5008"},
      {"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "S1008"},
      {"HTTP/1.1 200 OK\r\n", "S1008"},
      {"", "S1008"},
      {"HTTP/1.1 404 Not Found\r\n\r\n{\"code\":\"not_found\",\"id\":\"S1002\",\"message\":1}", "S1002"}};
  for (const auto& [answer, id] : cases) {
    FixedServer server(answer, 4096);
    const auto body = call_manager(server.address(), "ps", "{}");
    ASSERT_FALSE(body.has_value()) << answer;
    EXPECT_EQ(body.error().id(), id) << answer;
  }
}

TEST(HttpClient, a_socket_behind_a_long_path_is_reached) {
  char name[] = "/tmp/shunt-cli-long-XXXXXX";
  const std::filesystem::path base = ::mkdtemp(name);
  const auto deep = base / std::string(100, 'a') / std::string(100, 'b');
  std::filesystem::create_directories(deep);
  const auto error = call_manager({"", deep.string()}, "ps", "{}").error();
  EXPECT_EQ(error.id(), "S5015");
  EXPECT_EQ(error.message().find("too long"), std::string_view::npos) << error.message();
  std::filesystem::remove_all(base);
}

constexpr std::string_view ps_answer = R"({"node": {"pid": 10, "version": "0.1.0", "uptime_s": 3725.5, "restarts": 1,
  "last_crash": "prices: SIGSEGV", "listen": ["http://127.0.0.1:8080"]}, "services": [
  {"name": "prices", "type": "c++", "backend": "thread", "state": "ready", "calls": 12, "in_flight": 0, "restarts": 0, "last_error": null,
   "commands": ["get"], "instances": [{"name": "prices", "pid": 0, "state": "ready", "in_flight": 0, "served": 12, "restarts": 0}]},
  {"name": "cart", "type": "python", "backend": "process", "state": "degraded", "calls": 7, "in_flight": 1, "restarts": 2,
   "last_error": "killed\u001b[2J by SIGKILL\nsecond line", "commands": ["total", "add"],
   "instances": [{"name": "cart-1", "pid": 11, "state": "ready", "in_flight": 1, "served": 4, "restarts": 0},
                 {"name": "cart-2", "pid": 12, "state": "backing-off", "retry_in": "2s", "in_flight": 0, "served": 3, "restarts": 2}]}]})";

TEST(Ps, shows_services_and_their_instances) {
  const std::string text = *render_ps(ps_answer, Style::plain());
  EXPECT_EQ(text,
            "node 10, version 0.1.0, up 1h 2m, http://127.0.0.1:8080\n"
            "restarts of the node: 1, last crash: prices: SIGSEGV\n"
            "SERVICE   TYPE    BACKEND  STATE             PID  IN FLIGHT  CALLS  RESTARTS  LAST ERROR\n"
            "prices    c++     thread   ready              10          0     12         0\n"
            "cart      python  process  degraded          (2)          1      7         2  killed?[2J by SIGKILL "
            "second line\n"
            "  cart-1                   ready              11          1      4         0\n"
            "  cart-2                   backing-off (2s)   12          0      3         2\n");
  EXPECT_NE(render_ps(ps_answer, Style::colored())->find("\x1b["), std::string::npos);
}

TEST(Ps, an_answer_of_another_shape_is_no_crash) {
  for (const char* text : {"", "null", "[]", "{}", "{\"services\": 3}",
                           "{\"services\": [1, null, {\"instances\": [2], \"name\": []}], \"node\": 3}",
                           "{\"services\": [], \"node\": {\"uptime_s\": -1e300}}"})
    (void)render_ps(text, Style::plain());
  EXPECT_EQ(render_ps("{}", Style::plain()).error().id(), "S5008");
}

TEST(Ps, names_for_completions) {
  EXPECT_EQ(list_names(ps_answer, false), "prices\ncart\n");
  EXPECT_EQ(list_names(ps_answer, true), "prices.get\ncart.total\ncart.add\n");
  EXPECT_EQ(list_names("nonsense", true), "");
}

TEST(Logs, a_line_cannot_steer_the_terminal) {
  EXPECT_EQ(
      render_log_line(
          R"({"time": "10:00:00", "service": "cart", "instance": "cart-1", "level": "error", "text": "a\u001b[2Jb\nTrace"})",
          Style::plain()),
      "10:00:00 cart-1 error a?[2Jb\n    Trace\n");
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  EXPECT_EQ(render_log_line(R"({"time_ms": 1795219200123, "service": "cart", "level": "info", "text": "hello\n"})",
                            Style::plain()),
            "2026-11-21 00:00:00.123 cart info hello\n");
  EXPECT_EQ(render_log_line("not json\x1b", Style::plain()), "not json?\n");
  EXPECT_EQ(printable("a\tb\r\nc\xc2\x9b"), "a b c?");
}

TEST(Help, every_error_of_the_spec_has_its_page) {
  std::ifstream file(SHUNT_SOURCE_DIR "/spec/errors.json");
  ASSERT_TRUE(file.good());
  const auto catalogue = error_catalogue();
  EXPECT_GT(catalogue.size(), 20U);
  for (const ErrorEntry& entry : catalogue) {
    EXPECT_FALSE(entry.title.empty()) << entry.id;
    EXPECT_FALSE(entry.text.empty()) << entry.id;
    EXPECT_TRUE(code_from_name(entry.code).has_value()) << entry.id;
    EXPECT_TRUE(render_error(catalogue, entry.id, Style::plain()).has_value());
  }
}

TEST(Help, an_unknown_id_names_the_nearest) {
  const auto catalogue = error_catalogue();
  EXPECT_TRUE(render_error(catalogue, "s1002", Style::plain())->starts_with("S1002  no such service"));
  EXPECT_NE(render_error(catalogue, "S102", Style::plain()).error().message().find("The nearest is S1"),
            std::string_view::npos);
}

TEST(Help, text_is_wrapped_at_words) {
  EXPECT_EQ(wrapped("one two three", "  ", 9), "  one two\n  three\n");
  EXPECT_EQ(wrapped("averylongword b", "", 4), "averylongword\nb\n");
  EXPECT_EQ(wrapped("", "  ", 10), "");
}

TEST(Terminal, ages_have_two_units) {
  EXPECT_EQ(format_age(5), "5s");
  EXPECT_EQ(format_age(65), "1m 5s");
  EXPECT_EQ(format_age(90000), "1d 1h");
  EXPECT_EQ(format_age(-3), "0s");
}

TEST(Terminal, tables_align_by_characters_not_bytes) {
  Table table({{"A", Align::left}, {"B", Align::right}});
  table.add({{"héé"}, {"1"}});
  table.add({{"x"}, {"22"}});
  EXPECT_EQ(table.render(Style::plain()), "A     B\nhéé   1\nx    22\n");
}

}  // namespace
}  // namespace shunt::cli
