#include "pool/pool.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <memory>

#include "loop/sim_loop.h"

namespace shunt::pool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A link that carries nothing: the tests open and close it.
class FakeLink final : public WorkerLink, private call::Link {
 public:
  FakeLink(WorkerLinkEvents& its_events, std::size_t its_loop, WorkerIdentity its_worker)
      : events(its_events), loop_index(its_loop), worker(std::move(its_worker)) {}

  call::Link& link() override { return *this; }
  void ping(std::uint64_t number) override {
    pings++;
    if (answers) events.on_pong(number);
  }
  void wait(std::uint64_t ticket, Deadline) override { waits.push_back(ticket); }
  void goaway(std::string_view) override { goaways++; }
  void close(Status why) override {
    if (!std::exchange(closed, true)) events.on_closed(why);
  }

  WorkerLinkEvents& events;
  std::size_t loop_index;
  WorkerIdentity worker;
  bool answers = true;
  bool closed = false;
  int pings = 0;
  int goaways = 0;
  std::vector<std::uint64_t> waits;

 private:
  call::OutgoingHandle open(const call::Open&, call::CallerEvents&, call::Opening) override { return nullptr; }
  loop::Task<void> drain(Deadline) override { co_return; }
  call::LinkStats stats() const override { return {}; }
};

class FakeLinks final : public LinkFactory {
 public:
  /// What lives, by pid and loop index.
  std::map<std::pair<pid_t, std::size_t>, FakeLink*> links;
  bool opens_at_once = true;
  bool answers = true;  ///< Pings, those of new links.
  bool crossings = false;
  std::string name = "shop.cart";
  std::uint32_t concurrency = 2;

  Own<WorkerLink> make_link(std::size_t loop_index, os::Fd, const WorkerIdentity& worker,
                            WorkerLinkEvents& events) override {
    auto link = make_own<FakeLink>(events, loop_index, worker);
    link->answers = answers;
    links[{worker.pid, loop_index}] = link.get();
    if (opens_at_once) events.on_opened({name, "fake 1.0", concurrency, {}});
    return link;
  }
  class Nowhere final : public call::Link {
   public:
    call::OutgoingHandle open(const call::Open&, call::CallerEvents&, call::Opening) override { return nullptr; }
    loop::Task<void> drain(Deadline) override { co_return; }
    call::LinkStats stats() const override { return {}; }
  };
  Own<call::Link> make_crossing(std::size_t, std::function<call::Link*()> target) override {
    if (!crossings || target() == nullptr) return nullptr;
    return make_own<Nowhere>();
  }
  FakeLink& of(pid_t pid, std::size_t loop_index) { return *links.at({pid, loop_index}); }
};

class FakeSpawner final : public call::Spawner {
 public:
  explicit FakeSpawner(loop::Loop& loop) : loop_(loop) {}

  loop::Task<Result<call::SpawnedWorker>> spawn_worker(call::WorkerStart start) override {
    spawned++;
    if (refuse) co_return fail(Code::not_found, "S3001", "there is no such program");
    call::SpawnedWorker worker;
    worker.key = start.key;
    worker.pid = next_pid++;
    worker.links.resize(start.links);
    living.push_back(worker.pid);
    co_return worker;
  }
  loop::Task<Result<call::SpawnedDescribe>> spawn_describe(call::DescribeStart) override {
    co_return fail(Code::unimplemented, "no");
  }
  loop::Task<Result<std::vector<os::Fd>>> relink(pid_t pid, std::size_t count) override {
    relinked.push_back(pid);
    std::vector<os::Fd> links(count);
    co_return links;
  }
  loop::Task<Result<std::vector<call::SpawnedWorker>>> workers() override {
    co_return std::vector<call::SpawnedWorker>();
  }
  void kill(pid_t pid, int signal) override {
    kills.emplace_back(pid, signal);
    if (signal == SIGKILL || obeys) end(pid, {.pid = pid, .by_signal = true, .value = signal});
  }
  void on_exit(pid_t pid, Ended ended) override { exits_[pid] = std::move(ended); }
  void forget_exit(pid_t pid) override { exits_.erase(pid); }

