// GrpcClient against our own gateway, on real sockets.
#include "remote/grpc_client.h"

#include "base/check.h"
#include "call/client_call.h"
#include "gateway/gateway_rig_test.h"
#include "os/fd.h"

namespace shunt::remote {
namespace {

using call::ClientCall;
using call::Opening;
using gateway::text;
using loop::Task;

class RemoteGrpc : public gateway::GatewayTest {
 protected:
  ~RemoteGrpc() override {
    scope_.cancel();
    link_.reset();
  }
  void dial(GrpcClientOptions options = {}) {
    options.address = {"127.0.0.1", ntohs(address_.sin_port)};
    link_ = GrpcClient::create(*loop_, random_, std::move(options));
  }
  Own<ClientCall> open(std::string_view command, Opening opening, Deadline deadline = Deadline::never(),
                       const call::Metadata* metadata = nullptr) {
    call::Open open;
    open.service = "shop.prices";
    open.command = command;
    open.deadline = deadline;
    open.metadata = metadata;
    return make_own<ClientCall>(*loop_, *link_, open, std::move(opening));
  }
  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    scope_.spawn(keep(std::move(task), &result));
    turn_until([&] { return result.has_value(); });
    return std::move(*result);
  }
  Status finish(ClientCall& call) { return run(call.finish()); }
  std::string receive(ClientCall& call) {
    auto message = run(call.receive());
    return message ? std::string(message->bytes().view()) : "(none)";
  }

  Own<GrpcClient> link_;

