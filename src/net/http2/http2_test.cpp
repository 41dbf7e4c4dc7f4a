// Client against server, in memory.
#include <gtest/gtest.h>

#include "net/http2/http2_rig_test.h"
#include "net/http2/session.h"

namespace shunt::net {
namespace {

using testing::Ear;
using testing::Pair;
using testing::Side;

std::vector<Header> grpc_trailers() { return {{"grpc-status", "0"}, {"grpc-message", ""}}; }

// Answers with what came, when it has ended.
void echo(Ear& ear) {
  const auto answer = [&ear] {
    const std::vector<Header> headers{{"content-type", "text/plain"}};
    ear.stream->send_head(200, headers, false);
    ear.stream->send(ear.body, false);
    ear.stream->send_trailers(grpc_trailers());
  };
  if (ear.ended) return answer();
  ear.data = [answer](std::string_view /*piece*/, bool end) {
    if (end) answer();
  };
  ear.trailed = answer;
}

TEST(Http2, a_request_is_answered_with_head_body_and_trailers) {
  Pair pair;
  pair.server.serve = echo;
  Ear& ear = pair.client.ask("/echo.Echo/Say", false, {{"content-type", "application/grpc"}, {"te", "trailers"}});
  ear.stream->send("hello ", false);
  ear.stream->send(Bytes::copy_of("world"), true);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.status, 200);
  EXPECT_EQ(ear.headers["content-type"], "text/plain");
  EXPECT_EQ(ear.body, "hello world");
  EXPECT_EQ(ear.trailers["grpc-status"], "0");
  EXPECT_EQ(ear.closes, 1);
  EXPECT_EQ(ear.error, Http2Error::no_error);
  const Ear& served = pair.server.ears.front();
  EXPECT_EQ(served.method, "POST");
  EXPECT_EQ(served.scheme, "http");
  EXPECT_EQ(served.authority, "here");
  EXPECT_EQ(served.path, "/echo.Echo/Say");
  EXPECT_EQ(served.closes, 1);
  EXPECT_EQ(served.error, Http2Error::no_error);
  EXPECT_EQ(pair.server.session->streams(), 0U);
  EXPECT_EQ(pair.client.session->streams(), 0U);
}

TEST(Http2, torn_into_single_bytes_it_is_the_same) {
  Pair pair;
  pair.server.serve = echo;
  Ear& ear = pair.client.ask("/a", false, {{"content-length", "3"}});
  ear.stream->send("abc", true);
  ASSERT_TRUE(pair.pump(1));
  EXPECT_EQ(ear.body, "abc");
  EXPECT_EQ(ear.closes, 1);
}

TEST(Http2, an_answer_of_trailers_only_is_one_block) {
  Pair pair;
  pair.server.serve = [](Ear& ear) { ear.stream->send_head(200, grpc_trailers(), true); };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.heads, 1);
  EXPECT_TRUE(ear.ended);
  EXPECT_EQ(ear.headers["grpc-status"], "0");
  EXPECT_EQ(ear.error, Http2Error::no_error);
}

TEST(Http2, trailers_may_follow_the_head_at_once) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.stream->send_trailers(grpc_trailers());
  };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.status, 200);
  EXPECT_EQ(ear.body, "");
  EXPECT_EQ(ear.trailers["grpc-status"], "0");
  EXPECT_EQ(ear.closes, 1);
}

TEST(Http2, a_requests_trailers_end_it) {
  Pair pair;
  pair.server.serve = echo;
  Ear& ear = pair.client.ask("/", false);
  ear.stream->send("x", false);
  const std::vector<Header> trailers{{"checksum", "7"}};
  ear.stream->send_trailers(trailers);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.server.ears.front().trailers["checksum"], "7");
  EXPECT_EQ(ear.body, "x");
}

TEST(Http2, many_streams_run_at_once_and_their_objects_are_used_again) {
  Pair pair;
  pair.server.serve = echo;
  for (int round = 0; round < 5; ++round) {
    std::vector<Ear*> ears;
    for (int i = 0; i < 90; ++i) {
      ears.push_back(&pair.client.ask("/", false));
      ears.back()->stream->send(std::to_string(i), true);
    }
    ASSERT_TRUE(pair.pump());
    for (int i = 0; i < 90; ++i) EXPECT_EQ(ears[static_cast<std::size_t>(i)]->body, std::to_string(i));
  }
}

}  // namespace
}  // namespace shunt::net
