// What only real threads and real pipes show: run under TSan too.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "loop/epoll_loop.h"
#include "os/fd.h"
#include "os/signal.h"
#include "pool/output_reader.h"
#include "pool/ticket_queue.h"

namespace shunt::pool {
namespace {

struct Nobody final : QueueEvents, InstanceEvents, LinkFactory, LogSink, PoolEvents, call::Spawner, Outputs {
  void on_slot_wanted(WorkerInstance&) override {}
  void on_call_ended() override {}
  void on_link_opened(std::size_t, const WorkerHello&) override {}
  void on_link_closed(std::size_t, const Status&) override {}
  void on_crossing(std::size_t, bool) override {}
  void on_link_pong(std::uint64_t) override {}
  void on_link_grant(const Status&, std::uint64_t) override {}
  void on_link_goaway(std::string_view) override {}
  void on_why_asked() override {}
  Own<WorkerLink> make_link(std::size_t, os::Fd, const WorkerIdentity&, WorkerLinkEvents&) override { return nullptr; }
  void on_line(const WorkerIdentity&, OutputStream, std::string_view) override {}
  void on_note(const WorkerIdentity&, std::string_view) override {}
  void on_pool_change() override {}
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
  Own<Output> read(os::Fd, Line) override { return nullptr; }
};

/// One thread's callers: each enters, or waits; ends its call in a later turn; begins again.
struct Callers {
  loop::Loop& loop;
  TicketQueue& queue;
  WorkerInstance& instance;
  std::atomic<int>& most;
  int left;
  int open = 0;
  std::function<void()> done;

  void begin() {
    if (left == 0) {
      if (open == 0) done();
      return;
    }
    --left;
    ++open;
    if (!queue.has_waiters() && instance.try_enter(false)) return run();
    auto told = std::make_shared<bool>(false);
    std::uint64_t ticket = queue.wait(loop, false, Deadline::never(), [this, told](auto answer) {
      *told = true;
      ASSERT_TRUE(answer.has_value());
      run();
    });
    // Some give up: perhaps while they wait, perhaps while the grant is on its way.
    if (ticket == 0 || left % 7 != 0) return;
    loop.post([this, ticket, told] {
      if (*told) return;
      queue.abandon(ticket);
      --open;
      begin();
    });
  }
  void run() {
    int now = static_cast<int>(instance.in_flight.load());
    int before = most.load();
    while (now > before && !most.compare_exchange_weak(before, now)) {
    }
    loop.post([this] { end(); });
  }
  void end() {
    --open;
    instance.leave(false);
    queue.freed(instance);
    begin();
  }
};

TEST(QueueThreads, every_ticket_gets_its_slot_and_no_slot_is_given_twice) {
  constexpr int threads = 3;
  constexpr int callers_per_thread = 8;
  constexpr int calls_per_thread = 20'000;
  Nobody nobody;
  auto control = loop::EpollLoop::create({}).value();
  std::vector<Own<loop::EpollLoop>> loops;
  std::vector<loop::Loop*> pointers;
  for (int i = 0; i < threads; ++i) loops.push_back(loop::EpollLoop::create({}).value());
  for (auto& each : loops) pointers.push_back(each.get());
  pointers.push_back(control.get());
  PoolWiring wiring{pointers, nobody, nobody, nobody, nobody, nobody};
  auto queue = std::make_shared<TicketQueue>(*control, "test", 1000, static_cast<QueueEvents&>(nobody));
  auto instance = std::make_shared<WorkerInstance>(wiring, WorkerIdentity{"test", 1, 1}, nobody);
  instance->capacity = 4;
  queue->add(instance);

  std::atomic<int> most{0};
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      loop::EpollLoop& loop = *loops[static_cast<std::size_t>(i)];
      Callers callers{loop, *queue, *instance, most, calls_per_thread, 0, [&] { loop.stop(); }};
      loop.post([&] {
        for (int each = 0; each < callers_per_thread; ++each) callers.begin();
      });
      loop.run();
      EXPECT_EQ(callers.open, 0);
    });
  }
  for (auto& each : running) each.join();
  EXPECT_EQ(instance->in_flight, 0u);
  EXPECT_LE(most, 4);
  EXPECT_FALSE(queue->has_waiters());
  EXPECT_EQ(queue->counts().queued, 0u);
  queue->end(Status(Code::unavailable, "over"));
}

