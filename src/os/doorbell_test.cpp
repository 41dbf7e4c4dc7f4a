#include "os/doorbell.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <csignal>

#include "os/memory.h"
#include "os/run_delay.h"

namespace shunt::os {
namespace {

bool is_readable(int fd) {
  pollfd waits{fd, POLLIN, 0};
  return ::poll(&waits, 1, 0) == 1 && (waits.revents & POLLIN) != 0;
}

/// SIGPIPE ends the process while it lives, as it does by default.
class DeadlyPipes {
 public:
  DeadlyPipes() {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &action, &before_);
  }
  ~DeadlyPipes() { ::sigaction(SIGPIPE, &before_, nullptr); }

 private:
  struct sigaction before_{};
};

TEST(Doorbell, is_heard_until_it_is_silenced) {
  auto bell = make_doorbell().value();
  EXPECT_FALSE(is_readable(bell.read.get()));
  EXPECT_EQ(ring_doorbell(bell.write.get()), Rung::heard);
  EXPECT_EQ(ring_doorbell(bell.write.get()), Rung::heard);
  EXPECT_TRUE(is_readable(bell.read.get()));
  silence_doorbell(bell.read.get());
  EXPECT_FALSE(is_readable(bell.read.get()));
}

TEST(Doorbell, that_nobody_silences_fills_up_and_does_not_block) {
  auto bell = make_doorbell().value();
  int rings = 0;
  while (ring_doorbell(bell.write.get()) == Rung::heard) rings++;
  EXPECT_GE(rings, 4096);
  EXPECT_EQ(ring_doorbell(bell.write.get()), Rung::full);
}

TEST(Doorbell, that_nobody_holds_is_gone_and_raises_no_signal) {
  DeadlyPipes deadly;
  auto bell = make_doorbell().value();
  bell.read.close();
  EXPECT_EQ(ring_doorbell(bell.write.get()), Rung::gone);
}

TEST(Doorbell, raises_no_signal_on_kernels_that_know_no_better) {
  DeadlyPipes deadly;
  auto bell = make_doorbell().value();
  char one = 1;
  EXPECT_EQ(detail::write_masked(bell.write.get(), &one, 1), 1);
  bell.read.close();
  EXPECT_EQ(detail::write_masked(bell.write.get(), &one, 1), -1);
  EXPECT_EQ(detail::write_masked(bell.write.get(), &one, 1), -1);
  sigset_t pending;
  ::sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

TEST(Doorbell, of_a_stranger_is_looked_at) {
  auto bell = make_pipe(Blocking::yes, Blocking::yes).value();
  auto other = make_doorbell().value();
  EXPECT_TRUE(check_doorbell(bell.write.get(), other.read.get()));
  EXPECT_FALSE(check_doorbell(bell.read.get(), other.write.get()));
  EXPECT_FALSE(check_doorbell(-1, other.read.get()));
  auto memory = make_memfd("test", 4096).value();
  EXPECT_FALSE(check_doorbell(bell.write.get(), memory.get()));
  // What blocked no longer does.
  while (ring_doorbell(bell.write.get()) == Rung::heard) {
  }
}

TEST(Memory, that_is_sealed_is_known_from_that_which_is_not) {
  EXPECT_TRUE(check_sealed(make_memfd("test", 4096)->get()));
  EXPECT_FALSE(check_sealed(make_doorbell()->read.get()));
  EXPECT_FALSE(check_sealed(-1));
}

TEST(Memory, that_is_sparse_is_allocated_a_part_at_a_time) {
  auto memory = make_sparse_memfd("test", 1 << 20, 4096).value();
  EXPECT_EQ(size_of(memory.get()).value(), std::size_t{1} << 20);
  EXPECT_TRUE(allocate(memory.get(), 8192, 4096));
  EXPECT_FALSE(allocate(memory.get(), 1 << 20, 4096)) << "its size can't change any more";
  auto part = Mapping::map(memory.get(), 8192, 4096, Access::read, OnFork::drop);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->data()[0], 0);
}

TEST(RunDelay, grows) {
  RunDelay delay;
  auto first = delay.total_ns();
  auto second = delay.total_ns();
  ASSERT_EQ(first.has_value(), second.has_value());
  if (first) EXPECT_GE(*second, *first);
}

}  // namespace
}  // namespace shunt::os
