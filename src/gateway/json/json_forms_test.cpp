// What people send and how they want it back: forms and files, codings, types, conditions, ranges, events, cors.
#include <gtest/gtest.h>

#include "gateway/gateway_rig_test.h"
#include "gateway/json/request_body.h"
#include "net/coding/coding.h"

namespace shunt::gateway {
namespace {

constexpr std::string_view form_type = "application/x-www-form-urlencoded";
constexpr std::string_view multipart_type = "multipart/form-data; boundary=xyz";

std::string coded(net::Coding coding, std::string_view text) {
  std::string out;
  net::Codecs().compress(coding, text, out);
  return out;
}

std::string decoded(net::Coding coding, std::string_view text) {
  std::string out;
  EXPECT_TRUE(net::Codecs().decompress(coding, text, 10u << 20, out));
  return out;
}

std::string part(std::string_view disposition, std::string_view content, std::string_view type = "") {
  return "--xyz\r\nContent-Disposition: form-data; " + std::string(disposition) + "\r\n" +
         (type.empty() ? "" : "Content-Type: " + std::string(type) + "\r\n") + "\r\n" + std::string(content) + "\r\n";
}

// What each piece of an upload was to the command.
Task<Status> upload(Seen* seen, ServerCall* call) {
  while (auto message = co_await call->receive()) seen->lines.emplace_back(message->bytes().view());
  co_await call->send(text(std::to_string(seen->lines.size())));
  co_return Status();
}

Task<Status> page_of(Seen*, ServerCall* call, std::string_view type, std::size_t size) {
  (void)co_await call->receive();
  call::Metadata metadata;
  (void)metadata.add("content-type", type);
  call->send_metadata(std::move(metadata));
  std::string body;
  while (body.size() < size) body += "0123456789";
  co_await call->send(text(body.substr(0, size)));
  co_return Status();
}
Task<Status> large_page(Seen* seen, ServerCall* call) { return page_of(seen, call, "text/html", 10'000); }
Task<Status> picture_of_ten(Seen* seen, ServerCall* call) { return page_of(seen, call, "image/png", 10); }

class FormsTest : public GatewayTest {
 protected:
  FormsTest() {
    define("upload", upload, Effect::any, StreamShape::client);
    define("page", large_page, Effect::none);
    define("ten", picture_of_ten, Effect::none);
    definition_.commands.at("count").response_schema = R"({"type":"object"})";
  }
};

TEST_F(FormsTest, a_form_is_an_object_by_the_schema_of_the_command) {
  start();
  const Answer answer = ask(post("/prices/echo", "n=5&s=5&l=1&l=2&b=true&new=a+b", "", form_type));
  EXPECT_EQ(answer.body, R"({"n":5,"s":"5","l":[1,2],"b":true,"new":"a b"})");
  EXPECT_EQ(ask(post("/prices/echo", "n=five", "", form_type)).header("shunt-error"), "S4013");
  EXPECT_EQ(ask(post("/prices/echo", "n=%", "", form_type)).header("shunt-error"), "S4017");
  EXPECT_EQ(ask(post("/prices/echo", "", "", form_type)).body, "{}");
  EXPECT_EQ(ask(post("/prices/echo", R"({"n":5})", "", form_type)).status, 415) << "curl -d, and no type";
}

TEST_F(FormsTest, a_multipart_form_is_one_too_and_its_files_are_base64) {
  start();
  const std::string body = part("name=n", "5") + part("name=s; filename=a.bin", std::string("\0\xff\xfe", 3)) +
                           part("name=o; filename=\"b.txt\"", "hi", "text/x") +
                           part("name=l", "[1,2]", "application/json") + "--xyz--\r\n";
  EXPECT_EQ(ask(post("/prices/echo", body, "", multipart_type)).body,
            R"({"n":5,"s":"AP/+","o":{"filename":"b.txt","type":"text/x","data":"aGk="},"l":[1,2]})");
  EXPECT_EQ(ask(post("/prices/echo", body.substr(0, 100), "", multipart_type)).header("shunt-error"), "S4017");
  EXPECT_EQ(ask(post("/prices/echo", body, "", "multipart/form-data")).header("shunt-error"), "S4017");
}

TEST_F(FormsTest, a_stream_takes_a_multipart_form_part_by_part) {
  start();
  const std::string body = part("name=title", "A \"day\"") + part("name=f; filename=a.txt", "bytes", "text/plain") +
                           part("name=g; filename=empty", "") + "--xyz--";
  EXPECT_EQ(ask(post("/prices/upload", body, "", multipart_type)).body, "6");
  EXPECT_EQ(seen_.lines, (std::vector<std::string>{R"({"name":"title","value":"A \"day\""})",
                                                   R"({"name":"f","filename":"a.txt","type":"text/plain"})", "bytes",
                                                   "", R"({"name":"g","filename":"empty","type":"text/plain"})", ""}));
}

TEST_F(FormsTest, a_stream_takes_bytes_as_they_come_whatever_their_number) {
  start({.dev = true, .loopback = true}, {.body_bytes_max = 1000});
  const std::string body(500'000, 'x');
  EXPECT_EQ(ask(post("/prices/upload", body, "", "application/octet-stream")).status, 200);
  std::size_t bytes = 0;
  for (const std::string& piece : seen_.lines) bytes += piece.size();
  EXPECT_EQ(bytes, body.size());
  EXPECT_GT(seen_.lines.size(), 3u);
}

TEST_F(FormsTest, a_compressed_body_is_unpacked_within_the_limit) {
  start({.dev = true, .loopback = true}, {.body_bytes_max = 10'000});
  for (const net::Coding coding : {net::Coding::gzip, net::Coding::deflate, net::Coding::zstd}) {
    const std::string header = "Content-Encoding: " + std::string(net::coding_name(coding)) + "\r\n";
    EXPECT_EQ(ask(post("/prices/echo", coded(coding, R"({"n":1})"), header)).body, R"({"n":1})");
    EXPECT_EQ(ask(post("/prices/sum", coded(coding, "11\n22\n\n333"), header, "application/x-ndjson")).body, "7");
    EXPECT_EQ(ask(post("/prices/echo", coded(coding, "n=1"), header, form_type)).body, R"({"n":1})");
    const std::string bomb = coded(coding, std::string(1'000'000, ' '));
    EXPECT_EQ(ask(post("/prices/echo", bomb, header)).status, 413);
    EXPECT_EQ(ask(post("/prices/sum", bomb, header, "application/x-ndjson")).status, 413);
    EXPECT_EQ(ask(post("/prices/echo", "{}", header)).header("shunt-error"), "S4017");
    const std::string whole = coded(coding, "11\n22\n");
    const std::string torn = whole.substr(0, whole.size() - 3);
    EXPECT_EQ(ask(post("/prices/sum", torn, header, "application/x-ndjson")).header("shunt-error"), "S4017");
  }
  const Answer unknown = ask(post("/prices/echo", "{}", "Content-Encoding: br\r\n"));
  EXPECT_EQ(unknown.status, 415);
  EXPECT_EQ(unknown.header("accept-encoding"), "gzip, deflate, zstd");
}

TEST_F(FormsTest, a_large_answer_is_compressed_as_the_client_likes) {
  start();
  const std::string large = "\"" + std::string(5000, 'x') + "\"";
  for (const net::Coding coding : {net::Coding::gzip, net::Coding::zstd}) {
    const Answer answer =
        ask(post("/prices/change", large, "Accept-Encoding: br, " + std::string(net::coding_name(coding)) + "\r\n"));
    EXPECT_EQ(answer.header("content-encoding"), net::coding_name(coding));
    EXPECT_EQ(answer.header("vary"), "Accept-Encoding");
    EXPECT_LT(answer.body.size(), 200u);
    EXPECT_EQ(decoded(coding, answer.body), large);
  }
  EXPECT_EQ(ask(post("/prices/change", large)).body, large);
  EXPECT_EQ(ask(post("/prices/change", "{}", "Accept-Encoding: gzip\r\n")).header("content-encoding"), "")
      << "too small";
  EXPECT_EQ(ask(post("/prices/picture", "{}", "Accept-Encoding: gzip\r\n")).body, "\x89PNG") << "packed already";
}

TEST_F(FormsTest, a_stream_of_lines_is_compressed_line_by_line_and_events_are_not) {
  start();
  const Answer lines = ask(post("/prices/count", "2", "Accept-Encoding: gzip\r\n"));
  EXPECT_EQ(lines.header("content-encoding"), "gzip");
  EXPECT_EQ(decoded(net::Coding::gzip, lines.body), "{\"n\": 0}\n{\"n\": 1}\n");
  const Answer events = ask(post("/prices/count", "1", "Accept: text/event-stream\r\nAccept-Encoding: gzip\r\n"));
  EXPECT_EQ(events.header("content-encoding"), "");
  EXPECT_TRUE(events.body.ends_with("event: end\ndata: {}\n\n"));
}

TEST_F(FormsTest, an_answer_is_of_a_type_that_the_client_takes) {
  start();
  const auto type = [&](std::string_view path, std::string_view accept) {
    const Answer answer = ask(get(path, "Accept: " + std::string(accept) + "\r\n"));
    return answer.status == 200 ? answer.header("content-type") : std::to_string(answer.status);
  };
  EXPECT_EQ(type("/prices/echo", "*/*"), "application/json");
  EXPECT_EQ(type("/prices/echo", "text/html, */*;q=0.1"), "application/json");
  EXPECT_EQ(type("/prices/echo", "application/octet-stream"), "application/octet-stream");
  EXPECT_EQ(type("/prices/echo", "text/html"), "406");
  EXPECT_EQ(type("/prices/ten", "image/*"), "image/png");
  EXPECT_EQ(type("/prices/ten", "text/html"), "406");
  EXPECT_EQ(ask(post("/prices/change", "{}", "Accept: text/html\r\n")).status, 200)
      << "it is done, and can't be undone";
  const auto stream = [&](std::string_view accept) {
    const Answer answer = ask(post("/prices/count", "1", "Accept: " + std::string(accept) + "\r\n"));
    return answer.status == 200 ? answer.header("content-type") : std::to_string(answer.status);
  };
  EXPECT_EQ(stream("application/x-ndjson, text/event-stream;q=0.5"), "application/x-ndjson");
  EXPECT_EQ(stream("application/x-ndjson;q=0.1, text/event-stream"), "text/event-stream");
  EXPECT_EQ(stream("application/octet-stream"), "application/octet-stream");
  EXPECT_EQ(stream("application/json"), "application/x-ndjson");
  const Answer refused = ask(post("/prices/count", "1", "Accept: image/png\r\n"));
  EXPECT_EQ(refused.status, 406);
  EXPECT_NE(refused.body.find("text/event-stream"), std::string::npos) << refused.body;
}

TEST_F(FormsTest, what_has_not_changed_is_not_sent_again) {
  start();
  const Answer first = ask(get("/prices/echo?n=1"));
  const std::string etag = first.header("etag");
  EXPECT_TRUE(etag.starts_with('"')) << first.head;
  EXPECT_EQ(first.header("cache-control"), "no-cache");
  const Answer again = ask(get("/prices/echo?n=1", "If-None-Match: \"x\", W/" + etag + "\r\n"));
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(again.header("etag"), etag);
  EXPECT_EQ(ask(get("/prices/echo?n=2", "If-None-Match: " + etag + "\r\n")).status, 200);
  EXPECT_EQ(ask(get("/prices/echo?n=1", "If-Match: " + etag + "\r\n")).status, 200);
  EXPECT_EQ(ask(get("/prices/echo?n=2", "If-Match: " + etag + "\r\n")).status, 412);
  EXPECT_EQ(ask(post("/prices/echo", "{}")).header("etag"), "") << "a POST is never the same";

  const Answer packed = ask(get("/prices/page", "Accept-Encoding: gzip\r\n"));
  EXPECT_EQ(packed.header("content-encoding"), "gzip");
  EXPECT_TRUE(packed.header("etag").ends_with("-gzip\"")) << packed.header("etag");
  EXPECT_EQ(
      ask(get("/prices/page", "Accept-Encoding: gzip\r\nIf-None-Match: " + packed.header("etag") + "\r\n")).status,
      304);
}

TEST_F(FormsTest, bytes_may_be_asked_for_in_part) {
  start();
  const auto range = [&](std::string_view header) { return ask(get("/prices/ten", std::string(header) + "\r\n")); };
  EXPECT_EQ(range("X: y").header("accept-ranges"), "bytes");
  const Answer middle = range("Range: bytes=2-4");
  EXPECT_EQ(middle.status, 206);
  EXPECT_EQ(middle.body, "234");
  EXPECT_EQ(middle.header("content-range"), "bytes 2-4/10");
  EXPECT_EQ(middle.header("content-type"), "image/png");
  EXPECT_EQ(range("Range: bytes=-3").body, "789");
  const Answer beyond = range("Range: bytes=10-");
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(beyond.header("content-range"), "bytes */10");
  EXPECT_EQ(beyond.header("shunt-error"), "S4019");
  EXPECT_EQ(range("Range: bytes=0-1,3-4").status, 200) << "several at once are answered whole";
  EXPECT_EQ(range("Range: bytes=0-1\r\nIf-Range: \"other\"").status, 200);
  EXPECT_EQ(range("Range: bytes=0-1\r\nIf-Range: " + middle.header("etag")).status, 206);
  EXPECT_EQ(ask(get("/prices/echo", "Range: bytes=0-0\r\n")).status, 200) << "JSON has no parts";
}

TEST_F(FormsTest, events_are_numbered_from_where_the_client_was) {
  start();
  const Answer events = ask(post("/prices/count", "2", "Accept: text/event-stream\r\nLast-Event-ID: 41\r\n"));
  EXPECT_EQ(
      events.body,
      "retry: 2000\n\nid: 42\ndata: {\"n\":\ndata: 0}\n\nid: 43\ndata: {\"n\":\ndata: 1}\n\nevent: end\ndata: {}\n\n");
}

TEST_F(FormsTest, a_command_hears_which_event_was_the_last) {
  define(
      "since",
      [](Seen* seen, ServerCall* call) -> Task<Status> {
        seen->metadata = call->metadata();
        co_return Status();
      },
      Effect::none, StreamShape::server);
  start();
  (void)ask(get("/prices/since", "Accept: text/event-stream\r\nLast-Event-ID: a-7\r\n"));
  EXPECT_EQ(seen_.metadata.find("last-event-id"), "a-7");
}

TEST_F(FormsTest, a_silent_stream_of_events_says_that_it_lives) {
  define(
      "silent",
      [](Seen* seen, ServerCall* call) -> Task<Status> {
        co_await call->send(text("1"));
        seen->cancelled.emplace_back(call::cancel_name(co_await call->wait_cancelled()));
        co_return Status();
      },
      Effect::none, StreamShape::server);
  start({.dev = true, .loopback = true}, {.events_interval = std::chrono::milliseconds(10)});
  const int fd = connect();
  write(fd, get("/prices/silent", "Accept: text/event-stream\r\n"));
  std::string heard;
  turn_until([&] { return !read(fd, heard) || heard.find(":\n\n\r\n3\r\n:\n\n") != std::string::npos; });
  EXPECT_NE(heard.find("data: 1\n\n"), std::string::npos) << heard;
  close(fd);
  turn_until([&] { return !seen_.cancelled.empty(); });
}

TEST_F(FormsTest, pages_of_listed_origins_may_call) {
  start();
  auto table = std::make_shared<CorsTable>();
  table->by_service["shop.prices"] = {.origins = {"https://app.example"}, .headers = {"x-own"}, .credentials = true};
  table->by_service["shop.secret"].origins = {"*"};
  gateway_->set_cors(table);
  const std::string listed = "Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n";
  const std::string other = "Origin: https://other.example\r\nSec-Fetch-Site: cross-site\r\n";

  const Answer answer = ask(post("/prices/echo", "{}", listed));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(answer.header("access-control-allow-credentials"), "true");
  EXPECT_EQ(answer.header("vary"), "Origin");
  EXPECT_EQ(ask(post("/prices/nothing", "{}", listed)).header("access-control-allow-origin"), "https://app.example")
      << "a page may read errors too";
  EXPECT_EQ(ask(post("/prices/echo", "{}", other)).status, 403);
  // The same of every protocol: the carriers say it.
  for (const auto& [type, body] :
       {std::pair<std::string, std::string>("application/grpc-web+json", std::string("\0\0\0\0\2{}", 7)),
        {"application/connect+json", std::string("\0\0\0\0\2{}", 7)}}) {
    const Answer framed = ask(post("/prices/echo", body, listed, type));
    EXPECT_EQ(framed.status, 200) << type;
    EXPECT_EQ(framed.header("access-control-allow-origin"), "https://app.example") << type;
    EXPECT_EQ(ask(post("/prices/echo", body, other, type)).header("access-control-allow-origin"), "") << type;
  }
  EXPECT_EQ(ask(post("/secret/echo", "{}", other)).header("access-control-allow-origin"), "*");

  const auto preflight = [&](std::string_view path, std::string_view origin) {
    return ask("OPTIONS " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(origin) +
               "Access-Control-Request-Method: POST\r\n"
               "Access-Control-Request-Headers: content-type, X-Own,x-other, connect-protocol-version\r\n\r\n");
  };
  const Answer asked = preflight("/prices/echo", listed);
  EXPECT_EQ(asked.status, 204);
  EXPECT_EQ(asked.header("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(asked.header("access-control-allow-methods"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(asked.header("access-control-allow-headers"), "content-type, x-own, connect-protocol-version");
  EXPECT_EQ(asked.header("access-control-max-age"), "600");
  EXPECT_EQ(preflight("/prices/echo", other).status, 403);
  EXPECT_EQ(preflight("/livez", listed).status, 403) << "our own pages are no service's";
}

TEST_F(FormsTest, without_a_listed_origin_a_public_listener_answers_and_says_nothing_of_it) {
  start({.dev = false, .loopback = false});
  auto table = std::make_shared<CorsTable>();
  table->by_service["shop.prices"].origins = {"https://app.example"};
  gateway_->set_cors(table);
  const Answer answer = ask(post("/prices/echo", "{}", "Origin: https://other.example\r\n"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("access-control-allow-origin"), "");
  EXPECT_EQ(answer.header("vary"), "Origin");
  table = std::make_shared<CorsTable>();
  table->by_service["shop.secret"].origins = {"*"};
  gateway_->set_cors(table);
  EXPECT_EQ(ask(post("/secret/echo", "{}", "Origin: https://other.example\r\n")).header("access-control-allow-origin"),
            "")
      << "what is not exposed is not told of";
}

}  // namespace
}  // namespace shunt::gateway
