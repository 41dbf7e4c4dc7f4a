// Client against server, in memory.
#include <gtest/gtest.h>

#include <algorithm>

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

// --- Sending -----------------------------------------------------------------------------------------------------------

TEST(Http2, a_large_body_of_pieces_and_bytes_arrives_in_order) {
  Pair pair;
  pair.server.serve = echo;
  Ear& ear = pair.client.ask("/", false);
  std::string all;
  for (int i = 0; i < 300; ++i) {
    const std::string piece(static_cast<std::size_t>(1 + i * 37 % 9000), static_cast<char>('a' + i % 26));
    all += piece;
    if (i % 3 == 0) {
      ear.stream->send(Bytes::copy_of(piece), i == 299);
    } else {
      ear.stream->send(piece, i == 299);
    }
    if (i % 10 == 0) ASSERT_TRUE(pair.pump(4099));
  }
  ASSERT_TRUE(pair.pump(4099));
  EXPECT_EQ(pair.server.ears.front().body, all);
  EXPECT_EQ(ear.body, all);
  EXPECT_EQ(ear.closes, 1);
}

TEST(Http2, collect_stops_near_the_size_it_is_given) {
  Pair pair;
  Ear& ear = pair.client.ask("/", false);
  ASSERT_TRUE(pair.pump());
  ear.stream->send(std::string(100'000, 'x'), true);
  std::string out;
  EXPECT_TRUE(pair.client.session->collect(out, 20'000));
  EXPECT_GE(out.size(), 20'000U);
  EXPECT_LE(out.size(), 20'000U + 16'384 + 9);
  EXPECT_LE(ear.stream->unsent(), 100'000U - 20'000 + 100);
}

TEST(Http2, a_slow_reader_holds_back_its_own_stream_only) {
  Pair pair({}, {.stream_window = 70'000});
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.stream->send(std::string(300'000, 'x'), true);
  };
  Ear& slow = pair.client.ask("/slow");
  slow.consume = false;
  Ear& fast = pair.client.ask("/fast");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(slow.body.size(), 70'000U);
  EXPECT_FALSE(slow.ended);
  EXPECT_EQ(fast.body.size(), 300'000U);
  EXPECT_EQ(fast.closes, 1);
  EXPECT_EQ(pair.server.ears.front().stream->unsent(), 230'000U);
  slow.consume = true;
  slow.stream->consumed(70'000);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(slow.body.size(), 300'000U);
  EXPECT_EQ(slow.closes, 1);
}

TEST(Http2, who_sends_too_much_hears_when_half_of_it_is_gone) {
  Pair pair({}, {.stream_window = 70'000});
  pair.server.serve = [](Ear& ear) { ear.stream->send_head(200, {}, false); };
  Ear& ear = pair.client.ask("/");
  ear.consume = false;
  ASSERT_TRUE(pair.pump());
  Ear& served = pair.server.ears.front();
  served.stream->send(std::string(Http2Stream::high_mark, 'x'), false);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(served.drained, 0);  // Never above it.
  served.stream->send(std::string(100'000, 'x'), false);
  std::size_t left = 0;
  served.drain = [&] { left = served.stream->unsent(); };
  int rounds = 0;
  while (served.drained == 0) {
    ear.stream->consumed(ear.body.size());
    ear.body.clear();
    ASSERT_TRUE(pair.pump());
    ASSERT_LT(++rounds, 100);
  }
  EXPECT_LE(left, Http2Stream::high_mark / 2);
  EXPECT_GT(left, Http2Stream::high_mark / 2 - 16'384);
  EXPECT_EQ(served.drained, 1);
}

TEST(Http2, from_on_drained_more_may_be_sent_or_the_stream_reset) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.stream->send(std::string(400'000, 'x'), false);
    ear.drain = [&ear] {
      if (ear.drained == 1) return ear.stream->send(std::string(400'000, 'y'), false);
      ear.stream->reset(Http2Error::internal_error);
    };
  };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.server.ears.front().drained, 2);
  EXPECT_EQ(ear.error, Http2Error::internal_error);
  EXPECT_EQ(ear.closes, 1);
  EXPECT_EQ(pair.server.ears.front().closes, 1);
}

TEST(Http2, an_informational_head_is_not_the_answer) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(100, {}, false);
    const std::vector<Header> hints{{"link", "</a>"}};
    ear.stream->send_head(103, hints, false);
    ear.stream->send_head(204, {}, true);
  };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.heads, 1);
  EXPECT_EQ(ear.status, 204);
  EXPECT_EQ(ear.headers.count("link"), 0U);
}

TEST(Http2, a_head_of_more_than_a_frame_is_carried) {
  Pair pair;
  const std::string large(30'000, 'v');
  pair.server.serve = [&large](Ear& ear) {
    const std::vector<Header> headers{{"x", large}};
    ear.stream->send_head(200, headers, true);
  };
  Ear& ear = pair.client.ask("/", true, {{"y", large}});
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.server.ears.front().headers["y"], large);
  EXPECT_EQ(ear.headers["x"], large);
}

TEST(Http2, a_head_too_long_to_be_sent_closes_the_stream) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    const std::string large(200'000, 'v');
    const std::vector<Header> headers{{"x", large}};
    ear.stream->send_head(200, headers, false);
    ear.stream->send("body", true);
  };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.error, Http2Error::internal_error);
  EXPECT_EQ(pair.server.ears.front().error, Http2Error::internal_error);
  const std::string large(200'000, 'v');
  Ear& other = pair.client.ask("/", true, {{"x", large}});
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(other.closes, 1);
  EXPECT_EQ(pair.server.ears.size(), 1U);
}

TEST(Http2, output_is_told_once_until_it_is_collected) {
  Pair pair;
  ASSERT_TRUE(pair.pump());
  Ear& ear = pair.client.ask("/", false);
  ear.stream->send("a", false);
  ear.stream->send("b", false);
  EXPECT_EQ(pair.client.outputs, 1);
  ASSERT_TRUE(pair.pump());
  ear.stream->send("c", true);
  EXPECT_EQ(pair.client.outputs, 2);
  pair.server.serve = echo;
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.server.outputs, 0);  // All was said from inside receive().
}

TEST(Http2, what_is_asked_of_a_stream_that_has_ended_its_side_is_not_done) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.stream->send("a", true);
    ear.stream->send("b", false);
    ear.stream->send_trailers(grpc_trailers());
    ear.stream->send_head(500, {}, true);
  };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.status, 200);
  EXPECT_EQ(ear.body, "a");
  EXPECT_TRUE(ear.trailers.empty());
}

// --- Ends --------------------------------------------------------------------------------------------------------------

TEST(Http2, a_reset_is_heard_by_the_peer_and_comes_back_as_one_close) {
  Pair pair;
  Ear& ear = pair.client.ask("/", false);
  ear.stream->send("x", false);
  ASSERT_TRUE(pair.pump());
  ear.stream->reset(Http2Error::cancel);
  EXPECT_EQ(ear.closes, 0);  // Never from inside.
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.closes, 1);
  EXPECT_EQ(ear.error, Http2Error::cancel);
  EXPECT_EQ(pair.server.ears.front().closes, 1);
  EXPECT_EQ(pair.server.ears.front().error, Http2Error::cancel);
  EXPECT_EQ(pair.server.session->streams(), 0U);
}

TEST(Http2, a_request_reset_before_it_was_sent_is_never_seen) {
  Pair pair;
  Ear& ear = pair.client.ask("/", true);
  ear.stream->reset(Http2Error::cancel);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.closes, 1);
  EXPECT_EQ(ear.error, Http2Error::cancel);
  EXPECT_TRUE(pair.server.ears.empty());
  EXPECT_EQ(pair.client.session->streams(), 0U);
}

TEST(Http2, after_reset_nothing_is_heard_but_the_close) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.stream->send(std::string(100'000, 'x'), true);
  };
  Ear& ear = pair.client.ask("/");
  ear.data = [&ear](std::string_view /*piece*/, bool /*end*/) { ear.stream->reset(Http2Error::cancel); };
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.body.size(), ear.largest);  // One piece.
  EXPECT_FALSE(ear.ended);
  EXPECT_EQ(ear.closes, 1);
  Ear& next = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(next.body.size(), 100'000U);  // The connection's window is whole.
}

TEST(Http2, a_stream_may_reset_any_other_from_an_event) {
  Pair pair;
  std::vector<Http2Stream*> streams;
  pair.server.serve = [&streams](Ear& ear) {
    streams.push_back(ear.stream);
    if (streams.size() < 5) return;
    for (Http2Stream* stream : streams) stream->reset(Http2Error::refused_stream);
  };
  for (int i = 0; i < 5; ++i) pair.client.ask("/", false);
  ASSERT_TRUE(pair.pump());
  for (const Ear& ear : pair.client.ears) EXPECT_EQ(ear.error, Http2Error::refused_stream);
  for (const Ear& ear : pair.server.ears) EXPECT_EQ(ear.closes, 1);
}

TEST(Http2, a_request_that_nobody_takes_is_refused) {
  Pair pair;
  pair.server.refuse = true;
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.error, Http2Error::refused_stream);
}

TEST(Http2, an_answer_that_does_not_want_the_rest_stops_the_request) {
  Pair pair;
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(413, {}, false);
    ear.stream->send("too large", true);
    ear.stream->close_when_sent();
  };
  Ear& ear = pair.client.ask("/", false);
  ear.stream->send(std::string(1'000'000, 'x'), false);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.status, 413);
  EXPECT_EQ(ear.body, "too large");
  EXPECT_EQ(ear.closes, 1);
  EXPECT_EQ(ear.error, Http2Error::no_error);
  EXPECT_EQ(pair.server.ears.front().error, Http2Error::no_error);
}

TEST(Http2, an_answer_before_the_requests_end_lets_it_go_on) {
  Pair pair;
  pair.server.serve = [](Ear& ear) { ear.stream->send_head(200, {}, true); };
  Ear& ear = pair.client.ask("/", false);
  ASSERT_TRUE(pair.pump());
  EXPECT_TRUE(ear.ended);
  EXPECT_EQ(ear.closes, 0);
  ear.stream->send("late", true);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.server.ears.front().body, "late");
  EXPECT_EQ(ear.closes, 1);
  EXPECT_EQ(pair.server.ears.front().closes, 1);
}

TEST(Http2, destruction_closes_every_stream) {
  Ear one;
  Ear two;
  Side owner({}, false);
  for (Ear* ear : {&one, &two}) {
    auto stream = owner.session->request({"GET", "http", "a", "/", {}, 0, {}}, false, *ear);
    ASSERT_TRUE(stream.has_value());
    ear->stream = *stream;
  }
  const auto reset_other = [&one, &two] {
    for (const Ear* ear : {&one, &two}) {
      if (ear->stream != nullptr) ear->stream->reset(Http2Error::internal_error);  // Goes nowhere.
    }
  };
  one.closed = reset_other;
  two.closed = reset_other;
  owner.session.reset();
  EXPECT_EQ(one.closes, 1);
  EXPECT_EQ(two.closes, 1);
  EXPECT_EQ(one.error, Http2Error::cancel);
  EXPECT_EQ(two.error, Http2Error::cancel);
}

TEST(Http2, shutting_down_is_told_in_two_steps_and_open_streams_end_well) {
  Pair pair;
  Ear& first = pair.client.ask("/first", false);
  ASSERT_TRUE(pair.pump());
  pair.server.serve = echo;
  echo(pair.server.ears.front());
  pair.server.session->shut_down();
  EXPECT_EQ(pair.server.outputs, 1);
  const std::string notice = pair.server.collect();
  const auto said = testing::frames(notice);
  const auto goodbye = std::ranges::find(said, testing::goaway, &testing::Frame::type);
  ASSERT_NE(goodbye, said.end());
  EXPECT_EQ(goodbye->at(0), 0x7fff'ffffU);
  // A request that the client sent before it could hear of it is served.
  Ear& late = pair.client.ask("/late");
  ASSERT_TRUE(pair.feed(*pair.server.session, pair.client.collect(), 1000));
  ASSERT_TRUE(pair.feed(*pair.client.session, notice, 1000));
  EXPECT_EQ(pair.client.goaways, 1);
  EXPECT_FALSE(pair.server.session->is_done());
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.client.goaways, 2);
  EXPECT_EQ(pair.client.goaway_stream, 3U);
  EXPECT_EQ(late.error, Http2Error::no_error);
  EXPECT_EQ(late.status, 200);
  EXPECT_FALSE(pair.server.session->is_done());  // The first is open.
  pair.client.ask("/refused");
  EXPECT_NE(pair.client.failure, "");
  first.stream->send("end", true);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(first.error, Http2Error::no_error);
  EXPECT_TRUE(pair.server.session->is_done());
  EXPECT_TRUE(pair.client.session->is_done());
}

TEST(Http2, streams_that_a_goaway_leaves_out_are_refused_and_the_others_go_on) {
  Side client({}, false);
  Ear& first = client.ask("/1");
  Ear& second = client.ask("/2");
  Ear& third = client.ask("/3");
  (void)client.collect();
  using namespace testing;  // NOLINT(google-build-using-namespace): the words of http2_rig_test.h
  ASSERT_TRUE(
      client.session->receive(frame(settings, 0, 0, "") + frame(goaway, 0, 0, number(3) + number(0)), 0).has_value());
  EXPECT_EQ(client.goaways, 1);
  EXPECT_EQ(client.goaway_stream, 3U);
  EXPECT_EQ(first.closes, 0);
  EXPECT_EQ(second.closes, 0);
  EXPECT_EQ(third.closes, 1);
  EXPECT_EQ(third.error, Http2Error::refused_stream);
}

TEST(Http2, a_client_that_shuts_down_finishes_what_is_open) {
  Pair pair;
  Ear& ear = pair.client.ask("/", false);
  pair.server.serve = echo;
  ASSERT_TRUE(pair.pump());
  pair.client.session->shut_down();
  pair.client.ask("/");
  EXPECT_NE(pair.client.failure, "");
  ear.stream->send("x", true);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.body, "x");
  EXPECT_TRUE(pair.client.session->is_done());
}

TEST(Http2, terminating_closes_everything_and_says_why) {
  Pair pair;
  Ear& ear = pair.client.ask("/", false);
  ASSERT_TRUE(pair.pump());
  pair.server.session->terminate(Http2Error::enhance_your_calm, "too_many_pings");
  EXPECT_EQ(pair.server.ears.front().closes, 1);
  EXPECT_EQ(pair.server.ears.front().error, Http2Error::enhance_your_calm);
  EXPECT_EQ(pair.server.outputs, 1);
  EXPECT_FALSE(pair.server.session->is_done());
  const std::string out = pair.server.collect();
  EXPECT_NE(out.find("too_many_pings"), std::string::npos);
  EXPECT_TRUE(pair.server.session->is_done());
  ASSERT_TRUE(pair.feed(*pair.client.session, out, 1000));
  EXPECT_EQ(pair.client.goaway_error, Http2Error::enhance_your_calm);
  EXPECT_EQ(ear.closes, 0);  // The peer may still answer it; its owner closes with the connection.
}

TEST(Http2, terminating_from_an_event_waits_for_its_end) {
  Pair pair;
  pair.server.serve = [&pair](Ear& ear) {
    pair.server.session->terminate(Http2Error::no_error, "");
    EXPECT_EQ(ear.closes, 0);
  };
  pair.client.ask("/");
  pair.client.ask("/");
  EXPECT_FALSE(pair.pump());
  EXPECT_EQ(pair.server.session->streams(), 0U);
  for (const Ear& ear : pair.server.ears) EXPECT_EQ(ear.closes, 1);
}

TEST(Http2, a_ping_is_answered) {
  Pair pair;
  pair.client.session->ping();
  pair.server.session->ping();
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.client.pings, 1);
  EXPECT_EQ(pair.server.pings, 1);
}

TEST(Http2, from_on_close_another_request_may_begin) {
  Pair pair;
  pair.server.serve = echo;
  Ear& first = pair.client.ask("/1");
  Ear* second = nullptr;
  first.closed = [&] { second = &pair.client.ask("/2"); };
  ASSERT_TRUE(pair.pump());
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->closes, 1);
}

