#include "wire/frame.h"

#include <gtest/gtest.h>

namespace shunt::wire {
namespace {

TEST(Frame, a_header_comes_back_as_it_went) {
  char bytes[header_bytes];
  encode_header({12345, FrameType::message, flag::more, 0x0102030405060708}, bytes);
  auto header = decode_header(bytes);
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->length, 12345u);
  EXPECT_EQ(header->type, FrameType::message);
  EXPECT_EQ(header->flags, flag::more);
  EXPECT_EQ(header->call, 0x0102030405060708u);
  EXPECT_EQ(std::string_view(bytes, 6), std::string_view("\x39\x30\x00\x00\x04\x01", 6));
}

TEST(Frame, a_header_with_reserved_bits_or_a_giant_length_is_data_loss) {
  char bytes[header_bytes];
  encode_header({payload_bytes_max + 1, FrameType::message, 0, 1}, bytes);
  EXPECT_EQ(decode_header(bytes).error().code(), Code::data_loss);
  encode_header({1, FrameType::message, 0, 1}, bytes);
  bytes[7] = 1;
  EXPECT_EQ(decode_header(bytes).error().code(), Code::data_loss);
  EXPECT_EQ(decode_header(bytes).error().id(), "S1022");
}

TEST(Frame, hello_comes_back_as_it_went) {
  Hello hello;
  hello.role = "worker";
  hello.name = "shop.cart";
  hello.software = "python 0.1.0";
  hello.clock = "boot:4026531834";
  hello.message_bytes_max = 1;
  hello.calls_max = 2;
  hello.metadata_bytes_max = 3;
  hello.stream_credit = 4;
  hello.concurrency = 5;
  hello.pid = 6;
  hello.definition = R"({"name":"cart"})";
  auto text = encode_hello(hello);
  auto back = decode_hello(text);
  ASSERT_TRUE(back.has_value()) << back.error().to_string();
  EXPECT_EQ(encode_hello(*back), text);
  EXPECT_EQ(back->name, "shop.cart");
  EXPECT_EQ(back->definition, hello.definition);
}

TEST(Frame, hello_passes_over_fields_that_it_does_not_know) {
  auto text = encode_hello({});
  text += std::string("\xff\x7f\x03\x00\x00\x00xyz", 9);
  EXPECT_TRUE(decode_hello(text).has_value());
}

TEST(Frame, hello_of_another_major_version_names_both) {
  Hello hello;
  hello.version_major = 7;
  auto back = decode_hello(encode_hello(hello));
  ASSERT_FALSE(back.has_value());
  EXPECT_EQ(back.error().code(), Code::failed_precondition);
  EXPECT_NE(back.error().message().find("7.2"), std::string::npos);
  EXPECT_NE(back.error().message().find("1.2"), std::string::npos);
}

TEST(Frame, every_cut_of_a_payload_is_an_error_and_nothing_worse) {
  OpenFrame open;
  open.service = "shop.cart";
  open.command = "total";
  open.principal_service = "shop.web";
  open.principal_user = "ann";
  open.token = "t";
  open.metadata = {{"traceparent", "00-1"}, {"x-bin", std::string_view("\0\1", 2)}};
  std::string bytes;
  encode_open(open, bytes);
  auto back = decode_open(bytes);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->service, open.service);
  EXPECT_EQ(back->metadata, open.metadata);
  for (std::size_t i = 0; i < bytes.size(); i++) EXPECT_FALSE(decode_open(bytes.substr(0, i)).has_value()) << i;
  EXPECT_TRUE(decode_open(bytes + "later versions").has_value());

  StatusFrame status{Code::not_found, Retry::later, "S1002", "no", "[{}]", {{"a", "b"}}};
  bytes.clear();
  encode_status(status, bytes);
  auto status_back = decode_status(bytes);
  ASSERT_TRUE(status_back.has_value());
  EXPECT_EQ(status_back->trailers, status.trailers);
  EXPECT_EQ(status_back->details, "[{}]");
  for (std::size_t i = 0; i < bytes.size(); i++) EXPECT_FALSE(decode_status(bytes.substr(0, i)).has_value()) << i;

  bytes.clear();
  encode_grant({status, 77}, bytes);
  EXPECT_EQ(decode_grant(bytes)->grant, 77u);
  for (std::size_t i = 0; i < bytes.size(); i++) EXPECT_FALSE(decode_grant(bytes.substr(0, i)).has_value()) << i;

  bytes.clear();
  encode_wait({"shop.cart", 99, 3}, bytes);
  EXPECT_EQ(decode_wait(bytes)->service, "shop.cart");
  for (std::size_t i = 0; i < bytes.size(); i++) EXPECT_FALSE(decode_wait(bytes.substr(0, i)).has_value()) << i;
}

TEST(Frame, a_status_code_of_a_later_version_is_unknown) {
  std::string bytes;
  encode_status({.code = Code::aborted}, bytes);
  bytes[0] = 99;
  bytes[1] = 99;
  EXPECT_EQ(decode_status(bytes)->code, Code::unknown);
  EXPECT_EQ(decode_status(bytes)->retry, Retry::no);
}

TEST(Frame, metadata_that_could_break_a_header_line_is_data_loss) {
  for (auto [key, value] : MetadataView{{"Upper", "x"}, {"", "x"}, {"x y", "x"}, {"x", "a\r\nb"}, {"x", "\x80"}}) {
    std::string bytes;
    encode_metadata({{key, value}}, bytes);
    EXPECT_FALSE(decode_metadata(bytes).has_value()) << key;
  }
}

std::string bytes_of(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size();) {
    if (hex[i] == ' ') {
      i++;
      continue;
    }
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    i += 2;
  }
  return out;
}

TEST(Frame, the_call_in_the_specification_is_what_we_write) {
  // spec/wire.md, section 13.
  std::string out;
  auto begin = begin_frame(out);
  encode_open({.service = "s", .command = "c"}, out);
  end_frame(out, begin, FrameType::open, 1);
  append_frame(out, FrameType::message, 1, "hi", flag::last);
  EXPECT_EQ(out, bytes_of("22 00 00 00 02 00 00 00  01 00 00 00 00 00 00 00"
                          "ff ff ff ff ff ff ff 7f"
                          "00 00 00 00 00 00 00 00"
                          "00 00  01 00 01 00 00 00 00 00 00 00  00 00 00 00"
                          "73 63"
                          "02 00 00 00 04 02 00 00  01 00 00 00 00 00 00 00"
                          "68 69"));
  out.clear();
  append_frame(out, FrameType::message, 1, "ok", flag::final_);
  begin = begin_frame(out);
  encode_status({}, out);
  end_frame(out, begin, FrameType::status, 1);
  EXPECT_EQ(out, bytes_of("02 00 00 00 04 04 00 00  01 00 00 00 00 00 00 00"
                          "6f 6b"
                          "10 00 00 00 06 00 00 00  01 00 00 00 00 00 00 00"
                          "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"));
}

}  // namespace

}  // namespace shunt::wire
