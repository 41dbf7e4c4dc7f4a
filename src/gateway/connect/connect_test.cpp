#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/connect/connect_text.h"
#include "gateway/gateway_rig_test.h"
#include "net/coding/coding.h"
#include "net/grpc/envelope.h"

namespace shunt::gateway {
namespace {

using nlohmann::json;

std::string enveloped(std::string_view message, std::uint8_t flags = 0) {
  std::string out;
  net::append_envelope(out, flags, message);
  return out;
}

std::string coded(net::Coding coding, std::string_view text) {
  std::string out;
  net::Codecs().compress(coding, text, out);
  return out;
}

std::string decoded(net::Coding coding, std::string_view text) {
  std::string out;
  EXPECT_TRUE(net::Codecs().decompress(coding, text, 64u << 20, out));
  return out;
}

struct ConnectTest : GatewayTest {
  struct Streamed {
    int status = 0;
    std::string type;
    std::vector<std::string> messages;
    json end;  // the last envelope; null when there was none
  };

  static Streamed read_stream(const Answer& answer) {
    Streamed read{.status = answer.status, .type = answer.header("content-type")};
    net::EnvelopeReader reader(64u << 20);
    reader.feed(answer.body);
    for (net::Envelope envelope; reader.next(envelope) == net::EnvelopeReader::Event::message;) {
      EXPECT_TRUE(read.end.is_null()) << "something follows the end of the stream";
      if (envelope.flags == net::envelope_flag::connect_end) {
        read.end = json::parse(envelope.message.view());
      } else if (envelope.flags == net::envelope_flag::compressed) {
        const auto coding = net::coding_from_name(answer.header("connect-content-encoding"));
        read.messages.push_back(decoded(coding.value(), envelope.message.view()));
      } else {
        read.messages.emplace_back(envelope.message.view());
      }
    }
    EXPECT_FALSE(reader.is_inside());
    return read;
  }

  Streamed stream(std::string_view path, std::string_view body, std::string_view headers = "") {
    return read_stream(ask(post(path, body, headers, "application/connect+json")));
  }

