// gRPC through the whole gateway, on real sockets, spoken by our own client; gRPC-Web by hand.
#include <map>

#include "base/base64.h"
#include "gateway/gateway_rig_test.h"
#include "net/grpc/client_session.h"
#include "net/grpc/envelope.h"
#include "net/grpc/proto_fields.h"

namespace shunt::gateway {
namespace {

using net::GrpcCall;
using net::GrpcMetadata;
using net::GrpcRequest;

struct Heard final : net::GrpcCallEvents {
  void on_metadata(GrpcMetadata given) override {
    has_metadata = true;
    metadata = std::move(given);
  }
  void on_message(Bytes message) override {
    messages.emplace_back(message.view());
    if (call != nullptr && consumes) call->consumed(message.size() + 64);
  }
  void on_end(Status how, GrpcMetadata given) override {
    ended = true;
    call = nullptr;
    status = std::move(how);
    trailers = std::move(given);
  }
  std::string find(const GrpcMetadata& in, std::string_view key) const {
    for (const auto& [name, value] : in) {
      if (name == key) return value;
    }
    return "(none)";
  }
  GrpcCall* call = nullptr;
  bool consumes = true;
  bool has_metadata = false;
  bool ended = false;
  GrpcMetadata metadata;
  std::vector<std::string> messages;
  Status status;
  GrpcMetadata trailers;
};

// Two messages turned into each other: JSON "x" is protobuf field 1 of a string.
class Quotes final : public call::Transcoder {
 public:
  Result<Bytes> convert(call::Side, call::Encoding from, call::Encoding, const Bytes& message) const override {
    if (from == call::Encoding::json) {
      std::string out;
      net::ProtoWriter(out).bytes(1, message.view());
      return Bytes::adopt(std::move(out));
    }
    net::ProtoReader reader(message.view());
    if (!reader.next() || reader.field() != 1) return shunt::fail(Code::invalid_argument, "S1030", "no field 1");
    return Bytes::copy_of(reader.bytes());
  }
  std::string_view type_name(call::Side) const override { return "shop.v1.Quote"; }
};

class TestContract final : public call::Contract {
 public:
  TestContract() {
    files_.push_back({"shop/v1/common.proto", "COMMON", {}, {"shop.v1.Quote"}});
    files_.push_back(
        {"shop/v1/items.proto", "ITEMS", {"shop/v1/common.proto"}, {"shop.v1.Items", "shop.v1.Items.Echo"}});
  }
  std::string_view service_name() const override { return "shop.v1.Items"; }
  std::string_view command_of(std::string_view method) const override { return method == "Echo" ? "echo" : ""; }
  std::span<const File> files() const override { return files_; }
  bool is_derived() const override { return false; }

 private:
  std::vector<File> files_;
};

class Grpc : public GatewayTest, private net::GrpcClientOwner {
 protected:
  ~Grpc() override { client_.reset(); }

  GrpcCall* call(Heard& heard, GrpcRequest request) {
    if (client_ == nullptr) {
      client_ = net::GrpcClientSession::create(*this, {.authority = "localhost"});
      fd_ = connect();
    }
    auto started = client_->start(request, heard);
    EXPECT_TRUE(started) << started.error().to_string();
    heard.call = *started;
    return heard.call;
  }
  void pump() {
    std::string out;
    while (client_->collect(out, 1 << 20)) {
    }
    // Some of it may have to wait until the gateway has read the rest.
    unsent_ += out;
    while (!unsent_.empty()) {
      const ssize_t count = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count <= 0) break;
      unsent_.erase(0, static_cast<std::size_t>(count));
    }
    turn();
    std::string in;
    const bool open = read(fd_, in);
    if (!in.empty()) EXPECT_TRUE(client_->receive(in, 0));
    if (open || fd_ < 0) return;
    client_->fail("closed");
    close(std::exchange(fd_, -1));
  }
  template <typename Condition>
  void pump_until(Condition condition) {
    while (!condition()) pump();
  }
  Heard& finish(Heard& heard) {
    pump_until([&] { return heard.ended; });
    return heard;
  }
  Heard unary(std::string_view path, std::string_view message, GrpcRequest request = {}) {
    Heard heard;
    request.path = path;
    call(heard, request)->send(Bytes::copy_of(message), true);
    finish(heard);
    return heard;
  }

