#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "os/clock.h"
#include "os/clock_id.h"
#include "os/cpu.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/memory.h"
#include "os/process.h"
#include "os/random.h"
#include "os/signal.h"
#include "os/socket.h"

namespace shunt::os {
namespace {

/// A folder that ends with the test.
struct TemporaryFolder {
  TemporaryFolder() {
    char name[] = "/tmp/shunt-os-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryFolder() { [[maybe_unused]] int ignored = std::system(("rm -rf " + path).c_str()); }
  std::string path;
};

std::string read_all(int fd) {
  std::string all;
  char chunk[4096];
  while (true) {
    auto got = read_some(fd, chunk);
    if (!got || !*got || **got == 0) return all;
    all.append(chunk, **got);
  }
}

TEST(Address, what_people_type_is_read) {
  auto v4 = parse_tcp_address("127.0.0.1:8080");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "127.0.0.1");
  EXPECT_EQ(v4->port, 8080);
  EXPECT_TRUE(v4->is_loopback());
  auto v6 = parse_tcp_address("[::1]:0");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  EXPECT_TRUE(v6->is_loopback());
  EXPECT_EQ(v6->to_string(), "[::1]:0");
  EXPECT_TRUE(parse_tcp_address("localhost:80")->is_loopback());
  EXPECT_TRUE(parse_tcp_address("0.0.0.0:80")->is_any());
  EXPECT_FALSE(parse_tcp_address("0.0.0.0:80")->is_loopback());
  EXPECT_FALSE(parse_tcp_address("example.org:80")->is_loopback());
}

TEST(Address, a_wrong_one_says_what_to_type) {
  for (const char* wrong : {"", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                            "127.0.0.1:80x", "::1:80", "[::1:80", "[nonsense]:80", "1.2.3.4]:1"}) {
    auto parsed = parse_tcp_address(wrong);
    ASSERT_FALSE(parsed) << wrong;
    EXPECT_EQ(parsed.error().id(), "S5003");
    EXPECT_NE(parsed.error().message().find("127.0.0.1:8080"), std::string_view::npos);
  }
}

TEST(Listen, siblings_share_one_port_that_the_system_picked) {
  auto listeners = listen_tcp({"127.0.0.1", 0}, 3);
  ASSERT_TRUE(listeners) << listeners.error().to_string();
  ASSERT_EQ(listeners->size(), 3u);
  auto first = local_address((*listeners)[0].get());
  EXPECT_NE(first->port, 0);
  EXPECT_EQ(first->host, "127.0.0.1");
  for (const Fd& each : *listeners) EXPECT_EQ(local_address(each.get())->port, first->port);
}

TEST(Listen, a_busy_port_is_an_error_that_says_what_to_type) {
  auto holder = listen_tcp({"127.0.0.1", 0}, 2);
  ASSERT_TRUE(holder);
  auto port = local_address((*holder)[0].get())->port;
  auto second = listen_tcp({"127.0.0.1", port}, 2);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().id(), "S5001");
  EXPECT_NE(second.error().message().find("--listen 127.0.0.1:0"), std::string_view::npos);
}

TEST(Listen, ipv6_and_names_work) {
  EXPECT_TRUE(listen_tcp({"localhost", 0}, 1));
  auto unknown = listen_tcp({"no-such-host.invalid", 0}, 1);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().id(), "S5003");
}

TEST(UnixSocket, a_path_may_be_longer_than_the_system_allows) {
  TemporaryFolder folder;
  std::string deep = folder.path;
  for (int i = 0; i < 10; ++i) deep += "/a-folder-with-a-long-name";
  ASSERT_TRUE(make_folders(deep));
  std::string path = deep + "/admin.sock";
  ASSERT_GT(path.size(), 200u);
  auto listener = listen_unix(path);
  ASSERT_TRUE(listener) << listener.error().to_string();
  struct stat found{};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  EXPECT_FALSE(accept_connection(listener->get())->has_value());
  auto client = connect_unix(path);
  ASSERT_TRUE(client) << client.error().to_string();
  auto server = accept_connection(listener->get());
  ASSERT_TRUE(server && *server);
  EXPECT_EQ(peer_credentials((*server)->get())->pid, ::getpid());
  // A second listener replaces what a dead node left.
  EXPECT_TRUE(listen_unix(path));
}

TEST(UnixSocket, nobody_there_is_said) {
  auto client = connect_unix("/tmp/shunt-no-such-socket");
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code(), Code::not_found);
}

