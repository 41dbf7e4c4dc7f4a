// The gateway over real loopback sockets, with commands of a coroutine service behind a router. One thread: the client's
// side is pumped with the loop.
#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "call/server_call.h"
#include "link/local/local_link.h"
#include "loop/scope.h"
#include "net/http1_client.h"

namespace shunt::gateway {
namespace {

using call::CommandDefinition;
using call::Effect;
using call::Message;
using call::ServerCall;
using call::StreamShape;
using loop::Task;
using shunt::Code;

Message text(std::string_view text) { return Message(Bytes::copy_of(text)); }

class LocalInstance final : public call::Instance {
 public:
  LocalInstance(loop::Loop& loop, call::Service& service) : link_(link::LocalLink::create(loop, service)) {}
  call::Link* link(std::size_t) override { return link_.get(); }
  call::Distance distance() const override { return call::Distance::local; }
  std::string name() const override { return "fake/0"; }

 private:
  Own<call::Link> link_;
};

struct Answer {
  int status = 0;
  std::string head;  // whole, for what is rarely looked at
  std::string body;
  bool closed = false;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string header(std::string_view lower) const {
    for (const auto& [name, value] : headers) {
      if (net::iequals(name, lower)) return value;
    }
    return "";
  }
};

// What the commands saw, for tests that look behind the curtain.
struct Seen {
  std::vector<std::string> cancelled;
  std::vector<std::string> lines;
  std::size_t sent = 0;
  int running = 0;
  call::Metadata metadata;
  call::Principal principal;
  Deadline deadline;
};

Task<Status> echo(Seen* seen, ServerCall* call) {
  seen->metadata = call->metadata();
  seen->principal = call->principal();
  seen->deadline = call->deadline();
  auto message = co_await call->receive();
  if (!message) co_return Status(Code::invalid_argument, "no message");
  co_await call->send(std::move(*message));
  co_return Status();
}

Task<Status> count(Seen* seen, ServerCall* call) {
  auto request = co_await call->receive();
  const int to = std::stoi(std::string(request->bytes().view()));
  for (int i = 0; i < to; ++i) {
    if (!co_await call->send(text("{\"n\":\n" + std::to_string(i) + "}"))) break;
    ++seen->sent;
  }
  if (to == 3) co_return Status(Code::aborted, "S1012", "three is enough");
  co_return Status();
}

Task<Status> flood(Seen* seen, ServerCall* call) {
  (void)co_await call->receive();
  const std::string block(16 << 10, 'x');
  while (co_await call->send(text(block))) ++seen->sent;
  seen->cancelled.emplace_back("flood");
  co_return Status();
}

Task<Status> hang(Seen* seen, ServerCall* call) {
  (void)co_await call->receive();
  ++seen->running;
  const call::Cancel reason = co_await call->wait_cancelled();
  --seen->running;
  seen->cancelled.emplace_back(call::cancel_name(reason));
  co_return Status();
}

Task<Status> fail_with(Seen*, ServerCall* call) {
  auto request = co_await call->receive();
  const auto code = code_from_name(request->bytes().view());
  call::Metadata trailers;
  (void)trailers.add("why", "it is a test");
  call->finish(Status(code.value_or(Code::unknown), "S1012", "as \"asked\"")
                   .with_details(R"([{"type":"t","value":"v"}])")
                   .with_retry(Retry::later),
               std::move(trailers));
  co_return Status();
}

Task<Status> sum(Seen* seen, ServerCall* call) {
  std::size_t bytes = 0;
  while (auto message = co_await call->receive()) {
    bytes += message->bytes().size();
    seen->lines.emplace_back(message->bytes().view().substr(0, 20));
  }
  if (call->cancelled()) {
    seen->cancelled.emplace_back("sum");
    co_return Status();
  }
  co_await call->send(text(std::to_string(bytes)));
  co_return Status();
}

Task<Status> chat(Seen* seen, ServerCall* call) {
  while (auto message = co_await call->receive()) {
    seen->lines.emplace_back(message->bytes().view());
    co_await call->send(text("{\"heard\":" + std::string(message->bytes().view()) + "}"));
  }
  co_return Status();
}

Task<Status> picture(Seen*, ServerCall* call) {
  (void)co_await call->receive();
  call::Metadata metadata;
  (void)metadata.add("content-type", "image/png");
  (void)metadata.add("x-colour", "blue");
  (void)metadata.add("seal-bin", std::string("\0\xff", 2));
  metadata.add_unchecked("evil", "a\r\nSet-Cookie: b");
  metadata.add_unchecked("content-length", "7");
  call->send_metadata(std::move(metadata));
  co_await call->send(text("\x89PNG"));
  co_return Status();
}

Task<Status> twice(Seen*, ServerCall* call) {
  co_await call->send(text("1"));
  co_await call->send(text("2"));
  co_return Status();
}

class GatewayTest : public testing::Test {
 protected:
  using Handler = Task<Status> (*)(Seen*, ServerCall*);