  void end(pid_t pid, os::ProcessEnd end) {
    if (std::erase(living, pid) == 0) return;
    loop_.post([this, pid, end] {
      auto found = exits_.find(pid);
      if (found == exits_.end()) return;
      Ended told = std::move(found->second);
      exits_.erase(found);
      told(end);
    });
  }

  bool refuse = false;
  bool obeys = true;  ///< SIGTERM ends it.
  int spawned = 0;
  pid_t next_pid = 100;
  std::vector<pid_t> living;
  std::vector<pid_t> relinked;
  std::vector<std::pair<pid_t, int>> kills;

 private:
  loop::Loop& loop_;
  std::map<pid_t, Ended> exits_;
};

/// Hands the tests the line callbacks: by order of reading, out before err.
class FakeOutputs final : public Outputs {
 public:
  struct Nothing final : Output {
    void finish() override {}
  };
  Own<Output> read(os::Fd, Line line) override {
    lines.push_back(std::move(line));
    return make_own<Nothing>();
  }
  std::vector<Line> lines;
};

struct Notes final : LogSink, PoolEvents {
  void on_line(const WorkerIdentity& worker, OutputStream, std::string_view line) override {
    lines.push_back(worker.name() + ": " + std::string(line));
  }
  void on_note(const WorkerIdentity&, std::string_view note) override { notes.emplace_back(note); }
  void on_pool_change() override { changes++; }
  std::vector<std::string> lines;
  std::vector<std::string> notes;
  int changes = 0;
};

/// A pool in a simulation: two serving loops and the control loop.
struct House {
  explicit House(PoolOptions given = {}) : options(std::move(given)) {
    options.service = "shop.cart";
    options.definition_hash = "abc";
    options.argv = {"worker"};
  }
  ~House() {
    pool = nullptr;
    clock.settle();
  }
  void start() {
    pool = make_own<Pool>(PoolWiring{{&serving0, &serving1, &control}, spawner, links, outputs, notes, notes}, options);
    pool->start(living);
    clock.settle();
  }
  WorkerStatus worker(std::size_t at = 0) { return pool->status()[at]; }
  pid_t pid(std::size_t at = 0) { return worker(at).pid; }
  call::Instance& instance(std::size_t at = 0) { return *pool->instances().at(at); }

  /// A call that found no room: what came of it.
  struct Ticket {
    std::uint64_t number = 0;
    std::optional<Result<std::shared_ptr<call::Instance>>> answer;
    bool granted() const { return answer && answer->has_value(); }
  };
  std::shared_ptr<Ticket> wait(Duration deadline = seconds(60), loop::Loop* on = nullptr) {
    auto ticket = std::make_shared<Ticket>();
    ticket->number =
        pool->admission()->wait(on != nullptr ? *on : serving0, false, Deadline::after(clock.now(), deadline),
                                [ticket](auto answer) { ticket->answer = std::move(answer); });
    clock.settle();
    return ticket;
  }
  void end_call(call::Instance& at) {
    at.leave(false);
    pool->admission()->freed(at);
    clock.settle();
  }
  void crash(std::size_t at = 0, int status = 1) {
    spawner.end(pid(at), {.pid = pid(at), .value = status});
    clock.settle();
    clock.advance(milliseconds(200));  // The wait for last words.
  }

  PoolOptions options;
  loop::SimClock clock;
  loop::SimLoop serving0{clock};
  loop::SimLoop serving1{clock};
  loop::SimLoop control{clock};
  FakeSpawner spawner{control};
  FakeLinks links;
  FakeOutputs outputs;
  Notes notes;
  std::vector<call::SpawnedWorker> living;
  Own<Pool> pool;
};

