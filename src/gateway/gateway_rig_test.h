#pragma once
// What the gateway's tests stand on: a gateway on real loopback sockets, a router, and a service of coroutines behind it.
// One thread: the client's side is pumped with the loop. Only for tests.

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
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "call/server_call.h"
#include "gateway/gateway.h"
#include "link/local/local_link.h"
#include "loop/scope.h"
#include "net/http1/http1_client.h"

namespace shunt::gateway {

using call::CommandDefinition;
using call::Effect;
using call::Message;
using call::ServerCall;
using call::StreamShape;
using loop::Task;
using shunt::Code;

inline Message text(std::string_view text) { return Message(Bytes::copy_of(text)); }

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

inline Task<Status> echo(Seen* seen, ServerCall* call) {
  seen->metadata = call->metadata();
  seen->principal = call->principal();
  seen->deadline = call->deadline();
  auto message = co_await call->receive();
  if (!message) co_return Status(Code::invalid_argument, "no message");
  co_await call->send(std::move(*message));
  co_return Status();
}

inline Task<Status> count(Seen* seen, ServerCall* call) {
  auto request = co_await call->receive();
  const int to = std::stoi(std::string(request->bytes().view()));
  for (int i = 0; i < to; ++i) {
    if (!co_await call->send(text("{\"n\":\n" + std::to_string(i) + "}"))) break;
    ++seen->sent;
  }
  if (to == 3) co_return Status(Code::aborted, "S1012", "three is enough");
  co_return Status();
}

inline Task<Status> flood(Seen* seen, ServerCall* call) {
  (void)co_await call->receive();
  const std::string block(16 << 10, 'x');
  while (co_await call->send(text(block))) ++seen->sent;
  seen->cancelled.emplace_back("flood");
  co_return Status();
}

inline Task<Status> hang(Seen* seen, ServerCall* call) {
  (void)co_await call->receive();
  ++seen->running;
  const call::Cancel reason = co_await call->wait_cancelled();
  --seen->running;
  seen->cancelled.emplace_back(call::cancel_name(reason));
  co_return Status();
}

inline Task<Status> fail_with(Seen*, ServerCall* call) {
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

inline Task<Status> sum(Seen* seen, ServerCall* call) {
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

inline Task<Status> chat(Seen* seen, ServerCall* call) {
  while (auto message = co_await call->receive()) {
    seen->lines.emplace_back(message->bytes().view());
    co_await call->send(text("{\"heard\":" + std::string(message->bytes().view()) + "}"));
  }
  co_return Status();
}

inline Task<Status> picture(Seen*, ServerCall* call) {
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

inline Task<Status> twice(Seen*, ServerCall* call) {
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
    ASSERT_GE(fd, 0) << std::strerror(errno);
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
    if (fd < 0) throw std::runtime_error(std::strerror(errno));
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

}  // namespace shunt::gateway
