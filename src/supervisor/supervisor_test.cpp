#include "supervisor/supervisor.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "os/fd.h"
#include "os/process.h"
#include "supervisor/activity_page.h"
#include "supervisor/message.h"

namespace shunt::supervisor {
namespace {

/// Runs a supervisor in this process whose node is the test program in that part; checks that nothing is left over.
struct Trial {
  explicit Trial(std::vector<std::string> argv) {
    options.program = argv[0];
    options.node_argv = std::move(argv);
    options.log = [this](std::string_view line) { lines.emplace_back(line); };
    options.backoff_first = std::chrono::milliseconds(1);
    options.backoff_max = std::chrono::milliseconds(3);
    options.worker_limit = std::chrono::milliseconds(300);
  }
  static Trial part(const std::string& name) { return Trial({TEST_PROGRAM, "node", name}); }
  static Trial shell(const std::string& script) { return Trial({"/bin/sh", "-c", script}); }
  Trial(Trial&& other) noexcept : options(std::move(other.options)) {
    options.log = [this](std::string_view line) { lines.emplace_back(line); };
  }

  int run() {
    std::size_t before = os::open_descriptors();
    int status = -1;
    {
      auto supervisor = Supervisor::create(options);
      EXPECT_TRUE(supervisor) << supervisor.error().to_string();
      status = (*supervisor)->run();
    }
    EXPECT_EQ(os::open_descriptors(), before);
    EXPECT_TRUE(os::children().empty());
    return status;
  }
  std::string log() const {
    std::string all;
    for (const std::string& each : lines) all += each + "\n";
    return all;
  }

  SupervisorOptions options;
  std::vector<std::string> lines;
};

TEST(Supervisor, a_worker_gets_its_links_and_its_end_is_told) { EXPECT_EQ(Trial::part("spawns").run(), 0); }

TEST(Supervisor, a_node_that_crashed_is_restarted_and_adopts_workers_and_listeners) {
  auto run = Trial::part("crashes-and-adopts");
  EXPECT_EQ(run.run(), 0);
  ASSERT_EQ(run.lines.size(), 1u) << run.log();
  EXPECT_NE(run.lines[0].find("was killed by signal 6 (SIGABRT)"), std::string::npos);
  EXPECT_NE(run.lines[0].find("in module prices, command get; restart 1 in 1ms"), std::string::npos) << run.log();
}

TEST(Supervisor, a_dead_workers_group_is_killed) { EXPECT_EQ(Trial::part("kills").run(), 0); }

TEST(Supervisor, a_throwaway_process_answers_on_its_own_descriptor) { EXPECT_EQ(Trial::part("describes").run(), 0); }

TEST(Supervisor, listeners_are_bound_once_each) { EXPECT_EQ(Trial::part("listens").run(), 0); }

TEST(Supervisor, nothing_outlives_it) {
  auto run = Trial::part("leaves-workers");
  EXPECT_EQ(run.run(), 0);
  EXPECT_NE(run.log().find("1 workers did not end within 300ms"), std::string::npos) << run.log();
}

TEST(Supervisor, a_final_status_is_passed_on_and_not_retried) {
  auto run = Trial::part("fails-for-good");
  EXPECT_EQ(run.run(), 78);
  EXPECT_TRUE(run.lines.empty());
}

TEST(Supervisor, the_wait_before_a_restart_doubles_up_to_its_maximum) {
  auto run = Trial::part("dies-four-times");
  EXPECT_EQ(run.run(), 0);
  ASSERT_EQ(run.lines.size(), 4u) << run.log();
  EXPECT_NE(run.lines[0].find("exited with status 1; restart 1 in 1ms"), std::string::npos) << run.log();
  EXPECT_NE(run.lines[1].find("restart 2 in 2ms"), std::string::npos);
  EXPECT_NE(run.lines[2].find("restart 3 in 3ms"), std::string::npos);
  EXPECT_NE(run.lines[3].find("restart 4 in 3ms"), std::string::npos);
}

TEST(Supervisor, the_first_signal_drains_and_the_second_is_faster) {
  EXPECT_EQ(Trial::part("exits-on-shutdown").run(), 0);
  EXPECT_EQ(Trial::part("asks-for-shutdown-twice").run(), 0);
}

TEST(Supervisor, a_hangup_signal_makes_the_node_reload) { EXPECT_EQ(Trial::part("reloads").run(), 0); }

TEST(Supervisor, a_node_that_does_not_end_is_killed_at_the_limit) {
  auto run = Trial::part("never-exits");
  run.options.shutdown_limit = std::chrono::milliseconds(50);
  EXPECT_EQ(run.run(), 1);
  EXPECT_NE(run.log().find("did not end within its limit of 50ms"), std::string::npos) << run.log();
}

TEST(Supervisor, a_signal_while_no_node_runs_ends_it) {
  auto run = Trial::shell("kill -TERM $PPID; exit 1");
  run.options.backoff_first = std::chrono::hours(1);
  // Whether the signal is seen before or after the node's death, nothing is restarted.
  int status = run.run();
  EXPECT_TRUE(status == 0 || status == 1) << run.log();
}

TEST(Supervisor, orphans_of_the_node_are_reaped) {
  EXPECT_EQ(Trial::shell("(sleep 0.01 &) ; (setsid sleep 1000 &) ; exit 0").run(), 0);
}

TEST(Supervisor, a_program_that_is_not_there_is_said) {
  Trial run({"/no/such/node"});
  EXPECT_EQ(run.run(), 71);
  EXPECT_NE(run.log().find("S3001"), std::string::npos) << run.log();
}

TEST(Supervisor, two_hundred_kills_leak_nothing) { EXPECT_EQ(Trial::part("kills-many").run(), 0); }

TEST(Supervisor, when_it_is_killed_itself_node_and_workers_end) {
  auto out = os::make_pipe(os::Blocking::yes, os::Blocking::yes);
  os::SpawnOptions options;
  options.argv = {TEST_PROGRAM, "supervise", "tells-pids"};
  options.env = os::environment();
  options.descriptors = {{out->write.get(), 1}};
  auto process = os::spawn(options);
  ASSERT_TRUE(process);
  out->write.close();
  std::string line;
  char each = 0;
  while (::read(out->read.get(), &each, 1) == 1 && each != '\n') line += each;
  int node = 0;
  int worker = 0;
  ASSERT_EQ(std::sscanf(line.c_str(), "%d %d", &node, &worker), 2) << line;
  auto node_fd = os::open_pidfd(node);
  auto worker_fd = os::open_pidfd(worker);
  ASSERT_TRUE(node_fd && worker_fd);
  ASSERT_TRUE(os::send_signal(process->pidfd.get(), SIGKILL));
  EXPECT_TRUE(os::wait_for(process->pidfd.get())->by_signal);
  for (int fd : {node_fd->get(), worker_fd->get()}) {
    pollfd ended{fd, POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, -1), 1);
  }
  // They are ours now if this process is a subreaper.
  while (pid_t pid = os::next_ended_child()) os::reap(pid);
}

TEST(Supervisor, two_do_not_share_a_data_folder) {
  char folder[] = "/tmp/shunt-supervisor-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  SupervisorOptions options;
  options.data_folder = std::string(folder) + "/deep/data";
  {
    auto first = Supervisor::create(options);
    ASSERT_TRUE(first) << first.error().to_string();
    auto second = Supervisor::create(options);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().id(), "S5002");
  }
  EXPECT_TRUE(Supervisor::create(options));
  [[maybe_unused]] int ignored = std::system(("rm -rf " + std::string(folder)).c_str());
}

