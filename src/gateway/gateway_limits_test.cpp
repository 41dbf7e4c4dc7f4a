// Clients that go, limits, who may come in, pages of our own, the drain.
#include "gateway/gateway_rig_test.h"
#include "net/grpc/envelope.h"

namespace shunt::gateway {
namespace {

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

TEST_F(GatewayTest, messages_of_streams_that_come_slowly_have_a_limit_together) {
  GatewayLimits limits;
  limits.collected_bytes_max = 1500;
  start({.dev = true, .loopback = true}, limits);
  std::string message;
  net::append_envelope(message, 0, std::string(2000, 'x'));
  const auto half = [&](std::string_view type) {
    return post("/prices/sum", message, "", type).substr(0, post("/prices/sum", "", "", type).size() + 1100);
  };
  const int first = connect();
  write(first, half("application/connect+json"));
  turn();
  turn();
  const int second = connect();
  const Answer refused = ask(second, half("application/connect+json"));
  EXPECT_NE(refused.body.find("S4003"), std::string::npos) << refused.body;
  const int third = connect();
  const Answer also_refused = ask(third, half("application/grpc-web+json"));
  EXPECT_NE(also_refused.body.find("grpc-status: 8"), std::string::npos) << also_refused.body;

  // What the first held is free again when it goes.
  close(first);
  turn_until([&] { return !seen_.cancelled.empty(); });
  const int fourth = connect();
  write(fourth, half("application/grpc-web+json"));
  turn();
  turn();
  write(fourth, message.substr(1100));
  EXPECT_NE(answer(fourth).body.find("grpc-status:"), std::string::npos);
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
  // A form, or fetch() without a preflight, can send only these types, and forms; a browser says the origin of these.
  for (const std::string_view type : {"text/plain", ""}) {
    EXPECT_EQ(status(post("/prices/echo", "{}", "", type)), 415) << type;
  }
  EXPECT_EQ(status(post("/prices/echo", "n=1", "Origin: http://evil.example\r\n", "application/x-www-form-urlencoded")),
            403);
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

TEST_F(GatewayTest, a_drain_answers_the_requests_that_were_read_ahead) {
  start({.dev = true, .loopback = true});
  const int client = connect();
  const std::string next = post("/prices/echo", "next");
  write(client, post("/prices/hang", "{}", "Connect-Timeout-Ms: 50\r\n") + next + next);
  turn_until([&] { return seen_.running == 1; });
  bool done = false;
  scope_.spawn(drain_and_tell(&*gateway_, Deadline::never(), &done));
  const Answer hung = answer(client);
  EXPECT_EQ(hung.status, 504);
  EXPECT_EQ(hung.header("connection"), "");
  const Answer second = answer(client);
  EXPECT_EQ(second.body, "next");
  const Answer last = answer(client);
  EXPECT_EQ(last.body, "next");
  EXPECT_EQ(last.header("connection"), "close");
  EXPECT_TRUE(is_closed(client));
  close(client);
  turn_until([&] { return done; });
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
