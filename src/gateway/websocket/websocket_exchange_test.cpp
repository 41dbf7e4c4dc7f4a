// WebSockets through a gateway on a real socket: handshakes, messages both ways, endings.
#include <gtest/gtest.h>

#include "base/random.h"
#include "gateway/gateway_rig_test.h"
#include "loop/event.h"
#include "net/websocket/websocket.h"

namespace shunt::gateway {
namespace {

using namespace std::chrono_literals;
using net::WebSocket;

constexpr std::string_view key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

loop::Loop* the_loop = nullptr;

// Takes nothing until `running` is set.
Task<Status> patient(Seen* seen, ServerCall* call) {
  while (seen->running == 0) co_await loop::sleep_for(*the_loop, 1ms);
  std::size_t bytes = 0;
  while (auto message = co_await call->receive()) bytes += message->bytes().size();
  co_await call->send(text(std::to_string(bytes)));
  co_return Status();
}

class WebSocketTest : public GatewayTest {
 protected:
  WebSocketTest() {
    the_loop = &*loop_;
    define("patient", patient, Effect::any, StreamShape::client);
  }

  // A client of ours: its handshake, and then what it hears, one word each.
  struct Client {
    int fd = -1;
    std::string head;
    Own<WebSocket> socket;
    std::string wire;
    bool over = false;
  };

  static std::string handshake(std::string_view path, std::string_view headers = "", std::string_view version = "13") {
    return "GET " + std::string(path) +
           " HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
           "Sec-WebSocket-Version: " + std::string(version) + "\r\n" + std::string(key) + std::string(headers) + "\r\n";
  }

  Client open(std::string_view path, std::string_view headers = "") {
    Client client;
    client.fd = connect();
    write(client.fd, handshake(path, headers));
    turn_until([&] {
      const bool is_open = read(client.fd, client.wire);
      return !is_open || client.wire.find("\r\n\r\n") != std::string::npos;
    });
    const std::size_t end = client.wire.find("\r\n\r\n") + 4;
    client.head = client.wire.substr(0, end);
    client.wire.erase(0, end);
    EXPECT_TRUE(client.head.starts_with("HTTP/1.1 101 ")) << client.head << client.wire;
    const std::size_t extensions = client.head.find("Sec-Websocket-Extensions: ");
    std::optional<net::DeflateTerms> terms;
    if (extensions != std::string::npos) {
      const std::size_t from = extensions + 26;
      bool is_wrong = false;
      terms = net::read_deflate_answer(client.head.substr(from, client.head.find('\r', from) - from), is_wrong);
      EXPECT_FALSE(is_wrong);
    }
    client.socket = make_own<WebSocket>(WebSocket::Role::client, net::WebSocketLimits{}, terms, &masks_);
    return client;
  }

  void say(Client& client, std::string_view text) {
    std::string out;
    client.socket->send_text(text, out);
    write(client.fd, out);
  }

  // The next thing that is heard: "text", "<bytes>", or "close CODE REASON".
  std::string hear(Client& client) {
    std::string out;
    if (client.over) return is_closed(client.fd) ? "gone" : "something more";
    for (;;) {
      client.socket->feed(client.wire);
      client.wire.clear();
      const WebSocket::Event event = client.socket->next(out);
      if (!out.empty()) write(client.fd, std::exchange(out, {}));
      switch (event) {
        case WebSocket::Event::text:
          return client.socket->take_message();
        case WebSocket::Event::binary:
          return "<" + client.socket->take_message() + ">";
        case WebSocket::Event::closed:
        case WebSocket::Event::failed:
          client.over = true;
          return "close " + std::to_string(static_cast<int>(client.socket->close_code())) +
                 (client.socket->close_reason().empty() ? "" : " " + std::string(client.socket->close_reason()));
        default:
          break;
      }
      if (event != WebSocket::Event::need_more) continue;
      if (!read(client.fd, client.wire) && client.wire.empty()) return "gone";
      if (client.wire.empty()) turn();
    }
  }

