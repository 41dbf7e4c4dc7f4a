#include "call/chooser.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "call/client_call.h"
#include "call/router.h"
#include "call/server_call.h"
#include "link/local/local_link.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "loop/sim_loop.h"

namespace shunt::call {
namespace {

using namespace std::chrono_literals;

// As far away as a test says; its calls run on the same loop.
struct Far final : Instance {
  Far(loop::Loop& loop, Service& service, std::string called, Distance at, std::uint32_t room)
      : local(link::LocalLink::create(loop, service)), label(std::move(called)), far(at) {
    capacity = room;
  }
  Link* link(std::size_t) override { return is_linked ? local.get() : nullptr; }
  Distance distance() const override { return far; }
  std::string name() const override { return label; }
  bool is_pooled() const override { return far == Distance::shm || far == Distance::unix_; }
  Own<link::LocalLink> local;
  std::string label;
  Distance far;
  bool is_linked = true;
};

// First come, first served, as the pool's.
struct Row final : Admission {
  std::uint64_t wait(loop::Loop&, bool, Deadline, Granted granted) override { return add(std::move(granted), false); }
  std::uint64_t wait_anywhere(loop::Loop&, bool, Deadline, Granted granted) override {
    return add(std::move(granted), true);
  }
  std::uint64_t add(Granted granted, bool anywhere) {
    if (tickets.size() >= limit) {
      granted(fail(Code::resource_exhausted, "S1011", "full"));
      return 0;
    }
    tickets.push_back({++last, std::move(granted), anywhere});
    most = std::max(most, tickets.size());
    return last;
  }
  void abandon(std::uint64_t ticket) override {
    std::erase_if(tickets, [&](const auto& one) { return one.number == ticket; });
  }
  void freed(Instance& instance) override {
    for (const auto& one : own) {
      if (one.get() == &instance) room_at(one);
    }
  }
  void room_at(const std::shared_ptr<Instance>& instance) override {
    for (std::size_t i = 0; i < tickets.size(); i++) {
      if (!instance->is_pooled() && !tickets[i].anywhere) continue;
      if (!instance->try_enter(false)) return;
      auto granted = std::move(tickets[i].granted);
      tickets.erase(tickets.begin() + static_cast<std::ptrdiff_t>(i));
      granted(instance);
      return;
    }
  }
  [[nodiscard]] bool has_waiters() const override { return !tickets.empty(); }
  struct Ticket {
    std::uint64_t number;
    Granted granted;
    bool anywhere;
  };
  std::deque<Ticket> tickets;
  std::vector<std::shared_ptr<Instance>> own;
  std::uint64_t last = 0;
  std::size_t limit = 1000;
  std::size_t most = 0;
};

struct Choosing : testing::Test {
  Choosing() {
    service.add("work", [this](ServerCall&) -> loop::Task<Status> {
      co_await loop::sleep_for(loop, Duration(std::chrono::microseconds(100 + random.below(900))));
      co_return Status();
    });
    service.add("hang", [](ServerCall& call) -> loop::Task<Status> {
      co_return cancel_status(co_await call.wait_cancelled());
    });
    definition->app = definition->name = definition->full_name = "prices";
    for (const char* name : {"work", "hang"}) {
      definition->commands[name].name = name;
      route->stats->commands[name] = std::make_unique<CommandStats>();
    }
    route->definition = definition;
  }
  Far& add(Distance at, std::uint32_t room = 0) {
    auto name = std::string(distance_name(at)) + std::to_string(route->instances.size());
    auto one = std::make_shared<Far>(loop, service, name, at, room);
    route->instances.push_back(one);
    if (one->is_pooled()) {
      if (route->admission == nullptr) route->admission = row;
      row->own.push_back(one);
    }
    return *one;
  }
  void install(bool arranged = true) {
    if (arranged) route->arrange();
    auto routing = std::make_shared<Routing>();
    routing->routes["prices"] = route;
    routing->paths = paths;
    router.install(routing);
  }
  // What would be taken: the names, in the order in which they are, until nothing has room.
  std::map<std::string, int> take(int count, Ask ask = {}) {
    std::map<std::string, int> taken;
    for (int i = 0; i < count; i++) {
      auto at = enter_nearest(*route, ask, random);
      taken[at ? route->instances[*at]->name() : "nothing"]++;
    }
    return taken;
  }
  loop::Task<void> one(std::string_view command, int& ended, Status& last, Distance farthest = Distance::grpc) {
    ClientCall call(router, loop, {.service = "prices", .command = command, .principal = &node, .farthest = farthest},
                    Opening::unary(Message()));
    last = co_await call.finish();
    ended++;
  }