  GatewayTest() {
    router_.emplace(*loop_, 0, random_);
    service_.emplace(*loop_);
    define("echo", echo, Effect::none);
    define("change", echo);
    define("count", count, Effect::none, StreamShape::server);
    define("flood", flood, Effect::any, StreamShape::server);
    define("ticks", flood, Effect::none, StreamShape::server);
    define("hang", hang);
    define("fail", fail_with);
    define("sum", sum, Effect::any, StreamShape::client);
    define("chat", chat, Effect::any, StreamShape::both);
    define("picture", picture, Effect::none);
    define("twice", twice);
    definition_.commands.at("echo").description = "Says <it> again.";
    definition_.commands.at("echo").request_schema = R"({"type":"object","properties":{
      "n":{"type":"integer"},"x":{"anyOf":[{"type":"number"},{"type":"null"}]},"b":{"type":"boolean"},
      "s":{"type":"string"},"l":{"type":"array","items":{"$ref":"#/$defs/id"}},"o":{"type":"object"}},
      "$defs":{"id":{"type":"integer"}}})";
  }

  ~GatewayTest() override {
    scope_.cancel();
    for (const int fd : clients_) ::close(fd);
    gateway_.reset();
    router_->install(std::make_shared<call::Routing>());
    loop_->turn(Duration(0));
  }

  void define(const std::string& name, Handler handler, Effect effect = Effect::any,
              StreamShape stream = StreamShape::unary) {
    CommandDefinition& command = definition_.commands[name];
    command.name = name;
    command.effect = effect;
    command.stream = stream;
    Seen* seen = &seen_;
    service_->add(name, [seen, handler](ServerCall& call) { return handler(seen, &call); });
  }

  void install() {
    auto routing = std::make_shared<call::Routing>();
    routing->expose_all = expose_all_;
    instance_ = std::make_shared<LocalInstance>(*loop_, *service_);
    for (const auto& [name, exposed] : {std::pair{"shop.prices", exposed_}, std::pair{"shop.secret", false}}) {
      auto definition = std::make_shared<call::ServiceDefinition>(definition_);
      definition->app = "shop";
      definition->full_name = name;
      definition->name = definition->full_name.substr(5);
      definition->exposed = exposed;
      auto route = std::make_shared<call::Route>();
      route->definition = std::move(definition);
      route->instances = {instance_};
      route->stats = std::make_shared<call::ServiceStats>();
      routing->routes[name] = std::move(route);
    }
    router_->install(std::move(routing));
  }

  // Listens on a port of the system's choice.
  void start(ListenerPolicy policy = {.dev = true, .loopback = true}, GatewayLimits limits = {},
             GatewayHooks hooks = {}) {
    expose_all_ = expose_all_ || policy.dev;
    install();
    gateway_.emplace(*loop_, *router_, stats_, 0, limits, std::move(hooks));
    listen(std::move(policy));
  }

  void listen(ListenerPolicy policy) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(fd, 128), 0);
    socklen_t size = sizeof address_;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address_), &size);
    ASSERT_TRUE(gateway_->listen(fd, std::move(policy)));
  }

  int connect() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0) << std::strerror(errno);
    clients_.push_back(fd);
    return fd;
  }

  void close(int fd) {
    std::erase(clients_, fd);
    ::close(fd);
  }

  void turn() { loop_->turn(std::chrono::milliseconds(1)); }

  template <typename Condition>
  void turn_until(Condition condition) {
    while (!condition()) turn();
  }

  static void write(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(count, 0);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  // Reads what is there; false when the gateway has closed.
  static bool read(int fd, std::string& into) {
    char buffer[65536];
    for (;;) {
      const ssize_t count = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (count > 0) {
        into.append(buffer, static_cast<std::size_t>(count));
        continue;
      }
      return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
  }

  // The next answer on the connection. What follows it stays for the next call.
  Answer answer(int fd, std::string_view method = "GET") {
    net::ResponseParser parser;
    parser.expect(method);
    Answer answer;
    std::string& left = left_[fd];
    for (;;) {
      const std::string input = std::exchange(left, {});
      // Byte by byte, so that nothing of the answer after this one is taken.
      for (std::size_t i = 0; i < input.size(); ++i) {
        parser.feed(input.substr(i, 1));
        if (take(parser, answer)) {
          left = input.substr(i + 1);
          return answer;
        }
      }
      const bool open = read(fd, left);
      if (!left.empty()) continue;
      if (!open) {
        parser.feed_end();
        answer.closed = true;
        if (!take(parser, answer)) answer.status = -1;
        return answer;
      }
      turn();
    }
  }

  static bool take(net::ResponseParser& parser, Answer& answer) {
    for (;;) {
      switch (parser.next()) {
        case net::ResponseParser::Event::need_more:
          return false;
        case net::ResponseParser::Event::error:
          answer.status = -1;
          return true;
        case net::ResponseParser::Event::body:
          answer.body += parser.body();
          break;
        case net::ResponseParser::Event::head:
          answer.status = parser.head().status;
          for (const net::Header& header : parser.head().headers) {
            answer.headers.emplace_back(header.name, header.value);
          }
          break;
        case net::ResponseParser::Event::end:
          return true;
      }
    }
  }

  Answer ask(int fd, std::string_view request) {
    write(fd, request);
    return answer(fd, request.substr(0, request.find(' ')));
  }
  Answer ask(std::string_view request) { return ask(connect(), request); }

  static std::string post(std::string_view path, std::string_view body, std::string_view headers = "",
                          std::string_view type = "application/json") {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + std::string(type) +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(headers) + "\r\n" +
           std::string(body);
  }
  static std::string get(std::string_view path, std::string_view headers = "") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(headers) + "\r\n";
  }
  static std::string chunk(std::string_view data) {
    std::string out;
    net::append_chunk(out, data);
    return out;
  }

  bool is_closed(int fd) {
    std::string rest;
    while (read(fd, rest)) turn();
    return rest.empty();
  }

  SeededRandom random_{1};
  Own<loop::EpollLoop> loop_ = std::move(*loop::EpollLoop::create({.name = "test", .slow_turn = Duration(0)}));
  std::optional<call::Router> router_;
  std::optional<call::TaskService> service_;
  call::ServiceDefinition definition_;
  bool exposed_ = true;
  bool expose_all_ = false;
  std::shared_ptr<LocalInstance> instance_;
  GatewayStats stats_{1};
  Seen seen_;
  std::optional<Gateway> gateway_;
  sockaddr_in address_{};
  std::vector<int> clients_;
  std::map<int, std::string> left_;
  loop::Scope scope_{*loop_};
};