TEST(Pool, starts_all_its_workers_and_is_ready_when_each_loop_has_a_link) {
  House house({.workers = 3});
  house.links.opens_at_once = false;
  house.start();
  EXPECT_EQ(house.spawner.spawned, 3);
  EXPECT_FALSE(house.pool->is_ready());
  EXPECT_EQ(house.pool->why_absent(), "starting");
  EXPECT_EQ(house.worker().state, WorkerState::starting);
  for (auto& [at, link] : house.links.links) {
    if (at.second != 2) link->events.on_opened({"shop.cart", "fake 1.0", 4, {}});
  }
  house.clock.settle();
  EXPECT_FALSE(house.pool->is_ready());
  house.links.of(101, 2).events.on_opened({"shop.cart", "fake 1.0", 4, {}});
  house.clock.settle();
  EXPECT_TRUE(house.pool->is_ready());
  EXPECT_FALSE(house.pool->is_complete());
  ASSERT_EQ(house.pool->instances().size(), 1u);
  call::Instance& instance = house.instance();
  EXPECT_EQ(instance.name(), "shop.cart#2 (pid 101)");
  EXPECT_EQ(instance.capacity, 4u);
  for (std::size_t loop = 0; loop < 3; ++loop) EXPECT_NE(instance.link(loop), nullptr);
  EXPECT_EQ(instance.link(3), nullptr);
  EXPECT_EQ(house.worker(1).software, "fake 1.0");
}

TEST(Pool, a_worker_that_says_nothing_is_killed_at_the_startup_timeout) {
  House house({.startup_timeout = seconds(3)});
  house.links.opens_at_once = false;
  house.start();
  house.clock.advance(seconds(3));
  house.clock.advance(milliseconds(250));
  ASSERT_EQ(house.spawner.kills.size(), 1u);
  EXPECT_EQ(house.spawner.kills[0], (std::pair<pid_t, int>(100, SIGKILL)));
  EXPECT_EQ(house.worker().state, WorkerState::backing_off);
  EXPECT_EQ(
      house.worker().last_error,
      "worker shop.cart#1 (pid 100) did not say HELLO within its startup-timeout of 3s and was killed by signal 9 "
      "(SIGKILL)");
}

TEST(Pool, one_that_serves_something_else_is_refused) {
  House house;
  house.links.name = "shop.other";
  house.start();
  house.clock.advance(milliseconds(250));
  EXPECT_EQ(house.worker().state, WorkerState::backing_off);
  EXPECT_NE(house.worker().last_error.find("serves \"shop.other\", not \"shop.cart\""), std::string::npos);
}

TEST(Pool, the_wait_before_a_restart_doubles_from_one_second_to_thirty) {
  House house;
  house.start();
  std::vector<Duration> waits;
  for (int i = 0; i < 7; ++i) {
    house.crash();
    auto status = house.worker();
    ASSERT_EQ(status.state, WorkerState::backing_off);
    EXPECT_EQ(status.pid, 0);
    ASSERT_TRUE(status.next_start);
    // It is measured from the moment it is shown.
    waits.push_back(*status.next_start - status.since);
    house.clock.advance(*status.next_start - house.clock.now());
    EXPECT_EQ(house.worker().restarts, static_cast<std::uint64_t>(i + 1));
    EXPECT_EQ(house.worker().state, WorkerState::ready);
  }
  EXPECT_EQ(waits, (std::vector<Duration>{seconds(1), seconds(2), seconds(4), seconds(8), seconds(16), seconds(30),
                                          seconds(30)}));
  EXPECT_EQ(house.notes.notes[1], "worker shop.cart#1 (pid 101) exited with status 1; next start in 2s");
}

TEST(Pool, a_steady_life_makes_the_wait_short_again) {
  House house;
  house.start();
  for (int i = 0; i < 4; ++i) {
    house.crash();
    house.clock.advance(*house.worker().next_start - house.clock.now());
  }
  house.clock.advance(seconds(5));
  house.crash();
  EXPECT_EQ(*house.worker().next_start - house.worker().since, seconds(1));
}

TEST(Pool, a_program_that_does_not_start_backs_off_and_says_why) {
  House house;
  house.spawner.refuse = true;
  house.start();
  EXPECT_EQ(house.worker().state, WorkerState::backing_off);
  EXPECT_EQ(house.worker().last_error, "worker shop.cart#1 there is no such program");
  EXPECT_NE(house.pool->why_absent().find("there is no such program; next start in 1s"), std::string::npos)
      << house.pool->why_absent();
  house.spawner.refuse = false;
  house.clock.advance(seconds(1));
  EXPECT_TRUE(house.pool->is_ready());
}

