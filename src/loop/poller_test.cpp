#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "loop/epoll_loop.h"

namespace shunt::loop {
namespace {

using namespace std::chrono_literals;

Own<EpollLoop> make_loop(Duration spin = Duration(0)) {
  return EpollLoop::create({.slow_turn = Duration(0), .spin = {.spin_max = spin}}).value();
}

/// Something to do appears in `work`, from any thread.
struct TestPoller final : Poller {
  [[nodiscard]] bool peek() const override { return work.load() > 0; }
  bool poll() override {
    polls++;
    if (work.load() == 0) return false;
    work--;
    if (then) then();
    return true;
  }
  void arm() override {
    arms++;
    if (at_last_moment) work++;
  }
  bool rest() override { return work.load() == 0; }
  std::atomic<int> work{0};
  bool at_last_moment = false;
  int polls = 0;
  int arms = 0;
  std::function<void()> then;
};

TEST(Pollers, are_looked_at_once_a_turn) {
  auto loop = make_loop();
  TestPoller poller;
  loop->poll_more(poller);
  loop->poll_more(poller);
  EXPECT_EQ(loop->polled(), 1u);
  poller.work = 3;
  loop->turn(Duration(-1));
  EXPECT_EQ(poller.polls, 1);
  loop->turn(Duration(-1));
  EXPECT_EQ(poller.polls, 2);
}

TEST(Pollers, with_nothing_rest_when_the_loop_sleeps) {
  auto loop = make_loop();
  TestPoller poller;
  loop->poll_more(poller);
  loop->turn(1ms);
  EXPECT_EQ(poller.arms, 1);
  EXPECT_FALSE(poller.is_polled());
  EXPECT_EQ(loop->polled(), 0u);
}

TEST(Pollers, that_find_something_at_the_last_moment_keep_the_loop_awake) {
  auto loop = make_loop();
  TestPoller poller;
  poller.at_last_moment = true;
  loop->poll_more(poller);
  loop->turn(Duration(-1));
  EXPECT_EQ(poller.polls, 1);
  EXPECT_TRUE(poller.is_polled());
}

TEST(Pollers, idle_for_arms_them_for_an_owner_that_sleeps_by_itself) {
  auto loop = make_loop();
  TestPoller poller;
  loop->poll_more(poller);
  poller.work = 1;
  EXPECT_EQ(loop->idle_for(), Duration(0));
  EXPECT_TRUE(poller.is_polled());
  loop->turn(Duration(0));
  EXPECT_EQ(loop->idle_for(), Duration::max());
  EXPECT_FALSE(poller.is_polled());
}

TEST(Pollers, may_drop_themselves_and_others_while_they_are_polled) {
  auto loop = make_loop();
  std::vector<Own<TestPoller>> pollers;
  for (int i = 0; i < 4; i++) {
    pollers.push_back(make_own<TestPoller>());
    pollers.back()->work = 1;
    loop->poll_more(*pollers.back());
  }
  pollers[1]->then = [&] {
    pollers[3]->stop_polling();
    pollers[1]->then = nullptr;
    pollers[1]->stop_polling();
    loop->poll_more(*pollers[1]);
  };
  loop->turn(Duration(0));
  EXPECT_EQ(pollers[2]->polls, 1);
  EXPECT_EQ(pollers[3]->polls, 0);
  EXPECT_EQ(loop->polled(), 3u);
  pollers[2].reset();
  EXPECT_EQ(loop->polled(), 2u);
  loop->turn(Duration(0));
}

TEST(Pollers, do_not_keep_descriptors_timers_and_posts_waiting) {
  auto loop = make_loop();
  struct Fired final : Timer {
    void fire() override { fired = true; }
    bool fired = false;
  } timer;
  TestPoller poller;
  poller.work = 1;
  poller.then = [&] { poller.work++; };
  loop->poll_more(poller);
  loop->arm(timer, loop->refresh_now() + 1ms);
  bool posted = false;
  loop->post([&] { posted = true; });
  while (!timer.fired || !posted) loop->turn(Duration(-1));
  EXPECT_GT(poller.polls, 1);
}

TEST(Pollers, a_loop_that_spins_finds_what_another_thread_brings) {
  auto loop = make_loop(20us);
  TestPoller poller;
  int found = 0;
  std::atomic<bool> stop{false};
  poller.then = [&] { found++; };
  std::thread other([&] {
    while (!stop) {
      if (poller.work == 0) poller.work = 1;
      std::this_thread::yield();
    }
  });
  while (found < 100) {
    loop->poll_more(poller);
    loop->turn(1ms);
  }
  stop = true;
  other.join();
}

TEST(Pollers, a_quiet_one_is_forgotten_though_another_keeps_the_loop_busy) {
  auto loop = make_loop();
  TestPoller busy;
  TestPoller quiet;
  busy.work = 1;
  busy.then = [&] { busy.work++; };
  loop->poll_more(busy);
  loop->poll_more(quiet);
  while (quiet.is_polled()) loop->turn(Duration(-1));
  EXPECT_TRUE(busy.is_polled());
}

TEST(Pollers, outlive_their_loop_unharmed) {
  TestPoller poller;
  {
    auto loop = make_loop();
    loop->poll_more(poller);
  }
  EXPECT_FALSE(poller.is_polled());
}

TEST(Scratch, is_one_for_all_and_another_for_who_comes_while_it_is_taken) {
  auto loop = make_loop();
  auto first = loop->take_scratch();
  const char* memory = first.data();
  auto second = loop->take_scratch();
  EXPECT_NE(second.data(), memory);
  EXPECT_EQ(second.size(), EpollLoop::scratch_bytes);
  loop->give_scratch(std::move(first));
  EXPECT_EQ(loop->take_scratch().data(), memory);
}

}  // namespace
}  // namespace shunt::loop