// --- A peer's limits ---------------------------------------------------------------------------------------------------

TEST(Http2, a_client_keeps_to_the_streams_that_the_server_allows) {
  Pair pair({.streams_max = 3});
  ASSERT_TRUE(pair.pump());
  for (int i = 0; i < 3; ++i) {
    pair.client.ask("/", false);
    EXPECT_EQ(pair.client.failure, "");
  }
  Ear& beyond = pair.client.ask("/", false);
  EXPECT_NE(pair.client.failure, "");
  EXPECT_EQ(beyond.closes, 0);  // It never began.
  pair.client.ears.front().stream->reset(Http2Error::cancel);
  ASSERT_TRUE(pair.pump());
  pair.client.ask("/", false);
  EXPECT_EQ(pair.client.failure, "");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(pair.server.session->streams(), 3U);
}

TEST(Http2, an_answers_head_too_large_resets_the_stream) {
  Pair pair({}, {.header_bytes_max = 500});
  pair.server.serve = [](Ear& ear) {
    const std::string large(600, 'v');
    const std::vector<Header> headers{{"x", large}};
    ear.stream->send_head(200, headers, true);
  };
  Ear& ear = pair.client.ask("/");
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.heads, 0);
  EXPECT_EQ(ear.error, Http2Error::enhance_your_calm);
}

