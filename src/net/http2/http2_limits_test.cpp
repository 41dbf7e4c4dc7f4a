// Frames by hand against a server: every limit, and every kind of bad input. What is expected is what the peer sees.
#include <gtest/gtest.h>

#include <algorithm>

#include "net/http2/http2_rig_test.h"
#include "net/http2/session.h"

namespace shunt::net {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace): the words of http2_rig_test.h

constexpr std::int64_t second_ns = 1'000'000'000;

/// A server, and a peer that writes what it likes.
class Http2Raw : public ::testing::Test {
 protected:
  /// The server, its settings told and ours acknowledged.
  void start(const Http2Limits& limits = {}) {
    server = make_own<Side>(limits, true);
    server->serve = [this](Ear& ear) {
      if (answer_at_once) ear.stream->send_head(200, {}, true);
    };
    ASSERT_TRUE(send(std::string(preface) + frame(settings, 0, 0, "") + frame(settings, ack, 0, "")));
    (void)take();
  }
  /// False: receive() says that the session is broken.
  bool send(std::string_view bytes) { return server->session->receive(bytes, now_ns).has_value(); }
  std::vector<Frame> take() { return frames(server->collect()); }
  /// Sends, and takes what comes of it.
  std::vector<Frame> say(std::string_view bytes) {
    (void)send(bytes);
    return take();
  }
  static const Frame* find(const std::vector<Frame>& all, Type type) {
    const auto found = std::ranges::find(all, type, &Frame::type);
    return found == all.end() ? nullptr : &*found;
  }
  /// The connection ended with that error, and every stream's owner heard of it.
  void expect_end(const std::vector<Frame>& answer, Http2Error error) {
    const Frame* goodbye = find(answer, goaway);
    ASSERT_NE(goodbye, nullptr);
    EXPECT_EQ(goodbye->error(), error);
    EXPECT_EQ(answer.back().type, goaway);
    EXPECT_TRUE(server->session->is_done());
    EXPECT_EQ(server->session->streams(), 0U);
    for (const Ear& ear : server->ears) EXPECT_EQ(ear.closes, 1);
    EXPECT_FALSE(send("more"));
    EXPECT_EQ(server->collect(), "");
  }
  /// That stream alone was reset; the connection goes on.
  void expect_reset(const std::vector<Frame>& answer, Http2Error error, std::uint32_t stream = 1) {
    const Frame* reset = find(answer, rst_stream);
    ASSERT_NE(reset, nullptr);
    EXPECT_EQ(reset->error(), error);
    EXPECT_EQ(reset->stream, stream);
    EXPECT_EQ(find(answer, goaway), nullptr);
    EXPECT_FALSE(server->session->is_done());
    const std::size_t served = server->ears.size();
    answer_at_once = true;
    const auto next = say(frame(headers, end_headers | end_stream, 99, post()));
    ASSERT_EQ(server->ears.size(), served + 1);
    EXPECT_NE(find(next, headers), nullptr);
  }

  std::int64_t now_ns = 5 * second_ns;
  bool answer_at_once = false;
  Own<Side> server;
};

std::string open_post(std::uint32_t stream) { return frame(headers, end_headers, stream, post()); }
std::string whole_post(std::uint32_t stream) { return frame(headers, end_headers | end_stream, stream, post()); }

// --- Floods ------------------------------------------------------------------------------------------------------------

TEST_F(Http2Raw, a_rapid_reset_ends_the_connection) {
  start({.resets_burst = 20, .resets_per_second = 5});
  std::uint32_t stream = 1;
  for (int i = 0; i < 20; ++i, stream += 2) {
    ASSERT_TRUE(send(whole_post(stream) + frame(rst_stream, 0, stream, number(8))));
  }
  (void)take();
  EXPECT_FALSE(server->session->is_done());
  now_ns += second_ns;  // Five more.
  for (int i = 0; i < 5; ++i, stream += 2) {
    ASSERT_TRUE(send(whole_post(stream) + frame(rst_stream, 0, stream, number(8))));
  }
  EXPECT_FALSE(send(whole_post(stream) + frame(rst_stream, 0, stream, number(8))));
  expect_end(take(), Http2Error::enhance_your_calm);
}

TEST_F(Http2Raw, streams_that_end_well_pay_for_some_that_are_reset) {
  start({.resets_burst = 20, .resets_per_second = 1});
  answer_at_once = true;
  std::uint32_t stream = 1;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(send(whole_post(stream)));
    (void)take();
    ASSERT_TRUE(send(open_post(stream + 2) + frame(rst_stream, 0, stream + 2, number(8))));
    stream += 4;
  }
  EXPECT_EQ(find(take(), goaway), nullptr);
}

