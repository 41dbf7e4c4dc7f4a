#include "loop/loop.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <thread>
#include <vector>

#include "base/random.h"
#include "loop/epoll_loop.h"
#include "loop/event.h"
#include "loop/scope.h"
#include "loop/sim_loop.h"

namespace shunt::loop {
namespace {

using namespace std::chrono_literals;

struct Note final : Timer, Runnable {
  Note(std::vector<int>& to, int what) : list(to), number(what) {}
  void fire() override { list.push_back(number); }
  void run() override { list.push_back(number); }
  std::vector<int>& list;
  int number;
};

TEST(SimLoop, timers_fire_in_the_order_of_their_time) {
  SimClock clock;
  SimLoop loop(clock);
  std::vector<int> fired;
  Note late(fired, 3), early(fired, 1), middle(fired, 2), never(fired, 4);
  loop.arm(late, clock.now() + 30ms);
  loop.arm(early, clock.now() + 10ms);
  loop.arm(never, clock.now() + 20ms);
  loop.arm(middle, clock.now() + 20ms);
  loop.disarm(never);
  clock.advance(25ms);
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
  clock.advance(5ms);
  EXPECT_EQ(fired, (std::vector<int>{1, 2, 3}));
}

TEST(SimLoop, a_timer_that_is_armed_again_moves) {
  SimClock clock;
  SimLoop loop(clock);
  std::vector<int> fired;
  Note note(fired, 1);
  loop.arm(note, clock.now() + 10ms);
  loop.arm(note, clock.now() + 50ms);
  clock.advance(20ms);
  EXPECT_TRUE(fired.empty());
  clock.advance(30ms);
  EXPECT_EQ(fired.size(), 1u);
}

TEST(SimLoop, a_thousand_timers_armed_and_disarmed_at_random_fire_in_order) {
  SimClock clock;
  SimLoop loop(clock);
  SeededRandom random(7);
  std::vector<int> fired;
  std::vector<Own<Note>> notes;
  std::vector<std::int64_t> when(1000);
  for (int i = 0; i < 1000; i++) {
    notes.push_back(make_own<Note>(fired, i));
    when[i] = static_cast<std::int64_t>(random.below(1'000'000));
    loop.arm(*notes.back(), clock.now() + Duration(when[i]));
  }
  std::size_t kept = 1000;
  for (int i = 0; i < 1000; i += 3) {
    notes[i]->disarm();
    kept--;
  }
  clock.advance(1s);
  ASSERT_EQ(fired.size(), kept);
  for (std::size_t i = 1; i < fired.size(); i++) EXPECT_LE(when[fired[i - 1]], when[fired[i]]);
}

TEST(SimLoop, what_is_flushed_runs_after_all_that_is_ready) {
  SimClock clock;
  SimLoop loop(clock);
  std::vector<int> ran;
  Note flush(ran, 2), first(ran, 1);
  loop.flush(flush);
  loop.ready(first);
  loop.ready(first);
  clock.settle();
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
}

TEST(SimLoop, a_runnable_that_is_destroyed_does_not_run) {
  SimClock clock;
  SimLoop loop(clock);
  std::vector<int> ran;
  {
    Note gone(ran, 1);
    loop.ready(gone);
    loop.arm(gone, clock.now());
  }
  clock.settle();
  EXPECT_TRUE(ran.empty());
}

Task<int> twice(int value) { co_return value * 2; }
Task<void> add(std::vector<int>& to, int value) { to.push_back(co_await twice(value)); }
Task<void> wait_for(Event& event, std::vector<int>& to, Deadline deadline) {
  to.push_back(co_await event.wait(deadline) ? 1 : 0);
}

TEST(Task, runs_when_it_is_awaited_and_gives_its_value) {
  SimClock clock;
  SimLoop loop(clock);
  std::vector<int> values;
  Scope scope(loop);
  scope.spawn(add(values, 21));
  EXPECT_EQ(values, (std::vector<int>{42}));
  clock.settle();
  EXPECT_EQ(scope.size(), 0u);
}

TEST(Scope, dropping_it_cancels_the_tasks_where_they_wait) {
  SimClock clock;
  SimLoop loop(clock);
  Event event(loop);
  std::vector<int> values;
  {
    Scope scope(loop);
    scope.spawn(wait_for(event, values, Deadline::never()));
    EXPECT_EQ(scope.size(), 1u);
  }
  event.set();
  clock.settle();
  EXPECT_TRUE(values.empty());
}

TEST(Event, the_deadline_ends_the_wait) {
  SimClock clock;
  SimLoop loop(clock);
  Event event(loop);
  Scope scope(loop);
  std::vector<int> values;
  scope.spawn(wait_for(event, values, Deadline(clock.now() + 10ms)));
  clock.advance(10ms);
  EXPECT_EQ(values, (std::vector<int>{0}));
  scope.spawn(wait_for(event, values, Deadline(clock.now() + 10ms)));
  event.set();
  clock.settle();
  EXPECT_EQ(values, (std::vector<int>{0, 1}));
}

Task<void> cancel_own(Scope& scope, std::vector<int>& to) {
  scope.cancel();
  to.push_back(1);
  co_return;
}

TEST(Scope, a_task_may_cancel_its_own_scope) {
  SimClock clock;
  SimLoop loop(clock);
  Scope scope(loop);
  Event never(loop);
  std::vector<int> values;
  scope.spawn(wait_for(never, values, Deadline::never()));
  scope.spawn(cancel_own(scope, values));
  clock.settle();
  EXPECT_EQ(values, (std::vector<int>{1}));
  EXPECT_EQ(scope.size(), 0u);
}

Task<void> join_and_note(Scope& scope, std::vector<int>& to) {
  co_await scope.join();
  to.push_back(9);
}

TEST(Scope, join_ends_when_the_last_task_has_ended) {
  SimClock clock;
  SimLoop loop(clock);
  Event event(loop);
  std::vector<int> values;
  Scope inner(loop);
  Scope outer(loop);
  inner.spawn(wait_for(event, values, Deadline::never()));
  outer.spawn(join_and_note(inner, values));
  clock.settle();
  EXPECT_TRUE(values.empty());
  event.set();
  clock.settle();
  EXPECT_EQ(values, (std::vector<int>{1, 9}));
}

TEST(EpollLoop, closures_of_one_thread_keep_their_order) {
  auto loop = EpollLoop::create({}).value();
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 1000; i++) loop->post([&seen, i] { seen.push_back(i); });
    loop->post([&] { loop->stop(); });
  });
  loop->run();
  other.join();
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; i++) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST(EpollLoop, a_stopped_loop_can_run_again) {
  auto loop = EpollLoop::create({}).value();
  int ran = 0;
  for (int i = 0; i < 3; i++) {
    loop->post([&] {
      ran++;
      loop->stop();
    });
    loop->run();
  }
  EXPECT_EQ(ran, 3);
}

struct Partner final : Watch {
  void on_ready(bool, bool) override {
    told++;
    if (other != nullptr) other->unwatch();
  }
  Partner* other = nullptr;
  int told = 0;
};

TEST(EpollLoop, a_watch_may_end_another_one_of_the_same_turn) {
  auto loop = EpollLoop::create({}).value();
  int a[2];
  int b[2];
  ASSERT_EQ(pipe(a), 0);
  ASSERT_EQ(pipe(b), 0);
  Partner first, second;
  first.other = &second;
  second.other = &first;
  ASSERT_TRUE(loop->watch(first, a[0]).has_value());
  ASSERT_TRUE(loop->watch(second, b[0]).has_value());
  ASSERT_EQ(write(a[1], "x", 1), 1);
  ASSERT_EQ(write(b[1], "x", 1), 1);
  loop->turn(0s);
  EXPECT_EQ(first.told + second.told, 1);
  for (int fd : {a[0], a[1], b[0], b[1]}) close(fd);
}

}  // namespace
}  // namespace shunt::loop