  Answer unary(std::string_view path, std::string_view body, std::string_view headers = "") {
    return ask(post(path, body, "Connect-Protocol-Version: 1\r\n" + std::string(headers)));
  }
};

// --- Unary ---

TEST_F(ConnectTest, a_unary_call_is_answered_in_its_own_type) {
  start();
  const Answer answer = unary("/prices/echo", R"({"a":1})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "application/json");
  EXPECT_EQ(answer.body, R"({"a":1})");
  EXPECT_EQ(unary("/prices/echo", "").body, "{}");
}

TEST_F(ConnectTest, an_error_has_its_status_and_only_details_that_a_client_can_read) {
  start();
  const Answer answer = unary("/prices/fail", "not_found");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.header("content-type"), "application/json");
  EXPECT_EQ(answer.header("trailer-why"), "it is a test");
  const json error = json::parse(answer.body);
  EXPECT_EQ(error["code"], "not_found");
  EXPECT_EQ(error["message"], "as \"asked\"");
  EXPECT_FALSE(error.contains("details"));
}

TEST_F(ConnectTest, a_compressed_request_is_read_and_an_answer_compressed_as_the_client_accepts) {
  start();
  const std::string body = "{\"text\":\"" + std::string(10'000, 'x') + "\"}";
  for (const net::Coding coding : {net::Coding::gzip, net::Coding::zstd, net::Coding::deflate}) {
    const std::string name(net::coding_name(coding));
    std::string headers = "Content-Encoding: ";
    headers.append(name).append("\r\nAccept-Encoding: ").append(name).append("\r\n");
    const Answer answer = unary("/prices/echo", coded(coding, body), headers);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.header("content-encoding"), name);
    EXPECT_EQ(decoded(coding, answer.body), body);
  }
  EXPECT_EQ(unary("/prices/echo", body).header("content-encoding"), "");
}

TEST_F(ConnectTest, a_coding_that_is_not_known_is_unimplemented_and_those_that_are_stand_beside_it) {
  start();
  const Answer answer = unary("/prices/echo", "{}", "Content-Encoding: br\r\n");
  EXPECT_EQ(answer.status, 415);
  EXPECT_EQ(json::parse(answer.body)["code"], "unimplemented");
  EXPECT_EQ(answer.header("accept-encoding"), "gzip, zstd, deflate");
}

TEST_F(ConnectTest, a_body_that_is_not_what_it_says_or_too_large_is_refused) {
  GatewayLimits limits;
  limits.body_bytes_max = 100'000;
  start({.dev = true, .loopback = true}, limits);
  EXPECT_EQ(unary("/prices/echo", "no gzip", "Content-Encoding: gzip\r\n").status, 400);
  const Answer large =
      unary("/prices/echo", coded(net::Coding::gzip, std::string(1u << 20, ' ')), "Content-Encoding: gzip\r\n");
  EXPECT_EQ(large.status, 429);
  EXPECT_EQ(json::parse(large.body)["code"], "resource_exhausted");
}

TEST_F(ConnectTest, a_get_carries_its_message_in_the_query) {
  start();
  EXPECT_EQ(ask(get("/prices/echo?connect=v1&encoding=json&message=%7B%22a%22%3A1%7D")).body, R"({"a":1})");
  EXPECT_EQ(ask(get("/prices/echo?message=eyJhIjoxfQ&base64=1&encoding=json&connect=v1")).body, R"({"a":1})");
  EXPECT_EQ(ask(get("/prices/echo?connect=v1&encoding=json")).status, 400);
  EXPECT_EQ(ask(get("/prices/echo?connect=v1&encoding=xml&message=a")).status, 415);
  const Answer changes = ask(get("/prices/change?connect=v1&encoding=json&message=%7B%7D"));
  EXPECT_EQ(changes.status, 405);
  EXPECT_EQ(changes.header("allow"), "POST, OPTIONS");
}

TEST_F(ConnectTest, protobuf_needs_a_command_that_has_types) {
  start();
  EXPECT_EQ(ask(post("/prices/echo", "", "", "application/proto")).status, 415);
}

TEST_F(ConnectTest, a_stream_is_not_called_as_a_unary_command) {
  start();
  const Answer answer = unary("/prices/count", "1");
  EXPECT_EQ(answer.status, 415);
  EXPECT_NE(answer.body.find("application/connect+json"), std::string::npos);
}

TEST_F(ConnectTest, headers_that_make_no_sense_are_refused) {
  start();
  EXPECT_EQ(unary("/prices/echo", "{}", "Connect-Timeout-Ms: soon\r\n").status, 400);
  EXPECT_EQ(ask(post("/prices/echo", "{}", "Connect-Protocol-Version: 2\r\n")).status, 400);
  EXPECT_EQ(unary("/prices/hang", "{}", "Connect-Timeout-Ms: 1\r\n").status, 504);
}

TEST_F(ConnectTest, a_page_of_another_origin_is_refused_by_either_form) {
  start();
  constexpr std::string_view origin = "Origin: http://evil.example\r\n";
  EXPECT_EQ(unary("/prices/echo", "{}", origin).status, 403);
  EXPECT_EQ(ask(post("/prices/count", enveloped("1"), origin, "application/connect+json")).status, 403);
}

// --- Streams ---

TEST_F(ConnectTest, a_streams_answer_is_envelopes_and_an_end) {
  start();
  const Streamed answer = stream("/prices/count", enveloped("2"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.type, "application/connect+json");
  EXPECT_EQ(answer.messages, (std::vector<std::string>{"{\"n\":\n0}", "{\"n\":\n1}"}));
  EXPECT_EQ(answer.end, json::object());
}

TEST_F(ConnectTest, an_error_is_the_end_of_the_stream) {
  start();
  const Streamed answer = stream("/prices/count", enveloped("3"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.messages.size(), 3u);
  EXPECT_EQ(answer.end["error"]["code"], "aborted");
  EXPECT_EQ(answer.end["error"]["message"], "three is enough");
}

TEST_F(ConnectTest, a_stream_of_requests_is_read_however_it_is_torn) {
  start();
  const std::string body = enveloped("one") + enveloped("") + enveloped("three");
  for (std::size_t at = 0; at <= body.size(); ++at) {
    const int fd = connect();
    write(fd,
          "POST /prices/sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\n"
          "Transfer-Encoding: chunked\r\n\r\n");
    if (at > 0) write(fd, chunk(body.substr(0, at)));
    turn();
    if (at < body.size()) write(fd, chunk(body.substr(at)));
    write(fd, "0\r\n\r\n");
    const Streamed answer = read_stream(this->answer(fd, "POST"));
    ASSERT_EQ(answer.messages, std::vector<std::string>{"8"}) << at;
    ASSERT_EQ(answer.end, json::object());
    close(fd);
  }
}

TEST_F(ConnectTest, both_directions_stream) {
  start();
  const Streamed answer = stream("/prices/chat", enveloped("1") + enveloped("2"));
  EXPECT_EQ(answer.messages, (std::vector<std::string>{R"({"heard":1})", R"({"heard":2})"}));
  EXPECT_EQ(answer.end, json::object());
}

TEST_F(ConnectTest, messages_of_a_stream_are_compressed_one_by_one) {
  start();
  const std::string body = "\"" + std::string(10'000, 'x') + "\"";
  const Streamed answer =
      stream("/prices/chat", enveloped(coded(net::Coding::gzip, body), net::envelope_flag::compressed) + enveloped("2"),
             "Connect-Content-Encoding: gzip\r\nConnect-Accept-Encoding: zstd\r\n");
  EXPECT_EQ(answer.messages, (std::vector<std::string>{"{\"heard\":" + body + "}", R"({"heard":2})"}));
}

TEST_F(ConnectTest, what_is_not_a_stream_of_messages_is_told) {
  GatewayLimits limits;
  limits.body_bytes_max = 1000;
  start({.dev = true, .loopback = true}, limits);
  const auto code = [&](std::string_view path, std::string_view body, std::string_view headers = "") {
    const Streamed answer = stream(path, body, headers);
    EXPECT_EQ(answer.status, 200);
    return answer.end.value("error", json::object()).value("code", "none");
  };
  EXPECT_EQ(code("/prices/sum", enveloped("whole").substr(0, 7)), "invalid_argument");
  EXPECT_EQ(code("/prices/sum", enveloped("x", 0x40)), "invalid_argument");
  EXPECT_EQ(code("/prices/sum", enveloped("x", net::envelope_flag::connect_end)), "invalid_argument");
  EXPECT_EQ(code("/prices/sum", enveloped("x", net::envelope_flag::compressed)), "invalid_argument");
  EXPECT_EQ(code("/prices/sum", enveloped("x", 1), "Connect-Content-Encoding: gzip\r\n"), "invalid_argument");
  EXPECT_EQ(code("/prices/sum", enveloped("x"), "Connect-Content-Encoding: br\r\n"), "unimplemented");
  EXPECT_EQ(code("/prices/sum", enveloped(std::string(1001, 'x'))), "resource_exhausted");
  EXPECT_EQ(code("/prices/count", enveloped("1") + enveloped("2")), "unimplemented");
  EXPECT_EQ(code("/prices/count", ""), "unimplemented");
  EXPECT_EQ(code("/nobody/count", enveloped("1")), "not_found");
}

TEST_F(ConnectTest, a_codec_that_is_not_known_is_415) {
  start();
  EXPECT_EQ(ask(post("/prices/count", enveloped("1"), "", "application/connect+xml")).status, 415);
}

TEST_F(ConnectTest, a_client_that_leaves_cancels_its_stream) {
  start();
  const int fd = connect();
  write(fd, post("/prices/flood", enveloped("{}"), "", "application/connect+json"));
  turn_until([&] { return seen_.sent > 0; });
  close(fd);
  turn_until([&] { return !seen_.cancelled.empty(); });
}

TEST_F(ConnectTest, a_slow_reader_holds_its_command_back) {
  start();
  const int fd = connect();
  write(fd, post("/prices/flood", enveloped("{}"), "", "application/connect+json"));
  std::size_t before = 0;
  turn_until([&] {
    const bool stands = seen_.sent > 0 && seen_.sent == before;
    before = seen_.sent;
    return stands;
  });
  EXPECT_LT(seen_.sent * (16u << 10), 64u << 20);
  std::string read_now;
  turn_until([&] { return read(fd, read_now) && seen_.sent > before; });
}

// --- Texts ---

TEST(ConnectText, the_end_of_a_stream_has_every_trailer_with_all_its_values) {
  call::Metadata trailers;
  ASSERT_TRUE(trailers.add("a", "1"));
  ASSERT_TRUE(trailers.add("b-bin", "\xff"));
  ASSERT_TRUE(trailers.add("a", "2"));
  const json ok = json::parse(connect_end_of_stream(Status(), trailers));
  EXPECT_EQ(ok, json::parse(R"({"metadata":{"a":["1","2"],"b-bin":["/w"]}})"));
  const json failed = json::parse(connect_end_of_stream(Status(Code::cancelled, "enough"), trailers));
  EXPECT_EQ(failed["error"]["code"], "canceled");
  EXPECT_EQ(failed["metadata"], ok["metadata"]);
  EXPECT_EQ(connect_end_of_stream(Status(), {}), "{}");
}

TEST(ConnectText, details_of_connects_form_are_kept_and_no_others) {
  const auto status =
      Status(Code::aborted, "no").with_details(R"([{"type":"a.B","value":"AAE"},7,{"type":"a.C"},{"value":"AA"}])");
  EXPECT_EQ(json::parse(connect_error(status))["details"], json::parse(R"([{"type":"a.B","value":"AAE"}])"));
}

TEST(ConnectText, a_request_is_connects_when_its_type_its_query_or_its_version_says_so) {
  const auto form = [](std::string_view method, std::string_view target, std::string_view type,
                       bool versioned = false) {
    const net::Header headers[] = {{"Content-Type", type}, {versioned ? "Connect-Protocol-Version" : "X", "1"}};
    Request request{.method = method, .target = target, .host = "localhost", .headers = headers};
    return connect_form(request);
  };
  EXPECT_FALSE(form("POST", "/a/b", "application/json"));
  EXPECT_TRUE(form("POST", "/a/b", "application/json; charset=utf-8", true));
  EXPECT_EQ(form("POST", "/a/b", "application/proto")->content_type(), "application/proto");
  EXPECT_EQ(form("POST", "/a/b", "application/connect+proto")->content_type(), "application/connect+proto");
  EXPECT_FALSE(form("POST", "/a/b", "application/connect+thrift")->is_known);
  EXPECT_FALSE(form("GET", "/a/b?message=connect%3Dv1", ""));
  EXPECT_FALSE(form("GET", "/a/b?xconnect=v1", ""));
  EXPECT_EQ(form("GET", "/a/b?encoding=proto&connect=v1&message=", "")->kind, ConnectForm::Kind::get);
  EXPECT_FALSE(form("PUT", "/a/b", "application/proto"));
}

}  // namespace
}  // namespace shunt::gateway