TEST(Pool, calls_wait_for_a_restart_but_not_for_a_crash_loop) {
  House house;
  house.start();
  auto instance = house.pool->instances()[0];
  house.crash();
  EXPECT_TRUE(instance->closed);
  auto patient = house.wait();
  EXPECT_FALSE(patient->answer);
  house.clock.advance(seconds(1));
  EXPECT_TRUE(patient->granted());
  // Again and again: whoever waits is told now, whoever comes at once.
  house.end_call(**patient->answer.value());
  house.crash();
  EXPECT_TRUE(house.pool->is_failing());
  auto late = house.wait();
  ASSERT_TRUE(late->answer);
  EXPECT_EQ(late->answer->error().id(), "S1009");
  EXPECT_EQ(late->answer->error().retry(), Retry::later);
  EXPECT_NE(late->answer->error().message().find("exited with status 1; next start in 2s"), std::string_view::npos)
      << late->answer->error().message();
  house.clock.advance(seconds(2));
  EXPECT_TRUE(house.pool->is_ready());
}

TEST(Pool, a_worker_is_ready_when_it_answers_not_when_it_has_connected) {
  House house({.startup_timeout = seconds(10)});
  house.links.answers = false;
  house.start();
  EXPECT_EQ(house.worker().state, WorkerState::starting);
  EXPECT_FALSE(house.pool->is_ready());
  house.clock.advance(seconds(11));
  EXPECT_EQ(house.worker().last_error,
            "worker shop.cart#1 (pid 100) did not begin to serve within its startup-timeout of 10s and was killed by "
            "signal 9 (SIGKILL)");
}

TEST(Pool, a_worker_without_a_pulse_is_killed) {
  House house({.heartbeat_timeout = seconds(30)});
  house.start();
  house.clock.advance(seconds(100));
  EXPECT_EQ(house.worker().state, WorkerState::ready);
  FakeLink& link = house.links.of(100, 2);
  EXPECT_EQ(link.pings, 11);  // And the first, which asks whether it has begun.
  link.answers = false;
  house.clock.advance(seconds(20));
  EXPECT_EQ(house.worker().state, WorkerState::ready);
  house.clock.advance(seconds(21));
  EXPECT_EQ(house.worker().last_error,
            "worker shop.cart#1 (pid 100) did not answer its heartbeat for 30s and was killed by signal 9 (SIGKILL)");
}

TEST(Pool, the_heartbeat_is_suspended_while_a_blocking_command_runs) {
  House house({.heartbeat_timeout = seconds(30)});
  house.start();
  house.links.of(100, 2).answers = false;
  ASSERT_TRUE(house.instance().try_enter(true));
  house.clock.advance(seconds(300));
  EXPECT_EQ(house.worker().state, WorkerState::busy);
  house.instance().leave(true);
  house.clock.advance(seconds(50));
  EXPECT_TRUE(house.spawner.kills.size() == 1);
}

TEST(Pool, the_end_of_a_worker_is_what_its_calls_are_told) {
  House house;
  house.start();
  std::vector<std::string> told;
  auto ask = [&](std::size_t loop) {
    house.links.of(100, loop).events.ask_why([&](Status why) { told.emplace_back(why.to_string()); });
  };
  ask(0);
  house.clock.settle();
  EXPECT_TRUE(told.empty());
  // The news comes a little later than the end of the socket.
  house.clock.advance(milliseconds(20));
  house.spawner.end(100, {.pid = 100, .by_signal = true, .value = SIGKILL});
  house.clock.settle();
  ask(1);
  house.clock.settle();
  std::string expected = "S1008 unavailable: worker shop.cart#1 (pid 100) was killed by signal 9 (SIGKILL)";
  EXPECT_EQ(told, (std::vector<std::string>{expected, expected}));
}

TEST(Pool, a_link_that_broke_while_its_worker_lives_does_not_wait_for_ever_and_the_worker_is_replaced) {
  House house;
  house.start();
  std::string told;
  FakeLink& link = house.links.of(100, 1);
  link.events.ask_why([&](Status why) { told = why.message(); });
  house.clock.advance(milliseconds(60));
  EXPECT_EQ(told, "worker shop.cart#1 (pid 100) closed the connection");
  link.close(Status(Code::unavailable, "end of stream"));
  house.clock.advance(milliseconds(300));
  EXPECT_EQ(house.worker().last_error,
            "worker shop.cart#1 (pid 100) closed its connection (end of stream) and was killed by signal 9 (SIGKILL)");
}

