// Calls, paths, methods, streams.
#include "gateway/gateway_rig_test.h"

namespace shunt::gateway {
namespace {

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
  EXPECT_EQ(command.status, 501);
  EXPECT_NE(command.body.find("\"code\":\"unimplemented\""), std::string::npos);
  EXPECT_NE(command.body.find("S1005"), std::string::npos);
  EXPECT_EQ(ask(get("/prices/ecko")).status, 501);
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
            "retry: 2000\n\nid: 1\ndata: {\"n\":\ndata: 0}\n\nid: 2\ndata: {\"n\":\ndata: 1}\n\n"
            "id: 3\ndata: {\"n\":\ndata: 2}\n\nevent: error\n"
            R"(data: {"code":"aborted","message":"three is enough","id":"S1012"})"
            "\n\n");
}

TEST_F(GatewayTest, a_stream_is_server_sent_events_when_asked) {
  start();
  const Answer answer = ask(post("/prices/count", "1", "Accept: text/html, Text/Event-Stream;q=0.9\r\n"));
  EXPECT_EQ(answer.header("content-type"), "text/event-stream");
  EXPECT_EQ(answer.body, "retry: 2000\n\nid: 1\ndata: {\"n\":\ndata: 0}\n\nevent: end\ndata: {}\n\n");
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
  EXPECT_EQ(ask(post("/prices/count", "{}", "Content-Encoding: br\r\n")).status, 415);
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

}  // namespace
}  // namespace shunt::gateway
