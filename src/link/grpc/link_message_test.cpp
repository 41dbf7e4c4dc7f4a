#include "link/grpc/link_message.h"

#include <gtest/gtest.h>

#include "link/grpc/handshake.h"

namespace shunt::link {

namespace {

std::string message(std::string_view frames) {
  return std::string(LinkMessageHead(frames.size()).view()).append(frames);
}

TEST(LinkMessage, what_is_written_is_read_however_it_is_cut) {
  std::string stream = proof_message(std::string(32, 'p'));
  std::string wanted;
  for (const std::size_t size : {0ul, 1ul, 127ul, 128ul, 16'000ul, 70'000ul}) {
    const std::string frames(size, static_cast<char>('a' + size % 26));
    stream += message(frames);
    wanted += frames;
  }
  for (const std::size_t cut : {1ul, 2ul, 7ul, 100ul, 5000ul, 1'000'000ul}) {
    LinkMessageReader reader;
    std::string frames;
    for (std::size_t at = 0; at < stream.size(); at += cut) {
      ASSERT_TRUE(reader.read(std::string_view(stream).substr(at, cut), frames).has_value()) << cut;
    }
    EXPECT_EQ(frames, wanted) << cut;
    EXPECT_EQ(reader.proof(), std::string(32, 'p'));
  }
}

TEST(LinkMessage, frames_are_told_before_their_message_is_whole) {
  LinkMessageReader reader;
  std::string frames;
  const std::string whole = message("0123456789");
  ASSERT_TRUE(reader.read(std::string_view(whole).substr(0, whole.size() - 6), frames).has_value());
  EXPECT_EQ(frames, "0123");
}

TEST(LinkMessage, fields_of_a_later_version_are_passed_over) {
  // 3: a varint; 4: eight bytes; 5: four bytes; 6: text; then frames.
  const std::string fields = std::string("\x18\xff\x01", 3) + "\x21" + "12345678" + "\x2d" + "1234" +
                             "\x32\x03"
                             "abc" +
                             "\x0a\x02"
                             "hi";
  const std::string stream = std::string("\0\0\0\0", 4) + static_cast<char>(fields.size()) + fields;
  LinkMessageReader reader;
  std::string frames;
  for (const char c : stream) ASSERT_TRUE(reader.read({&c, 1}, frames).has_value());
  EXPECT_EQ(frames, "hi");
}

TEST(LinkMessage, what_is_not_of_its_form_is_an_error) {
  const auto with = [](std::string_view fields) {
    return std::string("\0\0\0\0", 4) + static_cast<char>(fields.size()) + std::string(fields);
  };
  const std::string cases[] = {
      std::string("\1\0\0\0\2\x0a\0", 7),  // compressed
      with(std::string_view("\x0a\x05"
                            "abc",
                            5)),                                 // a field beyond its message
      with("\x0a"),                                              // a tag alone
      with(std::string_view("\x0b\x01", 2)),                     // a group
      with("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  // more than 64 bits
      with("\x12\x41" + std::string(65, 'x')),                   // a proof that is too long
      proof_message("one") + proof_message("two"),
  };
  for (const std::string& stream : cases) {
    LinkMessageReader reader;
    std::string frames;
    auto read = reader.read(stream, frames);
    ASSERT_FALSE(read.has_value()) << testing::PrintToString(stream);
    EXPECT_EQ(read.error().code(), Code::data_loss);
  }
}

Introduction introduction(char digit) {
  return {.node = {.id = std::string(32, digit), .name = "höst a", .epoch = 7, .software = "shunt 1"},
          .challenge = std::string(32, digit == 'a' ? 'b' : 'c'),
          .keyed = true};
}

std::function<std::string_view(std::string_view)> finder(
    const std::vector<std::pair<std::string, std::string>>& fields) {
  return [&fields](std::string_view name) {
    for (const auto& [key, value] : fields) {
      if (key == name) return std::string_view(value);
    }
    return std::string_view();
  };
}

TEST(Handshake, an_introduction_is_read_as_it_was_written) {
  const auto fields = introduction_fields(introduction('a'));
  auto read = read_introduction(finder(fields));
  ASSERT_TRUE(read.has_value()) << read.error().to_string();
  EXPECT_EQ(read->node.id, std::string(32, 'a'));
  EXPECT_EQ(read->node.name, "höst a");
  EXPECT_EQ(read->node.epoch, 7u);
  EXPECT_EQ(read->challenge, std::string(32, 'b'));
  EXPECT_TRUE(read->keyed);
}

TEST(Handshake, each_header_must_be_there_and_be_good) {
  const auto good = introduction_fields(introduction('a'));
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (good[i].first == "shunt-software") continue;
    auto fields = good;
    fields[i].second = "?";
    EXPECT_FALSE(read_introduction(finder(fields)).has_value()) << fields[i].first;
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(read_introduction(finder(fields)).has_value()) << good[i].first;
  }
  auto fields = good;
  fields[0].second = "2";
  EXPECT_EQ(read_introduction(finder(fields)).error().code(), Code::failed_precondition);
}

TEST(Handshake, a_proof_is_of_no_use_to_another_side_key_or_challenge) {
  const Introduction a = introduction('a');
  const Introduction b = introduction('b');
  const std::string proof = make_proof("key", HandshakeSide::dialler, a, b);
  EXPECT_EQ(proof.size(), 32u);
  EXPECT_EQ(proof, make_proof("key", HandshakeSide::dialler, a, b));
  EXPECT_NE(proof, make_proof("key", HandshakeSide::acceptor, a, b));
  EXPECT_NE(proof, make_proof("other", HandshakeSide::dialler, a, b));
  Introduction again = b;
  again.challenge = std::string(32, 'd');
  EXPECT_NE(proof, make_proof("key", HandshakeSide::dialler, a, again));
}

}  // namespace

}  // namespace shunt::link
