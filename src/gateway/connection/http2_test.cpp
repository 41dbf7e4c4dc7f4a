// HTTP/2 through the gateway, with a client of our own at the other end of the socket.
#include "net/http2/session.h"

#include <gtest/gtest.h>

#include <array>
#include <list>
#include <map>

#include "base/random.h"
#include "gateway/gateway_rig_test.h"
#include "net/websocket/websocket.h"

namespace shunt::gateway {
namespace {

struct Ear final : net::Http2StreamEvents {
  void on_head(const net::Http2Head& head, bool end) override {
    status = head.status;
    for (const net::Header& header : head.headers) headers[std::string(header.name)] = header.value;
    ended = end;
  }
  void on_data(std::string_view piece, bool end) override {
    body += piece;
    ended = ended || end;
    if (consumes) stream->consumed(piece.size());
  }
  void on_close(net::Http2Error why) override {
    error = why;
    closed = true;
    stream = nullptr;
  }

  net::Http2Stream* stream = nullptr;
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;
  bool consumes = true;
  bool ended = false;
  bool closed = false;
  net::Http2Error error{};
};

class Http2Test : public GatewayTest, private net::Http2Events {
 protected:
  void open() {
    fd_ = connect();
    session_ = net::make_http2_client(*this, limits_);
  }
  Ear& ask(std::string_view method, std::string_view path, std::string_view body = {},
           std::vector<net::Header> headers = {}, bool end = true) {
    Ear& ear = ears_.emplace_back();
    if (method == "POST") headers.push_back({"content-type", "application/json"});
    net::Http2Head head;
    head.method = method;
    head.scheme = "http";
    head.authority = "localhost";
    head.path = path;
    head.headers = headers;
    auto stream = session_->request(head, end && body.empty(), ear);
    EXPECT_TRUE(stream) << stream.error().to_string();
    if (!stream) return ear;
    ear.stream = *stream;
    if (!body.empty()) ear.stream->send(body, end);
    return ear;
  }
  /// One turn of both sides. False: the gateway has closed.
  bool step() {
    std::string out;
    while (session_->collect(out, 1u << 20)) {
    }
    // The gateway may have closed: what is not taken is not our matter.
    while (!out.empty()) {
      const ssize_t count = ::send(fd_, out.data(), out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) {
        out.erase(0, static_cast<std::size_t>(count));
      } else if (count < 0 && errno != EAGAIN) {
        break;
      }
      turn();
    }
    turn();
    std::string in;
    const bool open = read(fd_, in);
    if (!in.empty()) {
      const auto done = session_->receive(in, loop_->now().ns);
      EXPECT_TRUE(done) << done.error().to_string();
    }
    return open;
  }
  template <typename Condition>
  void until(Condition condition) {
    while (!condition()) ASSERT_TRUE(step() || condition()) << "the gateway has closed";
  }
  void until_closed() {
    while (step()) {
    }
  }
  void on_output() override {}
  void on_goaway(std::uint32_t, net::Http2Error error) override {
    ++goaways_;
    goaway_ = error;
  }

