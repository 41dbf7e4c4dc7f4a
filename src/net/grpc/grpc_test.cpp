#include <gtest/gtest.h>

#include "base/base64.h"
#include "net/grpc/envelope.h"
#include "net/grpc/proto_fields.h"
#include "net/grpc/status.h"
#include "net/grpc/text.h"

namespace shunt::net {
namespace {

using namespace std::chrono_literals;

std::string framed(std::string_view message, std::uint8_t flags = 0) {
  std::string out;
  append_envelope(out, flags, message);
  return out;
}

TEST(Grpc, messages_are_read_whatever_the_pieces) {
  const std::string big(3000, 'x');
  const std::string stream = framed("hello") + framed("") + framed(big, 1) + framed("end");
  for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{1000}, stream.size()}) {
    EnvelopeReader reader(1 << 20);
    std::vector<std::pair<int, std::string>> seen;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.feed(std::string_view(stream).substr(at, piece));
      Envelope envelope;
      while (reader.next(envelope) == EnvelopeReader::Event::message) {
        seen.emplace_back(envelope.flags, envelope.message.view());
      }
      EXPECT_TRUE(reader.unread().empty());
    }
    ASSERT_EQ(seen.size(), 4U) << piece;
    EXPECT_EQ(seen[0].second, "hello");
    EXPECT_EQ(seen[1].second, "");
    EXPECT_EQ(seen[2], std::pair(1, big));
    EXPECT_EQ(seen[3].second, "end");
    EXPECT_FALSE(reader.is_inside());
  }
}

TEST(Grpc, a_message_beyond_the_limit_is_refused_before_it_comes) {
  EnvelopeReader reader(10);
  Envelope envelope;
  const std::string at_limit = framed("0123456789");
  reader.feed(at_limit);
  EXPECT_EQ(reader.next(envelope), EnvelopeReader::Event::message);
  EXPECT_EQ(reader.next(envelope), EnvelopeReader::Event::need_more);
  const auto prefix = envelope_prefix(0, UINT32_MAX);
  reader.feed({prefix.data(), prefix.size()});
  EXPECT_EQ(reader.next(envelope), EnvelopeReader::Event::too_large);
  EXPECT_EQ(reader.size(), UINT32_MAX);
}

TEST(Grpc, an_end_inside_a_message_is_seen) {
  EnvelopeReader reader(10);
  Envelope envelope;
  const std::string whole = framed("12345");
  reader.feed(std::string_view(whole).substr(0, 7));
  EXPECT_EQ(reader.next(envelope), EnvelopeReader::Event::need_more);
  EXPECT_TRUE(reader.is_inside());
  reader.feed(std::string_view(whole).substr(7));
  EXPECT_EQ(reader.next(envelope), EnvelopeReader::Event::message);
  EXPECT_FALSE(reader.is_inside());
}

TEST(Grpc, content_types) {
  const auto is = [](std::string_view text, GrpcFlavour flavour, GrpcCodec codec) {
    const auto type = parse_grpc_content_type(text);
    return type && type->flavour == flavour && type->codec == codec;
  };
  EXPECT_TRUE(is("application/grpc", GrpcFlavour::grpc, GrpcCodec::proto));
  EXPECT_TRUE(is("Application/GRPC+Proto; charset=utf-8", GrpcFlavour::grpc, GrpcCodec::proto));
  EXPECT_TRUE(is("application/grpc+json", GrpcFlavour::grpc, GrpcCodec::json));
  EXPECT_TRUE(is("application/grpc+thrift", GrpcFlavour::grpc, GrpcCodec::other));
  EXPECT_TRUE(is("application/grpc-web", GrpcFlavour::web, GrpcCodec::proto));
  EXPECT_TRUE(is("application/grpc-web+json", GrpcFlavour::web, GrpcCodec::json));
  EXPECT_TRUE(is("application/grpc-web-text", GrpcFlavour::web_text, GrpcCodec::proto));
  EXPECT_TRUE(is("application/grpc-web-text+proto", GrpcFlavour::web_text, GrpcCodec::proto));
  for (const std::string_view other : {"", "application/json", "application/grpcx", "application/grpc-", "text/grpc"}) {
    EXPECT_FALSE(parse_grpc_content_type(other)) << other;
  }
}