TEST(Pool, a_worker_with_one_link_is_reached_by_way_of_the_control_loop) {
  House house;
  house.links.opens_at_once = false;
  house.links.crossings = true;
  house.start();
  house.links.of(100, 2).events.on_opened({"shop.cart", "one link", 1, {}});
  house.links.of(100, 0).close(Status(Code::unavailable, "end of stream"));
  house.links.of(100, 1).close(Status(Code::unavailable, "end of stream"));
  house.clock.settle();
  ASSERT_TRUE(house.pool->is_ready());
  for (std::size_t loop = 0; loop < 3; ++loop) EXPECT_NE(house.instance().link(loop), nullptr);
}

TEST(Pool, the_crash_log_keeps_the_last_lines) {
  House house({.crashlog_limit = 3});
  house.start();
  ASSERT_EQ(house.outputs.lines.size(), 2u);
  house.outputs.lines[0]("one");
  house.outputs.lines[1]("two");
  house.outputs.lines[0]("three");
  house.outputs.lines[1]("Traceback");
  house.crash();
  EXPECT_EQ(house.worker().crash_log, (std::vector<std::string>{"two", "three", "Traceback"}));
  EXPECT_EQ(house.notes.lines[0], "shop.cart#1: one");
  house.clock.advance(seconds(1));
  EXPECT_EQ(house.worker().crash_log.size(), 3u);  // Still shown after the restart.
}

TEST(Queue, a_slot_goes_to_the_first_ticket_and_the_limit_refuses_at_once) {
  House house({.queue_limit = 2});
  house.start();
  call::Instance& instance = house.instance();
  ASSERT_TRUE(instance.try_enter(false));
  ASSERT_TRUE(instance.try_enter(false));
  auto first = house.wait();
  auto second = house.wait(seconds(60), &house.serving1);
  EXPECT_FALSE(first->answer);
  EXPECT_TRUE(house.pool->admission()->has_waiters());
  auto third = house.wait();
  ASSERT_TRUE(third->answer);
  const Status& full = third->answer->error();
  EXPECT_EQ(third->number, 0u);
  EXPECT_EQ(full.code(), Code::resource_exhausted);
  EXPECT_EQ(full.id(), "S1011");
  EXPECT_EQ(full.retry(), Retry::later);
  EXPECT_EQ(full.message(),
            "service shop.cart: the queue is full (pool shop.cart: 1 of 1 busy, 2 queued, engine.queue-limit is 2); "
            "retry: later; raise engine.pool-limit or engine.queue-limit, or call less");
  house.end_call(instance);
  EXPECT_TRUE(first->granted());
  EXPECT_FALSE(second->answer);
  EXPECT_EQ(instance.in_flight, 2u);
  house.end_call(instance);
  EXPECT_TRUE(second->granted());
  EXPECT_FALSE(house.pool->admission()->has_waiters());
  EXPECT_EQ(house.pool->queue().refused, 1u);
}

TEST(Queue, an_abandoned_ticket_is_not_told_and_its_slot_goes_on) {
  House house;
  house.start();
  call::Instance& instance = house.instance();
  ASSERT_TRUE(instance.try_enter(false));
  ASSERT_TRUE(instance.try_enter(false));
  auto first = house.wait();
  // On a loop of its own, so that its grant is on its way for a turn.
  auto granted = std::make_shared<bool>(false);
  auto second = house.wait();
  house.pool->admission()->abandon(first->number);
  house.end_call(instance);
  EXPECT_FALSE(first->answer);
  EXPECT_TRUE(second->granted());

  // Abandoned between the grant and its delivery.
  house.serving0.depth = 100;  // Deep in calls: grants are posted.
  auto third = house.wait();
  auto fourth = house.wait();
  instance.leave(false);
  house.pool->admission()->freed(instance);
  house.pool->admission()->abandon(third->number);
  house.clock.settle();
  EXPECT_FALSE(third->answer);
  EXPECT_TRUE(fourth->granted());
  EXPECT_EQ(instance.in_flight, 2u);
  house.serving0.depth = 0;
}