TEST(Http2, a_status_that_http_does_not_know_resets_the_stream) {
  Side client({}, false);
  Ear& ear = client.ask("/");
  (void)client.collect();
  using namespace testing;  // NOLINT(google-build-using-namespace): the words of http2_rig_test.h
  ASSERT_TRUE(
      client.session->receive(frame(settings, 0, 0, "") + frame(headers, end_headers, 1, field(":status", "042")), 0)
          .has_value());
  (void)client.collect();
  EXPECT_EQ(ear.heads, 0);
  EXPECT_EQ(ear.error, Http2Error::protocol_error);
}

TEST(Http2, a_servers_session_sends_no_requests) {
  Pair pair;
  pair.server.ask("/");
  EXPECT_NE(pair.server.failure, "");
}

// --- Extended CONNECT and Upgrade --------------------------------------------------------------------------------------

TEST(Http2, a_websocket_is_opened_by_an_extended_connect) {
  Pair pair;
  pair.client.ask("/chat", false, {}, "CONNECT", "websocket");
  EXPECT_NE(pair.client.failure, "");  // The server has not told yet that it takes them.
  ASSERT_TRUE(pair.pump());
  pair.server.serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.data = [&ear](std::string_view piece, bool end) { ear.stream->send(piece, end); };
  };
  Ear& ear = pair.client.ask("/chat", false, {}, "CONNECT", "websocket");
  ear.stream->send("hello", false);
  ASSERT_TRUE(pair.pump());
  const Ear& served = pair.server.ears.front();
  EXPECT_EQ(served.method, "CONNECT");
  EXPECT_EQ(served.protocol, "websocket");
  EXPECT_EQ(served.path, "/chat");
  EXPECT_EQ(ear.status, 200);
  EXPECT_EQ(ear.body, "hello");
  ear.stream->send("bye", true);
  ASSERT_TRUE(pair.pump());
  EXPECT_EQ(ear.body, "hellobye");
  EXPECT_EQ(ear.closes, 1);
}