TEST(Message, descriptors_travel_with_bytes) {
  auto pair = make_socket_pair(SocketKind::seqpacket, Blocking::no, Blocking::no);
  ASSERT_TRUE(pair);
  EXPECT_FALSE(receive_message(pair->second.get(), 100)->has_value());
  auto pipe = make_pipe(Blocking::yes, Blocking::yes);
  int descriptors[] = {pipe->write.get()};
  ASSERT_TRUE(*send_message(pair->first.get(), "take this", descriptors));
  auto got = receive_message(pair->second.get(), 100);
  ASSERT_TRUE(got && *got);
  EXPECT_EQ((*got)->bytes, "take this");
  ASSERT_EQ((*got)->descriptors.size(), 1u);
  EXPECT_TRUE(write_some((*got)->descriptors[0].get(), std::string_view("x")));
  pipe->write.close();
  (*got)->descriptors.clear();
  EXPECT_EQ(read_all(pipe->read.get()), "x");
}

TEST(Message, a_longer_one_than_the_limit_is_an_error_and_leaks_nothing) {
  auto pair = make_socket_pair(SocketKind::seqpacket, Blocking::no, Blocking::no);
  std::size_t before = open_descriptors();
  int descriptors[] = {0, 1};
  ASSERT_TRUE(*send_message(pair->first.get(), std::string(200, 'x'), descriptors));
  auto got = receive_message(pair->second.get(), 100);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::resource_exhausted);
  EXPECT_EQ(open_descriptors(), before);
  pair->first.close();
  auto end = receive_message(pair->second.get(), 100);
  ASSERT_TRUE(end && *end);
  EXPECT_TRUE((*end)->bytes.empty());
  EXPECT_EQ(send_message(pair->second.get(), "gone").error().code(), Code::unavailable);
}

TEST(File, is_written_whole_and_read_up_to_a_limit) {
  TemporaryFolder folder;
  std::string path = folder.path + "/file";
  ASSERT_TRUE(write_file(path, "first"));
  ASSERT_TRUE(write_file(path, "second", 0600));
  EXPECT_EQ(*read_file(path), "second");
  struct stat found{};
  ::stat(path.c_str(), &found);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  EXPECT_EQ(read_file(path, 3).error().code(), Code::resource_exhausted);
  EXPECT_EQ(read_file(folder.path + "/absent").error().code(), Code::not_found);
  EXPECT_FALSE(make_folders(path + "/below-a-file"));
}

TEST(File, a_lock_is_held_by_one_and_names_its_holder) {
  TemporaryFolder folder;
  std::string path = folder.path + "/lock";
  auto first = lock_file(path);
  ASSERT_TRUE(first);
  auto second = lock_file(path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().id(), "S5002");
  EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string_view::npos);
  first->close();
  EXPECT_TRUE(lock_file(path));
}

TEST(File, the_state_folder_follows_the_conventions) {
  ::unsetenv("STATE_DIRECTORY");
  ::setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(default_state_folder(), "/state/shunt");
  ::setenv("STATE_DIRECTORY", "/var/lib/shunt:/var/lib/other", 1);
  EXPECT_EQ(default_state_folder(), "/var/lib/shunt");
  ::unsetenv("STATE_DIRECTORY");
  ::unsetenv("XDG_STATE_HOME");
}

Process start(const std::string& script, std::vector<std::pair<int, int>> descriptors = {}) {
  SpawnOptions options;
  options.argv = {"/bin/sh", "-c", script};
  options.env = environment();
  options.descriptors = std::move(descriptors);
  auto process = spawn(options);
  EXPECT_TRUE(process) << process.error().to_string();
  return std::move(*process);
}

TEST(Process, its_end_is_told_in_words) {
  Process exits = start("exit 3");
  auto end = wait_for(exits.pidfd.get());
  ASSERT_TRUE(end);
  EXPECT_EQ(end->to_string(), "exited with status 3");
  EXPECT_GT(end->memory_peak_kib, 0);
  Process killed = start("kill -KILL $$");
  EXPECT_EQ(wait_for(killed.pidfd.get())->to_string(), "was killed by signal 9 (SIGKILL)");
}

TEST(Process, descriptors_land_where_they_are_wanted_even_when_they_swap) {
  auto out = make_pipe(Blocking::yes, Blocking::yes);
  auto in = make_pipe(Blocking::yes, Blocking::yes);
  ASSERT_TRUE(write_some(in->write.get(), std::string_view("hello\n")));
  in->write.close();
  // Each takes the number that the other has here.
  int read = in->read.get();
  int write = out->write.get();
  Process process =
      start("cat <&" + std::to_string(write) + " >&" + std::to_string(read), {{read, write}, {write, read}});
  out->write.close();
  EXPECT_EQ(read_all(out->read.get()), "hello\n");
  EXPECT_TRUE(wait_for(process.pidfd.get())->is_success());
}