// --- Calls ---

TEST_F(GatewayTest, a_post_is_a_call) {
  start();
  const Answer answer = ask(post("/shop.prices/echo", R"({"sku":"abc"})"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"sku":"abc"})");
  EXPECT_EQ(answer.header("content-type"), "application/json");
  EXPECT_EQ(answer.header("date").size(), 29u);
  EXPECT_EQ(seen_.principal.kind, call::PrincipalKind::gateway);
  EXPECT_TRUE(seen_.metadata.empty());
}

TEST_F(GatewayTest, a_short_name_is_enough_where_it_is_unique) {
  start();
  EXPECT_EQ(ask(post("/prices/echo", "{}")).status, 200);
}

TEST_F(GatewayTest, a_post_without_a_body_is_an_empty_object) {
  start();
  EXPECT_EQ(ask("POST /prices/echo HTTP/1.1\r\nHost: localhost\r\n\r\n").body, "{}");
  EXPECT_EQ(ask(post("/prices/echo", "")).body, "{}");
}

TEST_F(GatewayTest, bytes_pass_as_they_are) {
  start();
  const std::string bytes("\0\n\xff", 3);
  EXPECT_EQ(ask(post("/prices/echo", bytes, "", "application/octet-stream")).body, bytes);
}

TEST_F(GatewayTest, connections_stay_and_requests_may_be_pipelined) {
  start();
  const int fd = connect();
  std::string all;
  for (int i = 0; i < 100; ++i) all += post("/prices/echo", std::to_string(i));
  write(fd, all);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(answer(fd).body, std::to_string(i));
  EXPECT_EQ(ask(fd, post("/prices/echo", "last")).body, "last");
  EXPECT_EQ(stats_.shard(0).connections_accepted, 1u);
}

TEST_F(GatewayTest, pipelined_requests_wait_for_a_call_that_takes_its_time) {
  start();
  const int fd = connect();
  write(fd, post("/prices/hang", "{}", "Connect-Timeout-Ms: 20\r\n") + post("/prices/echo", "second"));
  EXPECT_EQ(answer(fd).status, 504);
  EXPECT_EQ(answer(fd).body, "second");
}

TEST_F(GatewayTest, a_request_torn_at_every_byte_is_the_same_request) {
  start();
  const int fd = connect();
  for (const char c : post("/prices/echo", R"({"a":1})", "X-Tag: t\r\n")) {
    write(fd, std::string(1, c));
    turn();
  }
  const Answer one = answer(fd);
  EXPECT_EQ(one.body, R"({"a":1})");
  EXPECT_EQ(seen_.metadata.find("x-tag"), "t");
}

TEST_F(GatewayTest, chunked_bodies_are_put_together) {
  start();
  EXPECT_EQ(ask("POST /prices/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Transfer-Encoding: chunked\r\n\r\n" +
                chunk("{\"a\":") + chunk("1}") + "0\r\n\r\n")
                .body,
            R"({"a":1})");
}

TEST_F(GatewayTest, a_body_of_megabytes_goes_there_and_back) {
  start();
  const std::string body(3 << 20, 'z');
  const int fd = connect();
  const std::string request = post("/prices/echo", body);
  for (std::size_t at = 0; at < request.size(); at += 32768) {
    write(fd, std::string_view(request).substr(at, 32768));
    turn();
    if (at == 0) install();  // the routing changes while the body comes
  }
  EXPECT_EQ(answer(fd).body, body);
}

TEST_F(GatewayTest, expect_100_continue_is_answered_before_the_body_comes) {
  start();
  const int fd = connect();
  write(fd,
        "POST /prices/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        "Expect: 100-continue\r\n\r\n");
  std::string seen;
  while (seen.empty()) {
    read(fd, seen);
    turn();
  }
  EXPECT_EQ(seen, "HTTP/1.1 100 Continue\r\n\r\n");
  write(fd, "{}");
  EXPECT_EQ(answer(fd).body, "{}");
}

TEST_F(GatewayTest, a_refused_request_is_not_told_to_continue) {
  start();
  const Answer answer =
      ask("POST /nobody/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
          "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.header("connection"), "close");
}

TEST_F(GatewayTest, http_1_0_closes_unless_asked_to_stay) {
  start();
  EXPECT_EQ(ask("GET /livez HTTP/1.0\r\n\r\n").header("connection"), "close");
  const int fd = connect();
  EXPECT_EQ(ask(fd, "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").header("connection"), "keep-alive");
}

TEST_F(GatewayTest, the_deadline_travels) {
  start();
  const Instant before = loop_->refresh_now();
  ask(post("/prices/echo", "{}", "Connect-Timeout-Ms: 5000\r\n"));
  EXPECT_GE(seen_.deadline.at(), before + std::chrono::seconds(5));
  EXPECT_LT(seen_.deadline.at(), before + std::chrono::seconds(50));
  const Answer late = ask(post("/prices/hang", "{}", "Connect-Timeout-Ms: 10\r\n"));
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(late.header("shunt-error"), "S1004");
  for (const std::string_view bad : {"12345678901", "-1", "1s", ""}) {
    const Answer wrong = ask(post("/prices/echo", "{}", "Connect-Timeout-Ms: " + std::string(bad) + "\r\n"));
    EXPECT_EQ(wrong.status, bad.empty() ? 200 : 400) << bad;
  }
  EXPECT_EQ(ask(post("/prices/echo", "{}", "Connect-Protocol-Version: 1\r\n")).status, 200);
  EXPECT_EQ(ask(post("/prices/echo", "{}", "Connect-Protocol-Version: 2\r\n")).status, 400);
}

TEST_F(GatewayTest, every_code_has_its_status_and_connects_error_body) {
  start();
  const std::pair<std::string_view, int> codes[] = {{"cancelled", 499},
                                                    {"unknown", 500},
                                                    {"invalid_argument", 400},
                                                    {"deadline_exceeded", 504},
                                                    {"not_found", 404},
                                                    {"already_exists", 409},
                                                    {"permission_denied", 403},
                                                    {"resource_exhausted", 429},
                                                    {"failed_precondition", 400},
                                                    {"aborted", 409},
                                                    {"out_of_range", 400},
                                                    {"unimplemented", 501},
                                                    {"internal", 500},
                                                    {"unavailable", 503},
                                                    {"data_loss", 500},
                                                    {"unauthenticated", 401}};
  const int fd = connect();
  for (const auto& [code, status] : codes) {
    const Answer answer = ask(fd, post("/prices/fail", code));
    EXPECT_EQ(answer.status, status) << code;
    const std::string name = code == "cancelled" ? "canceled" : std::string(code);
    EXPECT_EQ(answer.body, R"({"code":")" + name +
                               R"(","message":"as \"asked\"","id":"S1012","details":[{"type":"t","value":"v"}]})");
    EXPECT_EQ(answer.header("trailer-why"), "it is a test");
    EXPECT_EQ(answer.header("retry-after"), status == 429 || status == 503 ? "1" : "") << code;
  }
}

