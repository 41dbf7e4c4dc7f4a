// What the tests of this room start: a node that plays a part (`node PART`), a worker (`worker`), or a supervisor with
// such a node (`supervise PART`).

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "loop/epoll_loop.h"
#include "loop/scope.h"
#include "os/socket.h"
#include "supervisor/client.h"
#include "supervisor/supervisor.h"

namespace shunt::supervisor {
namespace {

constexpr int failed = 70;  // Final: the supervisor passes it on to the test.

#define EXPECT(condition)                                                          \
  do {                                                                             \
    if (!(condition)) {                                                            \
      fmt::print(stderr, "{}:{}: not true: {}\n", __FILE__, __LINE__, #condition); \
      std::_Exit(failed);                                                          \
    }                                                                              \
  } while (false)

template <typename T>
T value_of(Result<T> result, int line) {
  if (!result) {
    fmt::print(stderr, "line {}: {}\n", line, result.error().to_string());
    std::_Exit(failed);
  }
  return std::move(*result);
}
#define VALUE(result) value_of(result, __LINE__)

std::string read_until_end(const os::Fd& fd) {
  EXPECT(os::set_blocking(fd.get(), os::Blocking::yes).has_value());
  std::string all;
  char chunk[1024];
  while (true) {
    auto got = os::read_some(fd.get(), chunk);
    if (!got || !*got || **got == 0) return all;
    all.append(chunk, **got);
  }
}

std::string read_line(const os::Fd& fd) {
  EXPECT(os::set_blocking(fd.get(), os::Blocking::yes).has_value());
  std::string line;
  char each = 0;
  while (::read(fd.get(), &each, 1) == 1 && each != '\n') line += each;
  return line;
}

std::string echo_over(const os::Fd& link, const std::string& text) {
  EXPECT(::send(link.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  EXPECT(::send(link.get(), "\n", 1, MSG_NOSIGNAL) == 1);
  return read_line(link);
}

struct Node final : ClientEvents {
  explicit Node(std::string its_part) : part(std::move(its_part)), shut(*loop), ended(*loop), scope(*loop) {}

  void on_reload() override { exit_with(0); }
  void on_shutdown(bool fast) override {
    fmt::print("shutdown {}\n", fast ? "fast" : "slow");
    std::fflush(stdout);
    if (part == "exits-on-shutdown" || (part == "exits-on-second-shutdown" && fast)) exit_with(0);
    if (part == "asks-for-shutdown-twice") {
      if (fast) exit_with(0);
      ::kill(::getppid(), SIGINT);
    }
  }
  void on_supervisor_lost() override { std::_Exit(failed); }
  void exit_with(int status) {
    std::fflush(stdout);
    std::_Exit(status);
  }

  loop::Task<call::SpawnedWorker> start(std::string script, std::size_t links = 1) {
    call::WorkerStart start;
    start.key = "shop.cart:abc";
    start.service = "shop.cart";
    start.argv = {"/bin/sh", "-c", script};
    start.env = {"EXTRA=yes"};
    start.links = links;
    co_return VALUE(co_await client->spawn_worker(std::move(start)));
  }
  loop::Task<call::SpawnedWorker> start_echo(std::size_t links) {
    call::WorkerStart start;
    start.key = "echo:1";
    start.service = "echo";
    start.argv = {"/proc/self/exe", "worker"};
    start.argv[0] = program;
    start.links = links;
    co_return VALUE(co_await client->spawn_worker(std::move(start)));
  }
  loop::Task<os::ProcessEnd> end_of(pid_t pid) {
    client->on_exit(pid, [this](const os::ProcessEnd& told) {
      end = told;
      ended.set();
    });
    co_await ended.wait();
    co_return end;
  }

  loop::Task<void> play();
  loop::Task<void> spawns();
  loop::Task<void> crashes_and_adopts();
  loop::Task<void> kills();
  loop::Task<void> describes();
  loop::Task<void> listens();
  loop::Task<void> kills_many();

  std::string part;
  std::string program;
  Own<loop::EpollLoop> loop = VALUE(loop::EpollLoop::create({}));
  Own<SupervisorClient> client;
  loop::Event shut;
  loop::Event ended;
  os::ProcessEnd end;
  loop::Scope scope;
};

loop::Task<void> Node::spawns() {
  auto worker = co_await start(
      "echo $SHUNT_LINKS/$SHUNT_CONTROL/$SHUNT_SERVICE/$EXTRA/$SHUNT_SUPERVISOR; echo problem >&2; "
      "echo over the link >&4; ls /proc/self/fd | wc -l; exit 3",
      2);
  EXPECT(worker.links.size() == 2);
  EXPECT(read_line(worker.links[1]) == "over the link");
  EXPECT(read_line(worker.out) == "3,4/5/shop.cart/yes/");
  EXPECT(read_line(worker.out) == "7");  // 0 to 5, and the folder itself.
  EXPECT(read_until_end(worker.err) == "problem\n");
  auto end = co_await end_of(worker.pid);
  EXPECT(end.to_string() == "exited with status 3");
  EXPECT(end.pid == worker.pid && end.memory_peak_kib > 0);
  EXPECT(read_until_end(worker.links[0]).empty());

  call::WorkerStart wrong;
  wrong.argv = {"/no/such/program"};
  auto refused = co_await client->spawn_worker(std::move(wrong));
  EXPECT(!refused && refused.error().id() == "S3001");
  call::WorkerStart long_one;
  long_one.argv = {"/bin/true", std::string(200'000, 'x')};
  refused = co_await client->spawn_worker(std::move(long_one));
  EXPECT(!refused && refused.error().id() == "S3002");
  call::WorkerStart many_links;
  many_links.argv = {"/bin/true"};
  many_links.links = 1000;
  refused = co_await client->spawn_worker(std::move(many_links));
  EXPECT(!refused);
}

// First life: starts a worker, says what it does, dies. Second: finds out, and goes on with the same worker.
loop::Task<void> Node::crashes_and_adopts() {
  auto info = VALUE(co_await client->info());
  if (info.restarts == 0) {
    auto listeners = VALUE(co_await client->listen("127.0.0.1:0", 2));
    auto worker = co_await start_echo(1);
    EXPECT(echo_over(worker.links[0], "first life") == "first life");
    // The worker outlives this process; its port is told by way of its output.
    EXPECT(echo_over(worker.links[0], "port " + listeners.bound) == "port " + listeners.bound);
    install_crash_witness(*client->activity());
    ThreadActivity here(*client->activity(), 3);
    client->activity()->set(5, "module other, command idle");
    here.set("module prices, command get");
    std::abort();
  }
  EXPECT(info.restarts == 1);
  EXPECT(info.last_end.starts_with("was killed by signal 6 (SIGABRT)"));
  EXPECT(info.last_words == "module prices, command get");
  EXPECT(client->activity()->last_words().empty());
  auto living = VALUE(co_await client->workers());
  EXPECT(living.size() == 1 && living[0].key == "echo:1" && living[0].links.empty());
  auto links = VALUE(co_await client->relink(living[0].pid, 2));
  EXPECT(links.size() == 2);
  EXPECT(echo_over(links[0], "second life") == "second life");
  // What it wrote while no node was there is still in the pipe.
  EXPECT(read_line(living[0].out) == "first life");
  std::string port = read_line(living[0].out);
  auto listeners = VALUE(co_await client->listen("127.0.0.1:0", 2));
  EXPECT(port == "port " + listeners.bound);
  EXPECT(listeners.sockets.size() == 2);
  auto unknown = co_await client->relink(1, 1);
  EXPECT(!unknown);
  client->kill(living[0].pid, SIGTERM);
  auto end = co_await end_of(living[0].pid);
  EXPECT(end.to_string() == "was killed by signal 15 (SIGTERM)");
}

loop::Task<void> Node::kills() {
  // A worker with children, one in its group, one that has left it by way of a daemon's double fork.
  auto worker = co_await start("sleep 1000 & setsid sleep 1001 & echo started; wait");
  EXPECT(read_line(worker.out) == "started");
  client->kill(worker.pid, SIGKILL);
  auto end = co_await end_of(worker.pid);
  EXPECT(end.to_string() == "was killed by signal 9 (SIGKILL)");
  // The sleeper in the group held the pipe too: its end is the pipe's end once the other, which left, closed it.
  client->kill(worker.pid, SIGKILL);  // Again: no harm.
  // A worker that ends by itself leaves nobody of its group behind either.
  auto second = co_await start("sleep 1000 & exit 0");
  end = co_await end_of(second.pid);
  EXPECT(end.is_success());
  EXPECT(read_until_end(second.out).empty());
}

loop::Task<void> Node::describes() {
  call::DescribeStart start;
  start.argv = {"/bin/sh", "-c", "echo '{\"name\":1}' >&$SHUNT_DESCRIBE_FD; echo oops >&2"};
  start.cwd = "/";
  auto process = VALUE(co_await client->spawn_describe(std::move(start)));
  EXPECT(read_until_end(process.answer) == "{\"name\":1}\n");
  EXPECT(read_until_end(process.output) == "oops\n");
  auto end = co_await end_of(process.pid);
  EXPECT(end.is_success());
  // One that hangs is killed by whoever asked; one left behind ends with this node.
  call::DescribeStart hanging;
  hanging.argv = {"/bin/sh", "-c", "sleep 1000"};
  auto hangs = VALUE(co_await client->spawn_describe(std::move(hanging)));
  client->kill(hangs.pid, SIGKILL);
  end = co_await end_of(hangs.pid);
  EXPECT(end.by_signal);
  call::DescribeStart left;
  left.argv = {"/bin/sh", "-c", "sleep 1000"};
  VALUE(co_await client->spawn_describe(std::move(left)));
}

loop::Task<void> Node::listens() {
  auto first = VALUE(co_await client->listen("127.0.0.1:0", 2));
  auto second = VALUE(co_await client->listen("127.0.0.1:0", 2));
  EXPECT(first.bound != second.bound);
  EXPECT(first.sockets.size() == 2);
  auto busy = co_await client->listen(first.bound, 1);
  EXPECT(!busy && busy.error().id() == "S5001");
  auto wrong = co_await client->listen("nonsense", 1);
  EXPECT(!wrong && wrong.error().id() == "S5003");
}

loop::Task<void> Node::kills_many() {
  std::size_t before = os::open_descriptors();
  for (int i = 0; i < 200; ++i) {
    auto worker = co_await start("sleep 1000 & wait", 3);
    client->kill(worker.pid, SIGKILL);
    auto end = co_await end_of(worker.pid);
    EXPECT(end.pid == worker.pid && end.by_signal);
  }
  EXPECT(os::open_descriptors() == before);
  EXPECT(VALUE(co_await client->workers()).empty());
}

loop::Task<void> Node::play() {
  if (part == "spawns") {
    co_await spawns();
  } else if (part == "crashes-and-adopts") {
    co_await crashes_and_adopts();
  } else if (part == "kills") {
    co_await kills();
  } else if (part == "describes") {
    co_await describes();
  } else if (part == "listens") {
    co_await listens();
  } else if (part == "kills-many") {
    co_await kills_many();
  } else if (part == "tells-pids") {
    auto worker = co_await start("echo up; sleep 1000");
    EXPECT(read_line(worker.out) == "up");
    fmt::print("{} {}\n", ::getpid(), worker.pid);
    std::fflush(stdout);
    co_return;
  } else if (part == "leaves-workers") {
    // One that ends on SIGTERM, one that ignores it, one whose child has left its group.
    auto plain = co_await start("echo up; sleep 1000");
    auto deaf = co_await start("trap '' TERM; echo up; while :; do sleep 1000; done");
    auto daemon = co_await start("setsid sleep 1000 & echo up; wait");
    for (auto* each : {&plain, &deaf, &daemon}) EXPECT(read_line(each->out) == "up");
  } else if (part == "fails-for-good") {
    exit_with(78);
  } else if (part == "dies-four-times") {
    auto info = VALUE(co_await client->info());
    if (info.restarts < 4) exit_with(1);
  } else if (part == "asks-for-shutdown-twice" || part == "exits-on-shutdown" || part == "never-exits") {
    ::kill(::getppid(), SIGTERM);
    co_return;  // The loop goes on.
  } else if (part == "reloads") {
    ::kill(::getppid(), SIGHUP);
    co_return;
  }
  exit_with(0);
}

int run_node(const char* program, const char* part) {
  Node node(part);
  node.program = program;
  node.client = VALUE(SupervisorClient::create(*node.loop, node));
  EXPECT(!is_node_environment());
  node.scope.spawn(node.play());
  node.loop->run();
  return failed;
}

/// Sends back each line of its link, and says it on stdout too. New links replace the old.
int run_worker() {
  auto given = [](const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? -1 : std::atoi(text);
  };
  os::Fd link(given("SHUNT_LINKS"));
  os::Fd control(given("SHUNT_CONTROL"));
  if (!link || !control) return 2;
  while (true) {
    std::string line;
    char each = 0;
    while (::read(link.get(), &each, 1) == 1) {
      line += each;
      if (each != '\n') continue;
      std::fputs(line.c_str(), stdout);
      std::fflush(stdout);
      if (::send(link.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) break;
      line.clear();
    }
    auto fresh = os::receive_message(control.get(), 16);
    if (!fresh || !*fresh || (*fresh)->bytes != "L" || (*fresh)->descriptors.empty()) return 0;
    link = std::move((*fresh)->descriptors[0]);
  }
}

}  // namespace
}  // namespace shunt::supervisor

int main(int count, char** arguments) {
  std::string what = count > 1 ? arguments[1] : "";
  if (what == "node" && count > 2) return shunt::supervisor::run_node(arguments[0], arguments[2]);
  if (what == "supervise" && count > 2) {
    shunt::supervisor::SupervisorOptions options;
    options.program = arguments[0];
    options.node_argv = {arguments[0], "node", arguments[2]};
    auto supervisor = shunt::supervisor::Supervisor::create(std::move(options));
    return supervisor ? (*supervisor)->run() : 1;
  }
  if (what == "worker") return shunt::supervisor::run_worker();
  return 64;
}