TEST_F(Http2Raw, resets_that_the_peer_makes_us_send_count_the_same) {
  start({.resets_burst = 20, .resets_per_second = 1});
  // A window update that overflows the stream's window: we must reset it.
  std::uint32_t stream = 1;
  bool ended = false;
  for (int i = 0; i < 30 && !ended; ++i, stream += 2) {
    ended = !send(open_post(stream) + frame(window_update, 0, stream, number(0x7fff'ffff)));
    ended = find(take(), goaway) != nullptr || ended;
  }
  EXPECT_TRUE(ended);
  EXPECT_LE(stream, 47U);
  EXPECT_TRUE(server->session->is_done());
}

TEST_F(Http2Raw, a_flood_of_continuations_ends_the_connection) {
  start();
  std::string flood = frame(headers, end_stream, 1, post());
  for (int i = 0; i < 200; ++i) flood += frame(continuation, 0, 1, "");
  EXPECT_FALSE(send(flood));
  expect_end(take(), Http2Error::enhance_your_calm);
  EXPECT_TRUE(server->ears.empty());
}

TEST_F(Http2Raw, a_flood_of_full_continuations_ends_it_too) {
  start();
  bool ended = !send(frame(headers, end_stream, 1, post()));
  std::string fields;
  while (fields.size() < 16'000) fields += field("x-" + std::to_string(fields.size()), std::string(50, 'v'));
  int sent = 0;
  while (!ended && sent < 1000) {
    ended = !send(frame(continuation, 0, 1, fields));
    ++sent;
  }
  EXPECT_LT(sent, 64);
  expect_end(take(), Http2Error::enhance_your_calm);
}

TEST_F(Http2Raw, a_small_block_that_unpacks_to_a_large_one_ends_the_connection) {
  start({.header_bytes_max = 4096});
  // One field goes to the dynamic table; then a byte for each time that it is meant again.
  std::string block = post();
  block += std::string("\x40\x01x", 3) + "\x7f\xa1\x1e" + std::string(4000, 'v');
  block += std::string(10'000, '\xbe');
  EXPECT_FALSE(send(frame(headers, end_headers | end_stream, 1, block)));
  expect_end(take(), Http2Error::enhance_your_calm);
}

class Http2Flood : public Http2Raw, public ::testing::WithParamInterface<std::pair<const char*, std::string>> {};

TEST_P(Http2Flood, of_frames_that_make_no_progress_ends_the_connection) {
  start({.control_burst = 100, .control_per_second = 10});
  ASSERT_TRUE(send(open_post(1)));
  (void)take();
  bool ended = false;
  int sent = 0;
  while (!ended && sent < 1000) {
    ended = !send(GetParam().second);
    if (!ended) (void)take();  // Not because we would not read the answers.
    ++sent;
  }
  EXPECT_GE(sent, 100);
  EXPECT_LT(sent, 120);
  expect_end(take(), Http2Error::enhance_your_calm);
}

INSTANTIATE_TEST_SUITE_P(
    Each, Http2Flood,
    ::testing::Values(std::pair("ping", frame(ping, 0, 0, "12345678")),
                      std::pair("ping_ack", frame(ping, ack, 0, "12345678")),
                      std::pair("settings", frame(settings, 0, 0, "")),
                      std::pair("settings_values", frame(settings, 0, 0, std::string("\0\1\0\0\0\0", 6))),
                      std::pair("priority", frame(priority, 0, 5, std::string("\0\0\0\0\5", 5))),
                      std::pair("window_update", frame(window_update, 0, 0, number(1))),
                      std::pair("window_update_of_a_stream", frame(window_update, 0, 1, number(1))),
                      std::pair("empty_data", frame(data, 0, 1, "")),
                      std::pair("goaway", frame(goaway, 0, 0, number(0) + number(0)))),
    [](const auto& info) { return std::string(info.param.first); });

TEST_F(Http2Raw, slow_control_frames_are_no_flood) {
  start({.control_burst = 10, .control_per_second = 10});
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(send(frame(ping, 0, 0, "12345678")));
    EXPECT_EQ(take().size(), 1U);
    now_ns += second_ns / 10;
  }
}

TEST_F(Http2Raw, window_updates_for_what_we_send_are_no_flood) {
  start({.control_burst = 10, .control_per_second = 1});
  server->serve = [](Ear& ear) {
    ear.stream->send_head(200, {}, false);
    ear.stream->send(std::string(1'000'000, 'x'), true);
  };
  ASSERT_TRUE(send(whole_post(1)));
  std::size_t got = 0;
  bool ended = false;
  while (!ended) {
    const auto all = take();
    ASSERT_FALSE(all.empty()) << got;
    for (const Frame& each : all) {
      if (each.type != data) continue;
      got += each.payload.size();
      ended = (each.flags & end_stream) != 0;
      const std::string grown = number(static_cast<std::uint32_t>(each.payload.size()));
      ASSERT_TRUE(send(frame(window_update, 0, 0, grown) + frame(window_update, 0, 1, grown)));
    }
  }
  EXPECT_EQ(got, 1'000'000U);
}

// --- Limits ------------------------------------------------------------------------------------------------------------

TEST_F(Http2Raw, too_many_headers_are_answered_431) {
  start({.headers_max = 10});
  std::string block = post();
  for (int i = 0; i < 20; ++i) block += field("x" + std::to_string(i), "v");
  const auto answer = say(frame(headers, end_headers | end_stream, 1, block));
  const Frame* head = find(answer, headers);
  ASSERT_NE(head, nullptr);
  EXPECT_NE(head->payload.find("431"), std::string::npos);
  EXPECT_EQ(find(answer, goaway), nullptr);
  EXPECT_TRUE(server->ears.empty());
  EXPECT_EQ(server->session->streams(), 0U);
}

TEST_F(Http2Raw, headers_too_large_are_answered_431_and_the_body_is_not_wanted) {
  start({.header_bytes_max = 500});
  const auto answer = say(frame(headers, end_headers, 1, post() + field("x", std::string(600, 'v'))));
  EXPECT_NE(find(answer, headers), nullptr);
  ASSERT_NE(find(answer, ping), nullptr);
  EXPECT_EQ(find(answer, rst_stream), nullptr);
  expect_reset(say(frame(ping, ack, 0, find(answer, ping)->payload)), Http2Error::no_error);
}

TEST_F(Http2Raw, a_request_that_ends_a_moment_after_its_answer_is_not_reset) {
  start();
  server->serve = [](Ear& ear) {
    ear.stream->send_head(404, {}, true);
    ear.stream->close_when_sent();
  };
  const auto first = say(open_post(1));
  ASSERT_NE(find(first, ping), nullptr);
  (void)say(open_post(3));  // Waits for the ping after.
  (void)say(frame(data, end_stream, 1, "late"));
  EXPECT_EQ(server->ears.front().closes, 1);
  EXPECT_EQ(server->ears.front().error, Http2Error::no_error);
  const std::string answered = frame(ping, ack, 0, find(first, ping)->payload);
  const auto second = say(answered);
  EXPECT_EQ(find(second, rst_stream), nullptr);
  ASSERT_NE(find(second, ping), nullptr);
  const auto third = say(answered);
  ASSERT_NE(find(third, rst_stream), nullptr);
  EXPECT_EQ(find(third, rst_stream)->stream, 3U);
  EXPECT_EQ(find(third, rst_stream)->error(), Http2Error::no_error);
  EXPECT_EQ(server->session->streams(), 0U);
}

TEST_F(Http2Raw, that_the_rest_is_not_wanted_may_be_said_after_the_answer_was_framed) {
  start();
  answer_at_once = true;
  ASSERT_TRUE(send(open_post(1)));
  EXPECT_EQ(find(take(), ping), nullptr);
  const int outputs = server->outputs;
  server->ears.front().stream->close_when_sent();
  EXPECT_EQ(server->outputs, outputs + 1);
  const auto said = take();
  ASSERT_NE(find(said, ping), nullptr);
  EXPECT_NE(find(say(frame(ping, ack, 0, find(said, ping)->payload)), rst_stream), nullptr);
}

TEST_F(Http2Raw, of_many_answered_requests_that_do_not_end_some_are_reset_at_once) {
  start({.streams_max = 300});
  server->serve = [](Ear& ear) {
    ear.stream->send_head(404, {}, true);
    ear.stream->close_when_sent();
  };
  for (std::uint32_t stream = 1; stream < 400; stream += 2) (void)say(open_post(stream));
  EXPECT_EQ(server->session->streams(), 100U);
  EXPECT_FALSE(server->session->is_done());
}

TEST_F(Http2Raw, the_settings_say_the_limits) {
  server = make_own<Side>(
      Http2Limits{.streams_max = 7, .header_bytes_max = 1234, .stream_window = 99'999, .frame_bytes_max = 20'000},
      true);
  std::map<int, std::uint32_t> told;
  const auto all = take();
  ASSERT_EQ(all.front().type, settings);
  for (std::size_t i = 0; i + 6 <= all.front().payload.size(); i += 6)
    told[all.front().payload[i + 1]] = all.front().at(i + 2);
  EXPECT_EQ(told[3], 7U);
  EXPECT_EQ(told[4], 99'999U);
  EXPECT_EQ(told[5], 20'000U);
  EXPECT_EQ(told[6], 1234U);
  EXPECT_EQ(told[8], 1U);  // RFC 8441.
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].type, window_update);
  EXPECT_EQ(all[1].at(0), (4U << 20) - 65'535U);
}

TEST_F(Http2Raw, a_stream_beyond_the_limit_is_refused_before_the_peer_can_know_it) {
  server = make_own<Side>(Http2Limits{.streams_max = 2}, true);
  ASSERT_TRUE(send(std::string(preface) + frame(settings, 0, 0, "") + open_post(1) + open_post(3) + open_post(5)));
  const auto answer = take();
  const Frame* reset = find(answer, rst_stream);
  ASSERT_NE(reset, nullptr);
  EXPECT_EQ(reset->stream, 5U);
  EXPECT_EQ(reset->error(), Http2Error::refused_stream);
  EXPECT_EQ(server->ears.size(), 2U);
}

TEST_F(Http2Raw, a_stream_beyond_the_limit_that_the_peer_knows_ends_the_connection) {
  start({.streams_max = 2});
  expect_end(say(open_post(1) + open_post(3) + open_post(5)), Http2Error::protocol_error);
}

TEST_F(Http2Raw, a_frame_larger_than_told_ends_the_connection) {
  start();
  ASSERT_TRUE(send(open_post(1)));
  expect_end(say(frame(data, 0, 1, std::string(16'385, 'x'))), Http2Error::frame_size_error);
}

TEST_F(Http2Raw, data_beyond_a_streams_window_is_an_error) {
  start({.stream_window = 100'000});
  server->serve = [](Ear& ear) { ear.consume = false; };
  ASSERT_TRUE(send(open_post(1)));
  (void)take();
  std::vector<Frame> answer;
  std::size_t sent = 0;
  while (sent < 120'000 && find(answer, rst_stream) == nullptr && find(answer, goaway) == nullptr) {
    answer = say(frame(data, 0, 1, std::string(10'000, 'x')));
    sent += 10'000;
  }
  EXPECT_EQ(sent, 110'000U);
  const Frame* end = find(answer, goaway) != nullptr ? find(answer, goaway) : find(answer, rst_stream);
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(end->error(), Http2Error::flow_control_error);
}

TEST_F(Http2Raw, data_beyond_the_connections_window_is_an_error) {
  start({.connection_window = 100'000});
  server->serve = [](Ear& ear) { ear.consume = false; };
  ASSERT_TRUE(send(open_post(1) + open_post(3)));
  std::vector<Frame> answer;
  for (int i = 0; i < 12; ++i) {
    for (Frame& each : say(frame(data, 0, i % 2 == 0 ? 1 : 3, std::string(10'000, 'x')))) answer.push_back(each);
  }
  const Frame* end = find(answer, goaway);
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(end->error(), Http2Error::flow_control_error);
}

// --- Windows -----------------------------------------------------------------------------------------------------------

TEST_F(Http2Raw, the_window_is_given_back_in_batches_of_half) {
  start({.stream_window = 100'000, .connection_window = 200'000});
  server->serve = [](Ear& ear) { ear.consume = false; };
  ASSERT_TRUE(send(open_post(1)));
  EXPECT_TRUE(say(frame(data, 0, 1, std::string(10'000, 'x')) + frame(data, 0, 1, std::string(10'000, 'x'))).empty());
  const int outputs = server->outputs;
  server->ears.front().stream->consumed(20'000);
  EXPECT_EQ(server->outputs, outputs);  // Nothing to say yet.
  for (int i = 0; i < 4; ++i) (void)say(frame(data, 0, 1, std::string(10'000, 'x')));
  server->ears.front().stream->consumed(30'000);
  EXPECT_EQ(server->outputs, outputs + 1);
  const auto update = take();
  ASSERT_EQ(update.size(), 1U);
  EXPECT_EQ(update[0].type, window_update);
  EXPECT_EQ(update[0].stream, 1U);
  EXPECT_EQ(update[0].at(0), 50'000U);
}

TEST_F(Http2Raw, more_consumed_than_came_gives_back_no_more) {
  start({.stream_window = 100'000, .connection_window = 100'000});
  server->serve = [](Ear& ear) { ear.consume = false; };
  ASSERT_TRUE(send(open_post(1)));
  (void)say(frame(data, 0, 1, std::string(1000, 'x')));
  server->ears.front().stream->consumed(1'000'000);
  EXPECT_TRUE(take().empty());
}

TEST_F(Http2Raw, what_a_closed_stream_had_not_consumed_is_given_back) {
  start({.stream_window = 60'000, .connection_window = 100'000});
  server->serve = [](Ear& ear) { ear.consume = false; };
  ASSERT_TRUE(send(open_post(1)));
  for (int i = 0; i < 6; ++i) (void)say(frame(data, 0, 1, std::string(10'000, 'x')));
  const auto answer = say(frame(rst_stream, 0, 1, number(8)));
  const Frame* update = find(answer, window_update);
  ASSERT_NE(update, nullptr);
  EXPECT_EQ(update->stream, 0U);
  EXPECT_EQ(update->at(0), 60'000U);
}

TEST_F(Http2Raw, data_for_a_stream_that_we_reset_costs_the_connection_no_window) {
  start({.stream_window = 60'000, .connection_window = 100'000});
  ASSERT_TRUE(send(open_post(1)));
  server->ears.front().stream->reset(Http2Error::cancel);
  (void)take();
  std::size_t back = 0;
  for (int i = 0; i < 30; ++i) {  // What was on its way, and more.
    for (const Frame& each : say(frame(data, padded, 1, std::string("\x10", 1) + std::string(10'000, 'x')))) {
      ASSERT_EQ(each.type, window_update) << i;
      EXPECT_EQ(each.stream, 0U);
      back += each.at(0);
    }
  }
  EXPECT_GE(back, 250'000U);
  EXPECT_EQ(server->ears.front().body, "");
}

TEST_F(Http2Raw, padding_counts_and_is_given_back) {
  start({.stream_window = 70'000, .connection_window = 70'000});
  ASSERT_TRUE(send(open_post(1)));
  std::size_t back = 0;
  for (int i = 0; i < 5000; ++i) {
    for (const Frame& each : say(frame(data, padded, 1, std::string("\xff", 1) + "x" + std::string(255, '\0')))) {
      ASSERT_EQ(each.type, window_update) << i;
      if (each.stream == 0) back += each.at(0);
    }
  }
  EXPECT_EQ(server->ears.front().body, std::string(5000, 'x'));
  EXPECT_GE(back, 5000U * 257 - 70'000);
}

TEST_F(Http2Raw, the_last_piece_says_that_it_is_the_last_also_with_padding) {
  start();
  std::vector<std::pair<std::string, bool>> pieces;
  server->serve = [&pieces](Ear& ear) {
    ear.data = [&pieces](std::string_view piece, bool end) { pieces.emplace_back(piece, end); };
  };
  ASSERT_TRUE(send(open_post(1) + frame(data, end_stream, 1, "abc")));
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0], std::pair(std::string("abc"), true));
  ASSERT_TRUE(send(open_post(3) + frame(data, end_stream | padded, 3, std::string("\2abc\0\0", 6))));
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[1], std::pair(std::string("abc"), false));
  EXPECT_EQ(pieces[2], std::pair(std::string(), true));
}

// --- Malformed requests: the stream's fault ----------------------------------------------------------------------------

class Http2BadHead : public Http2Raw, public ::testing::WithParamInterface<std::pair<const char*, std::string>> {};

TEST_P(Http2BadHead, resets_the_stream) {
  start();
  const auto answer = say(frame(headers, end_headers, 1, GetParam().second));
  EXPECT_TRUE(server->ears.empty());
  expect_reset(answer, Http2Error::protocol_error);
}

INSTANTIATE_TEST_SUITE_P(
    Each, Http2BadHead,
    ::testing::Values(std::pair("upper_case", post() + field("X-Custom", "v")),
                      std::pair("connection", post() + field("connection", "keep-alive")),
                      std::pair("keep_alive", post() + field("keep-alive", "1")),
                      std::pair("proxy_connection", post() + field("proxy-connection", "1")),
                      std::pair("transfer_encoding", post() + field("transfer-encoding", "chunked")),
                      std::pair("upgrade", post() + field("upgrade", "h2c")),
                      std::pair("te_other_than_trailers", post() + field("te", "gzip")),
                      std::pair("no_method", field(":scheme", "http") + field(":path", "/") + field(":authority", "a")),
                      std::pair("no_path",
                                field(":method", "GET") + field(":scheme", "http") + field(":authority", "a")),
                      std::pair("no_scheme", field(":method", "GET") + field(":path", "/") + field(":authority", "a")),
                      std::pair("empty_path", field(":method", "GET") + field(":scheme", "http") + field(":path", "")),
                      std::pair("path_twice", post() + field(":path", "/b")),
                      std::pair("pseudo_after_field", field("a", "b") + post()),
                      std::pair("unknown_pseudo", post() + field(":unknown", "x")),
                      std::pair("status_in_a_request", post() + field(":status", "200")),
                      std::pair("protocol_without_connect", post() + field(":protocol", "websocket")),
                      std::pair("empty_name", post() + field("", "v")),
                      std::pair("space_in_name", post() + field("a b", "v")),
                      std::pair("newline_in_value", post() + field("a", "v\r\nx: y")),
                      std::pair("nul_in_value", post() + field("a", std::string(1, '\0'))),
                      std::pair("space_around_value", post() + field("a", " v")),
                      std::pair("length_twice", post() + field("content-length", "1") + field("content-length", "2")),
                      std::pair("length_not_a_number", post() + field("content-length", "1x")),
                      std::pair("two_hosts", post() + field("host", "a") + field("host", "b"))),
    [](const auto& info) { return std::string(info.param.first); });

TEST_F(Http2Raw, an_authority_and_another_host_are_answered_400) {
  start();
  const auto answer = say(frame(headers, end_headers | end_stream, 1, post() + field("host", "elsewhere")));
  const Frame* head = find(answer, headers);
  ASSERT_NE(head, nullptr);
  EXPECT_TRUE(server->ears.empty());
  (void)say(frame(headers, end_headers | end_stream, 3, post() + field("host", "HERE")));
  EXPECT_EQ(server->ears.size(), 1U);
}

TEST_F(Http2Raw, a_host_stands_in_for_a_missing_authority) {
  start();
  (void)say(frame(headers, end_headers | end_stream, 1,
                  field(":method", "GET") + field(":scheme", "http") + field(":path", "/") + field("host", "there")));
  ASSERT_EQ(server->ears.size(), 1U);
  EXPECT_EQ(server->ears.front().authority, "there");
}

TEST_F(Http2Raw, a_body_shorter_than_its_content_length_is_never_told_as_whole) {
  start();
  ASSERT_TRUE(send(frame(headers, end_headers, 1, post() + field("content-length", "10"))));
  const auto answer = say(frame(data, end_stream, 1, "abc"));
  EXPECT_FALSE(server->ears.front().ended);
  EXPECT_EQ(server->ears.front().error, Http2Error::protocol_error);
  expect_reset(answer, Http2Error::protocol_error);
}

TEST_F(Http2Raw, a_body_longer_than_its_content_length_is_cut) {
  start();
  ASSERT_TRUE(send(frame(headers, end_headers, 1, post() + field("content-length", "2"))));
  const auto answer = say(frame(data, end_stream, 1, "abc"));
  EXPECT_FALSE(server->ears.front().ended);
  EXPECT_EQ(server->ears.front().closes, 1);
  expect_reset(answer, Http2Error::protocol_error);
}

TEST_F(Http2Raw, a_content_length_without_a_body_is_malformed) {
  start();
  const auto answer = say(frame(headers, end_headers | end_stream, 1, post() + field("content-length", "2")));
  EXPECT_TRUE(server->ears.empty());
  expect_reset(answer, Http2Error::protocol_error);
}

TEST_F(Http2Raw, trailers_that_do_not_end_the_request_are_malformed) {
  start();
  ASSERT_TRUE(send(open_post(1)));
  const auto answer = say(frame(headers, end_headers, 1, field("a", "b")));
  EXPECT_EQ(server->ears.front().closes, 1);
  expect_reset(answer, Http2Error::protocol_error);
}

TEST_F(Http2Raw, pseudo_headers_in_trailers_are_malformed) {
  start();
  ASSERT_TRUE(send(open_post(1)));
  const auto answer = say(frame(headers, end_headers | end_stream, 1, field(":path", "/b")));
  EXPECT_FALSE(server->ears.front().ended);
  expect_reset(answer, Http2Error::protocol_error);
}

TEST_F(Http2Raw, trailers_too_large_reset_the_stream) {
  start({.header_bytes_max = 500});
  ASSERT_TRUE(send(open_post(1)));
  const auto answer = say(frame(headers, end_headers | end_stream, 1, field("a", std::string(600, 'v'))));
  EXPECT_EQ(server->ears.front().error, Http2Error::enhance_your_calm);
  expect_reset(answer, Http2Error::enhance_your_calm);
}

// --- Malformed frames: the connection's fault --------------------------------------------------------------------------

class Http2BadFrame : public Http2Raw,
                      public ::testing::WithParamInterface<std::tuple<const char*, std::string, Http2Error>> {};

TEST_P(Http2BadFrame, ends_the_connection) {
  start();
  ASSERT_TRUE(send(open_post(1)));
  expect_end(say(std::get<1>(GetParam())), std::get<2>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Each, Http2BadFrame,
    ::testing::Values(
        std::tuple("data_of_stream_0", frame(data, 0, 0, "x"), Http2Error::protocol_error),
        std::tuple("data_of_an_idle_stream", frame(data, 0, 7, "x"), Http2Error::protocol_error),
        std::tuple("headers_of_stream_0", frame(headers, end_headers, 0, post()), Http2Error::protocol_error),
        std::tuple("headers_of_an_even_stream", frame(headers, end_headers, 2, post()), Http2Error::protocol_error),
        std::tuple("data_amid_a_block", frame(headers, 0, 3, post()) + frame(data, 0, 1, "x"),
                   Http2Error::protocol_error),
        std::tuple("continuation_alone", frame(continuation, end_headers, 1, ""), Http2Error::protocol_error),
        std::tuple("continuation_of_another", frame(headers, 0, 3, post()) + frame(continuation, end_headers, 1, ""),
                   Http2Error::protocol_error),
        std::tuple("bad_compression", frame(headers, end_headers, 3, "\xff\xff\xff\xff\xff\xff\xff"),
                   Http2Error::compression_error),
        std::tuple("padding_beyond_the_frame", frame(data, padded, 1, "\x7fxx"), Http2Error::protocol_error),
        std::tuple("reset_of_an_idle_stream", frame(rst_stream, 0, 9, number(8)), Http2Error::protocol_error),
        std::tuple("reset_of_stream_0", frame(rst_stream, 0, 0, number(8)), Http2Error::protocol_error),
        std::tuple("reset_too_short", frame(rst_stream, 0, 1, "abc"), Http2Error::frame_size_error),
        std::tuple("ping_too_short", frame(ping, 0, 0, "1234567"), Http2Error::frame_size_error),
        std::tuple("ping_of_a_stream", frame(ping, 0, 1, "12345678"), Http2Error::protocol_error),
        std::tuple("settings_of_a_stream", frame(settings, 0, 1, ""), Http2Error::protocol_error),
        std::tuple("settings_cut", frame(settings, 0, 0, "abc"), Http2Error::frame_size_error),
        std::tuple("settings_ack_with_payload", frame(settings, ack, 0, std::string(6, '\0')),
                   Http2Error::frame_size_error),
        std::tuple("settings_ack_not_asked", frame(settings, ack, 0, ""), Http2Error::protocol_error),
        std::tuple("settings_push_2", frame(settings, 0, 0, std::string("\0\2\0\0\0\2", 6)),
                   Http2Error::protocol_error),
        std::tuple("settings_window_too_large", frame(settings, 0, 0, std::string("\0\4\xff\xff\xff\xff", 6)),
                   Http2Error::flow_control_error),
        std::tuple("settings_frame_too_small", frame(settings, 0, 0, std::string("\0\5\0\0\0\1", 6)),
                   Http2Error::protocol_error),
        std::tuple("settings_too_many", frame(settings, 0, 0, std::string(6 * 100, '\x77')),
                   Http2Error::enhance_your_calm),
        std::tuple("window_update_of_0", frame(window_update, 0, 0, number(0)), Http2Error::protocol_error),
        std::tuple("window_update_too_short", frame(window_update, 0, 0, "abc"), Http2Error::frame_size_error),
        std::tuple("window_overflow", frame(window_update, 0, 0, number(0x7fff'ffff)), Http2Error::flow_control_error),
        std::tuple("window_update_of_an_idle_stream", frame(window_update, 0, 9, number(1)),
                   Http2Error::protocol_error),
        std::tuple("push_promise", frame(push_promise, end_headers, 1, number(2) + post()), Http2Error::protocol_error),
        std::tuple("goaway_of_a_stream", frame(goaway, 0, 1, number(0) + number(0)), Http2Error::protocol_error),
        std::tuple("goaway_too_short", frame(goaway, 0, 0, "abc"), Http2Error::frame_size_error)),
    [](const auto& info) { return std::string(std::get<0>(info.param)); });

TEST_F(Http2Raw, another_preface_ends_the_connection) {
  server = make_own<Side>(Http2Limits{}, true);
  EXPECT_FALSE(send("GET / HTTP/1.1\r\nHost: here\r\n\r\n"));
  expect_end(take(), Http2Error::protocol_error);
}

TEST_F(Http2Raw, another_first_frame_than_settings_ends_the_connection) {
  server = make_own<Side>(Http2Limits{}, true);
  (void)send(std::string(preface) + frame(ping, 0, 0, "12345678"));
  expect_end(take(), Http2Error::protocol_error);
}

TEST_F(Http2Raw, data_after_the_end_of_a_request_is_an_error) {
  start();
  ASSERT_TRUE(send(whole_post(1)));
  const auto answer = say(frame(data, 0, 1, "x"));
  ASSERT_NE(find(answer, goaway), nullptr);
  EXPECT_EQ(find(answer, goaway)->error(), Http2Error::stream_closed);
  EXPECT_EQ(server->ears.front().body, "");
}

class Http2Afterwards : public Http2Raw,
                        public ::testing::WithParamInterface<std::tuple<const char*, std::string, Http2Error>> {};

TEST_P(Http2Afterwards, ends_the_connection) {
  start();
  answer_at_once = true;
  ASSERT_TRUE(send(whole_post(1) + open_post(3) + frame(rst_stream, 0, 3, number(8)) + whole_post(9)));
  (void)take();
  for (const Ear& ear : server->ears) EXPECT_EQ(ear.closes, 1);
  expect_end(say(std::get<1>(GetParam())), std::get<2>(GetParam()));
  for (const Ear& ear : server->ears) EXPECT_EQ(ear.body, "");
}

INSTANTIATE_TEST_SUITE_P(
    Each, Http2Afterwards,
    ::testing::Values(std::tuple("data_after_the_end", frame(data, 0, 1, "x"), Http2Error::stream_closed),
                      std::tuple("data_after_a_ping", frame(ping, 0, 0, "12345678") + frame(data, end_stream, 1, "x"),
                                 Http2Error::stream_closed),
                      std::tuple("data_after_its_reset", frame(data, 0, 3, "x"), Http2Error::stream_closed),
                      std::tuple("data_after_a_reset_in_the_same_bytes",
                                 open_post(11) + frame(rst_stream, 0, 11, number(8)) + frame(data, 0, 11, "x"),
                                 Http2Error::stream_closed),
                      std::tuple("headers_after_the_end", whole_post(1), Http2Error::stream_closed),
                      std::tuple("headers_after_its_reset", whole_post(3), Http2Error::stream_closed),
                      std::tuple("headers_of_a_smaller_stream", whole_post(5), Http2Error::protocol_error),
                      std::tuple("priority_of_stream_0", frame(priority, 0, 0, std::string(5, '\0')),
                                 Http2Error::protocol_error)),
    [](const auto& info) { return std::string(std::get<0>(info.param)); });

TEST_F(Http2Raw, data_of_a_stream_that_is_over_is_seen_however_it_is_torn) {
  for (std::size_t piece = 1; piece < 12; ++piece) {
    start();
    answer_at_once = true;
    ASSERT_TRUE(send(whole_post(1)));
    (void)take();
    std::string bytes = open_post(3) + frame(data, 0, 3, "abc") + frame(data, 0, 1, "xyz");
    bool whole = true;
    for (std::size_t at = 0; at < bytes.size() && whole; at += piece) whole = send(bytes.substr(at, piece));
    EXPECT_FALSE(whole);
    EXPECT_EQ(server->ears.back().body, "abc");
    expect_end(take(), Http2Error::stream_closed);
  }
}

TEST_F(Http2Raw, frames_of_a_stream_that_we_reset_are_ignored) {
  start();
  ASSERT_TRUE(send(open_post(1)));
  server->ears.front().stream->reset(Http2Error::cancel);
  (void)take();
  EXPECT_TRUE(say(frame(data, 0, 1, "x") + frame(window_update, 0, 1, number(10)) +
                  frame(headers, end_headers | end_stream, 1, field("a", "b")) + frame(rst_stream, 0, 1, number(8)))
                  .empty());
  EXPECT_EQ(server->ears.front().body, "");
  EXPECT_EQ(server->ears.front().closes, 1);
  EXPECT_FALSE(server->session->is_done());
}

TEST_F(Http2Raw, unknown_frames_and_settings_are_ignored) {
  start();
  EXPECT_TRUE(send(frame(static_cast<Type>(0x77), 0xff, 5, "whatever") +
                   frame(settings, 0, 0, std::string("\x77\x77\0\0\0\1", 6))));
  answer_at_once = true;
  EXPECT_NE(find(say(whole_post(1)), headers), nullptr);
}

}  // namespace
}  // namespace shunt::net
