#include "net/forms/multipart.h"

#include <gtest/gtest.h>

namespace shunt::net {
namespace {

// What a body tells, in pieces of `size`.
std::string read(std::string_view body, std::size_t size = 1u << 20, const MultipartLimits& limits = {}) {
  MultipartParser parser("xyz", limits);
  std::string seen;
  for (bool ended = false;;) {
    switch (parser.next()) {
      case MultipartParser::Event::need_more: {
        if (ended) return seen + "(waits)";
        std::string piece(body.substr(0, size));
        body.remove_prefix(piece.size());
        parser.feed(piece);
        if (body.empty()) parser.feed_end();
        ended = piece.empty();
        break;
      }
      case MultipartParser::Event::part:
        seen += "[" + parser.part().name + (parser.part().filename ? "|" + *parser.part().filename : "") + "|" +
                parser.part().content_type + ":";
        break;
      case MultipartParser::Event::data:
        seen += parser.data();
        break;
      case MultipartParser::Event::part_end:
        seen += "]";
        break;
      case MultipartParser::Event::end:
        return seen;
      case MultipartParser::Event::error:
        EXPECT_FALSE(parser.error().message().empty());
        return seen + "!" + std::string(code_name(parser.error().code()));
    }
  }
}

std::string part(std::string_view disposition, std::string_view content) {
  return "--xyz\r\nContent-Disposition: form-data; " + std::string(disposition) + "\r\n\r\n" + std::string(content) +
         "\r\n";
}

TEST(Multipart, fields_and_files_come_whole_and_in_any_pieces) {
  const std::string body = "a preamble\r\n" + part("name=\"a\"", "1") + part("name=b", "") +
                           "--xyz \t\r\ncontent-type: image/png\r\nCONTENT-DISPOSITION: Form-Data; name=\"f\"; "
                           "filename=\"a b.png\"\r\n\r\n\r\n--xy\r--\r\nbytes\r\n--xyz--\r\nan epilogue\r\n--xyz\r\n";
  for (const std::size_t size : {1, 2, 3, 5, 7, 1000}) {
    EXPECT_EQ(read(body, size), "[a|text/plain:1][b|text/plain:][f|a b.png|image/png:\r\n--xy\r--\r\nbytes]") << size;
  }
  EXPECT_EQ(read("--xyz--"), "");
}

TEST(Multipart, a_file_is_told_as_it_comes) {
  MultipartParser parser("xyz");
  parser.feed(part("name=f; filename=f", "first"));
  EXPECT_EQ(parser.next(), MultipartParser::Event::part);
  EXPECT_EQ(parser.next(), MultipartParser::Event::data);
  EXPECT_EQ(parser.data(), "first");
  EXPECT_EQ(parser.next(), MultipartParser::Event::need_more);
  EXPECT_EQ(parser.buffered(), 2u) << "only what could be a boundary waits";
}

TEST(Multipart, names_are_read_as_clients_write_them) {
  const auto named = [](std::string_view disposition) { return read(part(disposition, "") + "--xyz--"); };
  EXPECT_EQ(named("name=\"a\\\"b\""), "[a\"b|text/plain:]");
  EXPECT_EQ(named("name=\"a%22b%0D%0A%41\""), "[a\"b\r\n%41|text/plain:]");
  EXPECT_EQ(named("name=f; filename=\"../../etc/passwd\""), "[f|passwd|text/plain:]");
  EXPECT_EQ(named("name=f; filename=\"\""), "[f||text/plain:]");
  EXPECT_EQ(named("name=f; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt"), "[f|\xe2\x82\xac.txt|text/plain:]");
  EXPECT_EQ(named("name=f; filename*=UTF-8'en'..%2f%2e%2fa"), "[f|a|text/plain:]");
  EXPECT_EQ(named("name=f; filename=x; filename*=latin1''%e9"), "[f|x|text/plain:]");
}

TEST(Multipart, what_could_be_read_in_two_ways_is_refused) {
  const std::string bad = "!invalid_argument";
  EXPECT_EQ(read(""), bad);
  EXPECT_EQ(read("no boundary"), bad);
  EXPECT_EQ(read(std::string(10'000, 'x')), bad);
  EXPECT_EQ(read("--xyz\nContent-Disposition: form-data; name=a\n\nb\n--xyz--\n"), bad) << "bare line feeds";
  EXPECT_EQ(read(part("name=a", "b")), "[a|text/plain:b" + bad) << "the end is missing";
  EXPECT_EQ(read(part("name=a", "b\r\n--xyzz") + "--xyz--"), "[a|text/plain:b]" + bad) << "it begins with the boundary";
  EXPECT_EQ(read("--xyz\r\n\r\nb\r\n--xyz--"), bad) << "no disposition";
  EXPECT_EQ(read("--xyz\r\nContent-Disposition: form-data\r\n\r\nb\r\n--xyz--"), bad) << "no name";
  EXPECT_EQ(read("--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\nb\r\n--xyz--"), bad);
  EXPECT_EQ(read(part("name=a\r\nContent-Disposition: form-data; name=b", "") + "--xyz--"), bad) << "two of them";
  EXPECT_EQ(read(part("name=a\r\nnonsense", "") + "--xyz--"), bad);
  EXPECT_EQ(read(part("name=a\r\n folded: x", "") + "--xyz--"), bad);
  EXPECT_EQ(read(part("name=a\r\nContent-Transfer-Encoding: base64", "") + "--xyz--"), bad);
  EXPECT_EQ(read("--xyz -- "), bad);
}

TEST(Multipart, headers_of_just_the_limit_are_read_in_any_pieces) {
  const std::string body = part("name=a", "x") + "--xyz--\r\n";
  // The part begins with its line end, and has the line with the disposition.
  const MultipartLimits limits{.header_bytes_max = body.find("\r\n\r\n") - body.find("\r\n")};
  for (std::size_t size = 1; size < 12; ++size) EXPECT_EQ(read(body, size, limits), read(body, 1000, limits)) << size;
  EXPECT_EQ(read(body, 3, limits), "[a|text/plain:x]");
}

TEST(Multipart, limits_end_it) {
  const std::string full = "!resource_exhausted";
  EXPECT_EQ(read(part("name=a", "") + part("name=b", "") + "--xyz--", 1000, {.parts_max = 1}),
            "[a|text/plain:]" + full);
  EXPECT_EQ(read(part("name=" + std::string(500, 'a'), ""), 10, {.header_bytes_max = 100}), full);
  EXPECT_EQ(read("--xyz" + std::string(500, ' ')), "!invalid_argument");
}

TEST(Multipart, the_boundary_is_in_the_content_type) {
  EXPECT_EQ(*multipart_boundary("multipart/form-data; boundary=xyz"), "xyz");
  EXPECT_EQ(*multipart_boundary("multipart/form-data; charset=utf-8; Boundary=\"a b:c\""), "a b:c");
  for (const std::string type : {"multipart/form-data", "multipart/form-data; boundary=", "a/b; boundary=\"a \"",
                                 "a/b; boundary=a@b", "a/b; boundary=\"a\\\"b\""}) {
    EXPECT_FALSE(multipart_boundary(type)) << type;
  }
  EXPECT_FALSE(multipart_boundary("a/b; boundary=" + std::string(71, 'a')));
  EXPECT_TRUE(multipart_boundary("a/b; boundary=" + std::string(70, 'a')));
}

}  // namespace
}  // namespace shunt::net