TEST(Grpc, timeouts) {
  EXPECT_EQ(parse_grpc_timeout("100m"), Duration(100ms));
  EXPECT_EQ(parse_grpc_timeout("2S"), Duration(2s));
  EXPECT_EQ(parse_grpc_timeout("3M"), Duration(3min));
  EXPECT_EQ(parse_grpc_timeout("1H"), Duration(1h));
  EXPECT_EQ(parse_grpc_timeout("5u"), Duration(5us));
  EXPECT_EQ(parse_grpc_timeout("0n"), Duration(0));
  EXPECT_EQ(parse_grpc_timeout("99999999H"), Duration::max());
  for (const std::string_view bad : {"", "5", "S", "123456789m", "-1S", "1.5S", "1s", "1 S"}) {
    EXPECT_FALSE(parse_grpc_timeout(bad)) << bad;
  }
  EXPECT_EQ(format_grpc_timeout(1ns), "1n");
  EXPECT_EQ(format_grpc_timeout(-1s), "1n");
  EXPECT_EQ(format_grpc_timeout(250ms), "250000u");
  EXPECT_EQ(format_grpc_timeout(100s), "100000m");
  EXPECT_EQ(format_grpc_timeout(100'000'000ns + 1ns), "100001u") << "up, never down";
  EXPECT_EQ(format_grpc_timeout(Duration::max()), "2562048H");
  for (const Duration span : {Duration(1ns), Duration(3s), Duration(70h), Duration(123456789ns)}) {
    EXPECT_GE(*parse_grpc_timeout(format_grpc_timeout(span)), span);
  }
}

TEST(Grpc, messages_of_a_status_are_percent_encoded) {
  EXPECT_EQ(encode_grpc_message("plain text"), "plain text");
  EXPECT_EQ(encode_grpc_message("100% é\n"), "100%25 %C3%A9%0A");
  EXPECT_EQ(encode_grpc_message(" a "), "%20a%20");
  for (const std::string_view text : {"", " ", "100%", "%41", "a\r\nb", "\xe2\x98\x83"}) {
    EXPECT_EQ(decode_grpc_message(encode_grpc_message(text)), text);
  }
  EXPECT_EQ(decode_grpc_message("50% off %zz %4"), "50% off %zz %4");
}

TEST(Grpc, binary_metadata_is_base64_and_may_be_a_list) {
  GrpcMetadata metadata;
  EXPECT_TRUE(add_grpc_metadata(metadata, "trace-bin", "AAEC, /w==,"));
  ASSERT_EQ(metadata.size(), 3U);
  EXPECT_EQ(metadata[0].second, std::string("\0\1\2", 3));
  EXPECT_EQ(metadata[1].second, "\xff");
  EXPECT_EQ(metadata[2].second, "");
  EXPECT_TRUE(add_grpc_metadata(metadata, "plain", "a, b"));
  EXPECT_EQ(metadata[3].second, "a, b");
  const auto bad = add_grpc_metadata(metadata, "trace-bin", "***");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code(), Code::invalid_argument);
  EXPECT_EQ(grpc_header_value("trace-bin", "\xff"), "/w");
  EXPECT_EQ(grpc_header_value("plain", "x"), "x");
}

TEST(Grpc, what_is_metadata_and_what_is_the_protocols) {
  EXPECT_TRUE(is_grpc_reserved("grpc-timeout"));
  EXPECT_TRUE(is_grpc_reserved("te"));
  EXPECT_TRUE(is_grpc_reserved(":path"));
  EXPECT_FALSE(is_grpc_reserved("grpc-trace-bin"));
  EXPECT_FALSE(is_grpc_reserved("x-request-id"));
  EXPECT_TRUE(is_grpc_metadata("x-bin", std::string("\0", 1)));
  EXPECT_FALSE(is_grpc_metadata("x", "a\nb"));
  EXPECT_FALSE(is_grpc_metadata("X", "a"));
  EXPECT_FALSE(is_grpc_metadata("grpc-status", "0"));
  EXPECT_TRUE(grpc_list_names("identity, deflate,gzip", "gzip"));
  EXPECT_FALSE(grpc_list_names("identity,gzipped", "gzip"));
}