 private:
  template <typename T>
  static Task<void> keep(Task<T> task, std::optional<T>* result) {
    result->emplace(co_await std::move(task));
  }
};

TEST_F(RemoteGrpc, calls_go_out_and_answers_come_back) {
  start();
  dial();
  call::Metadata metadata;
  ASSERT_TRUE(metadata.add("x-colour", "blue"));
  ASSERT_TRUE(metadata.add("seal-bin", std::string("\0\xff", 2)));
  auto call =
      open("echo", Opening::unary(text("hello")), Deadline::after(loop_->now(), std::chrono::minutes(1)), &metadata);
  EXPECT_EQ(receive(*call), "hello");
  EXPECT_TRUE(finish(*call).is_ok());
  EXPECT_EQ(seen_.metadata, metadata);
  EXPECT_FALSE(seen_.deadline.is_never());
  auto picture = open("picture", Opening::unary(text("{}")));
  EXPECT_TRUE(finish(*picture).is_ok());
  EXPECT_EQ(picture->metadata().find("x-colour"), "blue");
  auto failed = open("fail", Opening::unary(text("not_found")));
  const Status status = finish(*failed);
  EXPECT_EQ(status.code(), Code::not_found);
  EXPECT_EQ(status.id(), "S1012");
  EXPECT_EQ(failed->trailers().find("why"), "it is a test");
  EXPECT_EQ(link_->stats().calls_opened, 3U);
  EXPECT_EQ(link_->stats().calls_open, 0U);
}

TEST_F(RemoteGrpc, streams_both_ways) {
  start();
  dial();
  auto chat = open("chat", Opening::empty());
  for (const std::string_view word : {"1", "2", "3"}) {
    EXPECT_TRUE(run(chat->send(text(word))));
    EXPECT_EQ(receive(*chat), "{\"heard\":" + std::string(word) + "}");
  }
  chat->half_close();
  EXPECT_TRUE(finish(*chat).is_ok());
}

Task<bool> send_many(ClientCall* call, int count, std::size_t size) {
  const std::string block(size, 'x');
  for (int i = 0; i < count; ++i) {
    if (!co_await call->send(text(block))) co_return false;
  }
  call->half_close();
  co_return true;
}

TEST_F(RemoteGrpc, a_sender_is_held_and_goes_on) {
  start();
  dial();
  auto sum = open("sum", Opening::empty());
  EXPECT_TRUE(run(send_many(sum.get(), 200, 50'000)));
  EXPECT_EQ(receive(*sum), "10000000");
  EXPECT_TRUE(finish(*sum).is_ok());
}

TEST_F(RemoteGrpc, a_dropped_call_is_cancelled_over_there) {
  start();
  dial();
  auto hang = open("hang", Opening::unary(text("{}")));
  turn_until([&] { return seen_.running == 1; });
  hang.reset();
  turn_until([&] { return seen_.running == 0; });
}

TEST_F(RemoteGrpc, a_deadline_ends_a_call_here_too) {
  start();
  dial();
  auto hang = open("hang", Opening::unary(text("{}")), Deadline::after(loop_->now(), std::chrono::milliseconds(5)));
  EXPECT_EQ(finish(*hang).code(), Code::deadline_exceeded);
}

TEST_F(RemoteGrpc, a_lost_connection_ends_its_calls_and_the_next_call_dials_again) {
  start();
  dial();
  auto hang = open("hang", Opening::unary(text("{}")));
  turn_until([&] { return seen_.running == 1; });
  gateway_.reset();
  const Status lost = finish(*hang);
  EXPECT_EQ(lost.code(), Code::unavailable) << lost.to_string();
  EXPECT_EQ(lost.retry(), Retry::reconnect);
  // Nobody listens now: the attempt fails, and what comes in the pause after it is told so at once.
  auto refused = open("echo", Opening::unary(text("x")));
  EXPECT_EQ(finish(*refused).code(), Code::unavailable);
  auto paused = open("echo", Opening::unary(text("x")));
  const Status status = finish(*paused);
  EXPECT_EQ(status.retry(), Retry::later);
  EXPECT_NE(status.message().find("the next attempt is due in"), std::string::npos) << status.message();
}

TEST_F(RemoteGrpc, more_calls_than_the_server_takes_wait) {
  start({.dev = true, .loopback = true}, {.streams_max = 4});
  dial();
  std::vector<Own<ClientCall>> calls;
  for (int i = 0; i < 50; ++i) calls.push_back(open("echo", Opening::unary(text(std::to_string(i)))));
  int good = 0;
  for (int i = 0; i < 50; ++i) {
    const std::string got = receive(*calls[static_cast<std::size_t>(i)]);
    good += got == std::to_string(i) ? 1 : 0;
  }
  EXPECT_EQ(good, 50);
}

TEST_F(RemoteGrpc, a_drain_refuses_new_calls_and_waits_for_open_ones) {
  start();
  dial();
  auto chat = open("chat", Opening::first(text("1")));
  EXPECT_EQ(receive(*chat), "{\"heard\":1}");
  bool drained = false;
  struct Mark {
    static Task<void> when(Task<void> task, bool* done) {
      co_await std::move(task);
      *done = true;
    }
  };
  scope_.spawn(Mark::when(link_->drain(Deadline::never()), &drained));
  auto late = open("echo", Opening::unary(text("x")));
  EXPECT_EQ(finish(*late).retry(), Retry::elsewhere);
  EXPECT_FALSE(drained);
  chat->half_close();
  EXPECT_TRUE(finish(*chat).is_ok());
  turn_until([&] { return drained; });
}

// A server that says what the test lets it say.
class Silent {
 public:
  Silent() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!listener_) throw std::runtime_error("no socket");
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  std::uint16_t port() const { return port_; }
  /// Accepts, if somebody has come, and says that.
  bool say(std::string_view bytes) {
    if (!client_) client_ = os::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client_) return false;
    return ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

 private:
  os::Fd listener_;
  os::Fd client_;
  std::uint16_t port_ = 0;
};

TEST_F(RemoteGrpc, a_server_that_says_nothing_is_given_up) {
  const Silent server;
  GrpcClientOptions options;
  options.address = {"127.0.0.1", server.port()};
  options.connect_timeout = std::chrono::milliseconds(5);
  link_ = GrpcClient::create(*loop_, random_, options);
  auto call = open("echo", Opening::unary(text("x")));
  const Status status = finish(*call);
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_NE(status.message().find("did not answer within 5ms"), std::string::npos) << status.message();
}

TEST_F(RemoteGrpc, a_connection_that_does_not_answer_pings_is_lost) {
  Silent server;
  GrpcClientOptions options;
  options.address = {"127.0.0.1", server.port()};
  options.ping_interval = std::chrono::milliseconds(5);
  options.ping_timeout = std::chrono::milliseconds(5);
  link_ = GrpcClient::create(*loop_, random_, options);
  auto call = open("echo", Opening::unary(text("x")));
  turn_until([&] { return server.say(std::string_view("\0\0\0\4\0\0\0\0\0", 9)); });
  const Status status = finish(*call);
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_EQ(status.retry(), Retry::reconnect);
  EXPECT_NE(status.message().find("did not answer a ping within 5ms"), std::string::npos) << status.message();
}

TEST_F(RemoteGrpc, what_answers_but_is_no_http2_is_told) {
  Silent server;
  GrpcClientOptions options;
  options.address = {"127.0.0.1", server.port()};
  link_ = GrpcClient::create(*loop_, random_, options);
  auto call = open("echo", Opening::unary(text("x")));
  turn_until([&] { return server.say("HTTP/1.1 400 Bad Request\r\n\r\n"); });
  const Status status = finish(*call);
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_NE(status.message().find("but not in HTTP/2"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace shunt::remote
