#include <gtest/gtest.h>

#include "directory/definition_json.h"
#include "directory/embedded/embedded_directory.h"
#include "directory/news.h"

namespace shunt::directory {

namespace {

Record record(const Lease& lease, std::string service, RecordState state = RecordState::ready) {
  Record made;
  made.node = "here";
  made.service = std::move(service);
  made.epoch = 1;
  made.hash = "h1";
  made.definition = "{}";
  made.state = state;
  made.lease = lease.id;
  return made;
}

struct Counter final : DirectoryEvents {
  int changes = 0;
  void on_directory() override { ++changes; }
};

TEST(Directory, a_record_that_says_nothing_new_changes_nothing) {
  EmbeddedDirectory directory;
  Counter counter;
  directory.watch(counter);
  const Lease lease = directory.grant();
  auto first = directory.put(record(lease, "shop"), any_revision);
  ASSERT_TRUE(first.has_value());
  auto again = directory.put(record(lease, "shop"), any_revision);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(counter.changes, 1);
  ASSERT_TRUE(directory.put(record(lease, "shop", RecordState::draining), any_revision).has_value());
  EXPECT_EQ(counter.changes, 2);
  directory.unwatch(counter);
}

TEST(Directory, a_snapshot_stays_what_it_was) {
  EmbeddedDirectory directory;
  const Lease lease = directory.grant();
  ASSERT_TRUE(directory.put(record(lease, "shop"), any_revision).has_value());
  auto before = directory.snapshot();
  ASSERT_TRUE(directory.put(record(lease, "blog"), any_revision).has_value());
  EXPECT_EQ(before->records.size(), 1u);
  EXPECT_NE(before->find("here", "shop"), nullptr);
  EXPECT_EQ(before->find("here", "blog"), nullptr);
  EXPECT_EQ(directory.snapshot()->records.size(), 2u);
}

TEST(Directory, compare_and_set_loses_to_who_was_first) {
  EmbeddedDirectory directory;
  const Lease lease = directory.grant();
  auto revision = directory.put(record(lease, "shop"), no_record);
  ASSERT_TRUE(revision.has_value());
  EXPECT_EQ(directory.put(record(lease, "shop"), no_record).error().code(), Code::aborted);
  ASSERT_TRUE(directory.put(record(lease, "shop", RecordState::draining), *revision).has_value());
  EXPECT_EQ(directory.put(record(lease, "shop"), *revision).error().code(), Code::aborted);
  EXPECT_EQ(directory.remove("here", "shop", *revision).error().code(), Code::aborted);
  EXPECT_TRUE(directory.remove("here", "shop", any_revision).has_value());
  EXPECT_TRUE(directory.remove("here", "shop", any_revision).has_value());
}

TEST(Directory, a_lease_that_ends_takes_its_records_along) {
  EmbeddedDirectory directory;
  const Lease first = directory.grant();
  const Lease second = directory.grant();
  EXPECT_GT(second.fencing, first.fencing);
  ASSERT_TRUE(directory.put(record(first, "shop"), any_revision).has_value());
  ASSERT_TRUE(directory.put(record(second, "blog"), any_revision).has_value());
  directory.revoke(first.id);
  EXPECT_EQ(directory.snapshot()->records.size(), 1u);
  EXPECT_EQ(directory.put(record(first, "shop"), any_revision).error().code(), Code::failed_precondition);
}

TEST(Directory, what_an_earlier_start_of_a_node_still_says_counts_no_more) {
  EmbeddedDirectory directory;
  const Lease old = directory.grant();
  const Lease lease = directory.grant();
  Record now = record(lease, "shop");
  now.epoch = 5;
  ASSERT_TRUE(directory.put(now, any_revision).has_value());
  Record late = record(old, "shop");
  late.epoch = 4;
  EXPECT_EQ(directory.put(late, any_revision).error().code(), Code::aborted);
  late.epoch = 5;
  EXPECT_EQ(directory.put(late, any_revision).error().code(), Code::aborted);
}

TEST(News, are_the_whole_first_and_then_what_changed) {
  EmbeddedDirectory directory;
  const Lease lease = directory.grant();
  ASSERT_TRUE(directory.put(record(lease, "shop"), any_revision).has_value());
  ASSERT_TRUE(directory.put(record(lease, "blog"), any_revision).has_value());
  auto first = directory.snapshot();
  auto messages = write_news("here", 1, nullptr, *first);
  ASSERT_EQ(messages.size(), 1u);
  auto news = read_news(messages[0]);
  ASSERT_TRUE(news.has_value());
  EXPECT_TRUE(news->whole);
  ASSERT_EQ(news->put.size(), 2u);
  EXPECT_EQ(news->put[0].service, "blog");
  EXPECT_EQ(news->put[0].definition, "{}");
  EXPECT_TRUE(write_news("here", 1, first.get(), *directory.snapshot()).empty());

  ASSERT_TRUE(directory.put(record(lease, "shop", RecordState::draining), any_revision).has_value());
  ASSERT_TRUE(directory.remove("here", "blog", any_revision).has_value());
  messages = write_news("here", 1, first.get(), *directory.snapshot());
  ASSERT_EQ(messages.size(), 1u);
  news = read_news(messages[0]);
  ASSERT_TRUE(news.has_value());
  EXPECT_FALSE(news->whole);
  ASSERT_EQ(news->put.size(), 1u);
  EXPECT_EQ(news->put[0].state, RecordState::draining);
  EXPECT_EQ(news->put[0].definition, "");
  EXPECT_EQ(news->gone, std::vector<std::string>{"blog"});
}

TEST(News, that_are_long_come_in_several_messages) {
  EmbeddedDirectory directory;
  const Lease lease = directory.grant();
  for (int i = 0; i < 5; ++i) {
    Record large = record(lease, "shop.s" + std::to_string(i));
    large.definition = std::string(600'000, 'x');
    ASSERT_TRUE(directory.put(std::move(large), any_revision).has_value());
  }
  auto messages = write_news("here", 1, nullptr, *directory.snapshot());
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_TRUE(read_news(messages[0])->whole);
  EXPECT_TRUE(read_news(messages[0])->more);
  EXPECT_FALSE(read_news(messages[4])->whole);
  EXPECT_FALSE(read_news(messages[4])->more);
}

TEST(News, of_any_other_form_are_refused) {
  for (const char* text : {"", "[]", "{}", R"({"node":1})", R"({"node":"a","put":{}})", R"({"node":"a","put":[1]})",
                           R"({"node":"a","put":[{"service":"x","hash":"y","weight":-1}]})",
                           R"({"node":"a","gone":[1]})", R"({"node":"a","epoch":"x"})"}) {
    auto read = read_news(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().id(), "S5068");
  }
}

call::ServiceDefinition prices() {
  call::ServiceDefinition definition;
  definition.app = "shop";
  definition.name = "prices";
  definition.full_name = "shop.prices";
  definition.version = "2";
  definition.description = "Prices \"of\" items";
  definition.uses = {{"stock", ""}, {"users", "get"}};
  definition.allow = {"blog"};
  definition.exposed = true;
  definition.auth = call::Auth::token;
  definition.timeout = std::chrono::seconds(5);
  definition.placement.pin = call::Distance::shm;
  definition.placement.forbid.add(call::Distance::grpc);
  definition.commands["get"] = {.name = "get",
                                .description = "one",
                                .request_schema = R"({"type":"object"})",
                                .response_schema = "{}",
                                .effect = call::Effect::none,
                                .stream = call::StreamShape::server,
                                .timeout = std::chrono::milliseconds(250),
                                .blocking = true,
                                .encoding = call::Encoding::proto};
  return definition;
}

TEST(Definition, travels_whole) {
  ProtoPart proto{.service = "shop.v1.Prices", .methods = {{"get", "Get"}}, .files = {std::string("\0\xff", 2)}};
  const std::string text = write_definition(prices(), proto);
  auto read = read_definition(text);
  ASSERT_TRUE(read.has_value()) << read.error().to_string();
  EXPECT_EQ(write_definition(read->definition, read->proto), text);
  EXPECT_EQ(read->proto.files, proto.files);
  EXPECT_EQ(read->definition.placement.pin, call::Distance::shm);
  EXPECT_TRUE(read->definition.placement.forbid.has(call::Distance::grpc));
  EXPECT_EQ(read->definition.commands.at("get").timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(definition_hash(text), definition_hash(write_definition(prices(), proto)));
  auto other = prices();
  other.exposed = false;
  EXPECT_NE(definition_hash(text), definition_hash(write_definition(other, proto)));
}

TEST(Definition, of_any_other_form_is_refused) {
  for (const char* text :
       {"", "1", "{}", R"({"app":"a","name":"a","full_name":"b","commands":{}})",
        R"({"app":"a","name":"a","full_name":"a"})", R"({"app":"a","name":"a","full_name":"a","commands":{"x y":{}}})",
        R"({"app":"a","name":"a","full_name":"a","commands":{"x":1}})",
        R"({"app":"a","name":"a","full_name":"a","commands":{"x":{"effect":"some"}}})",
        R"({"app":"a","name":"a","full_name":"a","commands":{"x":{"timeout_ns":-1}}})",
        R"({"app":"a","name":"a","full_name":"a","commands":{},"uses":[1]})",
        R"({"app":"a","name":"a","full_name":"a","commands":{},"proto":{"files":["?"]}})"}) {
    auto read = read_definition(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().id(), "S5068");
  }
}

}  // namespace

}  // namespace shunt::directory
