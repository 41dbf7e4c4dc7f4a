#include "net/grpc/client_session.h"

#include <gtest/gtest.h>

#include <map>

#include "base/base64.h"
#include "net/coding/coding.h"
#include "net/grpc/envelope.h"
#include "net/grpc/status.h"

namespace shunt::net {
namespace {

using namespace std::chrono_literals;

// What a call heard.
struct Ear final : GrpcCallEvents {
  void on_metadata(GrpcMetadata given) override { metadata = std::move(given); }
  void on_message(Bytes message) override {
    messages.emplace_back(message.view());
    if (drop_at_message != nullptr) std::exchange(drop_at_message, nullptr)->drop();
  }
  void on_drained() override { ++drained; }
  void on_end(Status how, GrpcMetadata given) override {
    ++ends;
    status = std::move(how);
    trailers = std::move(given);
  }
  GrpcMetadata metadata;
  std::vector<std::string> messages;
  int drained = 0;
  int ends = 0;
  Status status;
  GrpcMetadata trailers;
  GrpcCall* drop_at_message = nullptr;
};

// One stream as the server sees it.
struct ServerStream final : Http2StreamEvents {
  void on_data(std::string_view piece, bool last) override {
    body += piece;
    ended = ended || last;
    if (consumes) stream->consumed(piece.size());
  }
  void on_close(Http2Error error) override {
    closed = true;
    reset = error;
    stream = nullptr;
  }
  void head(std::vector<Header> headers = {}, bool last = false) {
    headers.insert(headers.begin(), {"content-type", "application/grpc"});
    stream->send_head(200, headers, last);
  }
  void message(std::string_view text, std::uint8_t flags = 0) {
    std::string frame;
    append_envelope(frame, flags, text);
    stream->send(frame, false);
  }
  void end(std::vector<Header> trailers = {{"grpc-status", "0"}}) { stream->send_trailers(trailers); }

  Http2Stream* stream = nullptr;
  std::map<std::string, std::string> headers;
  std::string path;
  std::string body;
  bool ended = false;
  bool closed = false;
  bool consumes = true;
  Http2Error reset = Http2Error::no_error;
};

class GrpcClient : public testing::Test, private GrpcClientOwner, private Http2Events {
 protected:
  GrpcClient() { server_ = make_http2_server(*this, {}); }

  void start(GrpcClientOptions options = {.authority = "test:1"}) {
    client_ = GrpcClientSession::create(*this, std::move(options));
    turn();
  }
  GrpcCall* call(Ear& ear, GrpcRequest request = {.path = "/shop.Items/Get"}) {
    auto started = client_->start(request, ear);
    EXPECT_TRUE(started) << started.error().to_string();
    return started ? *started : nullptr;
  }
  // Carries bytes until nobody has any.
  void turn() {
    for (bool moved = true; moved;) {
      moved = false;
      for (const bool to_server : {true, false}) {
        std::string bytes;
        while (to_server ? client_->collect(bytes, 1 << 20) : server_->collect(bytes, 1 << 20)) {
        }
        if (bytes.empty()) continue;
        moved = true;
        EXPECT_TRUE(to_server ? server_->receive(bytes, 0) : client_->receive(bytes, 0));
      }
    }
  }
  ServerStream& server(std::size_t index = 0) { return *streams_.at(index); }

  std::vector<Own<ServerStream>> streams_;
  Own<Http2Session> server_;
  Own<GrpcClientSession> client_;
  int goaways_ = 0;
  int pings_ = 0;