TEST_F(GatewayTest, metadata_travels_both_ways_and_cannot_break_the_head) {
  start();
  ask(post("/prices/echo", "{}",
           "X-Tag: Value\r\ntraceparent: 00-a-b-01\r\nUser-Agent: curl\r\nCookie: c\r\nAuthorization: Bearer t\r\n"
           "key-bin: AP8\r\nIf-Match: x\r\nAccept-Language: en\r\n"));
  EXPECT_EQ(seen_.metadata.size(), 3u);
  EXPECT_EQ(seen_.metadata.find("x-tag"), "Value");
  EXPECT_EQ(seen_.metadata.find("traceparent"), "00-a-b-01");
  EXPECT_EQ(seen_.metadata.find("key-bin"), std::string_view("\0\xff", 2));
  EXPECT_EQ(ask(post("/prices/echo", "{}", "X-Tag: caf\xc3\xa9\r\n")).status, 400);
  EXPECT_EQ(ask(post("/prices/echo", "{}", "X'Tag: a\r\n")).status, 400);

  const Answer picture = ask(get("/prices/picture"));
  EXPECT_EQ(picture.header("content-type"), "image/png");
  EXPECT_EQ(picture.header("content-length"), "4");
  EXPECT_EQ(picture.header("x-colour"), "blue");
  EXPECT_EQ(picture.header("seal-bin"), "AP8");
  EXPECT_EQ(picture.header("evil"), "");
  EXPECT_EQ(picture.header("set-cookie"), "");
  EXPECT_EQ(picture.body, "\x89PNG");
}

TEST_F(GatewayTest, a_unary_answer_is_one_message) {
  start();
  const Answer answer = ask(post("/prices/twice", "{}"));
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.header("shunt-error"), "S1014");
}

// --- Paths and methods ---

TEST_F(GatewayTest, what_does_not_exist_is_told_with_what_does) {
  start();
  const Answer service = ask(post("/prizes/echo", "{}"));
  EXPECT_EQ(service.status, 404);
  EXPECT_NE(service.body.find("S1002"), std::string::npos);
  EXPECT_NE(service.body.find("the nearest name is 'prices'"), std::string::npos) << service.body;
  const Answer command = ask(post("/prices/ecko", "{}"));
  EXPECT_EQ(command.status, 404);
  EXPECT_NE(command.body.find("\"code\":\"unimplemented\""), std::string::npos);
  EXPECT_NE(command.body.find("S1005"), std::string::npos);
  EXPECT_EQ(ask(get("/prices/ecko")).status, 404);
  for (const std::string_view path : {"/prices", "/prices/", "/a/b/c", "//", "/prices/%65cho", "*"}) {
    const Answer answer = ask(get(path));
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_EQ(answer.header("shunt-error"), "S4011") << path;
  }
}