  int fd_ = -1;
  net::Http2Limits limits_;
  std::list<Ear> ears_;
  Own<net::Http2Session> session_;
  int goaways_ = 0;
  net::Http2Error goaway_{};
};

TEST_F(Http2Test, a_call_by_prior_knowledge_is_answered) {
  start();
  open();
  Ear& get = ask("GET", "/shop.prices/echo?n=1");
  Ear& post = ask("POST", "/shop.prices/echo", R"({"n":2})");
  until([&] { return get.closed && post.closed; });
  EXPECT_EQ(get.status, 200);
  EXPECT_EQ(get.body, R"({"n":1})");
  EXPECT_EQ(get.headers["content-length"], "7");
  EXPECT_EQ(get.headers["content-type"], "application/json");
  EXPECT_EQ(post.body, R"({"n":2})");
  EXPECT_EQ(get.error, net::Http2Error::no_error);
}

TEST_F(Http2Test, what_is_wrong_with_one_request_harms_no_other) {
  start();
  open();
  Ear& missing = ask("GET", "/shop.prices/nothing_like_it");
  Ear& wrong = ask("DELETE", "/shop.prices/echo");
  Ear& good = ask("GET", "/shop.prices/echo");
  until([&] { return missing.closed && wrong.closed && good.closed; });
  EXPECT_EQ(missing.status, 501);
  EXPECT_EQ(missing.headers["shunt-error"], "S1005");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers["allow"], "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(good.status, 200);
}

TEST_F(Http2Test, a_hundred_requests_run_at_once) {
  start();
  open();
  std::vector<Ear*> hanging;
  for (int i = 0; i < 100; ++i) hanging.push_back(&ask("POST", "/shop.prices/hang", "{}"));
  until([&] { return seen_.running == 100; });
  Ear& quick = ask("GET", "/shop.prices/echo");
  until([&] { return quick.closed; });
  EXPECT_EQ(quick.status, 200);
  for (Ear* ear : hanging) ear->stream->reset(net::Http2Error::cancel);
  until([&] { return seen_.running == 0; });
  EXPECT_EQ(seen_.cancelled.size(), 100u);
}

TEST_F(Http2Test, a_reset_cancels_its_call_alone) {
  start();
  open();
  Ear& first = ask("POST", "/shop.prices/hang", "{}");
  Ear& second = ask("POST", "/shop.prices/hang", "{}");
  until([&] { return seen_.running == 2; });
  first.stream->reset(net::Http2Error::cancel);
  until([&] { return seen_.running == 1; });
  EXPECT_FALSE(second.closed);
  close(fd_);
  turn_until([&] { return seen_.running == 0; });
}

TEST_F(Http2Test, a_slow_reader_stops_its_own_stream_and_nobody_elses) {
  start();
  open();
  Ear& slow = ask("POST", "/shop.prices/flood", "{}");
  slow.consumes = false;
  until([&] { return !slow.body.empty(); });
  // As much as the windows and the limits hold, and no more.
  std::size_t before = 0;
  do {
    before = seen_.sent;
    for (int i = 0; i < 200; ++i) step();
  } while (seen_.sent != before);
  EXPECT_LT(seen_.sent * (16u << 10), 4u << 20);
  Ear& other = ask("GET", "/shop.prices/echo");
  until([&] { return other.closed; });
  EXPECT_EQ(other.status, 200);
  // It goes on when it reads again.
  slow.consumes = true;
  slow.stream->consumed(slow.body.size());
  until([&] { return seen_.sent > before + 100; });
}

TEST_F(Http2Test, lines_that_come_faster_than_they_are_taken_wait_at_the_client) {
  define("sleepy", hang, Effect::any, StreamShape::client);
  start();
  open();
  Ear& upload = ears_.emplace_back();
  net::Http2Head head;
  head.method = "POST";
  head.scheme = "http";
  head.authority = "localhost";
  head.path = "/shop.prices/sleepy";
  const std::array<net::Header, 1> headers{{{"content-type", "application/x-ndjson"}}};
  head.headers = headers;
  upload.stream = session_->request(head, false, upload).value();
  const std::string line = "\"" + std::string(16u << 10, 'x') + "\"\n";
  for (int i = 0; i < 200; ++i) upload.stream->send(line, false);  // 3 MiB, of which a call's credit and a window go
  until([&] { return seen_.running == 1; });
  for (int i = 0; i < 100; ++i) step();
  EXPECT_GT(upload.stream->unsent(), 1u << 20);
  Ear& other = ask("GET", "/shop.prices/echo");
  until([&] { return other.closed; });
  EXPECT_EQ(other.status, 200);
}

TEST_F(Http2Test, a_body_that_is_too_large_is_refused_before_it_has_come) {
  GatewayLimits limits;
  limits.body_bytes_max = 1000;
  start({.dev = true, .loopback = true}, limits);
  open();
  Ear& large = ask("POST", "/shop.prices/echo", std::string(2000, ' '), {}, false);
  until([&] { return large.closed; });
  EXPECT_EQ(large.status, 413);
  Ear& next = ask("GET", "/shop.prices/echo");
  until([&] { return next.closed; });
  EXPECT_EQ(next.status, 200);
}

TEST_F(Http2Test, an_answer_before_the_body_has_come_ends_the_stream_without_an_error) {
  start();
  open();
  Ear& early = ask("DELETE", "/shop.prices/echo", "{", {}, false);
  until([&] { return early.closed; });
  EXPECT_EQ(early.status, 405);
  EXPECT_EQ(early.error, net::Http2Error::no_error);
}

TEST_F(Http2Test, a_body_that_does_not_come_is_timed_out) {
  GatewayLimits limits;
  limits.body_timeout = std::chrono::milliseconds(20);
  start({.dev = true, .loopback = true}, limits);
  open();
  Ear& slow = ask("POST", "/shop.prices/echo", "{", {}, false);
  until([&] { return slow.closed; });
  EXPECT_EQ(slow.status, 408);
  EXPECT_EQ(slow.headers["shunt-error"], "S4004");
}

TEST_F(Http2Test, an_idle_connection_is_told_goodbye) {
  GatewayLimits limits;
  limits.idle_timeout = std::chrono::milliseconds(20);
  start({.dev = true, .loopback = true}, limits);
  open();
  Ear& only = ask("GET", "/shop.prices/echo");
  until([&] { return only.closed; });
  until_closed();
  EXPECT_EQ(goaway_, net::Http2Error::no_error);
  EXPECT_GE(goaways_, 1);
}

TEST_F(Http2Test, a_client_that_answers_no_ping_is_let_go) {
  GatewayLimits limits;
  limits.ping_interval = std::chrono::milliseconds(10);
  limits.ping_timeout = std::chrono::milliseconds(10);
  start({.dev = true, .loopback = true}, limits);
  open();
  ask("POST", "/shop.prices/hang", "{}");
  until([&] { return seen_.running == 1; });
  turn_until([&] { return seen_.running == 0; });  // We say nothing any more.
  EXPECT_EQ(seen_.cancelled.size(), 1u);
  turn_until([&] { return gateway_->connections() == 0; });
}

TEST_F(Http2Test, a_client_that_answers_pings_may_wait_for_ever) {
  GatewayLimits limits;
  limits.ping_interval = std::chrono::milliseconds(5);
  limits.ping_timeout = std::chrono::seconds(20);
  start({.dev = true, .loopback = true}, limits);
  open();
  Ear& waiting = ask("POST", "/shop.prices/hang", "{}");
  const Instant end = loop_->refresh_now() + std::chrono::milliseconds(60);
  while (loop_->refresh_now() < end) ASSERT_TRUE(step());
  EXPECT_FALSE(waiting.closed);
  EXPECT_EQ(seen_.running, 1);
}

TEST_F(Http2Test, a_drain_lets_open_streams_end_and_takes_no_new_ones) {
  start();
  open();
  Ear& running = ask("POST", "/shop.prices/hang", "{}");
  until([&] { return seen_.running == 1; });
  scope_.spawn(gateway_->drain(Deadline::after(loop_->now(), std::chrono::milliseconds(50))));
  until([&] { return goaways_ > 0; });
  EXPECT_FALSE(running.closed);
  until([&] { return running.closed; });
  EXPECT_EQ(running.status, 503);  // At the deadline it is cancelled and told.
  close(fd_);
  turn_until([&] { return gateway_->connections() == 0; });
}

TEST_F(Http2Test, an_upgrade_from_1_1_is_answered_on_stream_1) {
  start();
  const int fd = connect();
  write(
      fd,
      "GET /shop.prices/echo?n=5 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n");
  std::string in;
  turn_until([&] {
    read(fd, in);
    return in.find(R"({"n":5})") != std::string::npos;
  });
  EXPECT_TRUE(in.starts_with("HTTP/1.1 101 "));
}

TEST_F(Http2Test, little_stands_behind_an_upgrade_before_the_client_has_spoken) {
  start();
  const int fd = connect();
  write(fd,
        "GET /shop.prices/ticks HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n");
  constexpr std::size_t room = 32u << 10;  // curl's.
  std::string in;
  turn_until([&] {
    read(fd, in);
    return in.find(std::string(1000, 'x')) != std::string::npos;
  });
  for (int i = 0; i < 20; ++i) turn();
  read(fd, in);
  EXPECT_LT(in.size(), room);
  write(fd, std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33));
  turn_until([&] {
    read(fd, in);
    return in.size() > room;
  });
}

TEST_F(Http2Test, words_that_only_begin_like_http2_are_a_bad_request) {
  start();
  const int fd = connect();
  write(fd, "PRI * HT");
  turn();
  const Answer got = GatewayTest::ask(fd, "TP/1.0\r\n\r\n");
  EXPECT_EQ(got.status / 100, 4);
}

TEST_F(Http2Test, head_gets_no_body_and_a_stream_ends_with_its_head) {
  start();
  open();
  Ear& head = ask("HEAD", "/shop.prices/echo?n=1");
  Ear& stream = ask("HEAD", "/shop.prices/ticks");
  until([&] { return head.closed && stream.closed; });
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers["content-length"], "7");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(stream.status, 200);
}