  Own<net::GrpcClientSession> client_;
  int fd_ = -1;
  std::string unsent_;

 private:
  void on_output() override {}
};

TEST_F(Grpc, a_unary_call_is_answered) {
  start();
  const GrpcMetadata metadata = {{"x-colour", "blue"}, {"seal-bin", std::string("\0\xff", 2)}};
  const Heard heard = unary("/shop.prices/echo", "hello", {.metadata = &metadata, .timeout = std::chrono::minutes(1)});
  EXPECT_TRUE(heard.status.is_ok()) << heard.status.to_string();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"hello"});
  EXPECT_EQ(seen_.metadata.find("x-colour"), "blue");
  EXPECT_EQ(seen_.metadata.find("seal-bin"), std::string_view("\0\xff", 2));
  EXPECT_FALSE(seen_.metadata.find("grpc-timeout"));
  EXPECT_FALSE(seen_.metadata.find("user-agent"));
  EXPECT_LE(seen_.deadline.left(loop_->now()), Duration(std::chrono::minutes(1)));
  EXPECT_EQ(seen_.principal.kind, call::PrincipalKind::gateway);
  EXPECT_EQ(unary("/prices/echo", "").messages, std::vector<std::string>{""}) << "an empty message is one";
}

TEST_F(Grpc, a_failed_call_has_code_message_details_and_trailers) {
  start();
  const Heard heard = unary("/prices/fail", "not_found");
  EXPECT_EQ(heard.status.code(), Code::not_found);
  EXPECT_EQ(heard.status.message(), "as \"asked\"");
  EXPECT_EQ(heard.status.id(), "S1012");
  EXPECT_EQ(heard.status.retry(), Retry::later);
  EXPECT_EQ(heard.status.details(), "") << "\"v\" is no base64";
  EXPECT_EQ(heard.find(heard.trailers, "why"), "it is a test");
}