  SeededRandom masks_{5};
};

TEST_F(WebSocketTest, a_unary_command_takes_one_message_answers_and_closes) {
  start();
  Client client = open("/prices/echo");
  EXPECT_NE(client.head.find("Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), std::string::npos)
      << client.head;
  say(client, R"({"n":1})");
  EXPECT_EQ(hear(client), R"({"n":1})");
  EXPECT_EQ(hear(client), "close 1000");
  EXPECT_EQ(hear(client), "gone") << "the server closes the connection";
}

TEST_F(WebSocketTest, a_query_is_the_request_of_a_command_that_takes_one) {
  start();
  Client client = open("/prices/echo?n=5&s=x");
  EXPECT_EQ(hear(client), R"({"n":5,"s":"x"})");
  EXPECT_EQ(hear(client), "close 1000");
}

TEST_F(WebSocketTest, a_stream_is_heard_message_by_message_and_its_error_is_the_last_one) {
  start();
  Client client = open("/prices/count");
  say(client, "3");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(hear(client), "{\"n\":\n" + std::to_string(i) + "}");
  EXPECT_EQ(hear(client), R"({"$error":{"code":"aborted","message":"three is enough","id":"S1012"}})");
  EXPECT_EQ(hear(client), "close 4010 S1012 three is enough");
}

TEST_F(WebSocketTest, a_conversation_goes_both_ways_until_an_empty_text_ends_one) {
  start();
  Client client = open("/prices/chat");
  say(client, "1");
  EXPECT_EQ(hear(client), R"({"heard":1})");
  say(client, "2");
  EXPECT_EQ(hear(client), R"({"heard":2})");
  say(client, "");
  EXPECT_EQ(hear(client), "close 1000");
  EXPECT_EQ(seen_.lines.size(), 2u);
}

TEST_F(WebSocketTest, a_stream_of_messages_is_summed_up_when_it_ends) {
  start();
  Client client = open("/prices/sum");
  for (int i = 0; i < 100; ++i) say(client, "12345");
  say(client, "");
  EXPECT_EQ(hear(client), "500");
  EXPECT_EQ(hear(client), "close 1000");
}

TEST_F(WebSocketTest, bytes_stay_bytes) {
  start();
  Client client = open("/prices/picture");
  say(client, "{}");
  EXPECT_EQ(hear(client), "<\x89PNG>");
  EXPECT_EQ(hear(client), "close 1000");
  Client echo = open("/prices/echo");
  std::string out;
  echo.socket->send_binary("\xff\xfe", out);
  write(echo.fd, out);
  EXPECT_EQ(hear(echo), "<\xff\xfe>") << "no text, whatever the command says";
}

TEST_F(WebSocketTest, each_code_has_its_close_code) {
  start();
  for (const auto& [name, code] : {std::pair{"invalid_argument", "4003"},
                                   {"not_found", "4005"},
                                   {"unauthenticated", "4016"},
                                   {"deadline_exceeded", "4004"},
                                   {"internal", "4013"}}) {
    Client client = open("/prices/fail");
    say(client, name);
    EXPECT_TRUE(hear(client).starts_with("{\"$error\":{")) << name;
    EXPECT_EQ(hear(client), "close " + std::string(code) + " S1012 as \"asked\"");
  }
  EXPECT_EQ(ask(handshake("/prices/nothing")).header("shunt-error"), "S1005");
}

TEST_F(WebSocketTest, a_second_message_to_a_command_that_takes_one_ends_it) {
  start();
  Client client = open("/prices/hang");
  say(client, "{}");
  turn_until([&] { return seen_.running == 1; });
  say(client, "{}");
  EXPECT_NE(hear(client).find("S4015"), std::string::npos);
  EXPECT_TRUE(hear(client).starts_with("close 4003 S4015"));
  turn_until([&] { return seen_.running == 0; });
}

TEST_F(WebSocketTest, a_client_that_closes_or_vanishes_cancels_its_call) {
  start();
  for (const bool politely : {true, false}) {
    seen_.cancelled.clear();
    Client client = open("/prices/hang");
    say(client, "{}");
    turn_until([&] { return seen_.running == 1; });
    if (politely) {
      std::string out;
      client.socket->close(net::CloseCode::normal, "", out);
      write(client.fd, out);
      EXPECT_EQ(hear(client), "close 1000");
    } else {
      close(client.fd);
    }
    turn_until([&] { return seen_.running == 0; });
    EXPECT_EQ(seen_.cancelled, std::vector<std::string>{"the caller gave up"});
  }
}

TEST_F(WebSocketTest, messages_are_compressed_where_the_client_offers_it) {
  start();
  Client client = open("/prices/echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
  EXPECT_NE(client.head.find("permessage-deflate; server_max_window_bits=12"), std::string::npos) << client.head;
  const std::string large = "\"" + std::string(100'000, 'x') + "\"";
  say(client, large);
  EXPECT_EQ(hear(client), large);
  EXPECT_EQ(hear(client), "close 1000");
}

TEST_F(WebSocketTest, a_message_beyond_the_limit_ends_it) {
  start({.dev = true, .loopback = true}, {.body_bytes_max = 1000});
  Client client = open("/prices/echo");
  say(client, std::string(2000, 'x'));
  EXPECT_TRUE(hear(client).starts_with("close 1009")) << "a message may have 1000 bytes";
}

TEST_F(WebSocketTest, a_slow_client_holds_the_command_back) {
  start({.dev = true, .loopback = true}, {.unsent_bytes_max = 64u << 10});
  Client client = open("/prices/flood");
  say(client, "{}");
  std::size_t before = 0;
  // It stops by itself: the kernel's buffers are full, and ours is at its limit.
  for (int quiet = 0; quiet < 50;) {
    turn();
    quiet = seen_.sent == before ? quiet + 1 : 0;
    before = seen_.sent;
  }
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(hear(client).size(), (16u << 10));
  EXPECT_GT(seen_.sent, before);
  close(client.fd);
  turn_until([&] { return !seen_.cancelled.empty(); });
}

TEST_F(WebSocketTest, a_slow_command_holds_the_client_back) {
  start();
  Client client = open("/prices/patient");
  std::string out;
  for (int i = 0; i < 1000; ++i) client.socket->send_binary(std::string(50'000, 'x'), out);
  std::string_view left = out;
  const auto push = [&] {
    const ssize_t count = ::send(client.fd, left.data(), left.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) left.remove_prefix(static_cast<std::size_t>(count));
    turn();
    return count > 0;
  };
  for (int full = 0; full < 50;) full = push() ? 0 : full + 1;
  EXPECT_GT(left.size(), out.size() / 2) << "the kernel holds some, the gateway little";
  seen_.running = 1;
  while (!left.empty()) push();
  say(client, "");
  EXPECT_EQ(hear(client), "50000000");
  EXPECT_EQ(hear(client), "close 1000");
}

TEST_F(WebSocketTest, what_is_not_a_handshake_is_answered_in_http) {
  start();
  EXPECT_EQ(ask(handshake("/prices/echo", "", "8")).status, 426);
  EXPECT_EQ(ask(handshake("/prices/echo", "", "8")).header("sec-websocket-version"), "13");
  EXPECT_EQ(ask(handshake("/nothing/at-all")).status, 404);
  std::string bad_key = handshake("/prices/echo");
  bad_key.replace(bad_key.find("dGhl"), 4, "####");
  const Answer answer = ask(bad_key);
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.header("shunt-error"), "S4014");
  EXPECT_EQ(ask(get("/prices/echo", "Upgrade: websocket\r\n")).status, 200) << "without Connection it is a plain GET";
}

TEST_F(WebSocketTest, a_foreign_page_is_refused_on_every_listener_unless_it_is_listed) {
  start({.dev = false, .loopback = false});
  const auto origin = [](std::string_view text) { return "Origin: " + std::string(text) + "\r\n"; };
  EXPECT_EQ(ask(handshake("/prices/echo", origin("https://evil.example"))).status, 403);
  EXPECT_EQ(ask(handshake("/prices/echo", origin("null"))).status, 403);
  open("/prices/echo", origin("http://localhost"));
  open("/prices/echo", origin("https://localhost"));
  auto table = std::make_shared<CorsTable>();
  table->by_service["shop.prices"].origins = {"https://app.example"};
  gateway_->set_cors(table);
  open("/prices/echo", origin("https://app.example"));
  EXPECT_EQ(ask(handshake("/prices/echo", origin("https://evil.example"))).status, 403);
}

TEST_F(WebSocketTest, a_token_comes_by_header_or_as_a_subprotocol) {
  definition_.auth = call::Auth::token;
  start();
  auto table = std::make_shared<TokenTable>();
  table->everywhere.push_back({"ann", "0123456789abcdef"});
  gateway_->set_tokens(table);
  EXPECT_EQ(ask(handshake("/prices/echo")).status, 401);
  EXPECT_EQ(ask(handshake("/prices/echo", "Sec-WebSocket-Protocol: shunt, bearer.wrong\r\n")).status, 401);
  Client by_protocol = open("/prices/echo", "Sec-WebSocket-Protocol: shunt, bearer.0123456789abcdef\r\n");
  EXPECT_NE(by_protocol.head.find("Sec-Websocket-Protocol: shunt\r\n"), std::string::npos);
  EXPECT_EQ(by_protocol.head.find("0123456789"), std::string::npos) << "the token is not said back";
  say(by_protocol, "{}");
  EXPECT_EQ(hear(by_protocol), "{}");
  EXPECT_EQ(seen_.principal.user, "ann");
  open("/prices/echo", "Authorization: Bearer 0123456789abcdef\r\n");
}

TEST_F(WebSocketTest, headers_and_a_time_limit_travel_with_the_call) {
  start();
  Client client = open("/prices/echo", "X-Colour: blue\r\nConnect-Timeout-Ms: 5000\r\n");
  say(client, "{}");
  EXPECT_EQ(hear(client), "{}");
  EXPECT_EQ(seen_.metadata.find("x-colour"), "blue");
  EXPECT_FALSE(seen_.metadata.find("sec-websocket-key"));
  EXPECT_FALSE(seen_.deadline.is_never());
}

TEST_F(WebSocketTest, a_drain_ends_conversations_and_lets_answers_come) {
  start();
  Client chat = open("/prices/chat");
  Client hang = open("/prices/hang");
  say(hang, "{}");
  turn_until([&] { return seen_.running == 1; });
  bool drained = false;
  scope_.spawn([](Gateway* gateway, loop::Loop* loop, bool* done) -> Task<void> {
    co_await gateway->drain(Deadline::after(loop->now(), 300ms));
    *done = true;
  }(&*gateway_, &*loop_, &drained));
  EXPECT_EQ(hear(chat), "close 1012 the node stops; connect again");
  EXPECT_NE(hear(hang).find("S1015"), std::string::npos) << "at the drain's limit";
  EXPECT_EQ(hear(hang), "close 1001 S1015");
  EXPECT_EQ(hear(hang), "gone");
  turn_until([&] { return drained; });
}

TEST_F(WebSocketTest, a_silent_client_is_pinged_and_one_that_is_dead_is_let_go) {
  start({.dev = true, .loopback = true}, {.socket_interval = 20ms});
  Client client = open("/prices/hang");
  say(client, "{}");
  turn_until([&] { return seen_.running == 1; });
  // It answers three pings, and then no more.
  std::string out;
  for (int pings = 0; pings < 3;) {
    turn();
    (void)read(client.fd, client.wire);
    client.socket->feed(std::exchange(client.wire, {}));
    for (auto event = client.socket->next(out); event != WebSocket::Event::need_more;
         event = client.socket->next(out)) {
      ASSERT_EQ(event, WebSocket::Event::ping);
      ++pings;
    }
    if (!out.empty()) write(client.fd, std::exchange(out, {}));
  }
  EXPECT_EQ(seen_.running, 1);
  turn_until([&] { return seen_.running == 0; });
  while (read(client.fd, client.wire)) turn();
}

TEST_F(WebSocketTest, whatever_comes_instead_of_frames_ends_it_well) {
  start();
  Client client = open("/prices/chat");
  write(client.fd, std::string(1000, '\xff'));
  EXPECT_TRUE(hear(client).starts_with("close 1002"));
  EXPECT_EQ(ask(post("/prices/echo", "{}")).status, 200);
}

TEST_F(WebSocketTest, messages_that_come_slowly_have_a_limit_together) {
  GatewayLimits limits;
  limits.collected_bytes_max = 1500;
  start({.dev = true, .loopback = true}, limits);
  const auto say_half = [&](Client& client) {
    std::string out;
    client.socket->send_text(std::string(2000, 'x'), out);
    write(client.fd, out.substr(0, 1100));
  };
  Client first = open("/prices/sum");
  say_half(first);
  turn();
  turn();
  Client second = open("/prices/sum");
  say_half(second);
  EXPECT_NE(hear(second).find("S4003"), std::string::npos);
  EXPECT_TRUE(hear(second).starts_with("close 4008 S4003"));
}

}  // namespace
}  // namespace shunt::gateway
