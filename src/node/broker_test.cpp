// The broker between workers that are only sockets: what it gives to whom, and what it takes back.

#include "node/broker.h"

#include <gtest/gtest.h>

#include <ctime>

#include "node/worker_links.h"
#include "os/socket.h"

namespace shunt::node {
namespace {

using wire::BrokerKey;
using wire::BrokerMessage;
using wire::BrokerVerb;

struct NoSpawner final : call::Spawner {
  loop::Task<Result<call::SpawnedWorker>> spawn_worker(call::WorkerStart) override {
    co_return fail(Code::internal, "");
  }
  loop::Task<Result<call::SpawnedDescribe>> spawn_describe(call::DescribeStart) override {
    co_return fail(Code::internal, "");
  }
  loop::Task<Result<std::vector<os::Fd>>> relink(pid_t, std::size_t) override { co_return fail(Code::internal, ""); }
  loop::Task<Result<std::vector<call::SpawnedWorker>>> workers() override { co_return fail(Code::internal, ""); }
  void kill(pid_t, int) override {}
  void on_exit(pid_t, Ended) override {}
  void forget_exit(pid_t) override {}
};
struct Nobody final : pool::Outputs, pool::LogSink, pool::PoolEvents, pool::InstanceEvents {
  Own<pool::Output> read(os::Fd, Line) override { return nullptr; }
  void on_line(const pool::WorkerIdentity&, pool::OutputStream, std::string_view) override {}
  void on_note(const pool::WorkerIdentity&, std::string_view) override {}
  void on_pool_change() override {}
  void on_link_opened(std::size_t, const pool::WorkerHello&) override {}
  void on_link_closed(std::size_t, const Status&) override {}
  void on_crossing(std::size_t, bool) override {}
  void on_link_pong(std::uint64_t) override {}
  void on_link_grant(const Status&, std::uint64_t) override {}
  void on_link_goaway(std::string_view) override {}
  void on_why_asked() override {}
};

class BrokerTest : public testing::Test {
 protected:
  struct Worker {
    std::string service;
    os::Fd socket;
    std::shared_ptr<pool::WorkerInstance> instance;
    Own<WorkerLinks> links;
    std::vector<os::Fd> descriptors;  // Of the message that was heard last.
  };

  void SetUp() override { begin({}); }
  void TearDown() override {
    loops_->stop();
    broker_->stop();
    loops_->forget_routing();
  }
  void begin(BrokerOptions options) {
    if (loops_) TearDown();
    workers_.clear();
    broker_ = nullptr;
    control_ = *loop::EpollLoop::create({});
    loops_ = *Loops::create(*control_, 0, nullptr);
    broker_ = make_own<Broker>(*loops_, tokens_, options);
  }

  Worker& add(const std::string& service, std::size_t number = 1) {
    auto worker = make_own<Worker>();
    worker->service = service;
    worker->links = make_own<WorkerLinks>(*loops_, *broker_, service, 1, false);
    pool::PoolWiring wiring{{control_.get()}, spawner_, *worker->links, nobody_, nobody_, nobody_};
    worker->instance =
        std::make_shared<pool::WorkerInstance>(wiring, pool::WorkerIdentity{service, number, 1}, nobody_);
    worker->instance->make_links({});
    worker->instance->closed.store(false);
    auto pair = *os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::no);
    worker->socket = std::move(pair.second);
    broker_->add(*worker->links, worker->instance, {.service = service, .wants_rings = false}, std::move(pair.first));
    workers_.push_back(std::move(worker));
    Worker& added = *workers_.back();
    say(added, BrokerMessage(BrokerVerb::hello).add_value(BrokerKey::can, wire::broker_can::direct));
    return added;
  }
  void publish(std::vector<std::string> uses, std::vector<std::string> allow = {},
               std::vector<std::string> commands = {"get", "set"}) {
    auto routing = std::make_shared<call::Routing>();
    for (std::string name : {"till", "prices"}) {
      auto definition = std::make_shared<call::ServiceDefinition>();
      definition->app = "shop";
      definition->name = name;
      definition->full_name = "shop." + name;
      if (name == "till") {
        for (auto& each : uses) {
          auto dot = each.find('.');
          definition->uses.push_back({each.substr(0, dot), dot == std::string::npos ? "" : each.substr(dot + 1)});
        }
      } else {
        definition->allow = allow;
        for (auto& each : commands) definition->commands[each].name = each;
      }
      auto route = std::make_shared<call::Route>();
      route->definition = definition;
      route->stats = stats_;
      for (auto& worker : workers_) {
        if (worker->service == definition->full_name) route->instances.push_back(worker->instance);
      }
      routing->routes[definition->full_name] = route;
    }
    loops_->install(std::move(routing));
    turn();
  }
  void turn() {
    for (int i = 0; i < 4; i++) control_->turn(Duration(0));
  }
  void say(Worker& worker, const BrokerMessage& message) {
    ASSERT_TRUE(*os::send_message(worker.socket.get(), *message.encode()));
    turn();
  }
  std::optional<BrokerMessage> heard(Worker& worker) {
    for (;;) {
      auto received = os::receive_message(worker.socket.get(), wire::broker_bytes_max);
      if (!received || !*received || (*received)->bytes.empty()) return std::nullopt;
      worker.descriptors = std::move((*received)->descriptors);
      auto message = *BrokerMessage::decode((*received)->bytes);
      if (message.verb != BrokerVerb::greeting) return message;
    }
  }
  void want(Worker& worker) { say(worker, BrokerMessage(BrokerVerb::want, 5).add(BrokerKey::named, "prices")); }