TEST(Queue, a_ticket_ends_at_its_deadline_with_the_counts) {
  House house;
  house.start();
  call::Instance& instance = house.instance();
  ASSERT_TRUE(instance.try_enter(false));
  ASSERT_TRUE(instance.try_enter(false));
  auto late = house.wait(seconds(10));
  auto soon = house.wait(milliseconds(100));
  house.clock.advance(milliseconds(100));
  EXPECT_FALSE(late->answer);
  ASSERT_TRUE(soon->answer);
  EXPECT_EQ(soon->answer->error().code(), Code::deadline_exceeded);
  EXPECT_NE(soon->answer->error().message().find("pool shop.cart: 1 of 1 busy, 2 queued"), std::string_view::npos);
  house.clock.advance(seconds(10));
  ASSERT_TRUE(late->answer);
  EXPECT_EQ(late->answer->error().id(), "S1004");
}

TEST(Queue, a_worker_that_refuses_is_asked_for_a_slot_and_its_grant_is_used) {
  House house;
  house.start();
  auto instance = house.pool->instances()[0];
  ASSERT_TRUE(instance->try_enter(false));
  house.pool->admission()->refused(*instance);
  instance->leave(false);
  house.pool->admission()->freed(*instance);
  auto moved = house.wait();
  EXPECT_FALSE(moved->answer);
  EXPECT_TRUE(instance->closed);
  FakeLink& control = house.links.of(100, 2);
  ASSERT_EQ(control.waits.size(), 1u);
  control.events.on_grant(control.waits[0], Status(), 77);
  house.clock.settle();
  ASSERT_TRUE(moved->granted());
  EXPECT_EQ(instance->take_grant(), 77u);
  EXPECT_EQ(instance->take_grant(), 0u);
  EXPECT_EQ(instance->in_flight, 1u);
  EXPECT_FALSE(instance->closed);
}

TEST(Queue, a_worker_that_never_grants_is_tried_again) {
  House house;
  house.start();
  auto instance = house.pool->instances()[0];
  house.pool->admission()->refused(*instance);
  auto waits = house.wait();
  EXPECT_FALSE(waits->answer);
  house.clock.advance(seconds(1));
  EXPECT_TRUE(waits->granted());
}

TEST(Queue, a_slot_freed_on_one_loop_serves_a_ticket_of_another) {
  House house({.workers = 2});
  house.links.concurrency = 1;
  house.start();
  auto all = house.pool->instances();
  ASSERT_TRUE(all[0]->try_enter(false));
  ASSERT_TRUE(all[1]->try_enter(false));
  std::vector<std::shared_ptr<House::Ticket>> tickets;
  for (int i = 0; i < 20; ++i)
    tickets.push_back(house.wait(seconds(60), i % 2 == 0 ? &house.serving0 : &house.serving1));
  for (int i = 0; i < 20; ++i) {
    house.end_call(*all[static_cast<std::size_t>(i % 2)]);
    EXPECT_TRUE(tickets[static_cast<std::size_t>(i)]->granted());
    EXPECT_EQ(house.pool->queue().queued, static_cast<std::size_t>(19 - i));
  }
}

TEST(Drain, waits_for_calls_then_ends_the_worker) {
  House house;
  house.start();
  loop::Scope scope(house.control);
  auto instance = house.pool->instances()[0];
  ASSERT_TRUE(instance->try_enter(false));
  ASSERT_TRUE(instance->try_enter(false));
  auto queued = house.wait();
  scope.spawn(house.pool->drain(Deadline::after(house.clock.now(), seconds(30))));
  house.clock.settle();
  EXPECT_FALSE(queued->answer);
  EXPECT_FALSE(instance->closed);
  house.end_call(*instance);
  EXPECT_TRUE(queued->granted());
  house.end_call(*instance);
  EXPECT_TRUE(house.spawner.kills.empty());
  house.end_call(*instance);
  house.clock.advance(milliseconds(250));
  EXPECT_EQ(house.spawner.kills, (std::vector<std::pair<pid_t, int>>{{100, SIGTERM}}));
  EXPECT_EQ(house.worker().state, WorkerState::stopped);
  EXPECT_EQ(scope.size(), 0u);
  EXPECT_TRUE(house.worker().last_error.empty());
}