TEST_F(GatewayTest, get_is_for_commands_without_an_effect) {
  start();
  EXPECT_EQ(ask(get("/prices/echo")).body, "{}");
  const Answer refused = ask(get("/prices/change"));
  EXPECT_EQ(refused.status, 405);
  EXPECT_EQ(refused.header("allow"), "POST, OPTIONS");
  EXPECT_EQ(ask("DELETE /prices/echo HTTP/1.1\r\nHost: localhost\r\n\r\n").header("allow"), "GET, HEAD, POST, OPTIONS");
  const Answer head = ask("HEAD /prices/echo?s=abc HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(head.header("content-length"), "11");
  EXPECT_EQ(head.body, "");
  const Answer options = ask("OPTIONS /prices/change HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.header("allow"), "POST, OPTIONS");
  EXPECT_EQ(ask("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);
  EXPECT_EQ(ask(post("/livez", "{}")).status, 405);
}

TEST_F(GatewayTest, query_parameters_have_the_types_of_the_schema) {
  start();
  EXPECT_EQ(ask(get("/prices/echo?n=5&x=-1.5e3&b=true&s=5&l=1&l=2&o=%7B%22a%22%3A1%7D&free=5&free2=a+b%26")).body,
            R"({"n":5,"x":-1.5e3,"b":true,"s":"5","l":[1,2],"o":{"a":1},"free":"5","free2":"a b&"})");
  EXPECT_EQ(ask(get("/prices/echo?x=null&l=3&free=1&free=2")).body, R"({"x":null,"l":[3],"free":["1","2"]})");
  EXPECT_EQ(ask(get("/prices/echo?l=[1,2]&s=%22")).body, R"({"l":[1,2],"s":"\""})");
  for (const std::string_view bad : {"n=5.5", "n=05", "n=five", "b=yes", "o=1", "n=1&n=2", "s=%zz", "s=%ff", "l=a"}) {
    const Answer answer = ask(get("/prices/echo?" + std::string(bad)));
    EXPECT_EQ(answer.status, 400) << bad;
    EXPECT_EQ(answer.header("shunt-error"), "S4013") << bad;
  }
}

TEST_F(GatewayTest, connects_get_carries_a_message) {
  start();
  EXPECT_EQ(ask(get("/prices/echo?connect=v1&encoding=json&message=%7B%22a%22%3A1%7D")).body, R"({"a":1})");
  EXPECT_EQ(ask(get("/prices/echo?message=eyJhIjoxfQ&base64=1&encoding=json&connect=v1")).body, R"({"a":1})");
  EXPECT_EQ(ask(get("/prices/echo?connect=v1&encoding=proto&message=a")).status, 415);
  EXPECT_EQ(ask(get("/prices/echo?connect=v1&encoding=json")).status, 400);
}

// --- Streams ---

TEST_F(GatewayTest, an_answer_that_streams_is_ndjson) {
  start();
  const int fd = connect();
  const Answer answer = ask(fd, post("/prices/count", "2"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "application/x-ndjson");
  EXPECT_EQ(answer.header("transfer-encoding"), "chunked");
  EXPECT_EQ(answer.body, "{\"n\": 0}\n{\"n\": 1}\n");
  EXPECT_EQ(ask(fd, post("/prices/count", "0")).body, "");
}

TEST_F(GatewayTest, a_stream_that_fails_says_so_at_its_end) {
  start();
  const int fd = connect();
  EXPECT_EQ(ask(fd, post("/prices/count", "3")).body,
            "{\"n\": 0}\n{\"n\": 1}\n{\"n\": 2}\n"
            R"({"$error":{"code":"aborted","message":"three is enough","id":"S1012"}})"
            "\n");
  EXPECT_EQ(ask(fd, post("/prices/count", "3", "Accept: text/event-stream\r\n")).body,
            "data: {\"n\":\ndata: 0}\n\ndata: {\"n\":\ndata: 1}\n\ndata: {\"n\":\ndata: 2}\n\n"
            "event: error\n"
            R"(data: {"code":"aborted","message":"three is enough","id":"S1012"})"
            "\n\n");
}

TEST_F(GatewayTest, a_stream_is_server_sent_events_when_asked) {
  start();
  const Answer answer = ask(post("/prices/count", "1", "Accept: text/html, Text/Event-Stream;q=0.9\r\n"));
  EXPECT_EQ(answer.header("content-type"), "text/event-stream");
  EXPECT_EQ(answer.body, "data: {\"n\":\ndata: 0}\n\nevent: end\ndata: {}\n\n");
}

TEST_F(GatewayTest, a_stream_to_http_1_0_ends_with_the_connection) {
  start();
  const Answer answer =
      ask("POST /prices/count HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n2");
  EXPECT_EQ(answer.body, "{\"n\": 0}\n{\"n\": 1}\n");
  EXPECT_TRUE(answer.closed);
}

TEST_F(GatewayTest, an_error_before_the_first_message_is_an_ordinary_one) {
  start();
  EXPECT_EQ(ask(post("/prices/count", "{}", "Content-Encoding: gzip\r\n")).status, 415);
  EXPECT_EQ(ask(post("/prices/count", "2", "Connect-Timeout-Ms: 0\r\n")).status, 504);
}

TEST_F(GatewayTest, a_slow_reader_holds_the_callee_not_the_memory) {
  start();
  const int fd = connect();
  write(fd, post("/prices/flood", "{}"));
  turn_until([&] { return seen_.sent > 0; });
  std::size_t before = 0;
  for (int still = 0; still < 50; still = seen_.sent == before ? still + 1 : 0) {
    before = seen_.sent;
    turn();
  }
  // 256 KiB unsent, 256 KiB of credit, and what the kernel's buffers took (a few MiB).
  EXPECT_LT(seen_.sent * (16 << 10), std::size_t{16} << 20);
  std::string some;
  read(fd, some);
  turn_until([&] { return seen_.sent > before; });
  close(fd);
  turn_until([&] { return !seen_.cancelled.empty(); });
}

TEST_F(GatewayTest, a_body_that_streams_is_read_line_by_line) {
  start();
  const int fd = connect();
  write(fd,
        "POST /prices/sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
  write(fd, chunk("{\"a\":1}\n{\"b\""));
  turn_until([&] { return seen_.lines.size() == 1; });
  EXPECT_EQ(seen_.lines[0], "{\"a\":1}");
  write(fd, chunk(":2}\r\n\n  \n") + chunk("3") + "0\r\n\r\n");
  EXPECT_EQ(answer(fd).body, "15");
  EXPECT_EQ(seen_.lines, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}", "3"}));
  // One message alone is a stream of one.
  EXPECT_EQ(ask(fd, post("/prices/sum", "{\n}")).body, "3");
}

TEST_F(GatewayTest, both_directions_stream_at_once) {
  start();
  const int fd = connect();
  write(fd,
        "POST /prices/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
  std::string seen;
  for (int i = 0; i < 3; ++i) {
    write(fd, chunk(std::to_string(i) + "\n"));
    const std::string wanted = "{\"heard\":" + std::to_string(i) + "}";
    while (seen.find(wanted) == std::string::npos) {
      ASSERT_TRUE(read(fd, seen));
      turn();
    }
  }
  write(fd, "0\r\n\r\n" + post("/prices/echo", "next"));
  while (seen.find("next") == std::string::npos) {
    ASSERT_TRUE(read(fd, seen));
    turn();
  }
}

TEST_F(GatewayTest, megabytes_of_lines_respect_the_callees_credit) {
  start();
  const int fd = connect();
  const std::string line(100'000, 'y');
  std::string request =
      "POST /prices/sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: " +
      std::to_string((line.size() + 1) * 200) + "\r\n\r\n";
  for (int i = 0; i < 200; ++i) request += line + "\n";
  std::string_view left = request;  // 20 MB: more than a body may have, but no line is
  while (!left.empty()) {
    const ssize_t count =
        ::send(fd, left.data(), std::min<std::size_t>(left.size(), 65536), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) left.remove_prefix(static_cast<std::size_t>(count));
    turn();
  }
  EXPECT_EQ(answer(fd).body, "20000000");
}

TEST_F(GatewayTest, a_line_that_is_too_long_ends_the_call) {
  GatewayLimits limits;
  limits.body_bytes_max = 1000;
  start({.dev = true, .loopback = true}, limits);
  const int fd = connect();
  write(fd,
        "POST /prices/sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        "Transfer-Encoding: chunked\r\n\r\n" +
            chunk(std::string(1001, 'x')));
  EXPECT_EQ(answer(fd).status, 413);
  turn_until([&] { return !seen_.cancelled.empty(); });
  EXPECT_TRUE(is_closed(fd));
}

// --- Clients that go, and limits ---

TEST_F(GatewayTest, a_client_that_vanishes_cancels_its_call) {
  start();
  const int fd = connect();
  write(fd, post("/prices/hang", "{}"));
  turn_until([&] { return seen_.running == 1; });
  close(fd);
  turn_until([&] { return seen_.running == 0; });
  EXPECT_EQ(seen_.cancelled, std::vector<std::string>{std::string(call::cancel_name(call::Cancel::caller))});
  EXPECT_EQ(stats_.shard(0).clients_gone, 1u);
  turn_until([&] { return gateway_->connections() == 0; });
  EXPECT_EQ(stats_.connections_open(), 0u);
}

TEST_F(GatewayTest, an_upload_whose_client_vanishes_is_cancelled) {
  start();
  const int fd = connect();
  write(fd,
        "POST /prices/sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        "Transfer-Encoding: chunked\r\n\r\n" +
            chunk("1\n"));
  turn_until([&] { return seen_.lines.size() == 1; });
  close(fd);
  turn_until([&] { return !seen_.cancelled.empty(); });
}

TEST_F(GatewayTest, a_client_that_closes_its_half_still_gets_what_was_answered) {
  start();
  const int fd = connect();
  write(fd, get("/livez"));
  ::shutdown(fd, SHUT_WR);
  EXPECT_EQ(answer(fd).body, "ok\n");
}

TEST_F(GatewayTest, each_limit_has_its_status) {
  GatewayLimits limits;
  limits.line_bytes_max = 1000;
  limits.header_bytes_max = 2000;
  limits.metadata_bytes_max = 500;
  limits.body_bytes_max = 3000;
  start({.dev = true, .loopback = true}, limits);
  const auto refused = [&](const std::string& request, int status, std::string_view id) {
    const int fd = connect();
    const Answer answer = ask(fd, request);
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_EQ(answer.header("shunt-error"), id);
    EXPECT_EQ(answer.header("content-type"), "application/json");
    return fd;
  };
  EXPECT_TRUE(is_closed(refused(get("/" + std::string(1001, 'a')), 414, "S4002")));
  EXPECT_TRUE(is_closed(refused(get("/livez", "X: " + std::string(2001, 'a') + "\r\n"), 431, "S4002")));
  refused(post("/prices/echo", "{}", "X: " + std::string(600, 'a') + "\r\n"), 431, "S4002");
  EXPECT_TRUE(is_closed(refused(post("/prices/echo", std::string(3001, 'a')), 413, "S4003")));
  EXPECT_TRUE(is_closed(refused("GET / HTTP/3.0\r\n\r\n", 505, "S4001")));
  EXPECT_TRUE(is_closed(refused("nonsense\r\n\r\n", 400, "S4001")));
  EXPECT_TRUE(is_closed(refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "S4001")));
}

TEST_F(GatewayTest, bodies_that_come_slowly_have_a_limit_together) {
  GatewayLimits limits;
  limits.collected_bytes_max = 1500;
  start({.dev = true, .loopback = true}, limits);
  const std::string half = post("/prices/echo", std::string(2000, 'x')).substr(0, 1100);
  const int first = connect();
  write(first, half);
  turn();
  turn();
  const int second = connect();
  const Answer refused = ask(second, half);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("shunt-error"), "S4003");
  close(first);
  turn_until([&] { return gateway_->connections() < 2; });
  EXPECT_TRUE(is_closed(second));
}

TEST_F(GatewayTest, head_of_a_stream_ends_its_call) {
  start();
  const int fd = connect();
  const Answer head = ask(fd, "HEAD /prices/ticks HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(head.header("content-type"), "application/x-ndjson");
  turn_until([&] { return !seen_.cancelled.empty(); });
  EXPECT_EQ(ask(fd, get("/livez")).body, "ok\n");
}

TEST_F(GatewayTest, a_refused_large_upload_reads_its_answer) {
  start();
  const int fd = connect();
  write(fd,
        "POST /prices/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2000000\r\n\r\n");
  const std::string block(50'000, 'x');
  for (int i = 0; i < 40; ++i) {
    (void)::send(fd, block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    turn();
  }
  EXPECT_EQ(answer(fd).status, 415);
}

TEST_F(GatewayTest, who_does_not_send_is_timed_out) {
  GatewayLimits limits;
  limits.header_timeout = std::chrono::milliseconds(20);
  limits.body_timeout = std::chrono::milliseconds(20);
  limits.idle_timeout = std::chrono::milliseconds(20);
  start({.dev = true, .loopback = true}, limits);
  const int head = connect();
  EXPECT_EQ(ask(head, "GET / HTT").status, 408);
  EXPECT_TRUE(is_closed(head));
  const int body = connect();
  EXPECT_EQ(ask(body,
                "POST /prices/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 5\r\n\r\n1")
                .status,
            408);
  EXPECT_TRUE(is_closed(body));
  const int silent = connect();
  EXPECT_TRUE(is_closed(silent));
  const int idle = connect();
  EXPECT_EQ(ask(idle, get("/livez")).status, 200);
  EXPECT_TRUE(is_closed(idle));
}

TEST_F(GatewayTest, a_client_that_never_reads_is_let_go) {
  GatewayLimits limits;
  limits.write_timeout = std::chrono::milliseconds(20);
  start({.dev = true, .loopback = true}, limits);
  const int fd = connect();
  write(fd, post("/prices/flood", "{}"));
  turn_until([&] { return !seen_.cancelled.empty(); });
  turn_until([&] { return gateway_->connections() == 0; });
}

TEST_F(GatewayTest, too_many_connections_are_told_so) {
  GatewayLimits limits;
  limits.connections_max = 2;
  start({.dev = true, .loopback = true}, limits);
  const int first = connect();
  const int second = connect();
  EXPECT_EQ(ask(first, get("/livez")).status, 200);
  EXPECT_EQ(ask(second, get("/livez")).status, 200);
  const int third = connect();
  const Answer refused = answer(third);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("shunt-error"), "S4005");
  EXPECT_EQ(refused.header("retry-after"), "1");
  close(third);
  close(second);
  turn_until([&] { return gateway_->connections() == 1; });
  EXPECT_EQ(ask(get("/livez")).status, 200);
}

// --- Who may ---

TEST_F(GatewayTest, only_what_is_exposed_is_reachable_elsewhere) {
  expose_all_ = true;  // a dev listener stands beside the public one
  start({});
  EXPECT_EQ(ask(post("/shop.prices/echo", "{}")).status, 200);
  const Answer hidden = ask(post("/shop.secret/echo", "{}"));
  const Answer absent = ask(post("/shop.nobody/echo", "{}"));
  EXPECT_EQ(hidden.status, 404);
  EXPECT_EQ(absent.status, 404);
  EXPECT_NE(hidden.body.find("there is: shop.prices"), std::string::npos) << hidden.body;
  EXPECT_EQ(hidden.body.find("nobody"), std::string::npos);
  const std::string page = ask(get("/")).body;
  EXPECT_NE(page.find("shop.prices"), std::string::npos);
  EXPECT_EQ(page.find("shop.secret"), std::string::npos);
  EXPECT_EQ(ask(get("/metrics")).status, 404);
  // Off loopback pages of other origins are the service's own business.
  EXPECT_EQ(
      ask(post("/shop.prices/echo", "{}", "Origin: https://shop.example\r\nSec-Fetch-Site: same-site\r\n")).status,
      200);
}

TEST_F(GatewayTest, tokens_open_services_that_ask_for_one) {
  definition_.auth = call::Auth::token;
  start({});
  auto tokens = std::make_shared<TokenTable>();
  tokens->by_service["shop.prices"] = {{"ann", "secret-a"}, {"bob", "secret-b"}};
  tokens->by_service["shop.other"] = {{"eve", "secret-e"}};
  tokens->everywhere = {{"ops", "secret-o"}};
  gateway_->set_tokens(tokens);
  const Answer none = ask(post("/prices/echo", "{}"));
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.header("www-authenticate"), "Bearer realm=\"shunt\"");
  EXPECT_EQ(none.header("shunt-error"), "S4010");
  for (const std::string_view bad : {"Bearer secret-e", "Bearer ", "Bearer secret-", "Basic secret-a", "secret-a"}) {
    EXPECT_EQ(ask(post("/prices/echo", "{}", "Authorization: " + std::string(bad) + "\r\n")).status, 401) << bad;
  }
  EXPECT_EQ(ask(post("/prices/echo", "{}", "Authorization: Bearer secret-b\r\n")).status, 200);
  EXPECT_EQ(seen_.principal.user, "bob");
  EXPECT_EQ(ask(post("/prices/echo", "{}", "Authorization: bearer secret-o\r\n")).status, 200);
  EXPECT_EQ(seen_.principal.user, "ops");
}

TEST_F(GatewayTest, a_web_page_of_another_origin_reaches_nothing_on_loopback) {
  start();
  const auto status = [&](const std::string& request) { return ask(request).status; };
  const std::string body = post("/prices/echo", "{}");
  EXPECT_EQ(status(post("/prices/echo", "{}", "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n")), 200);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Sec-Fetch-Site: none\r\n")), 200);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Origin: http://evil.example\r\n")), 403);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Origin: null\r\n")), 403);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Origin: http://localhost:3000\r\n")), 403);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Origin: http://localhost\r\nOrigin: http://evil.example\r\n")), 403);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Sec-Fetch-Site: cross-site\r\n")), 403);
  EXPECT_EQ(status(post("/prices/echo", "{}", "Sec-Fetch-Site: same-site\r\n")), 403);
  EXPECT_EQ(status(get("/prices/echo", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n")), 403);
  const std::string link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
  EXPECT_EQ(status(get("/", link)), 200);
  EXPECT_EQ(status(get("/prices/echo", link)), 403);
  EXPECT_EQ(status(get("/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n")),
            403);
  // A form, or fetch() without a preflight, can send only these types.
  for (const std::string_view type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""}) {
    EXPECT_EQ(status(post("/prices/echo", "{}", "", type)), 415) << type;
  }
  for (const std::string_view host : {"evil.example", "localhost.evil.example", "192.168.1.1", "0.0.0.0", "[::2]"}) {
    EXPECT_EQ(status("GET /livez HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n"), 421) << host;
  }
  for (const std::string_view host : {"localhost:8080", "app.localhost", "127.0.0.1:1", "[::1]:8080", "LOCALHOST"}) {
    EXPECT_EQ(status("GET /livez HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n"), 200) << host;
  }
}

TEST_F(GatewayTest, the_admin_socket_is_the_operators) {
  definition_.auth = call::Auth::token;
  start({});
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(::fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
  clients_.push_back(pair[1]);
  ListenerPolicy policy;
  policy.operator_socket = true;
  gateway_->adopt(pair[0], policy);
  EXPECT_EQ(ask(pair[1],
                "POST /shop.secret/echo HTTP/1.1\r\nHost: admin\r\nContent-Type: application/json\r\n"
                "Content-Length: 2\r\n\r\n{}")
                .status,
            200);
  EXPECT_EQ(seen_.principal.kind, call::PrincipalKind::operator_);
}

// --- Pages ---

TEST_F(GatewayTest, the_page_lists_commands_and_escapes_them) {
  start();
  const Answer page = ask(get("/"));
  EXPECT_EQ(page.header("content-type"), "text/html; charset=utf-8");
  EXPECT_NE(page.header("content-security-policy").find("default-src 'none'"), std::string::npos);
  EXPECT_NE(page.body.find("Says &lt;it&gt; again."), std::string::npos);
  EXPECT_EQ(page.body.find("<it>"), std::string::npos);
  const Answer json = ask(get("/", "Accept: application/json\r\n"));
  EXPECT_EQ(json.header("content-type"), "application/json");
  EXPECT_NE(
      json.body.find(R"("name":"echo","description":"Says <it> again.","effect":"none","stream":"unary","request":{)"),
      std::string::npos)
      << json.body;
}

TEST_F(GatewayTest, health_and_metrics) {
  std::optional<std::string> unready;
  std::vector<std::string> log;
  GatewayHooks hooks;
  hooks.metrics = [] { return std::string("shunt_up 1\n"); };
  hooks.unready = [&] { return unready; };
  hooks.access_log = [&](const AccessRecord& record) {
    log.push_back(std::string(record.method) + " " + std::string(record.target) + " " + std::to_string(record.status));
  };
  start({.dev = true, .loopback = true}, {}, hooks);
  EXPECT_EQ(ask(get("/livez")).body, "ok\n");
  EXPECT_EQ(ask(get("/readyz")).status, 200);
  EXPECT_EQ(ask(get("/healthz")).status, 200);
  unready = "shop.cart is starting";
  EXPECT_EQ(ask(get("/readyz")).status, 503);
  EXPECT_EQ(ask(get("/readyz")).body, "shop.cart is starting\n");
  const std::string metrics = ask(get("/metrics")).body;
  EXPECT_TRUE(metrics.starts_with("shunt_up 1\n"));
  EXPECT_NE(metrics.find("shunt_http_answers_total{code=\"503\"} 2\n"), std::string::npos) << metrics;
  EXPECT_EQ(log[1], "GET /readyz 200");
}

// --- Drain ---

Task<void> drain_and_tell(Gateway* gateway, Deadline deadline, bool* done) {
  co_await gateway->drain(deadline);
  *done = true;
}

TEST_F(GatewayTest, a_drain_loses_no_request_that_was_accepted) {
  GatewayLimits limits;
  limits.drain_idle = std::chrono::milliseconds(50);
  start({.dev = true, .loopback = true}, limits);
  const int idle = connect();
  const int busy = connect();
  EXPECT_EQ(ask(idle, get("/livez")).status, 200);
  write(busy, post("/prices/hang", "{}", "Connect-Timeout-Ms: 200\r\n"));
  turn_until([&] { return seen_.running == 1; });
  const int queued = connect();  // in the kernel's queue, not accepted yet
  write(queued, post("/prices/echo", "queued"));

  bool done = false;
  scope_.spawn(drain_and_tell(&*gateway_, Deadline::never(), &done));
  const Answer late = ask(queued, "");
  EXPECT_EQ(late.body, "queued");
  EXPECT_EQ(late.header("connection"), "close");
  const Answer unready = ask(idle, get("/readyz"));
  EXPECT_EQ(unready.status, 503);
  EXPECT_EQ(unready.header("connection"), "close");
  EXPECT_FALSE(done);
  const Answer finished = answer(busy);
  EXPECT_EQ(finished.status, 504);
  EXPECT_EQ(finished.header("connection"), "close");
  for (const int fd : {idle, busy, queued}) EXPECT_TRUE(is_closed(fd));
  for (const int fd : {idle, busy, queued}) close(fd);
  turn_until([&] { return done; });
  const int refused = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_NE(::connect(refused, reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
  ::close(refused);
}

TEST_F(GatewayTest, at_the_drains_deadline_calls_are_cancelled_and_their_clients_told) {
  start();
  const int fd = connect();
  write(fd, post("/prices/hang", "{}"));
  turn_until([&] { return seen_.running == 1; });
  bool done = false;
  scope_.spawn(drain_and_tell(&*gateway_, Deadline::after(loop_->refresh_now(), std::chrono::milliseconds(20)), &done));
  const Answer told = answer(fd);
  EXPECT_EQ(told.status, 503);
  EXPECT_EQ(told.header("shunt-error"), "S1015");
  EXPECT_EQ(seen_.cancelled, std::vector<std::string>{std::string(call::cancel_name(call::Cancel::shutdown))});
  turn_until([&] { return done; });
}

}  // namespace
}  // namespace shunt::gateway