  Own<loop::EpollLoop> control_;
  UserTokens tokens_{std::string(32, 'k')};
  NoSpawner spawner_;
  Nobody nobody_;
  std::shared_ptr<call::ServiceStats> stats_ = std::make_shared<call::ServiceStats>();
  Own<Loops> loops_;
  std::vector<Own<Worker>> workers_;
  Own<Broker> broker_;
};

TEST_F(BrokerTest, who_may_call_gets_a_link_and_so_does_whom_it_calls) {
  auto& till = add("shop.till");
  auto& prices = add("shop.prices");
  publish({"prices.get"});
  want(till);
  auto answer = heard(till);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->verb, BrokerVerb::answer);
  EXPECT_EQ(answer->text(BrokerKey::service), "shop.prices");
  ASSERT_EQ(answer->commands().size(), 1u);  // "set" is not in its `uses`.
  EXPECT_EQ(answer->commands()[0].name, "get");
  auto caller = heard(till);
  auto callee = heard(prices);
  ASSERT_TRUE(caller && callee);
  EXPECT_EQ(caller->verb, BrokerVerb::attach);
  EXPECT_EQ(caller->number, callee->number);
  EXPECT_EQ(caller->text(BrokerKey::instance), prices.instance->identity().name());
  EXPECT_EQ(callee->text(BrokerKey::service), "shop.till");
  EXPECT_EQ(callee->commands().at(0).name, "get");
  ASSERT_EQ(till.descriptors.size(), 1u);
  ASSERT_EQ(prices.descriptors.size(), 1u);
  ASSERT_EQ(write(till.descriptors[0].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(prices.descriptors[0].get(), &byte, 1), 1);
  EXPECT_EQ(broker_->links(), 1u);
}

TEST_F(BrokerTest, who_may_not_is_told_as_the_router_tells) {
  auto& till = add("shop.till");
  add("shop.prices");
  publish({});
  want(till);
  auto answer = heard(till);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error().id(), "S1010");
  EXPECT_FALSE(heard(till));
  publish({"prices"}, {"someone_else"});
  want(till);
  EXPECT_EQ(heard(till)->error().id(), "S1010");
  EXPECT_EQ(broker_->links(), 0u);
}

TEST_F(BrokerTest, a_routing_that_withdraws_it_revokes_the_link_on_both_sides) {
  auto& till = add("shop.till");
  auto& prices = add("shop.prices");
  publish({"prices"});
  want(till);
  while (heard(till)) {
  }
  while (heard(prices)) {
  }
  publish({"prices"}, {"someone_else"});
  auto caller = heard(till);
  auto callee = heard(prices);
  ASSERT_TRUE(caller && callee);
  EXPECT_EQ(caller->verb, BrokerVerb::revoke);
  EXPECT_EQ(caller->error().code(), Code::permission_denied);
  EXPECT_EQ(callee->verb, BrokerVerb::revoke);
  EXPECT_EQ(broker_->links(), 0u);
  EXPECT_TRUE(broker_->report().empty());
}

TEST_F(BrokerTest, commands_that_changed_are_told_and_the_link_stays) {
  auto& till = add("shop.till");
  auto& prices = add("shop.prices");
  publish({"prices"});
  want(till);
  while (heard(till)) {
  }
  while (heard(prices)) {
  }
  publish({"prices.get"});
  auto policy = heard(prices);
  ASSERT_TRUE(policy);
  EXPECT_EQ(policy->verb, BrokerVerb::policy);
  EXPECT_EQ(policy->commands().size(), 1u);
  EXPECT_EQ(heard(till)->verb, BrokerVerb::policy);
  publish({"prices.get"});
  EXPECT_FALSE(heard(till));  // Nothing has changed.
  EXPECT_EQ(broker_->links(), 1u);
}