  loop::SimClock clock;
  loop::SimLoop loop{clock};
  SeededRandom random{11};
  TaskService service{loop};
  std::shared_ptr<ServiceDefinition> definition = std::make_shared<ServiceDefinition>();
  std::shared_ptr<Route> route = [] {
    auto made = std::make_shared<Route>();
    made->stats = std::make_shared<ServiceStats>();
    return made;
  }();
  std::shared_ptr<Row> row = std::make_shared<Row>();
  std::shared_ptr<PathStats> paths = std::make_shared<PathStats>(1);
  Router router{loop, 0, random};
  Principal node{.kind = PrincipalKind::node};
  int ended = 0;
  Status last;
  loop::Scope scope{loop};
};

TEST_F(Choosing, this_process_before_this_host_before_another_node) {
  add(Distance::grpc, 1);
  add(Distance::unix_, 1);
  add(Distance::local, 1);
  install();
  EXPECT_EQ(take(1), (std::map<std::string, int>{{"local2", 1}}));
  EXPECT_EQ(take(1), (std::map<std::string, int>{{"unix1", 1}}));
  EXPECT_EQ(take(1), (std::map<std::string, int>{{"grpc0", 1}}));
  EXPECT_EQ(take(1), (std::map<std::string, int>{{"nothing", 1}}));
}

TEST_F(Choosing, on_one_host_the_less_busy_goes_before_the_cheaper_way) {
  add(Distance::unix_, 10);
  add(Distance::shm, 10);
  install();
  EXPECT_EQ(take(10), (std::map<std::string, int>{{"unix0", 5}, {"shm1", 5}}));
}

TEST_F(Choosing, equals_share_the_load) {
  for (int i = 0; i < 4; i++) add(Distance::unix_);
  install();
  for (const auto& [name, count] : take(1000)) EXPECT_EQ(count, 250) << name;
}

TEST_F(Choosing, equals_that_are_idle_share_single_calls_too) {
  for (int i = 0; i < 4; i++) add(Distance::unix_);
  install();
  std::map<std::string, int> taken;
  for (int i = 0; i < 1000; i++) {
    auto at = enter_nearest(*route, {}, random);
    ASSERT_TRUE(at.has_value());
    taken[route->instances[*at]->name()]++;
    route->instances[*at]->leave(false);
  }
  ASSERT_EQ(taken.size(), 4u);
  for (const auto& [name, count] : taken) EXPECT_NEAR(count, 250, 60) << name;
}

TEST_F(Choosing, of_many_two_are_looked_at_and_the_load_is_even_all_the_same) {
  for (int i = 0; i < 50; i++) add(Distance::unix_);
  add(Distance::grpc);
  install();
  auto taken = take(5000);
  EXPECT_EQ(taken.count("grpc50"), 0u);
  ASSERT_EQ(taken.size(), 50u);
  for (const auto& [name, count] : taken) EXPECT_NEAR(count, 100, 5) << name;
}

TEST_F(Choosing, of_many_the_last_one_with_room_is_found) {
  for (int i = 0; i < 30; i++) add(Distance::unix_, 2);
  install();
  EXPECT_EQ(take(61)["nothing"], 1);
}

TEST_F(Choosing, of_many_that_nobody_arranged_the_near_ones_are_found_too) {
  for (int i = 0; i < 20; i++) add(Distance::grpc);
  for (int i = 0; i < 20; i++) add(Distance::unix_, 1);
  install(false);
  auto taken = take(40);
  int far = 0;
  for (const auto& [name, count] : taken) far += name.starts_with("grpc") ? count : 0;
  EXPECT_EQ(far, 20);
}

TEST_F(Choosing, a_draining_or_unlinked_instance_gets_nothing) {
  add(Distance::local).closed = true;
  add(Distance::unix_).is_linked = false;
  add(Distance::grpc);
  install();
  EXPECT_EQ(take(100), (std::map<std::string, int>{{"grpc2", 100}}));
}

TEST_F(Choosing, what_placement_forbids_is_never_taken_full_or_not) {
  add(Distance::local);
  add(Distance::unix_, 1);
  add(Distance::grpc);
  install();
  definition->placement.forbid = {Distance::local, Distance::grpc};
  EXPECT_EQ(take(3), (std::map<std::string, int>{{"unix1", 1}, {"nothing", 2}}));
  definition->placement = {.pin = Distance::grpc};
  EXPECT_EQ(take(3), (std::map<std::string, int>{{"grpc2", 3}}));
}

TEST_F(Choosing, what_a_peer_handed_to_us_goes_no_farther) {
  add(Distance::unix_, 1);
  add(Distance::grpc);
  install();
  EXPECT_EQ(take(3, {.farthest = Distance::unix_}), (std::map<std::string, int>{{"unix0", 1}, {"nothing", 2}}));
}

TEST_F(Choosing, a_blocking_call_goes_where_none_runs) {
  add(Distance::unix_, 10);
  add(Distance::unix_, 10);
  install();
  EXPECT_EQ(take(3, {.blocking = true}), (std::map<std::string, int>{{"unix0", 1}, {"unix1", 1}, {"nothing", 1}}));
}

TEST_F(Choosing, what_the_near_ones_have_no_room_for_spills_over_at_once) {
  Far& near = add(Distance::unix_, 1);
  Far& far = add(Distance::grpc, 8);
  install();
  for (int i = 0; i < 3; i++) scope.spawn(one("hang", ended, last));
  clock.settle();
  EXPECT_EQ(near.in_flight, 1u);
  EXPECT_EQ(far.in_flight, 2u);
  EXPECT_TRUE(row->tickets.empty());
}

TEST_F(Choosing, nobody_jumps_the_queue_of_the_near_one_and_newcomers_go_farther) {
  Far& near = add(Distance::unix_, 1);
  Far& far = add(Distance::grpc, 1);
  install();
  far.closed = true;
  for (int i = 0; i < 2; i++) scope.spawn(one("hang", ended, last));
  clock.settle();
  EXPECT_EQ(row->tickets.size(), 1u);
  far.closed = false;
  near.capacity = 2;
  scope.spawn(one("hang", ended, last));
  clock.settle();
  EXPECT_EQ(near.in_flight, 1u);
  EXPECT_EQ(far.in_flight, 1u);
}

TEST_F(Choosing, a_slot_that_comes_free_far_away_goes_to_whoever_waits_longest) {
  Far& near = add(Distance::unix_, 1);
  add(Distance::grpc, 1);
  install();
  scope.spawn(one("hang", ended, last));
  scope.spawn(one("work", ended, last));
  clock.settle();
  for (int i = 0; i < 5; i++) scope.spawn(one("work", ended, last));
  clock.settle();
  EXPECT_EQ(row->tickets.size(), 5u);
  clock.advance(1s);
  EXPECT_EQ(ended, 6);
  EXPECT_EQ(near.in_flight, 1u);
  EXPECT_TRUE(row->tickets.empty());
}

TEST_F(Choosing, a_call_that_may_not_go_far_keeps_its_place_in_the_queue) {
  Far& near = add(Distance::unix_, 1);
  add(Distance::grpc, 1);
  install();
  scope.spawn(one("hang", ended, last));
  clock.settle();
  Status here;
  int ended_here = 0;
  scope.spawn(one("work", ended_here, here, Distance::unix_));
  clock.settle();
  for (int i = 0; i < 5; i++) scope.spawn(one("work", ended, last));
  clock.advance(1s);
  EXPECT_EQ(ended, 5);
  EXPECT_EQ(ended_here, 0);
  EXPECT_EQ(row->tickets.size(), 1u);
  near.capacity = 2;
  row->room_at(row->own[0]);
  clock.advance(1s);
  EXPECT_EQ(ended_here, 1);
}

TEST_F(Choosing, a_full_queue_refuses_only_when_nothing_farther_has_room) {
  add(Distance::unix_, 1);
  Far& far = add(Distance::grpc, 2);
  row->limit = 0;
  install();
  for (int i = 0; i < 3; i++) scope.spawn(one("hang", ended, last));
  clock.settle();
  EXPECT_EQ(ended, 0);
  EXPECT_EQ(far.in_flight, 2u);
  scope.spawn(one("hang", ended, last));
  clock.settle();
  EXPECT_EQ(last.code(), Code::resource_exhausted);
}

TEST_F(Choosing, a_peer_that_refuses_is_left_for_the_next) {
  struct Refusing final : Service {
    void begin(IncomingHandle call, const Open&, Opening) override {
      refused++;
      call->finish(Status(Code::unavailable, "S1015", "no room").with_retry(Retry::elsewhere), {});
    }
    int refused = 0;
  } refusing;
  route->instances.push_back(std::make_shared<Far>(loop, refusing, "unwilling", Distance::grpc, 0));
  Far& other = add(Distance::grpc);
  install();
  for (int i = 0; i < 20; i++) scope.spawn(one("work", ended, last));
  clock.advance(1s);
  EXPECT_EQ(ended, 20);
  EXPECT_TRUE(last.is_ok()) << last.to_string();
  EXPECT_EQ(other.served, 20u);
  EXPECT_GT(refusing.refused, 0);
  // Where there is no next one, the refusal is the answer.
  other.closed = true;
  scope.spawn(one("work", ended, last));
  clock.advance(1s);
  EXPECT_EQ(last.id(), "S1015");
}

TEST_F(Choosing, a_refused_call_goes_by_the_routing_that_is_in_force_by_then) {
  struct Moving final : Service {
    void begin(IncomingHandle call, const Open&, Opening) override {
      moved();
      call->finish(Status(Code::unavailable, "S1015", "draining").with_retry(Retry::elsewhere), {});
    }
    std::function<void()> moved;
  } moving;
  route->instances.push_back(std::make_shared<Far>(loop, moving, "old", Distance::grpc, 0));
  install();
  moving.moved = [&] {
    auto newer = std::make_shared<Route>(*route);
    newer->instances = {std::make_shared<Far>(loop, service, "new", Distance::local, 0)};
    newer->near_end = {};
    auto routing = std::make_shared<Routing>();
    routing->routes["prices"] = newer;
    routing->paths = paths;
    router.install(routing);
  };
  scope.spawn(one("work", ended, last));
  clock.advance(1s);
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(last.is_ok()) << last.to_string();
}

TEST_F(Choosing, when_placement_leaves_nothing_the_error_says_what_there_is_and_what_forbids_it) {
  add(Distance::unix_, 4);
  add(Distance::grpc);
  definition->placement = {.pin = Distance::local};
  install();
  scope.spawn(one("work", ended, last));
  clock.settle();
  EXPECT_EQ(last.code(), Code::unavailable);
  EXPECT_EQ(last.id(), "S1018");
  EXPECT_EQ(
      last.message(),
      R"(the "placement" of service prices leaves no instance to call; there are: unix0 (unix): "placement" pins )"
      R"(it to local; grpc1 (grpc): "placement" pins it to local)");
}

TEST_F(Choosing, where_nothing_here_can_be_waited_for_a_full_peer_is_asked_for_it_has_a_queue_of_its_own) {
  Far& busier = add(Distance::grpc, 1);
  Far& busy = add(Distance::grpc, 1);
  install();
  busier.in_flight = 5;
  for (int i = 0; i < 3; i++) scope.spawn(one("work", ended, last));
  clock.settle();
  EXPECT_EQ(busy.in_flight, 3u);
  clock.advance(1s);
  EXPECT_EQ(ended, 3);
  EXPECT_TRUE(last.is_ok()) << last.to_string();
  EXPECT_EQ(busy.in_flight, 0u);
}

TEST_F(Choosing, without_room_or_queue_the_error_says_how_each_instance_stands) {
  add(Distance::local, 1).try_enter(false);
  add(Distance::grpc).closed = true;
  install();
  scope.spawn(one("work", ended, last));
  clock.settle();
  EXPECT_EQ(last.id(), "S1009");
  EXPECT_EQ(last.message(),
            "service prices has no instance that can take a call: local0 (local): full; grpc1 (grpc): closed");
}

// Whatever the seed: every call ends, nobody is over its room, nothing goes where it may not.
TEST_F(Choosing, under_load_from_any_seed_every_call_ends_and_no_instance_is_over_its_room) {
  for (std::uint64_t seed = 1; seed <= 40; seed++) {
    SeededRandom chance(seed);
    random = SeededRandom(seed * 77);
    route->instances.clear();
    route->admission = nullptr;
    row = std::make_shared<Row>();
    definition->placement = {};
    const auto near = 1 + chance.below(12);
    for (std::uint64_t i = 0; i < near; i++) add(Distance::unix_, static_cast<std::uint32_t>(1 + chance.below(3)));
    for (std::uint64_t i = chance.below(4); i > 0; i--)
      add(Distance::grpc, static_cast<std::uint32_t>(1 + chance.below(3)));
    Far& drained = add(Distance::unix_, 5);
    drained.closed = true;
    Far& forbidden = add(Distance::shm, 5);
    definition->placement.forbid = {Distance::shm};
    std::erase_if(row->own, [&](const auto& one) { return one.get() == &drained || one.get() == &forbidden; });
    install(chance.below(2) == 0);
    int started = 0;
    ended = 0;
    for (int step = 0; step < 300; step++) {
      for (auto n = chance.below(4); n > 0; n--, started++) {
        scope.spawn(one("work", ended, last, chance.below(5) == 0 ? Distance::unix_ : Distance::grpc));
      }
      clock.advance(std::chrono::microseconds(chance.below(200)));
      for (const auto& instance : route->instances)
        ASSERT_LE(instance->in_flight, instance->capacity) << "seed " << seed;
    }
    clock.advance(10s);
    ASSERT_EQ(ended, started) << "seed " << seed;
    ASSERT_TRUE(row->tickets.empty()) << "seed " << seed;
    EXPECT_EQ(drained.served, 0u);
    EXPECT_EQ(forbidden.served, 0u);
    for (const auto& instance : route->instances) ASSERT_EQ(instance->in_flight, 0u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace shunt::call