TEST(Process, sees_only_the_descriptors_it_was_given) {
  auto out = make_pipe(Blocking::yes, Blocking::yes);
  int leaky = ::dup(0);  // Not close-on-exec: a careless library's.
  Process process = start("ls /proc/self/fd | tr '\\n' ' '", {{out->write.get(), 1}});
  out->write.close();
  ::close(leaky);
  // 3 is ls reading the folder.
  EXPECT_EQ(read_all(out->read.get()), "0 1 2 3 ");
  EXPECT_TRUE(wait_for(process.pidfd.get())->is_success());
}

TEST(Process, signals_are_reset_and_it_leads_its_group) {
  auto out = make_pipe(Blocking::yes, Blocking::yes);
  ::signal(SIGPIPE, SIG_IGN);
  Process process =
      start("grep -E 'SigBlk|SigIgn' /proc/self/status | tr -d '\\t\\n'; ps -o pgid= -p $$ >/dev/null 2>&1",
            {{out->write.get(), 1}});
  ::signal(SIGPIPE, SIG_DFL);
  EXPECT_EQ(::getpgid(process.pid), process.pid);
  out->write.close();
  EXPECT_EQ(read_all(out->read.get()), "SigBlk:0000000000000000SigIgn:0000000000000000");
  wait_for(process.pidfd.get()).value();
}

TEST(Process, what_can_not_start_says_why) {
  SpawnOptions options;
  options.argv = {"no-such-program-here"};
  options.env = {"PATH=/bin"};
  auto absent = spawn(options);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().id(), "S3001");
  EXPECT_NE(absent.error().message().find("no-such-program-here"), std::string_view::npos);
  options.argv = {"/etc/passwd"};
  EXPECT_EQ(spawn(options).error().code(), Code::permission_denied);
  options.argv = {"/bin/true"};
  options.cwd = "/no/such/folder";
  auto nowhere = spawn(options);
  ASSERT_FALSE(nowhere);
  EXPECT_NE(nowhere.error().message().find("/no/such/folder"), std::string_view::npos);
}

TEST(Process, a_failed_start_leaves_nothing) {
  std::size_t before = open_descriptors();
  SpawnOptions options;
  options.argv = {"/no/such/program"};
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(spawn(options));
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(children().empty());
}

TEST(Process, a_running_one_has_not_ended_and_a_signal_ends_it) {
  Process process = start("while :; do sleep 100; done");
  EXPECT_FALSE(try_wait(process.pidfd.get())->has_value());
  EXPECT_EQ(children(), std::vector<pid_t>{process.pid});
  ASSERT_TRUE(send_signal(process.pidfd.get(), SIGTERM));
  signal_group(process.pid, SIGKILL);
  EXPECT_TRUE(wait_for(process.pidfd.get())->by_signal);
  EXPECT_EQ(send_signal(process.pidfd.get(), SIGTERM).error().code(), Code::not_found);
  EXPECT_EQ(next_ended_child(), 0);
}

TEST(Process, an_environment_is_merged) {
  EXPECT_EQ(merge_environment({"A=1", "AB=2", "C=3"}, {"A=9", "C", "D=4"}),
            (std::vector<std::string>{"AB=2", "A=9", "D=4"}));
}

TEST(Signal, is_read_from_a_descriptor) {
  auto signals = SignalFd::create({SIGUSR1});
  ASSERT_TRUE(signals);
  EXPECT_FALSE(signals->read());
  ::raise(SIGUSR1);
  EXPECT_EQ(signals->read(), SIGUSR1);
  EXPECT_FALSE(signals->read());
}

TEST(Memory, is_shared_between_two_mappings_and_can_not_shrink) {
  auto fd = make_memfd("test", 4096);
  ASSERT_TRUE(fd) << fd.error().to_string();
  auto one = Mapping::map(fd->get(), 4096);
  auto two = Mapping::map(fd->get(), 4096);
  ASSERT_TRUE(one && two);
  one->data()[7] = 'x';
  EXPECT_EQ(two->data()[7], 'x');
  EXPECT_EQ(*size_of(fd->get()), 4096u);
  EXPECT_NE(::ftruncate(fd->get(), 0), 0);
}

TEST(System, has_a_clock_randomness_and_cores) {
  SystemClock clock;
  Instant before = clock.now();
  EXPECT_LE(before, clock.now());
  EXPECT_EQ(clock_id(), clock_id());
  EXPECT_FALSE(clock_id().empty());
  SystemRandom random;
  EXPECT_NE(random.next(), random.next());
  EXPECT_EQ(random_hex(8).size(), 16u);
  EXPECT_GE(usable_cores(), 1u);
}

}  // namespace
}  // namespace shunt::os