TEST_F(BrokerTest, instances_that_come_are_attached_and_those_that_go_are_retired) {
  auto& till = add("shop.till");
  auto& first = add("shop.prices", 1);
  publish({"prices"});
  want(till);
  while (heard(till)) {
  }
  add("shop.prices", 2);
  publish({"prices"});
  EXPECT_EQ(heard(till)->verb, BrokerVerb::attach);
  first.instance->closed.store(true);
  publish({"prices"});
  EXPECT_EQ(heard(till)->verb, BrokerVerb::retire);
  publish({"prices"});
  EXPECT_FALSE(heard(till));  // Told once.
  say(till, BrokerMessage(BrokerVerb::closed, 1));
  EXPECT_EQ(broker_->links(), 1u);
  say(till, BrokerMessage(BrokerVerb::done).add(BrokerKey::service, "shop.prices"));
  EXPECT_EQ(broker_->links(), 0u);
}

TEST_F(BrokerTest, a_worker_that_ends_leaves_nothing_behind) {
  auto& till = add("shop.till");
  auto& prices = add("shop.prices");
  publish({"prices"});
  want(till);
  while (heard(till)) {
  }
  broker_->remove(*prices.instance);
  EXPECT_EQ(heard(till)->verb, BrokerVerb::revoke);
  EXPECT_EQ(broker_->links(), 0u);
  till.socket.close();
  turn();
  EXPECT_TRUE(broker_->report().empty());
}

TEST_F(BrokerTest, beyond_its_budget_there_are_no_more_links) {
  begin({.links_max = 1});
  auto& till = add("shop.till");
  add("shop.prices", 1);
  add("shop.prices", 2);
  publish({"prices"});
  want(till);
  EXPECT_EQ(broker_->links(), 1u);
  EXPECT_EQ(heard(till)->verb, BrokerVerb::answer);
  EXPECT_EQ(heard(till)->verb, BrokerVerb::attach);
  EXPECT_FALSE(heard(till));
}

TEST_F(BrokerTest, tokens_are_read_for_workers_who_can_not) {
  auto& till = add("shop.till");
  const auto now = ::time(nullptr);
  const std::string token = tokens_.mint("ann", now);
  say(till, BrokerMessage(BrokerVerb::verify, 9).add(BrokerKey::token, token));
  auto good = heard(till);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->text(BrokerKey::user), "ann");
  EXPECT_GT(good->value(BrokerKey::lifetime_ms), 0u);
  say(till, BrokerMessage(BrokerVerb::verify, 10).add(BrokerKey::token, token + "x"));
  EXPECT_EQ(heard(till)->error().id(), "S1050");
}

TEST_F(BrokerTest, counts_are_taken_of_what_it_may_call_and_of_nothing_else) {
  auto& till = add("shop.till");
  auto& prices = add("shop.prices");
  stats_->commands["get"] = make_own<call::CommandStats>(1);
  publish({"prices"});
  BrokerMessage counts(BrokerVerb::counts);
  counts.add(wire::BrokerCount{"shop.prices", "get", prices.instance->identity().name(), 0, 3, 3000, {3}});
  say(till, counts);
  EXPECT_EQ(stats_->of("get").started(), 0u);
  want(till);
  counts.add(wire::BrokerCount{"shop.other", "get", "", 0, 3, 3000, {3}});
  counts.add(wire::BrokerCount{"shop.prices", "get", "", 200, 3, 3000, {3}});
  say(till, counts);
  EXPECT_EQ(stats_->of("get").started(), 3u);
  EXPECT_EQ(stats_->of("get").latency(0), 3u);
  EXPECT_EQ(prices.instance->served.load(), 3u);
}

TEST_F(BrokerTest, garbage_on_its_socket_ends_a_session_and_nothing_else) {
  auto& till = add("shop.till");
  auto& prices = add("shop.prices");
  publish({"prices"});
  want(till);
  ASSERT_TRUE(*os::send_message(prices.socket.get(), "not of ours"));
  turn();
  EXPECT_EQ(broker_->links(), 0u);
  want(till);
  while (auto message = heard(till)) {
    if (message->verb == BrokerVerb::answer && message->number == 5 && !message->error().is_ok()) return;
  }
  FAIL() << "there is nobody left to link to";
}

}  // namespace
}  // namespace shunt::node