TEST_F(Http2Test, a_stream_of_lines_goes_both_ways) {
  start();
  open();
  Ear& chat = ears_.emplace_back();
  net::Http2Head head;
  head.method = "POST";
  head.scheme = "http";
  head.authority = "localhost";
  head.path = "/shop.prices/chat";
  const std::array<net::Header, 1> headers{{{"content-type", "application/x-ndjson"}}};
  head.headers = headers;
  chat.stream = session_->request(head, false, chat).value();
  chat.stream->send("{\"a\":1}\n", false);
  until([&] { return chat.body == "{\"heard\":{\"a\":1}}\n"; });
  chat.stream->send("{\"b\":2}\n", true);
  until([&] { return chat.closed; });
  EXPECT_EQ(chat.body, "{\"heard\":{\"a\":1}}\n{\"heard\":{\"b\":2}}\n");
}

TEST_F(Http2Test, too_many_connections_hear_it_in_http2_too) {
  GatewayLimits limits;
  limits.connections_max = 0;
  start({.dev = true, .loopback = true}, limits);
  const int fd = connect();
  std::string in;
  turn_until([&] { return !read(fd, in); });
  EXPECT_TRUE(in.starts_with("HTTP/1.1 503"));
}

TEST_F(Http2Test, a_websocket_runs_on_a_stream_beside_other_requests) {
  start();
  open();
  Ear& first = ask("GET", "/shop.prices/echo");
  until([&] { return first.closed; });  // Before its settings are here a client may not ask.

  SeededRandom masks(3);
  net::WebSocket socket(net::WebSocket::Role::client, {}, std::nullopt, &masks);
  Ear& ear = ears_.emplace_back();
  const net::Header headers[] = {{"sec-websocket-version", "13"}, {"sec-websocket-protocol", "shunt"}};
  net::Http2Head head;
  head.method = "CONNECT";
  head.protocol = "websocket";
  head.scheme = "http";
  head.authority = "localhost";
  head.path = "/shop.prices/chat";
  head.headers = headers;
  auto stream = session_->request(head, false, ear);
  ASSERT_TRUE(stream) << stream.error().to_string();
  ear.stream = *stream;
  until([&] { return ear.status != 0; });
  EXPECT_EQ(ear.status, 200);
  EXPECT_EQ(ear.headers["sec-websocket-protocol"], "shunt");

  std::string out;
  socket.send_text("1", out);
  socket.send_text("", out);
  ear.stream->send(out, false);
  Ear& other = ask("GET", "/shop.prices/echo");
  std::string heard;
  out.clear();
  until([&] {
    socket.feed(std::exchange(ear.body, {}));
    for (;;) {
      const net::WebSocket::Event event = socket.next(out);
      if (event == net::WebSocket::Event::text) heard += socket.take_message();
      if (event == net::WebSocket::Event::need_more || event == net::WebSocket::Event::closed) break;
    }
    return !out.empty();  // our goodbye
  });
  EXPECT_EQ(heard, R"({"heard":1})");
  EXPECT_EQ(socket.close_code(), net::CloseCode::normal);
  ear.stream->send(out, true);
  until([&] { return ear.closed && other.closed; });
  EXPECT_EQ(other.status, 200);
}

}  // namespace
}  // namespace shunt::gateway