 private:
  void on_output() override {}
  void on_goaway() override { ++goaways_; }
  void on_goaway(std::uint32_t, Http2Error) override {}
  void on_ping_answer() override { ++pings_; }
  Http2StreamEvents* on_request(Http2Stream& stream, const Http2Head& head, bool) override {
    auto& one = *streams_.emplace_back(make_own<ServerStream>());
    one.stream = &stream;
    one.path = head.path;
    for (const Header& header : head.headers) one.headers[std::string(header.name)] = header.value;
    return &one;
  }
};

TEST_F(GrpcClient, a_unary_call_goes_and_comes) {
  start();
  Ear ear;
  const GrpcMetadata metadata = {{"x-colour", "blue"}, {"seal-bin", std::string("\0\xff", 2)}, {"te", "evil"}};
  auto* out = call(ear, {.path = "/shop.Items/Get", .metadata = &metadata, .timeout = 2s});
  out->send(Bytes::copy_of("hello"), true);
  turn();
  EXPECT_EQ(server().path, "/shop.Items/Get");
  EXPECT_EQ(server().headers["te"], "trailers");
  EXPECT_EQ(server().headers["content-type"], "application/grpc");
  EXPECT_EQ(server().headers["grpc-timeout"], "2000000u");
  EXPECT_EQ(server().headers["x-colour"], "blue");
  EXPECT_EQ(server().headers["seal-bin"], "AP8");
  EXPECT_EQ(server().body, std::string("\0\0\0\0\5hello", 10));
  EXPECT_TRUE(server().ended);
  server().head({{"x-from", "server"}, {"mark-bin", "AAE"}});
  server().message("world");
  server().end({{"grpc-status", "0"}, {"x-took", "1"}});
  turn();
  EXPECT_EQ(ear.ends, 1);
  EXPECT_TRUE(ear.status.is_ok()) << ear.status.to_string();
  EXPECT_EQ(ear.messages, std::vector<std::string>{"world"});
  EXPECT_EQ(ear.metadata, (GrpcMetadata{{"x-from", "server"}, {"mark-bin", std::string("\0\1", 2)}}));
  EXPECT_EQ(ear.trailers, (GrpcMetadata{{"x-took", "1"}}));
  EXPECT_EQ(client_->calls(), 0U);
}

TEST_F(GrpcClient, an_error_has_its_details_whether_the_server_answered_before_or_not) {
  start();
  const Status told = Status(Code::not_found, "S1002", "no 100% \xc3\xa9").with_retry(Retry::later);
  const std::string message = encode_grpc_message(told.message());
  const std::string details = encode_base64(encode_rpc_status(told));
  for (const bool trailers_only : {true, false}) {
    Ear ear;
    call(ear)->send(Bytes(), true);
    turn();
    auto& stream = *streams_.back();
    const std::vector<Header> trailers = {
        {"grpc-status", "5"}, {"grpc-message", message}, {"grpc-status-details-bin", details}};
    if (trailers_only) {
      stream.head(trailers, true);
    } else {
      stream.head();
      stream.end(trailers);
    }
    turn();
    EXPECT_EQ(ear.status.code(), Code::not_found);
    EXPECT_EQ(ear.status.id(), "S1002");
    EXPECT_EQ(ear.status.message(), told.message());
    EXPECT_EQ(ear.status.retry(), Retry::later);
  }
}

TEST_F(GrpcClient, streams_both_ways_and_takes_no_more_than_it_has_consumed) {
  start();
  Ear ear;
  auto* out = call(ear);
  turn();
  server().head();
  turn();
  const std::string block(100'000, 'x');
  for (int i = 0; i < 5; ++i) server().message(block);
  turn();
  EXPECT_LT(ear.messages.size(), 5U) << "the window is used up";
  for (std::size_t taken = 0; ear.messages.size() < 5;) {
    for (; taken < ear.messages.size(); ++taken) out->consumed(block.size() + 64);
    turn();
  }
  out->send(Bytes::copy_of("a"), false);
  out->send(Bytes::copy_of(std::string(5000, 'b')), false);
  out->half_close();
  turn();
  EXPECT_TRUE(server().ended);
  EXPECT_EQ(server().body.size(), 5U + 1 + 5 + 5000);
  server().end();
  turn();
  EXPECT_TRUE(ear.status.is_ok());
}

TEST_F(GrpcClient, a_message_larger_than_the_window_comes_through) {
  start();
  Ear ear;
  call(ear);
  turn();
  server().head();
  server().message(std::string(3 << 20, 'y'));
  server().end();
  turn();
  ASSERT_EQ(ear.messages.size(), 1U);
  EXPECT_EQ(ear.messages[0].size(), std::size_t{3} << 20);
}

TEST_F(GrpcClient, a_message_beyond_the_limit_ends_the_call) {
  start({.authority = "test:1", .message_bytes_max = 10});
  Ear ear;
  call(ear);
  turn();
  server().head();
  server().message("01234567890");
  turn();
  EXPECT_EQ(ear.status.code(), Code::resource_exhausted);
  EXPECT_EQ(ear.status.id(), "S1007");
  EXPECT_TRUE(server().closed) << "the server is told";
}

TEST_F(GrpcClient, a_drop_resets_the_stream_and_nothing_more_is_heard) {
  start();
  Ear ear;
  auto* out = call(ear);
  turn();
  out->drop();
  turn();
  EXPECT_TRUE(server().closed);
  EXPECT_EQ(server().reset, Http2Error::cancel);
  EXPECT_EQ(ear.ends, 0);
}

TEST_F(GrpcClient, a_call_may_be_dropped_inside_its_own_message) {
  start();
  Ear ear;
  ear.drop_at_message = call(ear);
  turn();
  server().head();
  server().message("a");
  server().message("b");
  turn();
  EXPECT_EQ(ear.messages.size(), 1U);
  EXPECT_TRUE(server().closed);
}

TEST_F(GrpcClient, gzip_goes_both_ways) {
  start();
  Ear ear;
  auto* out = call(ear, {.path = "/a/b", .compress = true});
  const std::string text(10'000, 'z');
  out->send(Bytes::copy_of(text), false);
  out->send(Bytes::copy_of("short"), true);
  turn();
  EXPECT_EQ(server().headers["grpc-encoding"], "gzip");
  EXPECT_EQ(server().body[0], 1);
  EXPECT_LT(server().body.size(), 1000U);
  EXPECT_TRUE(server().body.ends_with(std::string("\0\0\0\0\5short", 10)));
  Codecs codecs;
  std::string coded;
  codecs.compress(Coding::gzip, text, coded);
  server().head({{"grpc-encoding", "gzip"}});
  server().message(coded, 1);
  server().message("plain");
  server().end();
  turn();
  EXPECT_EQ(ear.messages, (std::vector<std::string>{text, "plain"}));
  EXPECT_TRUE(ear.status.is_ok());
}

TEST_F(GrpcClient, what_is_no_grpc_is_told_as_such) {
  struct Case {
    int status;
    std::vector<Header> headers;
    bool end;
    Code code;
  };
  const std::vector<Case> cases = {
      {503, {{"content-type", "text/html"}}, false, Code::unavailable},
      {404, {{"content-type", "text/html"}}, true, Code::unimplemented},
      {200, {{"content-type", "application/json"}}, false, Code::unknown},
      {200, {{"content-type", "application/grpc"}}, true, Code::unknown},
      {200, {{"content-type", "application/grpc"}, {"grpc-encoding", "snappy"}}, false, Code::internal},
      {200, {{"content-type", "application/grpc"}, {"x-bin", "***"}}, false, Code::internal},
  };
  start();
  for (const Case& one : cases) {
    Ear ear;
    call(ear)->send(Bytes(), true);
    turn();
    streams_.back()->stream->send_head(one.status, one.headers, one.end);
    turn();
    EXPECT_EQ(ear.ends, 1);
    EXPECT_EQ(ear.status.code(), one.code) << ear.status.to_string();
    EXPECT_TRUE(streams_.back()->closed);
  }
}

TEST_F(GrpcClient, a_stream_without_trailers_or_with_half_a_message_is_an_error) {
  start();
  for (const bool cut : {false, true}) {
    Ear ear;
    call(ear)->send(Bytes(), true);
    turn();
    streams_.back()->head();
    streams_.back()->stream->send(cut ? std::string_view("\0\0\0", 3) : std::string_view(), true);
    turn();
    EXPECT_EQ(ear.status.code(), Code::internal) << ear.status.to_string();
  }
  Ear ear;
  call(ear)->send(Bytes(), true);
  turn();
  streams_.back()->stream->reset(Http2Error::refused_stream);
  turn();
  EXPECT_EQ(ear.status.code(), Code::unavailable);
  EXPECT_EQ(ear.status.retry(), Retry::elsewhere);
}

TEST_F(GrpcClient, a_broken_connection_ends_every_call) {
  start();
  Ear one;
  Ear two;
  call(one);
  call(two);
  turn();
  client_->fail("the connection was reset");
  EXPECT_EQ(one.status.code(), Code::unavailable);
  EXPECT_EQ(two.status.retry(), Retry::reconnect);
  EXPECT_EQ(two.status.message(), "the connection was reset");
  Ear late;
  EXPECT_FALSE(client_->start({.path = "/a/b"}, late));
}

TEST_F(GrpcClient, after_a_goaway_no_call_begins_and_open_ones_end) {
  start();
  Ear ear;
  call(ear)->send(Bytes(), true);
  turn();
  server_->shut_down();
  turn();
  EXPECT_GE(goaways_, 1);
  Ear late;
  const auto refused = client_->start({.path = "/a/b"}, late);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().retry(), Retry::elsewhere);
  server().head();
  server().end();
  turn();
  EXPECT_TRUE(ear.status.is_ok()) << ear.status.to_string();
  client_->ping();
}

}  // namespace
}  // namespace shunt::net