TEST(ActivityPage, a_learned_text_is_said_by_its_number) {
  auto page = ActivityPage::create();
  ASSERT_TRUE(page);
  std::uint32_t number = page->learn("shop.prices.get");
  ASSERT_NE(number, 0u);
  page->set(2, "something else");
  page->set_known(2, number);
  EXPECT_EQ(page->text(2), "shop.prices.get");
  page->set(2, "back");
  EXPECT_EQ(page->text(2), "back");
  page->set_known(2, number);
  page->clear(2);
  EXPECT_EQ(page->text(2), "");
  std::uint32_t last = number;
  while (std::uint32_t next = page->learn("x")) last = next;
  EXPECT_GT(last, 1000u);
  EXPECT_EQ(page->learn("no room"), 0u);
}

TEST(ActivityPage, is_read_from_another_mapping) {
  auto page = ActivityPage::create();
  ASSERT_TRUE(page);
  auto other = ActivityPage::open(os::Fd(::dup(page->fd())));
  ASSERT_TRUE(other);
  page->set(0, "module a, command x");
  page->set(9, std::string(500, 'y'));
  page->set(1000, "beyond");
  EXPECT_EQ(other->text(0), "module a, command x");
  EXPECT_EQ(other->text(9), std::string(127, 'y'));
  page->clear(9);
  page->set(2, "module\nb");
  EXPECT_EQ(other->last_words(), "module a, command x; module?b");
  page->mark_crashed(0);
  EXPECT_EQ(other->last_words(), "module a, command x");
  other->reset();
  EXPECT_EQ(page->last_words(), "");
  auto pipe = os::make_pipe(os::Blocking::no, os::Blocking::no);
  EXPECT_FALSE(ActivityPage::open(std::move(pipe->read)));
}

TEST(Message, comes_back_as_it_was_and_broken_bytes_are_refused) {
  Message message(Verb::spawn_worker, 7);
  message.add(Key::argument, std::vector<std::string>{"a", "", std::string("\0\xff", 2)})
      .add(Key::links, std::uint64_t{3});
  std::string bytes = message.encode().value();
  auto back = Message::decode(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->number, 7u);
  EXPECT_EQ(back->texts(Key::argument), (std::vector<std::string>{"a", "", std::string("\0\xff", 2)}));
  EXPECT_EQ(back->value(Key::links), 3u);
  EXPECT_TRUE(back->error().is_ok());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // Every cut is either refused or ends between two fields.
    auto cut = Message::decode(std::string_view(bytes).substr(0, size));
    if (cut) EXPECT_LE(cut->texts(Key::argument).size(), 3u);
  }
  bytes[0] ^= 1;
  EXPECT_FALSE(Message::decode(bytes));
}

}  // namespace
}  // namespace shunt::supervisor
