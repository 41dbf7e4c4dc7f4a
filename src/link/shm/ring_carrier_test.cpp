#include "link/shm/ring_carrier.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "os/doorbell.h"
#include "os/memory.h"

namespace shunt::link {
namespace {

using namespace std::chrono_literals;

Own<loop::EpollLoop> make_loop(Duration spin = Duration(0)) {
  return loop::EpollLoop::create({.name = "test", .slow_turn = Duration(0), .spin = {.spin_max = spin}}).value();
}

/// Hears what a carrier tells.
struct Ear final : Carrier::Events {
  void on_bytes(std::string_view bytes) override {
    text += bytes;
    chunk_bytes_max = std::max(chunk_bytes_max, bytes.size());
  }
  void on_writable() override { writable++; }
  void on_closed(Status why) override { closed = std::string(why.message()); }
  std::string text;
  std::size_t chunk_bytes_max = 0;
  int writable = 0;
  std::optional<std::string> closed;
};

std::size_t write(Carrier& carrier, std::string_view text) {
  iovec vector{const_cast<char*>(text.data()), text.size()};
  return carrier.write(&vector, 1);
}

/// Two carriers on two loops of this thread.
class RingCarriers : public testing::Test {
 protected:
  void make(std::size_t ring_bytes = 4096) {
    auto ends = make_ring_pair({.ring_bytes = ring_bytes}).value();
    near_ = make_ring_carrier(*near_loop_, std::move(ends[0]), RingSide::first).value();
    far_ = make_ring_carrier(*far_loop_, std::move(ends[1]), RingSide::second).value();
    near_->start(near_ear_);
    far_->start(far_ear_);
  }
  void turn() {
    near_loop_->turn(Duration(0));
    far_loop_->turn(Duration(0));
  }
  template <typename Condition>
  void turn_until(Condition&& condition) {
    while (!condition()) turn();
  }
  Own<loop::EpollLoop> near_loop_ = make_loop();
  Own<loop::EpollLoop> far_loop_ = make_loop();
  Ear near_ear_;
  Ear far_ear_;
  Own<Carrier> near_;
  Own<Carrier> far_;
};

TEST_F(RingCarriers, bytes_arrive_in_both_directions) {
  make();
  EXPECT_EQ(write(*near_, "ping"), 4u);
  EXPECT_EQ(write(*far_, "pong"), 4u);
  turn_until([&] { return far_ear_.text.size() == 4 && near_ear_.text.size() == 4; });
  EXPECT_EQ(far_ear_.text, "ping");
  EXPECT_EQ(near_ear_.text, "pong");
}

TEST_F(RingCarriers, what_was_written_before_the_peer_began_is_heard) {
  auto ends = make_ring_pair().value();
  near_ = make_ring_carrier(*near_loop_, std::move(ends[0]), RingSide::first).value();
  near_->start(near_ear_);
  write(*near_, "early");
  far_ = make_ring_carrier(*far_loop_, std::move(ends[1]), RingSide::second).value();
  far_->start(far_ear_);
  turn_until([&] { return !far_ear_.text.empty(); });
  EXPECT_EQ(far_ear_.text, "early");
}

TEST_F(RingCarriers, a_full_ring_takes_a_part_and_tells_when_there_is_room) {
  make(4096);
  std::string large(10'000, 'x');
  EXPECT_EQ(write(*near_, large), 4096u);
  EXPECT_EQ(write(*near_, large), 0u);
  EXPECT_EQ(near_ear_.writable, 0);
  turn_until([&] { return near_ear_.writable > 0; });
  EXPECT_EQ(write(*near_, std::string_view(large).substr(4096)), 4096u);
  turn_until([&] { return far_ear_.text.size() == 8192; });
}

TEST_F(RingCarriers, a_writer_that_sleeps_is_woken_for_room) {
  make(4096);
  std::string large(10'000, 'x');
  write(*near_, large);
  EXPECT_EQ(near_loop_->idle_for(), Duration::max()) << "nothing to do but to wait";
  while (far_ear_.text.size() < 4096) far_loop_->turn(Duration(0));
  near_loop_->turn(Duration(-1));  // Until the bell.
  EXPECT_EQ(near_ear_.writable, 1);
}

TEST_F(RingCarriers, one_turn_reads_a_bounded_part) {
  make(1 << 20);
  std::string large(1 << 20, 'x');
  EXPECT_EQ(write(*near_, large), large.size());
  turn_until([&] { return far_ear_.text.size() == large.size(); });
  EXPECT_LE(far_ear_.chunk_bytes_max, loop::EpollLoop::scratch_bytes);
}

TEST_F(RingCarriers, a_resting_ring_is_not_looked_at_and_its_bell_wakes_the_loop) {
  make();
  EXPECT_EQ(far_loop_->polled(), 1u);
  EXPECT_EQ(far_loop_->idle_for(), Duration::max());
  EXPECT_EQ(far_loop_->polled(), 0u);
  pollfd waits{far_loop_->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&waits, 1, 0), 0);
  write(*near_, "wake up");
  EXPECT_EQ(::poll(&waits, 1, 0), 1) << "an owner that sleeps on fd() is woken";
  far_loop_->turn(Duration(0));
  EXPECT_EQ(far_ear_.text, "wake up");
}

TEST_F(RingCarriers, what_came_just_before_the_sleep_keeps_the_loop_awake) {
  make();
  write(*near_, "late");
  EXPECT_EQ(far_loop_->idle_for(), Duration(0));
  far_loop_->turn(Duration(0));
  EXPECT_EQ(far_ear_.text, "late");
}

TEST_F(RingCarriers, a_sleeper_is_woken_more_often_than_a_pipe_holds_rings) {
  make();
  for (std::size_t i = 1; i <= 70'000; i++) {
    ASSERT_EQ(far_loop_->idle_for(), Duration::max());
    write(*near_, "x");
    far_loop_->turn(Duration(-1));
    while (far_ear_.text.size() < i) far_loop_->turn(Duration(-1));
  }
}

TEST_F(RingCarriers, a_hundred_idle_rings_cost_a_turn_nothing) {
  std::vector<Own<Carrier>> carriers;
  for (int i = 0; i < 100; i++) {
    auto ends = make_ring_pair({.ring_bytes = 4096}).value();
    carriers.push_back(make_ring_carrier(*near_loop_, std::move(ends[0]), RingSide::first).value());
    carriers.push_back(make_ring_carrier(*far_loop_, std::move(ends[1]), RingSide::second).value());
    carriers[carriers.size() - 2]->start(near_ear_);
    carriers.back()->start(far_ear_);
  }
  EXPECT_EQ(far_loop_->polled(), 100u);
  EXPECT_EQ(far_loop_->idle_for(), Duration::max());
  EXPECT_EQ(far_loop_->polled(), 0u);
  write(*carriers[42], "one of them");
  far_loop_->turn(Duration(-1));
  EXPECT_EQ(far_ear_.text, "one of them");
  EXPECT_EQ(far_loop_->polled(), 1u);
}

TEST_F(RingCarriers, what_the_peer_said_before_it_went_is_heard_then_its_end) {
  make();
  std::string last(4000, 'z');
  write(*near_, last);
  near_.reset();
  turn_until([&] { return far_ear_.closed.has_value(); });
  EXPECT_EQ(far_ear_.text, last);
  EXPECT_NE(far_ear_.closed->find("ended"), std::string::npos);
}

TEST_F(RingCarriers, after_close_nothing_is_told) {
  make();
  write(*near_, "unheard");
  far_->close();
  near_->close();
  for (int i = 0; i < 3; i++) turn();
  EXPECT_EQ(far_ear_.text, "");
  EXPECT_FALSE(far_ear_.closed);
  EXPECT_EQ(write(*far_, "into the void"), 13u);
}

TEST_F(RingCarriers, a_carrier_may_be_destroyed_inside_what_it_tells) {
  struct Destroyer final : Carrier::Events {
    explicit Destroyer(Own<Carrier>& to) : carrier(to) {}
    void on_bytes(std::string_view bytes) override {
      heard = bytes;
      carrier.reset();
    }
    void on_writable() override { carrier.reset(); }
    void on_closed(Status) override { carrier.reset(); }
    Own<Carrier>& carrier;
    std::string heard;
  };
  for (std::string_view event : {"bytes", "writable", "closed"}) {
    auto ends = make_ring_pair({.ring_bytes = 4096}).value();
    near_ = make_ring_carrier(*near_loop_, std::move(ends[0]), RingSide::first).value();
    far_ = make_ring_carrier(*far_loop_, std::move(ends[1]), RingSide::second).value();
    Destroyer destroyer(far_);
    near_->start(near_ear_);
    far_->start(destroyer);
    if (event == "bytes") write(*near_, "x");
    if (event == "writable") write(*far_, std::string(5000, 'x'));
    if (event == "closed") near_.reset();
    turn_until([&] { return !far_; });
    EXPECT_EQ(destroyer.heard, event == "bytes" ? "x" : "");
  }
}

TEST_F(RingCarriers, closing_frees_every_descriptor) {
  std::size_t before = os::open_descriptors();
  make();
  EXPECT_EQ(os::open_descriptors(), before + 4) << "two ends of a doorbell on each side; the memory is mapped";
  near_->close();
  far_->close();
  EXPECT_EQ(os::open_descriptors(), before);
}

// --- A hostile peer: it has the memory and its ends of the doorbells, and does what it likes --------------------------

class HostilePeer : public RingCarriers {
 protected:
  void make_hostile() {
    auto ends = make_ring_pair({.ring_bytes = 4096}).value();
    memory_.emplace(RingMemory::map(ends[1].memory).value());
    ends_ = std::move(ends[1]);
    near_ = make_ring_carrier(*near_loop_, std::move(ends[0]), RingSide::first).value();
    near_->start(near_ear_);
    near_loop_->turn(Duration(0));
  }
  RingWords<>& its_words() { return memory_->words(RingSide::second); }
  RingWords<>& our_words() { return memory_->words(RingSide::first); }
  /// The link ends, and the loop lives.
  void expect_closed(std::string_view why) {
    for (int i = 0; i < 10 && !near_ear_.closed; i++) near_loop_->turn(Duration(0));
    ASSERT_TRUE(near_ear_.closed);
    EXPECT_NE(near_ear_.closed->find(why), std::string::npos) << *near_ear_.closed;
    EXPECT_EQ(write(*near_, "swallowed"), 9u);
    near_loop_->turn(Duration(0));
  }
  std::optional<RingMemory> memory_;
  RingEnds ends_;
};

TEST_F(HostilePeer, garbage_in_its_head_closes_the_link) {
  make_hostile();
  its_words().head = 0x0123'4567'89ab'cdef;
  expect_closed("an index that can't be");
}

TEST_F(HostilePeer, a_head_that_goes_back_closes_the_link) {
  make_hostile();
  its_words().head = 100;
  near_loop_->turn(Duration(0));
  EXPECT_EQ(near_ear_.text.size(), 100u);
  its_words().head = 50;
  expect_closed("an index that can't be");
}

TEST_F(HostilePeer, garbage_in_its_tail_closes_the_link) {
  make_hostile();
  write(*near_, std::string(4096, 'x'));
  our_words().tail = 5000;
  EXPECT_EQ(write(*near_, "y"), 1u) << "a broken writer swallows";
  expect_closed("never written");
}

TEST_F(HostilePeer, garbage_in_its_tail_while_we_wait_for_room_closes_the_link) {
  make_hostile();
  EXPECT_EQ(write(*near_, std::string(5000, 'x')), 4096u);
  our_words().tail = UINT64_MAX;
  near_loop_->turn(Duration(0));
  write(*near_, "y");
  expect_closed("never written");
}

TEST_F(HostilePeer, garbage_in_every_flag_harms_nobody) {
  make_hostile();
  our_words().reader_sleeps = 0xffff'ffff;
  our_words().writer_waits = 0xffff'ffff;
  its_words().reader_sleeps = 0xffff'ffff;
  its_words().writer_waits = 0xffff'ffff;
  EXPECT_EQ(write(*near_, "still"), 5u);
  RingReader<> reader = memory_->reader(RingSide::second);
  EXPECT_EQ(reader.look(), 5u);
  RingWriter<> writer = memory_->writer(RingSide::second);
  iovec vector{const_cast<char*>("here"), 4};
  writer.write(&vector, 1);
  writer.publish();
  near_loop_->turn(Duration(0));
  EXPECT_EQ(near_ear_.text, "here");
  EXPECT_FALSE(near_ear_.closed);
}

TEST_F(HostilePeer, garbage_over_our_own_words_is_not_read_back) {
  make_hostile();
  write(*near_, "one");
  our_words().head = 0xffff'ffff'ffff'ffff;
  its_words().tail = 0xffff'ffff'ffff'ffff;
  EXPECT_EQ(write(*near_, "two"), 3u);
  EXPECT_EQ(our_words().head.load(), 6u);
  near_loop_->turn(Duration(0));
  EXPECT_FALSE(near_ear_.closed);
}

TEST_F(HostilePeer, a_doorbell_full_of_rings_blocks_nobody) {
  make_hostile();
  int rings = 0;
  while (os::ring_doorbell(ends_.wakes.get()) == os::Rung::heard) rings++;
  EXPECT_GT(rings, 4000);
  for (int i = 0; i < 5; i++) near_loop_->turn(Duration(0));
  EXPECT_FALSE(near_ear_.closed);
  its_words().head = 3;
  near_loop_->turn(Duration(0));
  EXPECT_EQ(near_ear_.text.size(), 3u);
}

TEST_F(HostilePeer, one_that_never_listens_fills_its_own_bell_only) {
  make_hostile();
  for (int i = 0; i < 70'000; i++) {
    our_words().reader_sleeps = 1;
    our_words().tail = our_words().head.load();
    ASSERT_EQ(write(*near_, "x"), 1u);
  }
  near_loop_->turn(Duration(0));
  EXPECT_FALSE(near_ear_.closed);
}

TEST_F(HostilePeer, one_that_no_longer_listens_ends_the_link_and_raises_no_signal) {
  make_hostile();
  struct sigaction before{};
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  sigaction(SIGPIPE, &action, &before);
  ends_.woken.close();
  our_words().reader_sleeps = 1;
  write(*near_, "x");
  expect_closed("ended or closed");
  sigaction(SIGPIPE, &before, nullptr);
}

TEST_F(HostilePeer, one_that_no_longer_rings_has_ended) {
  make_hostile();
  ends_.wakes.close();
  expect_closed("ended or closed");
}

TEST_F(HostilePeer, bytes_that_change_after_they_were_counted_are_read_once) {
  make_hostile();
  std::fill_n(memory_->data(RingSide::second), 64, 'a');
  its_words().head = 64;
  near_loop_->turn(Duration(0));
  std::fill_n(memory_->data(RingSide::second), 64, 'b');
  EXPECT_EQ(near_ear_.text, std::string(64, 'a'));
}

// --- What a stranger may hand us --------------------------------------------------------------------------------------

Result<Own<Carrier>> carrier_of(loop::EpollLoop& loop, os::Fd memory) {
  auto ends = make_ring_pair({.ring_bytes = 4096}).value();
  ends[0].memory = std::move(memory);
  return make_ring_carrier(loop, std::move(ends[0]), RingSide::first);
}

os::Fd memory_with(std::size_t bytes, const RingHeader& header) {
  auto memory = os::make_memfd("test", bytes).value();
  EXPECT_EQ(::pwrite(memory.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  return memory;
}

constexpr RingHeader good{RingHeader::magic_value, RingHeader::version_value, 0, 4096, 0};

TEST(RingMemory, of_the_right_shape_is_taken) {
  auto loop = make_loop();
  EXPECT_TRUE(carrier_of(*loop, memory_with(3 * 4096, good)));
}

TEST(RingMemory, whose_size_could_change_is_refused) {
  auto loop = make_loop();
  os::Fd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 3 * 4096), 0);
  ASSERT_EQ(::pwrite(unsealed.get(), &good, sizeof good, 0), static_cast<ssize_t>(sizeof good));
  auto refused = carrier_of(*loop, std::move(unsealed));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::failed_precondition);
}

TEST(RingMemory, that_is_no_memory_file_is_refused) {
  auto loop = make_loop();
  EXPECT_FALSE(carrier_of(*loop, os::make_doorbell()->read.duplicate().value()));
  EXPECT_FALSE(carrier_of(*loop, os::Fd()));
}

TEST(RingMemory, whose_header_is_not_what_it_is_is_refused) {
  auto loop = make_loop();
  RingHeader header = good;
  header.magic++;
  EXPECT_FALSE(carrier_of(*loop, memory_with(3 * 4096, header)));
  header = good;
  header.version++;
  EXPECT_FALSE(carrier_of(*loop, memory_with(3 * 4096, header)));
  header = good;
  header.flags = 1;
  EXPECT_FALSE(carrier_of(*loop, memory_with(3 * 4096, header)));
  for (std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{2048}, std::uint64_t{8192}, std::uint64_t{4097},
                              std::uint64_t{1} << 63, UINT64_MAX}) {
    header = good;
    header.ring_bytes = bytes;
    EXPECT_FALSE(carrier_of(*loop, memory_with(3 * 4096, header))) << bytes;
  }
}

TEST(RingMemory, too_small_or_beyond_the_limit_is_refused) {
  auto loop = make_loop();
  EXPECT_FALSE(carrier_of(*loop, memory_with(4096, good)));
  auto huge = os::make_sparse_memfd("test", std::size_t{1} << 40, 4096).value();
  EXPECT_FALSE(carrier_of(*loop, std::move(huge)));
  EXPECT_FALSE(make_ring_pair({.ring_bytes = 5000}));
  EXPECT_FALSE(make_ring_pair({.ring_bytes = 2048}));
  EXPECT_FALSE(make_ring_pair({.ring_bytes = std::size_t{1} << 30}));
}

TEST(RingMemory, is_not_there_in_a_child) {
  auto ends = make_ring_pair().value();
  auto memory = RingMemory::map(ends[0].memory).value();
  FILE* maps = std::fopen("/proc/self/smaps", "re");
  ASSERT_NE(maps, nullptr);
  bool found = false;
  bool is_ours = false;
  for (std::array<char, 1024> line; std::fgets(line.data(), line.size(), maps) != nullptr;) {
    std::string_view text(line.data());
    if (text.find("shunt link") != std::string_view::npos) is_ours = true;
    if (is_ours && text.starts_with("VmFlags:")) {
      found = true;
      EXPECT_NE(text.find(" dc"), std::string_view::npos) << text;
      is_ours = false;
    }
  }
  std::fclose(maps);
  EXPECT_TRUE(found);
}

TEST(RingDoorbells, that_are_something_else_are_refused) {
  auto loop = make_loop();
  auto ends = make_ring_pair().value();
  std::swap(ends[0].wakes, ends[0].woken);
  EXPECT_FALSE(make_ring_carrier(*loop, std::move(ends[0]), RingSide::first));
  ends = make_ring_pair().value();
  ends[0].woken = ends[0].memory.duplicate().value();
  EXPECT_FALSE(make_ring_carrier(*loop, std::move(ends[0]), RingSide::first));
}

// --- Two threads ------------------------------------------------------------------------------------------------------

/// Sends back what it hears, with whatever room there is.
struct Mirror final : Carrier::Events {
  void on_bytes(std::string_view bytes) override {
    unsent += bytes;
    flush();
  }
  void on_writable() override { flush(); }
  void on_closed(Status) override { loop->stop(); }
  void flush() { unsent.erase(0, write(*carrier, unsent)); }
  loop::EpollLoop* loop = nullptr;
  Carrier* carrier = nullptr;
  std::string unsent;
};

/// Sends `total` bytes in pieces, at most `ahead` before they have come back.
struct Sender final : Carrier::Events {
  void on_bytes(std::string_view bytes) override {
    for (char byte : bytes) wrong += byte != byte_at(got++) ? 1 : 0;
    if (got == total) loop->stop();
    send();
  }
  void on_writable() override { send(); }
  void on_closed(Status) override { loop->stop(); }
  void send() {
    while (sent < total && sent < got + ahead) {
      std::string piece(std::min(ahead, total - sent), ' ');
      for (std::size_t i = 0; i < piece.size(); i++) piece[i] = byte_at(sent + i);
      std::size_t taken = write(*carrier, piece);
      sent += taken;
      if (taken < piece.size()) return;
    }
  }
  static char byte_at(std::size_t at) { return static_cast<char>(at * 31 + (at >> 9)); }
  loop::EpollLoop* loop = nullptr;
  Carrier* carrier = nullptr;
  std::size_t total = 0;
  std::size_t ahead = 1;
  std::size_t sent = 0;
  std::size_t got = 0;
  std::size_t wrong = 0;
};

void echo_between_threads(Duration spin, std::size_t total, std::size_t ahead) {
  auto ends = make_ring_pair({.ring_bytes = 4096}).value();
  std::thread other([&, mine = std::move(ends[1])]() mutable {
    auto loop = make_loop(spin);
    auto carrier = make_ring_carrier(*loop, std::move(mine), RingSide::second).value();
    Mirror mirror;
    mirror.loop = loop.get();
    mirror.carrier = carrier.get();
    carrier->start(mirror);
    loop->run();
  });
  auto loop = make_loop(spin);
  auto carrier = make_ring_carrier(*loop, std::move(ends[0]), RingSide::first).value();
  Sender sender;
  sender.loop = loop.get();
  sender.carrier = carrier.get();
  sender.total = total;
  sender.ahead = ahead;
  carrier->start(sender);
  sender.send();
  loop->run();
  carrier->close();
  other.join();
  EXPECT_EQ(sender.got, total);
  EXPECT_EQ(sender.wrong, 0u);
}

TEST(RingThreads, one_byte_there_and_back_that_spin) { echo_between_threads(20us, 3000, 1); }
TEST(RingThreads, one_byte_there_and_back_that_sleep) { echo_between_threads(0us, 3000, 1); }
TEST(RingThreads, more_than_the_ring_holds_that_spin) { echo_between_threads(20us, 4 << 20, 3000); }
TEST(RingThreads, more_than_the_ring_holds_that_sleep) { echo_between_threads(0us, 4 << 20, 100'000); }

}  // namespace
}  // namespace shunt::link