TEST(QueueThreads, who_waits_is_sent_on_when_another_takes_the_place_and_who_runs_stays) {
  Nobody nobody;
  auto control = loop::EpollLoop::create({}).value();
  std::vector<loop::Loop*> pointers = {control.get()};
  PoolWiring wiring{pointers, nobody, nobody, nobody, nobody, nobody};
  auto queue = std::make_shared<TicketQueue>(*control, "test", 10, static_cast<QueueEvents&>(nobody));
  auto instance = std::make_shared<WorkerInstance>(wiring, WorkerIdentity{"test", 1, 1}, nobody);
  instance->capacity = 1;
  queue->add(instance);
  ASSERT_TRUE(instance->try_enter(false));
  std::vector<Status> told;
  auto ask = [&] {
    return queue->wait(*control, false, Deadline::never(), [&](auto answer) { told.push_back(answer.error()); });
  };
  EXPECT_NE(ask(), 0u);
  EXPECT_NE(ask(), 0u);
  queue->pass_on(Status(Code::unavailable, "S1015", "moved").with_retry(Retry::elsewhere));
  for (int i = 0; i < 10; ++i) control->turn(Duration(0));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].retry(), Retry::elsewhere);
  EXPECT_FALSE(queue->has_waiters());
  // Whoever comes late hears it at once; the call that runs ends as ever.
  EXPECT_EQ(ask(), 0u);
  EXPECT_EQ(told.size(), 3u);
  EXPECT_FALSE(instance->closed);
  instance->leave(false);
  queue->freed(*instance);
  queue->end(Status(Code::unavailable, "over"));
}

struct Reading {
  Own<loop::EpollLoop> loop = loop::EpollLoop::create({}).value();
  os::Pipe pipe = os::make_pipe(os::Blocking::no, os::Blocking::yes).value();
  EpollOutputs outputs{*loop};
  std::vector<std::string> lines;
  Own<Output> output;

  void start() {
    output = outputs.read(std::move(pipe.read), [this](std::string_view line) { lines.emplace_back(line); });
  }
  void write(std::string_view text) { ASSERT_TRUE(os::write_some(pipe.write.get(), text)); }
  void turn() {
    for (int i = 0; i < 10; ++i) loop->turn(Duration(0));
  }
};

TEST(Outputs, lines_are_told_as_they_come) {
  Reading reading;
  reading.write("before it was read\n");
  reading.start();
  reading.turn();
  reading.write("a line\nhalf");
  reading.turn();
  EXPECT_EQ(reading.lines, (std::vector<std::string>{"before it was read", "a line"}));
  reading.write(" of it\n\nlast without end");
  reading.turn();
  reading.output->finish();
  EXPECT_EQ(reading.lines,
            (std::vector<std::string>{"before it was read", "a line", "half of it", "", "last without end"}));
  reading.turn();
}

TEST(Outputs, a_line_without_end_is_told_in_pieces) {
  Reading reading;
  reading.start();
  reading.write(std::string(EpollOutputs::line_bytes_max + 10, 'x') + "\n");
  reading.turn();
  reading.pipe.write.close();
  reading.turn();
  ASSERT_EQ(reading.lines.size(), 2u);
  EXPECT_EQ(reading.lines[0].size(), EpollOutputs::line_bytes_max);
  EXPECT_EQ(reading.lines[1], std::string(10, 'x'));
}

TEST(Outputs, a_reader_may_end_while_there_is_more_to_read) {
  os::ignore_broken_pipes();
  Reading reading;
  reading.start();
  std::thread writer([&] {
    std::string block(4096, 'y');
    while (os::write_some(reading.pipe.write.get(), block)) {
    }
  });
  for (int i = 0; i < 50; ++i) reading.loop->turn(std::chrono::milliseconds(1));
  reading.output = nullptr;  // Closes the pipe: the writer ends with EPIPE.
  writer.join();
  reading.turn();
  EXPECT_FALSE(reading.lines.empty());
}

}  // namespace
}  // namespace shunt::pool