TEST(Grpc, a_status_keeps_its_id_retry_and_details_on_the_way) {
  Status status =
      Status(Code::resource_exhausted, "S1011", "the queue is full")
          .with_retry(Retry::later)
          .with_details(
              R"([{"type":"google.rpc.Help","value":"CgFh","debug":{}},{"type":1},7,{"type":"a.B","value":"*"}])");
  const std::string bytes = encode_rpc_status(status);
  const Status read = decode_rpc_status(Code::resource_exhausted, "the queue is full", bytes);
  EXPECT_EQ(read.id(), "S1011");
  EXPECT_EQ(read.retry(), Retry::later);
  EXPECT_EQ(read.message(), "the queue is full");
  EXPECT_EQ(read.details(), R"([{"type":"google.rpc.Help","value":"CgFh"}])");
  EXPECT_EQ(encode_rpc_status(Status(Code::not_found, "no")), "") << "code and message stand in the headers";
  EXPECT_EQ(encode_rpc_status(Status()), "");
  const Status elsewhere = decode_rpc_status(
      Code::unavailable, "", encode_rpc_status(Status(Code::unavailable, "").with_retry(Retry::elsewhere)));
  EXPECT_EQ(elsewhere.retry(), Retry::elsewhere);
}

TEST(Grpc, a_strangers_status_keeps_its_details) {
  std::string info;
  ProtoWriter(info).bytes(1, "QUOTA");
  ProtoWriter(info).bytes(2, "example.com");
  std::string any;
  ProtoWriter(any).bytes(1, "type.googleapis.com/google.rpc.ErrorInfo");
  ProtoWriter(any).bytes(2, info);
  std::string bytes;
  ProtoWriter(bytes).integer(1, 8);
  ProtoWriter(bytes).bytes(3, any);
  const Status read = decode_rpc_status(Code::resource_exhausted, "m", bytes);
  EXPECT_EQ(read.id(), "");
  EXPECT_EQ(read.details(), "[{\"type\":\"google.rpc.ErrorInfo\",\"value\":\"" + encode_base64(info) + "\"}]");
  EXPECT_EQ(decode_rpc_status(Code::internal, "m", "\xff\xff").message(), "m");
}

TEST(Grpc, a_message_that_is_not_utf8_does_not_spoil_the_details) {
  const std::string bytes = encode_rpc_status(Status(Code::internal, "S1031", "\xff!"));
  ProtoReader reader(bytes);
  bool seen = false;
  while (reader.next()) {
    if (reader.field() != 2) continue;
    EXPECT_EQ(reader.bytes(), "?!");
    seen = true;
  }
  EXPECT_TRUE(seen && reader.is_whole());
}

TEST(Grpc, broken_protobuf_is_told_from_whole) {
  for (const std::string_view bad : {"\x0a\x05zz", "\x08", "\x0b", "\x09\x01", "\x02\x01"}) {
    ProtoReader reader(bad);
    while (reader.next()) {
    }
    EXPECT_FALSE(reader.is_whole());
  }
  ProtoReader numbers({"\x08\x96\x01\x15\x01\x00\x00\x00", 8});
  ASSERT_TRUE(numbers.next());
  EXPECT_EQ(numbers.integer(), 150U);
  ASSERT_TRUE(numbers.next());
  EXPECT_EQ(numbers.integer(), 1U);
  EXPECT_FALSE(numbers.next());
  EXPECT_TRUE(numbers.is_whole());
}

TEST(Grpc, http_statuses_of_proxies_have_codes) {
  EXPECT_EQ(grpc_code_of_http(404), Code::unimplemented);
  EXPECT_EQ(grpc_code_of_http(503), Code::unavailable);
  EXPECT_EQ(grpc_code_of_http(418), Code::unknown);
  EXPECT_EQ(parse_grpc_status("5"), Code::not_found);
  EXPECT_EQ(parse_grpc_status("77"), Code::unknown);
  EXPECT_FALSE(parse_grpc_status("x"));
  EXPECT_FALSE(parse_grpc_status(""));
}

}  // namespace
}  // namespace shunt::net
