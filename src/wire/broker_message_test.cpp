#include "wire/broker_message.h"

#include <gtest/gtest.h>

namespace shunt::wire {
namespace {

TEST(BrokerMessage, what_is_written_is_read) {
  BrokerMessage message(BrokerVerb::attach, 77);
  message.add_value(BrokerKey::role, 2).add(BrokerKey::service, "shop.prices");
  BrokerCommand get{"get", 5'000'000'000, 2, 0, BrokerCommand::json};
  BrokerCommand put{"put", 0, 0, 1, BrokerCommand::json | BrokerCommand::blocking};
  message.add(get).add(put);
  auto back = BrokerMessage::decode(*message.encode());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->verb, BrokerVerb::attach);
  EXPECT_EQ(back->number, 77u);
  EXPECT_EQ(back->value(BrokerKey::role), 2u);
  EXPECT_EQ(back->text(BrokerKey::service), "shop.prices");
  EXPECT_EQ(back->commands(), (std::vector{get, put}));
  EXPECT_TRUE(back->error().is_ok());
  EXPECT_EQ(back->size(), message.size());
}

TEST(BrokerMessage, an_error_keeps_its_code_id_and_words) {
  BrokerMessage message(BrokerVerb::answer, 1);
  message.add_error(Status(Code::permission_denied, "S1010", "no").with_retry(Retry::later));
  auto back = BrokerMessage::decode(*message.encode());
  EXPECT_EQ(back->error().code(), Code::permission_denied);
  EXPECT_EQ(back->error().id(), "S1010");
  EXPECT_EQ(back->error().message(), "no");
  EXPECT_EQ(back->error().retry(), Retry::later);
}

TEST(BrokerMessage, counts_keep_their_buckets) {
  BrokerMessage message(BrokerVerb::counts);
  message.add(BrokerCount{"shop.prices", "get", "prices#1", 0, 12, 999, {1, 2, 9}});
  message.add(BrokerPath{"shop.prices", "prices#1", std::string("\0x", 2)});
  auto back = BrokerMessage::decode(*message.encode());
  auto counts = back->counts();
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts[0].latency, (std::vector<std::uint64_t>{1, 2, 9}));
  EXPECT_EQ(counts[0].calls, 12u);
  EXPECT_EQ(back->paths().at(0).counts.size(), 2u);
}

TEST(BrokerMessage, unknown_verbs_and_keys_are_passed_over) {
  BrokerMessage message(static_cast<BrokerVerb>(9999), 3);
  message.add(static_cast<BrokerKey>(777), "later").add(BrokerKey::user, "ann");
  auto back = BrokerMessage::decode(*message.encode());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->text(BrokerKey::user), "ann");
}

TEST(BrokerMessage, what_is_cut_off_or_garbled_is_data_loss) {
  BrokerMessage message(BrokerVerb::want, 3);
  message.add(BrokerKey::named, "prices");
  std::string bytes = *message.encode();
  for (std::size_t size = 0; size < bytes.size(); size++) {
    if (size == 16) continue;  // A header alone is a message.
    EXPECT_FALSE(BrokerMessage::decode(std::string_view(bytes).substr(0, size))) << size;
  }
  bytes[0] ^= 1;
  EXPECT_EQ(BrokerMessage::decode(bytes).error().code(), Code::data_loss);
  bytes[0] ^= 1;
  bytes[4] = 2;
  EXPECT_EQ(BrokerMessage::decode(bytes).error().code(), Code::unimplemented);
}

TEST(BrokerMessage, a_message_beyond_its_limit_is_refused_before_it_is_sent) {
  BrokerMessage message(BrokerVerb::counts);
  message.add(BrokerKey::text, std::string(broker_bytes_max, 'x'));
  EXPECT_EQ(message.encode().error().code(), Code::resource_exhausted);
}

}  // namespace
}  // namespace shunt::wire