TEST(Http2, an_upgraded_request_becomes_stream_1) {
  Side server({}, true);
  server.serve = [](Ear& ear) {
    ear.data = [&ear](std::string_view piece, bool end) {
      ear.stream->send_head(200, {}, false);
      ear.stream->send(piece, end);
    };
  };
  const Http2Head head{"POST", "http", "here", "/up", {}, 0, {}};
  // SETTINGS_INITIAL_WINDOW_SIZE = 10.
  ASSERT_TRUE(server.session->upgrade(std::string_view("\0\4\0\0\0\12", 6), head, "body of the request").has_value());
  EXPECT_EQ(server.outputs, 1);
  auto said = testing::frames(server.collect());
  ASSERT_GE(said.size(), 3U);
  EXPECT_EQ(said[0].type, testing::settings);
  EXPECT_EQ(said.back().type, testing::data);
  EXPECT_EQ(said.back().payload, "body of th");
  EXPECT_EQ(said.back().stream, 1U);
  const std::string opening = std::string(testing::preface) + testing::frame(testing::settings, 0, 0, "");
  ASSERT_TRUE(server.session->receive(opening + testing::frame(testing::window_update, 0, 1, testing::number(100)), 0)
                  .has_value());
  said = testing::frames(server.collect());
  EXPECT_EQ(said.back().payload, "e request");
  EXPECT_EQ(server.ears.front().closes, 1);
  EXPECT_EQ(server.ears.front().path, "/up");
}

TEST(Http2, an_upgrade_with_settings_that_are_none_fails) {
  Side server({}, true);
  EXPECT_FALSE(server.session->upgrade("abc", {"GET", "http", "here", "/", {}, 0, {}}, "").has_value());
}

}  // namespace
}  // namespace shunt::net
