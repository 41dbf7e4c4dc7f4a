#include "link/remote_like/as_if_remote.h"

#include <gtest/gtest.h>

#include <chrono>

#include "call/client_call.h"
#include "call/server_call.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "loop/sim_loop.h"

namespace shunt::link {
namespace {

using namespace std::chrono_literals;
using call::Message;
using call::Opening;

TEST(AsIfRemote, what_is_not_named_has_its_default) {
  const auto none = parse_as_if_remote("");
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->latency, 1ms);
  EXPECT_EQ(none->jitter, 0ms);
  EXPECT_EQ(none->fault, 0);
  const auto all = parse_as_if_remote("latency=2ms,jitter=1500us,fault=0.01,seed=7");
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->latency, 2ms);
  EXPECT_EQ(all->jitter, 1500us);
  EXPECT_EQ(all->fault, 0.01);
  EXPECT_EQ(all->seed, 7u);
  EXPECT_EQ(describe(*all), "2ms each way, up to 1ms500us more, 1% of calls lose their link");
}

TEST(AsIfRemote, what_it_does_not_know_is_an_error_that_shows_how_it_is_written) {
  for (const char* text : {"latency", "latency=fast", "latency=-1ms", "jitter=2h", "fault=2", "fault=nan", "fault=-0.1",
                           "seed=x", "delay=1ms", "latency=1ms;seed=2", ","}) {
    const auto read = parse_as_if_remote(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().id(), "S5016");
    EXPECT_NE(read.error().message().find("latency=2ms,jitter=1ms,fault=0.01,seed=7"), std::string::npos);
  }
}

struct Distant : testing::Test {
  Distant() {
    service.add("echo", [this](call::ServerCall& call) -> loop::Task<Status> {
      begun++;
      while (auto message = co_await call.receive()) {
        was_typed = was_typed || message->is_typed();
        caller = call.principal().service;
        co_await call.send(std::move(*message));
      }
      co_return Status();
    });
    service.add("hang", [](call::ServerCall& call) -> loop::Task<Status> {
      co_return call::cancel_status(co_await call.wait_cancelled());
    });
  }
  loop::Task<void> ask(std::string command, Message message) {
    call::ClientCall call(
        loop, *link,
        {.service = "far", .command = command, .deadline = Deadline(clock.now() + 10s), .principal = &cart},
        Opening::unary(std::move(message)));
    auto answer = co_await call.receive();
    last = co_await call.finish();
    ended++;
    if (!last.is_ok()) failed++;
    if (answer) heard = answer->bytes().view();
  }
  void start(AsIfRemote like) { link = make_as_if_remote(loop, service, "far", like); }

  loop::SimClock clock;
  loop::SimLoop loop{clock};
  call::TaskService service{loop};
  call::Principal cart{.kind = call::PrincipalKind::service, .service = "shop.cart"};
  Own<call::Link> link;
  int begun = 0, ended = 0, failed = 0;
  bool was_typed = false;
  std::string caller, heard;
  Status last;
  loop::Scope scope{loop};
};

TEST_F(Distant, a_call_takes_the_latency_each_way_and_the_caller_is_known) {
  start({.latency = 2ms});
  scope.spawn(ask("echo", Message(Bytes::copy_of("hello"))));
  clock.advance(3ms);
  // The opening of the link itself has its way to go first, and then no more.
  clock.advance(20ms);
  EXPECT_EQ(heard, "hello");
  EXPECT_EQ(caller, "shop.cart");
  ended = 0;
  scope.spawn(ask("echo", Message(Bytes::copy_of("again"))));
  clock.advance(3900us);
  EXPECT_EQ(ended, 0);
  clock.advance(200us);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(heard, "again");
  EXPECT_FALSE(was_typed);
}

TEST_F(Distant, a_lost_link_ends_calls_as_unavailable_and_the_next_call_finds_another) {
  start({.latency = 1ms, .fault = 1});
  scope.spawn(ask("hang", Message(Bytes::copy_of("x"))));
  clock.advance(1s);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(last.code(), Code::unavailable);
  EXPECT_EQ(last.id(), "S1008");
  EXPECT_EQ(last.retry(), Retry::reconnect);
  scope.spawn(ask("hang", Message(Bytes::copy_of("x"))));
  clock.advance(1s);
  EXPECT_EQ(ended, 2);
  EXPECT_EQ(link->stats().calls_open, 0u);
}

TEST_F(Distant, the_share_of_faults_is_kept_and_the_rest_goes_through) {
  start({.latency = 1ms, .jitter = 1ms, .fault = 0.1, .seed = 5});
  for (int i = 0; i < 1000; i++) {
    scope.spawn(ask("echo", Message(Bytes::copy_of("x"))));
    clock.advance(50ms);
  }
  EXPECT_EQ(ended, 1000);
  // A link may be lost after the answer.
  EXPECT_GT(failed, 30);
  EXPECT_LT(failed, 110);
}

TEST_F(Distant, one_seed_has_one_course_of_events) {
  std::vector<int> counts;
  for (std::uint64_t seed : {5, 5, 6}) {
    failed = 0;
    std::string course;
    start({.latency = 1ms, .jitter = 3ms, .fault = 0.2, .seed = seed});
    for (int i = 0; i < 200; i++) {
      int before = failed;
      scope.spawn(ask("echo", Message(Bytes::copy_of("x"))));
      clock.advance(3ms);
      course += failed > before ? 'x' : '.';
    }
    clock.advance(1s);
    counts.push_back(static_cast<int>(std::hash<std::string>()(course) & 0x7fffffff));
  }
  EXPECT_EQ(counts[0], counts[1]);
  EXPECT_NE(counts[0], counts[2]);
}

TEST_F(Distant, calls_that_begin_again_inside_the_end_of_a_lost_link_are_served) {
  start({.latency = 1ms, .fault = 0.05, .seed = 3});
  auto insist = [](Distant& on) -> loop::Task<void> {
    for (int i = 0; i < 50; i++) co_await on.ask("echo", Message(Bytes::copy_of("x")));
  };
  for (int i = 0; i < 10; i++) scope.spawn(insist(*this));
  clock.advance(60s);
  EXPECT_EQ(ended, 500);
  EXPECT_GT(failed, 0);
  EXPECT_LT(failed, 500);
}

}  // namespace
}  // namespace shunt::link