TEST(Drain, what_does_not_end_is_terminated_at_the_deadline_and_killed_at_the_limit) {
  House house({.termination_timeout = seconds(5)});
  house.start();
  house.spawner.obeys = false;
  loop::Scope scope(house.control);
  auto instance = house.pool->instances()[0];
  ASSERT_TRUE(instance->try_enter(false));
  scope.spawn(house.pool->drain(Deadline::after(house.clock.now(), seconds(3))));
  house.clock.advance(milliseconds(2900));
  EXPECT_TRUE(house.spawner.kills.empty());
  house.clock.advance(milliseconds(100));
  EXPECT_EQ(house.spawner.kills, (std::vector<std::pair<pid_t, int>>{{100, SIGTERM}}));
  EXPECT_TRUE(instance->closed);
  house.clock.advance(milliseconds(4900));
  EXPECT_EQ(house.spawner.kills.size(), 1u);
  house.clock.advance(milliseconds(100));
  ASSERT_EQ(house.spawner.kills.size(), 2u);
  EXPECT_EQ(house.spawner.kills[1], (std::pair<pid_t, int>(100, SIGKILL)));
  house.clock.advance(milliseconds(250));
  EXPECT_EQ(scope.size(), 0u);
}

TEST(Drain, can_be_hurried_and_covers_workers_that_start_or_back_off) {
  House house({.workers = 2});
  house.start();
  house.crash(1);
  loop::Scope scope(house.control);
  auto instance = house.pool->instances()[0];
  ASSERT_TRUE(instance->try_enter(false));
  scope.spawn(house.pool->drain(Deadline::after(house.clock.now(), seconds(300))));
  house.clock.advance(seconds(10));
  EXPECT_EQ(scope.size(), 1u);
  house.pool->hurry(Deadline(house.clock.now()));
  house.clock.advance(milliseconds(500));
  EXPECT_EQ(scope.size(), 0u);
  EXPECT_TRUE(house.spawner.living.empty());
}

TEST(Adopt, a_living_worker_of_the_same_key_is_linked_again_instead_of_started) {
  House house({.workers = 2});
  call::SpawnedWorker mine;
  mine.key = "shop.cart:abc";
  mine.pid = 50;
  call::SpawnedWorker other;
  other.key = "shop.cart:an-older-definition";
  other.pid = 51;
  house.spawner.living = {50, 51};
  house.living.push_back(std::move(other));
  house.living.push_back(std::move(mine));
  house.start();
  EXPECT_EQ(house.spawner.relinked, std::vector<pid_t>{50});
  EXPECT_EQ(house.spawner.spawned, 1);
  EXPECT_TRUE(house.pool->is_complete());
  EXPECT_EQ(house.pid(0), 50);
  ASSERT_EQ(house.living.size(), 1u);
  EXPECT_EQ(house.living[0].pid, 51);
}

TEST(Pool, dropped_without_a_drain_it_kills_and_answers) {
  House house({.workers = 2});
  house.links.concurrency = 1;
  house.start();
  for (auto& each : house.pool->instances()) ASSERT_TRUE(each->try_enter(false));
  auto waits = house.wait();
  auto admission = house.pool->admission();
  auto instance = house.pool->instances()[0];
  house.pool = nullptr;
  house.clock.settle();
  EXPECT_TRUE(house.spawner.living.empty());
  ASSERT_TRUE(waits->answer);
  EXPECT_EQ(waits->answer->error().id(), "S1015");
  EXPECT_TRUE(instance->closed);
  EXPECT_EQ(instance->link(0), nullptr);
  // What a routing snapshot still does with it is harmless.
  instance->leave(false);
  admission->freed(*instance);
  bool refused = false;
  admission->wait(house.serving0, false, Deadline::never(), [&](auto answer) { refused = !answer.has_value(); });
  EXPECT_TRUE(refused);
  house.clock.settle();
}

}  // namespace
}  // namespace shunt::pool
