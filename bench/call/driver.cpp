// The driver of ./dev bench call: measures from inside the node, where a service stands, what calls of other services
// cost; and the raw figures of the same machine in the same minute.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "echo.h"

using Clock = std::chrono::steady_clock;

struct Ask {
  std::string target;          // Which service's echo.
  std::int64_t calls = 1000;   // How many.
  std::int64_t in_flight = 1;  // How many at once.
  std::int64_t bytes = 64;     // Of each message.
};
SHUNT_FIELDS(Ask, target, calls, in_flight, bytes)

struct Figures {
  double ns_per_call = 0;
  double p50_ns = 0;
  double p99_ns = 0;
};
SHUNT_FIELDS(Figures, ns_per_call, p50_ns, p99_ns)

static double nanoseconds(Clock::duration took) { return std::chrono::duration<double, std::nano>(took).count(); }

// Timed in batches: a clock read costs as much as the shortest of these calls.
class Samples {
 public:
  void add(double ns) { each_.push_back(ns); }
  Figures figures(double all_ns, double calls) {
    std::sort(each_.begin(), each_.end());
    auto at = [&](double share) {
      return each_.empty() ? 0 : each_[std::min(each_.size() - 1, std::size_t(share * double(each_.size())))];
    };
    return {all_ns / calls, at(0.50), at(0.99)};
  }

 private:
  std::vector<double> each_;
};

// One after the other: each waits for the one before.
static shunt::Task<shunt::Result<Figures>> one_by_one(shunt::Call& call, const Ask& ask) {
  auto service = call.service(ask.target);
  Text text{std::string(std::size_t(ask.bytes), 'x')};
  Samples samples;
  constexpr std::int64_t batch = 16;
  auto began = Clock::now();
  for (std::int64_t done = 0; done < ask.calls; done += batch) {
    auto start = Clock::now();
    for (std::int64_t i = 0; i < batch; i++) {
      auto answer = co_await service.call<Text>("echo", text);
      if (!answer) co_return answer.error();
    }
    samples.add(nanoseconds(Clock::now() - start) / double(batch));
  }
  co_return samples.figures(nanoseconds(Clock::now() - began), double(ask.calls));
}

// Always so many under way: the next one goes out when the oldest has come back.
static shunt::Task<shunt::Result<Figures>> many_at_once(shunt::Call& call, const Ask& ask) {
  auto service = call.service(ask.target);
  Text text{std::string(std::size_t(ask.bytes), 'x')};
  std::vector<std::unique_ptr<shunt::Answer<Text>>> window;
  auto send = [&] { return std::make_unique<shunt::Answer<Text>>(service.call<Text>("echo", text)); };
  auto began = Clock::now();
  for (std::int64_t i = 0; i < ask.in_flight; i++) window.push_back(send());
  std::size_t oldest = 0;
  for (std::int64_t done = 0; done < ask.calls; done++) {
    auto answer = co_await *window[oldest];
    if (!answer) co_return answer.error();
    window[oldest] = done + ask.in_flight < ask.calls ? send() : nullptr;
    oldest = (oldest + 1) % window.size();
    if (window[oldest] == nullptr) break;
  }
  co_return Figures{nanoseconds(Clock::now() - began) / double(ask.calls), 0, 0};
}

shunt::Task<shunt::Result<Figures>> measure(shunt::Call& call, Ask ask) {
  if (ask.calls < 16) co_return shunt::invalid_argument("calls", "must be 16 or more");
  if (ask.in_flight <= 1) co_return co_await one_by_one(call, ask);
  co_return co_await many_at_once(call, ask);
}

// --- Raw figures ---

struct Echo {
  virtual ~Echo() = default;
  virtual Text echo(const Text& text) = 0;
};
struct PlainEcho final : Echo {
  Text echo(const Text& text) override { return text; }
};

/// A virtual function that copies 64 bytes: what an in-process call would cost without a framework.
shunt::Result<Figures> virtual_call(shunt::Call&, Ask ask) {
  std::unique_ptr<Echo> echo = std::make_unique<PlainEcho>();
  asm volatile("" : "+m"(echo));  // Else the compiler sees which one it is.
  // The analyzer can't know that the line above changes nothing.
  Text text{std::string(std::size_t(ask.bytes), 'x')};  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks)
  std::size_t bytes = 0;
  auto began = Clock::now();
  for (std::int64_t i = 0; i < ask.calls; i++) bytes += echo->echo(text).text.size();
  auto took = nanoseconds(Clock::now() - began);
  asm volatile("" : : "r"(bytes));
  return Figures{took / double(ask.calls), 0, 0};
}

/// Two processes and a unix socket that block in read: the floor of every call to a worker that sleeps.
shunt::Result<Figures> socket_ping_pong(shunt::Call&, Ask ask) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return shunt::internal("no socket pair");
  std::string block(std::size_t(ask.bytes), 'x');
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    for (;;) {
      auto n = read(ends[1], block.data(), block.size());
      if (n <= 0 || write(ends[1], block.data(), std::size_t(n)) != n) _exit(0);
    }
  }
  close(ends[1]);
  Samples samples;
  auto began = Clock::now();
  for (std::int64_t i = 0; i < ask.calls; i++) {
    auto start = Clock::now();
    if (write(ends[0], block.data(), block.size()) < 0 || read(ends[0], block.data(), block.size()) <= 0) break;
    samples.add(nanoseconds(Clock::now() - start));
  }
  auto took = nanoseconds(Clock::now() - began);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return samples.figures(took, double(ask.calls));
}

SHUNT_SERVICE(service) {
  service.description("Measures what calls cost.");
  service.command("measure", measure, {.description = "Calls another service's echo."});
  service.command("virtual_call", virtual_call, {.description = "A virtual function instead of a call."});
  service.command("socket_ping_pong", socket_ping_pong, {.description = "A bare unix socket instead of a call."});
}
