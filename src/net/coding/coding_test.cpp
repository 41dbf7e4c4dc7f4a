#include "net/coding/coding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

namespace shunt::net {
namespace {

constexpr std::array codings{Coding::gzip, Coding::deflate, Coding::zstd};

std::string some_text() {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i * 7919 % 10007) + "\n";
  return text;
}

std::string coded(Coding coding, std::string_view text) {
  std::string out;
  make_compressor(coding)->write(text, Flush::end, out);
  return out;
}

TEST(Coding, what_is_compressed_comes_back_whole_and_in_any_pieces) {
  const std::string text = some_text();
  for (const Coding coding : codings) {
    const std::string all = coded(coding, text);
    EXPECT_LT(all.size(), text.size() / 2);
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, all.size()}) {
      auto decompressor = make_decompressor(coding);
      std::string out;
      for (std::size_t at = 0; at < all.size(); at += size) {
        ASSERT_TRUE(decompressor->write(std::string_view(all).substr(at, size), text.size(), out));
      }
      EXPECT_TRUE(decompressor->finish());
      EXPECT_EQ(out, text);
    }
  }
}

TEST(Coding, a_context_is_used_again_after_a_broken_stream) {
  for (const Coding coding : codings) {
    Codecs codecs;
    const std::string good = coded(coding, "hello");
    std::string out;
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(codecs.decompress(coding, good.substr(0, good.size() - 2), 100, out));
      EXPECT_FALSE(codecs.decompress(coding, "this is not it at all, whatever it is", 100, out));
      out.clear();
      ASSERT_TRUE(codecs.decompress(coding, good, 100, out));
      EXPECT_EQ(out, "hello");
      std::string again;
      codecs.compress(coding, "hello", again);
      EXPECT_EQ(again, good);
      out.clear();
    }
  }
}

TEST(Coding, a_bomb_ends_at_the_limit) {
  const std::string zeros(50u << 20, '\0');
  for (const Coding coding : codings) {
    const std::string bomb = coded(coding, zeros);
    ASSERT_LT(bomb.size(), zeros.size() / 500);
    Codecs codecs;
    std::string out;
    const auto done = codecs.decompress(coding, bomb, 100'000, out);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), Code::resource_exhausted);
    EXPECT_EQ(out.size(), 100'000u);
    out.clear();
    EXPECT_TRUE(codecs.decompress(coding, coded(coding, std::string(100'000, 'x')), 100'000, out)) << "it just fits";
    EXPECT_EQ(out.size(), 100'000u);
  }
}

TEST(Coding, what_is_flushed_can_be_read_before_the_end) {
  for (const Coding coding : codings) {
    auto compressor = make_compressor(coding);
    auto decompressor = make_decompressor(coding);
    std::string wire;
    std::string out;
    for (const std::string line : {"one\n", "two\n", "three\n"}) {
      wire.clear();
      compressor->write(line, Flush::sync, wire);
      out.clear();
      ASSERT_TRUE(decompressor->write(wire, 1000, out));
      EXPECT_EQ(out, line);
    }
    EXPECT_FALSE(decompressor->finish()) << "its end is missing";
    wire.clear();
    compressor->write("", Flush::end, wire);
    ASSERT_TRUE(decompressor->write(wire, 1000, out));
    EXPECT_TRUE(decompressor->finish());
  }
}

TEST(Coding, members_after_each_other_are_one_stream_and_garbage_is_refused) {
  std::string out;
  Codecs codecs;
  for (const Coding coding : {Coding::gzip, Coding::zstd}) {
    out.clear();
    ASSERT_TRUE(codecs.decompress(coding, coded(coding, "a") + coded(coding, "b"), 10, out));
    EXPECT_EQ(out, "ab");
  }
  for (const Coding coding : codings) EXPECT_FALSE(codecs.decompress(coding, coded(coding, "a") + "garbage", 100, out));
  for (const Coding coding : codings) EXPECT_FALSE(codecs.decompress(coding, "", 100, out));
}

TEST(Coding, deflate_is_read_with_and_without_the_header_of_zlib) {
  std::string raw;
  make_raw_deflater(15)->write("hello hello hello", Flush::end, raw);
  Codecs codecs;
  std::string out;
  ASSERT_TRUE(codecs.decompress(Coding::deflate, raw, 100, out));
  EXPECT_EQ(out, "hello hello hello");
  out.clear();
  ASSERT_TRUE(codecs.decompress(Coding::deflate, coded(Coding::deflate, "with it"), 100, out));
  EXPECT_EQ(out, "with it");
}

TEST(Coding, a_bare_stream_goes_on_after_a_final_block_and_keeps_its_window) {
  const std::string text = "the same words, the same words";
  auto inflater = make_raw_inflater(15);
  std::string wire;
  std::string out;
  make_raw_deflater(15)->write(text, Flush::end, wire);
  ASSERT_TRUE(inflater->write(wire, 1000, out));
  // A compressor whose window is what the peer has seen refers back to it.
  auto deflater = make_raw_deflater(15);
  std::string ignored;
  deflater->write(text, Flush::sync, ignored);
  wire.clear();
  deflater->write(text, Flush::sync, wire);
  EXPECT_LT(wire.size(), 12u);
  ASSERT_TRUE(inflater->write(wire, 1000, out));
  EXPECT_EQ(out, text + text);
}

TEST(Coding, the_client_chooses_by_quality_and_we_among_equals) {
  constexpr std::array offers{Coding::zstd, Coding::gzip};
  const auto choose = [&](std::string_view header) { return choose_coding(header, offers); };
  EXPECT_EQ(choose(""), Coding::identity);
  EXPECT_EQ(choose("gzip, deflate, br, zstd"), Coding::zstd);
  EXPECT_EQ(choose("gzip;q=1.0, zstd;q=0.5"), Coding::gzip);
  EXPECT_EQ(choose("X-GZIP"), Coding::gzip);
  EXPECT_EQ(choose("br"), Coding::identity);
  EXPECT_EQ(choose("*"), Coding::zstd);
  EXPECT_EQ(choose("*;q=0.1, zstd;q=0"), Coding::gzip);
  EXPECT_EQ(choose("gzip;q=0, zstd;q=0"), Coding::identity);
  EXPECT_EQ(choose("gzip;q=0.5, identity"), Coding::identity);
  EXPECT_EQ(choose("gzip, identity"), Coding::gzip);
  EXPECT_EQ(choose("identity;q=0, gzip;q=0.001"), Coding::gzip);
  EXPECT_EQ(choose("identity;q=0"), std::nullopt);
  EXPECT_EQ(choose("br, *;q=0"), std::nullopt);
}

}  // namespace
}  // namespace shunt::net
