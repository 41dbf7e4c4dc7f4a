// bench_links_raw: what each distance costs without any framework. Variants: virtual, ring, pipe, eventfd, unix, tcp.
#include <sys/eventfd.h>

#include "measure.h"
#include "raw_ring.h"
#include "raw_socket.h"

namespace bench {
namespace {

struct Echo {
  virtual ~Echo() = default;
  virtual std::string echo(const std::string& text) = 0;
};
struct PlainEcho final : Echo {
  std::string echo(const std::string& text) override { return text; }
};

/// A virtual function that answers with a copy.
void virtual_call(const Ask& ask) {
  pin(0);
  std::unique_ptr<Echo> echo = std::make_unique<PlainEcho>();
  asm volatile("" : "+m"(echo));  // Else the compiler sees which one it is.
  // The analyzer can't know that the line above changes nothing.
  std::string text(ask.bytes, 'x');  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks)
  Meter meter(ask.seconds, {.caller = CLOCK_THREAD_CPUTIME_ID, .callee = {}});
  // The clock costs as much as the call: sixteen of them share a reading.
  constexpr std::uint64_t batch = 16;
  auto began = ticks();
  while (!meter.over()) {
    for (std::uint64_t i = 0; i < batch; ++i) {
      std::string answer = echo->echo(text);
      asm volatile("" : : "r"(answer.data()) : "memory");
    }
    auto now = ticks();
    auto each = (now - began) / batch;
    for (std::uint64_t i = 0; i < batch; ++i) meter.answered(now - each, now);
    began = ticks();
  }
  meter.print();
}

/// A doorbell alone: what it takes to wake the other side and be woken, nothing handed over.
void doorbell(const Ask& ask, bool is_eventfd) {
  int there[2];
  int back[2];
  if (is_eventfd) {
    there[0] = there[1] = eventfd(0, 0);
    back[0] = back[1] = eventfd(0, 0);
  } else if (pipe(there) != 0 || pipe(back) != 0) {
    give_up("no pipe");
  }
  std::size_t size = is_eventfd ? 8 : 1;
  auto ring = [size](int out) {
    std::uint64_t one = 1;
    return write(out, &one, size) == static_cast<ssize_t>(size);
  };
  auto wait = [size](int in) {
    std::uint64_t count = 0;
    return read(in, &count, size) > 0;
  };
  Callee callee(ask, [&](auto ready) {
    ready("");
    while (wait(there[0]) && ring(back[1])) {
    }
  });
  Meter meter(ask.seconds, callee.clocks());
  auto began = ticks();
  while (!meter.over()) {
    if (!ring(there[1]) || !wait(back[0])) give_up("broken");
    meter.answered(began);
    if (ask.pause_us > 0) usleep(ask.pause_us);
    began = ticks();
  }
  meter.print();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto ask = bench::ask_of(argc, argv);
  if (ask.variant == "virtual") {
    bench::virtual_call(ask);
  } else if (ask.variant == "ring") {
    bench::raw_ring(ask);
  } else if (ask.variant == "pipe" || ask.variant == "eventfd") {
    bench::doorbell(ask, ask.variant == "eventfd");
  } else if (ask.variant == "unix" || ask.variant == "tcp") {
    bench::raw_socket(ask, ask.variant == "tcp");
  } else {
    bench::give_up("variants: virtual ring pipe eventfd unix tcp");
  }
}
