// The driver of ./dev bench links: calls an echo from where it is hosted, through the SDK alone, and takes the time of
// each call.
#include <unistd.h>

#include "measure.h"
#include "message.h"

struct Ask {
  std::string target;           // Whose echo.
  std::string message;          // "bytes", "words" (64 bytes of a type) or "text" (of a type).
  std::int64_t bytes = 64;      // Of each message, words apart.
  std::int64_t in_flight = 1;   // How many calls at once.
  std::int64_t duration = 300;  // In ms.
  std::int64_t pause_us = 0;    // Between two calls, one at a time: so that the callee sleeps when the next one comes.
};
SHUNT_FIELDS(Ask, target, message, bytes, in_flight, duration, pause_us)

struct Figures {
  std::int64_t calls = 0;
  double p50_us = 0;
  double p99_us = 0;
  double calls_per_s = 0;
  double caller_cpu_us = 0;
  double callee_cpu_us = 0;
};
SHUNT_FIELDS(Figures, calls, p50_us, p99_us, calls_per_s, caller_cpu_us, callee_cpu_us)

namespace {

using bench::ticks;

std::uint64_t span(double seconds) { return static_cast<std::uint64_t>(seconds * 1e6 * bench::ticks_per_us()); }

/// What was measured after the warm-up.
struct Tally {
  std::unique_ptr<bench::Histogram> histogram = std::make_unique<bench::Histogram>();
  std::uint64_t calls = 0;
  std::uint64_t began = 0;
  std::uint64_t until = 0;
  std::uint64_t ended = 0;

  void answered(std::uint64_t from, std::uint64_t now) {
    histogram->add(now - from);
    calls++;
    ended = now;
  }
};

/// The message that goes out: made anew for each call, as a caller would.
template <typename Message>
Message make(std::size_t bytes) {
  if constexpr (std::is_same_v<Message, Words>) {
    return Words{};
  } else {
    return Message{std::string(bytes, 'x')};
  }
}
template <typename Message>
std::size_t size_of(const Message& message) {
  if constexpr (std::is_same_v<Message, Words>) {
    return sizeof message;
  } else if constexpr (std::is_same_v<Message, Text>) {
    return message.text.size();
  } else {
    return message.data.size();
  }
}

/// One after the other. The answer is the next question: a message is given away, not copied.
template <typename Message>
shunt::Task<shunt::Result<void>> one_by_one(shunt::Call& call, shunt::Client& echo, std::string_view command,
                                            const Ask& ask, Tally& tally) {
  auto message = make<Message>(static_cast<std::size_t>(ask.bytes));
  auto size = size_of(message);
  auto from = ticks();
  while (from < tally.until) {
    auto answer = co_await echo.template call<Message>(command, std::move(message));
    auto now = ticks();
    if (!answer) co_return std::move(answer).error();
    if (size_of(*answer) != size) co_return shunt::internal("a wrong answer");
    message = std::move(*answer);
    tally.answered(from, now);
    if (ask.pause_us > 0 && !co_await call.sleep(std::chrono::microseconds(ask.pause_us))) break;
    from = ticks();
  }
  co_return {};
}

/// Always so many under way: the next goes out when the oldest has come back.
template <typename Message>
shunt::Task<shunt::Result<void>> many(shunt::Client& echo, std::string_view command, const Ask& ask, Tally& tally) {
  struct Slot {
    std::uint64_t from;
    shunt::Answer<Message> answer;
  };
  auto size = size_of(make<Message>(static_cast<std::size_t>(ask.bytes)));
  std::vector<std::optional<Slot>> window(static_cast<std::size_t>(ask.in_flight));
  auto send = [&](std::optional<Slot>& slot, Message message) {
    auto from = ticks();
    slot.emplace(Slot{from, echo.template call<Message>(command, std::move(message))});
  };
  for (auto& slot : window) send(slot, make<Message>(static_cast<std::size_t>(ask.bytes)));
  std::size_t open = window.size();
  for (std::size_t oldest = 0; open > 0; oldest = (oldest + 1) % window.size()) {
    auto& slot = window[oldest];
    auto answer = co_await slot->answer;
    auto now = ticks();
    if (!answer) co_return std::move(answer).error();
    if (size_of(*answer) != size) co_return shunt::internal("a wrong answer");
    if (now < tally.until) {
      tally.answered(slot->from, now);
      send(slot, std::move(*answer));
    } else {
      slot.reset();
      open--;
    }
  }
  co_return {};
}

shunt::Task<shunt::Result<void>> run(shunt::Call& call, shunt::Client& echo, const Ask& ask, double seconds,
                                     Tally& tally) {
  tally.began = ticks();
  tally.until = tally.began + span(seconds);
  tally.ended = tally.began;
  if (ask.in_flight <= 1) {
    if (ask.message == "words") co_return co_await one_by_one<Words>(call, echo, "words", ask, tally);
    if (ask.message == "text") co_return co_await one_by_one<Text>(call, echo, "text", ask, tally);
    co_return co_await one_by_one<shunt::Bytes>(call, echo, "echo", ask, tally);
  }
  if (ask.message == "words") co_return co_await many<Words>(echo, "words", ask, tally);
  if (ask.message == "text") co_return co_await many<Text>(echo, "text", ask, tally);
  co_return co_await many<shunt::Bytes>(echo, "echo", ask, tally);
}

}  // namespace

shunt::Task<shunt::Result<Figures>> measure(shunt::Call& call, Ask ask) {
  auto echo = call.service(ask.target);
  auto seconds = static_cast<double>(ask.duration) / 1e3;
  Tally warm_up;
  if (auto done = co_await run(call, echo, ask, seconds / 5, warm_up); !done) co_return std::move(done).error();
  auto before = co_await echo.call<Cpu>("cpu");
  if (!before) co_return std::move(before).error();
  bool is_here = before->pid == getpid();
  auto mine = [&] { return bench::cpu_seconds(is_here ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID); };
  auto began_with = mine();
  Tally tally;
  if (auto done = co_await run(call, echo, ask, seconds, tally); !done) co_return std::move(done).error();
  auto used = mine() - began_with;
  auto after = co_await echo.call<Cpu>("cpu");
  if (!after) co_return std::move(after).error();
  auto calls = static_cast<double>(std::max<std::uint64_t>(1, tally.calls));
  auto us = static_cast<double>(tally.ended - tally.began) / bench::ticks_per_us();
  co_return Figures{.calls = static_cast<std::int64_t>(tally.calls),
                    .p50_us = tally.histogram->quantile(0.50) / bench::ticks_per_us(),
                    .p99_us = tally.histogram->quantile(0.99) / bench::ticks_per_us(),
                    .calls_per_s = calls / std::max(us, 1e-9) * 1e6,
                    .caller_cpu_us = used * 1e6 / calls,
                    .callee_cpu_us = is_here ? 0 : (after->process - before->process) * 1e6 / calls};
}

SHUNT_SERVICE(service) {
  service.command("measure", measure, {.description = "Takes the time of calls of another service's echo."});
}
