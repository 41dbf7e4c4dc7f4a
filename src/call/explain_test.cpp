#include "call/explain.h"

#include <gtest/gtest.h>

#include "link/local/local_link.h"
#include "loop/sim_loop.h"

namespace shunt::call {
namespace {

using namespace std::chrono_literals;
using Outcome = Explanation::Outcome;

struct Silent final : Service {
  void begin(IncomingHandle, const Open&, Opening) override {}
};

struct Stand final : Instance {
  Stand(loop::Loop& loop, Service& service, std::string called, Distance at)
      : local(link::LocalLink::create(loop, service)), label(std::move(called)), far(at) {}
  Link* link(std::size_t) override { return local.get(); }
  Distance distance() const override { return far; }
  std::string name() const override { return label; }
  std::string why() const override { return reason; }
  Own<link::LocalLink> local;
  std::string label;
  Distance far;
  std::string reason;
};

struct Waiting final : Admission {
  std::uint64_t wait(loop::Loop&, bool, Deadline, Granted) override { return 1; }
  void abandon(std::uint64_t) override {}
  void freed(Instance&) override {}
  [[nodiscard]] bool has_waiters() const override { return waiters; }
  bool waiters = false;
};

struct Explaining : testing::Test {
  Explaining() {
    add("shop", "prices", {"get", "list"});
    add("shop", "cart", {"total"}).uses = {{"shop.prices", "get"}};
    add("blog", "posts", {"read"});
    routing.paths = std::make_shared<PathStats>(1);
  }
  ServiceDefinition& add(const std::string& app, const std::string& name, const std::vector<std::string>& commands) {
    auto definition = std::make_shared<ServiceDefinition>();
    definition->app = app;
    definition->name = name;
    definition->full_name = app + "." + name;
    for (const auto& command : commands) definition->commands[command].name = command;
    auto route = std::make_shared<Route>();
    route->definition = definition;
    routing.routes[definition->full_name] = route;
    routes[definition->full_name] = route;
    definitions[definition->full_name] = definition.get();
    return *definition;
  }
  Stand& stand(const std::string& name, Distance at) {
    auto one = std::make_shared<Stand>(loop, silent, name, at);
    routes["shop.prices"]->instances.push_back(one);
    return *one;
  }
  Explanation ask(const std::string& caller, const std::string& callee) {
    auto answer = explain(routing, {caller, callee}, 0);
    EXPECT_TRUE(answer.has_value()) << (answer ? "" : answer.error().to_string());
    return answer ? std::move(*answer) : Explanation();
  }
  loop::SimClock clock;
  loop::SimLoop loop{clock};
  Silent silent;
  Routing routing;
  std::map<std::string, std::shared_ptr<Route>> routes;
  std::map<std::string, ServiceDefinition*> definitions;
};

TEST_F(Explaining, a_call_goes_to_the_nearest_and_the_others_say_why_not) {
  stand("far", Distance::grpc);
  stand("near#1 (pid 5)", Distance::unix_).reason = "the worker is sandboxed";
  stand("near#2 (pid 6)", Distance::unix_).in_flight = 3;
  const auto it = ask("cart", "prices.get");
  EXPECT_EQ(it.caller, "shop.cart");
  EXPECT_EQ(it.callee, "shop.prices");
  EXPECT_EQ(it.command, "get");
  EXPECT_TRUE(it.permitted);
  EXPECT_EQ(it.because,
            R"(shop.cart has "uses" with shop.prices.get, and shop.prices has no "allow", which is the services of )"
            "the same app");
  EXPECT_EQ(it.outcome, Outcome::goes);
  EXPECT_EQ(it.says, "to near#1 (pid 5), by unix");
  ASSERT_EQ(it.candidates.size(), 3u);
  EXPECT_TRUE(it.candidates[0].chosen);
  EXPECT_EQ(it.candidates[0].because, "the nearest with room");
  EXPECT_EQ(it.candidates[0].why_distance, "the worker is sandboxed");
  EXPECT_EQ(it.candidates[1].because, "as near, but busier");
  EXPECT_EQ(it.candidates[2].because, "farther: it gets what the nearer ones have no room for");
  EXPECT_EQ(it.candidates[2].why_distance, "another node, over gRPC");
}

TEST_F(Explaining, equals_are_all_chosen) {
  stand("a", Distance::local);
  stand("b", Distance::local);
  const auto it = ask("operator", "prices");
  EXPECT_EQ(it.says, "to any of 2 instances, by local");
  EXPECT_EQ(it.candidates[0].because, "one of 2 equals: each gets its share");
  EXPECT_TRUE(it.candidates[1].chosen);
}

TEST_F(Explaining, who_may_not_call_hears_what_would_allow_it) {
  stand("a", Distance::local);
  const auto it = ask("posts", "shop.prices.get");
  EXPECT_FALSE(it.permitted);
  EXPECT_EQ(it.outcome, Outcome::refused);
  EXPECT_NE(it.because.find(R"(add "prices" to the "uses" of blog.posts)"), std::string::npos) << it.because;
  EXPECT_TRUE(ask("gateway", "prices").because.find(R"("expose": true)") != std::string::npos);
  definitions["shop.prices"]->exposed = true;
  EXPECT_EQ(ask("gateway", "prices").because, R"(its manifest exposes it ("expose": true))");
}

TEST_F(Explaining, of_a_service_as_a_whole_it_says_which_commands) {
  stand("a", Distance::local);
  const auto it = ask("cart", "prices");
  EXPECT_TRUE(it.permitted);
  EXPECT_TRUE(it.because.ends_with("; only: get")) << it.because;
  EXPECT_FALSE(ask("cart", "prices.list").permitted);
}

TEST_F(Explaining, what_stands_in_the_way_of_each_instance_is_told) {
  auto& full = stand("full", Distance::unix_);
  full.capacity = 2;
  full.in_flight = 2;
  stand("draining", Distance::unix_).closed = true;
  stand("forbidden", Distance::grpc);
  definitions["shop.prices"]->placement.forbid = {Distance::grpc};
  auto queue = std::make_shared<Waiting>();
  routes["shop.prices"]->admission = queue;
  auto it = ask("cart", "prices.get");
  EXPECT_EQ(it.outcome, Outcome::waits);
  ASSERT_EQ(it.candidates.size(), 3u);
  EXPECT_EQ(it.candidates[0].because, "it takes no new calls: it is starting, draining or gone");
  EXPECT_EQ(it.candidates[1].because, "it runs as many calls as it takes at once (2)");
  EXPECT_EQ(it.candidates[2].because, R"("placement" forbids grpc)");
  full.in_flight = 1;
  queue->waiters = true;
  it = ask("cart", "prices.get");
  EXPECT_EQ(it.candidates[1].because, "calls wait for a slot there already, and nobody passes them");
  EXPECT_TRUE(it.has_waiters);
}

TEST_F(Explaining, nowhere_to_go_has_the_error_that_a_call_would_have) {
  routes["shop.prices"]->why_absent = "it is starting";
  auto it = ask("cart", "prices.get");
  EXPECT_EQ(it.outcome, Outcome::unavailable);
  EXPECT_EQ(it.says,
            "nowhere: S1009 unavailable: service shop.prices has no instance that can take a call: it is starting");
  stand("far", Distance::grpc);
  definitions["shop.prices"]->placement.pin = Distance::local;
  it = ask("cart", "prices.get");
  EXPECT_NE(it.says.find("S1018"), std::string::npos) << it.says;
}

TEST_F(Explaining, what_was_measured_stands_at_its_instance_and_what_is_gone_below) {
  stand("prices#1 (pid 9)", Distance::shm);
  auto& paths = *routing.paths;
  for (int i = 0; i < 10; i++) paths.shard("shop.cart", "shop.prices", "prices#1", Distance::shm, 0).record(2us, i > 0);
  paths.shard("shop.cart", "shop.prices", "prices#1", Distance::unix_, 0).record(20us, true);
  paths.shard("gateway", "shop.prices", "prices#1", Distance::shm, 0).record(1s, true);
  const auto it = ask("cart", "prices.get");
  EXPECT_EQ(it.candidates[0].measured.calls, 10u);
  EXPECT_EQ(it.candidates[0].measured.errors, 1u);
  EXPECT_NEAR(double(it.candidates[0].measured.at(0.5).count()), 2000, 120);
  ASSERT_EQ(it.earlier.size(), 1u);
  EXPECT_EQ(it.earlier[0].distance, Distance::unix_);
  EXPECT_EQ(it.earlier[0].measured.calls, 1u);
}

TEST_F(Explaining, unknown_names_get_the_nearest_and_what_exists) {
  auto error = [&](const char* caller, const char* callee) {
    auto answer = explain(routing, {caller, callee}, 0);
    EXPECT_FALSE(answer.has_value());
    return answer ? std::string() : answer.error().to_string();
  };
  EXPECT_NE(error("crat", "prices").find("'cart'"), std::string::npos) << error("crat", "prices");
  EXPECT_NE(error("crat", "prices").find("'gateway' or 'operator'"), std::string::npos);
  EXPECT_NE(error("cart", "pirces").find("'prices'"), std::string::npos) << error("cart", "pirces");
  EXPECT_NE(error("cart", "shop.pirces").find("'shop.prices'"), std::string::npos);
  EXPECT_NE(error("cart", "prices.gett").find("'get'"), std::string::npos);
  EXPECT_NE(error("cart", "prices.gett").find("it has: get, list"), std::string::npos);
}

}  // namespace
}  // namespace shunt::call