Task<Status> tell_long(Seen*, ServerCall* call) {
  (void)co_await call->receive();
  co_return Status(Code::aborted, "S1012", "\xc3\xa9" + std::string(50'000, 'x'))
      .with_details(R"([{"type":"a.B","value":")" + std::string(40'000, 'A') + "\"}]");
}

TEST_F(Grpc, an_error_too_long_for_trailers_is_cut) {
  define("long", tell_long);
  start();
  const Heard heard = unary("/prices/long", "{}");
  EXPECT_EQ(heard.status.code(), Code::aborted);
  EXPECT_EQ(heard.status.id(), "S1012");
  EXPECT_EQ(heard.status.message().size(), 2048U);
  EXPECT_EQ(heard.status.details(), "");
}

TEST_F(Grpc, metadata_of_an_answer_comes_before_it) {
  start();
  const Heard heard = unary("/prices/picture", "{}");
  EXPECT_TRUE(heard.status.is_ok());
  EXPECT_EQ(heard.find(heard.metadata, "x-colour"), "blue");
  EXPECT_EQ(heard.find(heard.metadata, "seal-bin"), std::string("\0\xff", 2));
  EXPECT_EQ(heard.find(heard.metadata, "evil"), "(none)");
}

TEST_F(Grpc, streams_of_every_shape) {
  start();
  const Heard counted = unary("/prices/count", "2");
  EXPECT_EQ(counted.messages.size(), 2U);
  EXPECT_TRUE(counted.status.is_ok());
  const Heard failed = unary("/prices/count", "3");
  EXPECT_EQ(failed.messages.size(), 3U);
  EXPECT_EQ(failed.status.code(), Code::aborted) << "after its messages";

  Heard summed;
  auto* sum = call(summed, {.path = "/prices/sum"});
  for (int i = 0; i < 3; ++i) sum->send(Bytes::copy_of("12345"), false);
  sum->half_close();
  finish(summed);
  EXPECT_EQ(summed.messages, std::vector<std::string>{"15"}) << summed.status.to_string();

  Heard chatted;
  auto* chat = call(chatted, {.path = "/prices/chat"});
  for (int i = 0; i < 3; ++i) {
    chat->send(Bytes::copy_of(std::to_string(i)), false);
    pump_until([&] { return chatted.messages.size() == static_cast<std::size_t>(i) + 1; });
  }
  chat->half_close();
  finish(chatted);
  EXPECT_EQ(chatted.messages.back(), "{\"heard\":2}");
  EXPECT_TRUE(chatted.status.is_ok());
}

TEST_F(Grpc, a_flood_of_requests_is_taken_as_fast_as_the_callee_does) {
  start();
  Heard summed;
  auto* sum = call(summed, {.path = "/prices/sum"});
  const std::string block(100'000, 'x');
  for (int i = 0; i < 100; ++i) sum->send(Bytes::copy_of(block), i == 99);
  finish(summed);
  EXPECT_EQ(summed.messages, std::vector<std::string>{"10000000"}) << summed.status.to_string();
}

TEST_F(Grpc, who_does_not_read_stops_the_callee) {
  start();
  Heard flooded;
  flooded.consumes = false;
  call(flooded, {.path = "/prices/flood"})->send(Bytes::copy_of("{}"), true);
  pump_until([&] { return flooded.messages.size() > 4; });
  std::size_t sent = 0;
  for (int still = 0; still < 20; still = sent == seen_.sent ? still + 1 : 0) {
    sent = seen_.sent;
    pump();
  }
  EXPECT_LT(seen_.sent * (16 << 10), 4U << 20);
  flooded.call->drop();
  pump_until([&] { return !seen_.cancelled.empty(); });
}

TEST_F(Grpc, a_reset_cancels_the_call) {
  start();
  Heard heard;
  auto* out = call(heard, {.path = "/prices/hang"});
  out->send(Bytes::copy_of("{}"), true);
  pump_until([&] { return seen_.running == 1; });
  out->drop();
  pump_until([&] { return seen_.running == 0; });
  EXPECT_EQ(seen_.cancelled.size(), 1U);
}

TEST_F(Grpc, a_deadline_ends_the_call) {
  start();
  const Heard heard = unary("/prices/hang", "{}", {.timeout = std::chrono::milliseconds(5)});
  EXPECT_EQ(heard.status.code(), Code::deadline_exceeded) << heard.status.to_string();
  EXPECT_EQ(heard.status.id(), "S1004");
}

TEST_F(Grpc, what_is_not_there_is_unimplemented) {
  start();
  EXPECT_EQ(unary("/nobody/echo", "").status.code(), Code::unimplemented);
  EXPECT_EQ(unary("/prices/nothing", "").status.code(), Code::unimplemented);
  EXPECT_EQ(unary("/", "").status.code(), Code::unimplemented);
  EXPECT_EQ(unary("/grpc.health.v1.Health/Nothing", "").status.code(), Code::unimplemented);
}

TEST_F(Grpc, a_service_with_a_token_wants_it) {
  definition_.auth = call::Auth::token;
  start();
  auto tokens = std::make_shared<TokenTable>();
  tokens->everywhere.push_back({"ann", "secret"});
  gateway_->set_tokens(tokens);
  EXPECT_EQ(unary("/prices/echo", "x").status.code(), Code::unauthenticated);
  const GrpcMetadata metadata = {{"authorization", "Bearer secret"}};
  EXPECT_TRUE(unary("/prices/echo", "x", {.metadata = &metadata}).status.is_ok());
  EXPECT_EQ(seen_.principal.user, "ann");
}

TEST_F(Grpc, what_is_not_exposed_is_not_told_of) {
  start({.loopback = false});
  const Heard hidden = unary("/secret/echo", "x");
  EXPECT_EQ(hidden.status.code(), Code::unimplemented);
  const Heard nobody = unary("/nobody/echo", "x");
  EXPECT_EQ(std::string(hidden.status.message()).replace(12, 6, "nobody"), nobody.status.message());
  EXPECT_TRUE(unary("/prices/echo", "x").status.is_ok());
}

TEST_F(Grpc, one_message_means_one) {
  start();
  Heard two;
  auto* out = call(two, {.path = "/prices/echo"});
  out->send(Bytes::copy_of("a"), false);
  out->send(Bytes::copy_of("b"), true);
  EXPECT_EQ(finish(two).status.code(), Code::unimplemented);
  Heard none;
  call(none, {.path = "/prices/echo"})->half_close();
  EXPECT_EQ(finish(none).status.code(), Code::unimplemented);
  EXPECT_EQ(none.status.id(), "S4052");
  EXPECT_EQ(unary("/prices/twice", "").status.code(), Code::internal) << "and of an answer too";
}

TEST_F(Grpc, a_message_beyond_the_limit_is_refused_and_the_connection_lives) {
  start({.dev = true, .loopback = true}, {.body_bytes_max = 1000});
  const Heard large = unary("/prices/echo", std::string(1001, 'x'));
  EXPECT_EQ(large.status.code(), Code::resource_exhausted) << large.status.to_string();
  EXPECT_TRUE(unary("/prices/echo", std::string(1000, 'x')).status.is_ok());
}

TEST_F(Grpc, large_messages_come_whole) {
  start();
  const std::string large(5 << 20, 'x');
  const Heard heard = unary("/prices/echo", large);
  ASSERT_EQ(heard.messages.size(), 1U) << heard.status.to_string();
  EXPECT_EQ(heard.messages[0], large);
}

TEST_F(Grpc, gzip_goes_both_ways) {
  start();
  const std::string text(100'000, 'x');
  const Heard heard = unary("/prices/echo", text, {.compress = true});
  EXPECT_EQ(heard.messages, std::vector<std::string>{text}) << heard.status.to_string();
  EXPECT_LT(stats_.shard(0).bytes_sent.load(), 10'000U) << "the answer too";
  EXPECT_LT(stats_.shard(0).bytes_received.load(), 10'000U);
}

TEST_F(Grpc, protobuf_and_json_reach_the_same_command) {
  definition_.commands.at("echo").transcoder = std::make_shared<Quotes>();
  definition_.contract = std::make_shared<TestContract>();
  start();
  std::string proto;
  net::ProtoWriter(proto).bytes(1, "{\"a\":1}");
  for (const std::string_view path : {"/shop.v1.Items/Echo", "/prices/echo"}) {
    EXPECT_EQ(unary(path, proto).messages, std::vector<std::string>{proto});
    EXPECT_EQ(unary(path, "{\"a\":1}", {.codec = net::GrpcCodec::json}).messages,
              std::vector<std::string>{"{\"a\":1}"});
  }
  EXPECT_EQ(unary("/shop.v1.Items/Echo", "\x12\x01x").status.code(), Code::invalid_argument);
}

TEST_F(Grpc, a_drain_lets_calls_end_and_takes_no_new_ones) {
  start();
  Heard heard;
  auto* chat = call(heard, {.path = "/prices/chat"});
  chat->send(Bytes::copy_of("1"), false);
  pump_until([&] { return heard.messages.size() == 1; });
  scope_.spawn(gateway_->drain(Deadline::never()));
  pump();
  chat->send(Bytes::copy_of("2"), true);
  EXPECT_TRUE(finish(heard).status.is_ok()) << heard.status.to_string();
  EXPECT_EQ(heard.messages.size(), 2U);
  pump_until([&] { return scope_.size() == 0; });
}

TEST_F(Grpc, answers_are_counted_and_logged_by_their_code) {
  std::vector<std::string> log;
  GatewayHooks hooks;
  hooks.access_log = [&](const AccessRecord& record) {
    log.push_back(std::string(record.target) + " " + std::string(code_name(*record.grpc_status)));
  };
  start({.dev = true, .loopback = true}, {}, std::move(hooks));
  unary("/prices/echo", "x");
  unary("/prices/fail", "aborted");
  EXPECT_EQ(log, (std::vector<std::string>{"/prices/echo ok", "/prices/fail aborted"}));
  std::string metrics;
  stats_.write_prometheus(metrics);
  EXPECT_NE(metrics.find("shunt_grpc_answers_total{code=\"aborted\"} 1"), std::string::npos);
}

// --- Health and reflection ---

std::string health_request(std::string_view service) {
  std::string out;
  if (!service.empty()) net::ProtoWriter(out).bytes(1, service);
  return out;
}
constexpr std::string_view serving = "\x08\x01";
constexpr std::string_view not_serving = "\x08\x02";

TEST_F(Grpc, health_tells_of_each_service) {
  definition_.contract = std::make_shared<TestContract>();
  start({.loopback = false});
  for (const std::string_view name : {"", "shop.prices", "prices", "shop.v1.Items", "grpc.health.v1.Health"}) {
    EXPECT_EQ(unary("/grpc.health.v1.Health/Check", health_request(name)).messages,
              std::vector<std::string>{std::string(serving)})
        << name;
  }
  EXPECT_EQ(unary("/grpc.health.v1.Health/Check", health_request("nobody")).status.code(), Code::not_found);
  EXPECT_EQ(unary("/grpc.health.v1.Health/Check", health_request("secret")).status.code(), Code::not_found);
  EXPECT_EQ(unary("/grpc.health.v1.Health/Check", "\xff").status.code(), Code::invalid_argument);
  const Heard list = unary("/grpc.health.v1.Health/List", "");
  ASSERT_EQ(list.messages.size(), 1U);
  EXPECT_NE(list.messages[0].find("shop.prices"), std::string::npos);
  EXPECT_EQ(list.messages[0].find("shop.secret"), std::string::npos);
}

TEST_F(Grpc, a_watch_follows_the_routing) {
  start();
  Heard heard;
  call(heard, {.path = "/grpc.health.v1.Health/Watch"})->send(Bytes::copy_of(health_request("shop.prices")), true);
  pump_until([&] { return heard.messages.size() == 1; });
  EXPECT_EQ(heard.messages[0], serving);
  auto gone = std::make_shared<call::Routing>(*router_->routing());
  auto route = std::make_shared<call::Route>(*gone->routes.at("shop.prices"));
  route->instances.clear();
  route->why_absent = "it crashed";
  gone->routes["shop.prices"] = route;
  router_->install(gone);
  pump_until([&] { return heard.messages.size() == 2; });
  EXPECT_EQ(heard.messages[1], not_serving);
  install();
  pump_until([&] { return heard.messages.size() == 3; });
  EXPECT_EQ(heard.messages[2], serving);
  scope_.spawn(gateway_->drain(Deadline::never()));
  finish(heard);
  EXPECT_EQ(heard.messages.back(), not_serving);
  EXPECT_EQ(heard.status.code(), Code::unavailable);
  pump_until([&] { return scope_.size() == 0; });
}

std::string question(std::uint32_t field, std::string_view value) {
  std::string out;
  net::ProtoWriter(out).bytes(field, value);
  return out;
}

TEST_F(Grpc, reflection_tells_services_files_and_symbols) {
  definition_.contract = std::make_shared<TestContract>();
  start({.loopback = false});
  for (const std::string_view version : {"v1", "v1alpha"}) {
    Heard heard;
    const std::string path = "/grpc.reflection." + std::string(version) + ".ServerReflection/ServerReflectionInfo";
    auto* out = call(heard, {.path = path});
    const auto answer = [&](std::string_view request) {
      const std::size_t before = heard.messages.size();
      out->send(Bytes::copy_of(request), false);
      pump_until([&] { return heard.messages.size() > before; });
      return heard.messages.back();
    };
    const std::string services = answer(question(7, "*"));
    EXPECT_NE(services.find("shop.v1.Items"), std::string::npos);
    EXPECT_NE(services.find("grpc.health.v1.Health"), std::string::npos);
    const std::string by_symbol = answer(question(4, "shop.v1.Items.Echo"));
    EXPECT_LT(by_symbol.find("ITEMS"), by_symbol.find("COMMON"));
    EXPECT_NE(by_symbol.find("COMMON"), std::string::npos) << "with what it imports";
    const std::string by_name = answer(question(3, "shop/v1/common.proto"));
    EXPECT_NE(by_name.find("COMMON"), std::string::npos);
    EXPECT_EQ(by_name.find("ITEMS"), std::string::npos);
    EXPECT_NE(answer(question(4, "grpc.health.v1.HealthCheckResponse.ServingStatus")).find("NOT_SERVING"),
              std::string::npos);
    EXPECT_NE(answer(question(4, "nobody.Knows")).find("not known here"), std::string::npos);
    EXPECT_NE(answer(question(6, "shop.v1.Quote")).find("shop.v1.Quote"), std::string::npos);
    out->half_close();
    EXPECT_TRUE(finish(heard).status.is_ok());
  }
}

// --- gRPC-Web, on HTTP/1.1 ---

std::string framed(std::string_view message) {
  std::string out;
  net::append_envelope(out, 0, message);
  return out;
}

TEST_F(Grpc, the_web_has_its_trailers_in_the_body) {
  start();
  const Answer answer = ask(post("/prices/echo", framed("hello"), "", "application/grpc-web+proto"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "application/grpc-web+proto");
  std::string trailers;
  net::append_envelope(trailers, 0x80, "grpc-status: 0\r\n");
  EXPECT_EQ(answer.body, framed("hello") + trailers);
  const Answer failed = ask(post("/prices/fail", framed("aborted"), "", "application/grpc-web+proto"));
  EXPECT_EQ(failed.status, 200);
  EXPECT_NE(failed.body.find("grpc-status: 10\r\ngrpc-message: as \"asked\"\r\n"), std::string::npos) << failed.body;
}

TEST_F(Grpc, the_webs_text_is_base64) {
  start();
  const std::string frame = framed("hello");
  const std::string body =
      encode_base64(frame.substr(0, 5), Padding::yes) + encode_base64(frame.substr(5), Padding::yes);
  const Answer answer = ask(post("/prices/echo", body, "", "application/grpc-web-text"));
  EXPECT_EQ(answer.status, 200);
  std::string trailers;
  net::append_envelope(trailers, 0x80, "grpc-status: 0\r\n");
  EXPECT_EQ(answer.body, encode_base64(framed("hello"), Padding::yes) + encode_base64(trailers, Padding::yes));
  const Answer broken = ask(post("/prices/echo", "****", "", "application/grpc-web-text"));
  EXPECT_EQ(broken.status, 200);
  EXPECT_NE(decode_base64(broken.body)->find("grpc-status: 13"), std::string::npos);
  const Answer stream =
      ask(post("/prices/count", encode_base64(framed("2"), Padding::yes), "", "application/grpc-web-text"));
  EXPECT_EQ(stream.status, 200);
}

TEST_F(Grpc, what_is_no_post_or_no_known_codec_is_told_in_http_too) {
  start();
  EXPECT_EQ(ask("GET /prices/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc\r\n\r\n").status, 405);
  EXPECT_EQ(ask(post("/prices/echo", framed("x"), "", "application/grpc+thrift")).status, 415);
}

TEST_F(Grpc, broken_frames_end_their_call_with_internal) {
  start();
  const auto body_of = [&](std::string_view body, std::string_view headers = "") {
    return ask(post("/prices/echo", body, headers, "application/grpc-web+proto")).body;
  };
  EXPECT_NE(body_of(std::string("\0\0\0", 3)).find("grpc-status: 13"), std::string::npos);
  EXPECT_NE(body_of(std::string("\x40\0\0\0\0", 5)).find("grpc-status: 13"), std::string::npos);
  EXPECT_NE(body_of(std::string("\x01\0\0\0\0", 5)).find("grpc-status: 13"), std::string::npos);
  EXPECT_NE(body_of(std::string("\x01\0\0\0\1x", 6), "grpc-encoding: gzip\r\n").find("grpc-status: 13"),
            std::string::npos);
  const std::string unknown = body_of(framed("x"), "grpc-encoding: snappy\r\n");
  EXPECT_NE(unknown.find("grpc-status: 12"), std::string::npos);
  EXPECT_NE(unknown.find("grpc-accept-encoding: identity,gzip,deflate,zstd"), std::string::npos);
  EXPECT_NE(body_of(framed("x"), "grpc-timeout: soon\r\n").find("grpc-status: 3"), std::string::npos);
}

}  // namespace
}  // namespace shunt::gateway
