// What the tests of direct calls ask with: its commands call those of the teller, with types of its own that agree.
#include <shunt/service.h>

#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

struct Number {
  std::int64_t n = 0;
};
struct Words {
  std::string text;
};
struct Ask {
  std::string command;
  std::int64_t n = 0;
  std::int64_t times = 1;
  std::int64_t timeout_ms = 0;
  bool long_way = false;
};
SHUNT_FIELDS(Number, n)
SHUNT_FIELDS(Words, text)
SHUNT_FIELDS(Ask, command, n, times, timeout_ms, long_way)

shunt::Client teller(shunt::Call& call, const Ask& ask) {
  shunt::CallOptions options;
  options.timeout = std::chrono::milliseconds(ask.timeout_ms);
  if (ask.long_way) options.metadata = {{"long", "way"}};
  return call.service("teller").with(options);
}

// Calls a command of numbers, one after the other. The sum of what it said, or its error.
shunt::Task<shunt::Result<Number>> number(shunt::Call& call, Ask ask) {
  auto service = teller(call, ask);
  Number sum;
  for (std::int64_t i = 0; i < ask.times; ++i) {
    SHUNT_CO_TRY(Number each, co_await service.call<Number>(ask.command, Number{ask.n}));
    sum.n += each.n;
  }
  co_return sum;
}
// The same, all at once, awaited from the last to the first.
shunt::Task<shunt::Result<Number>> numbers(shunt::Call& call, Ask ask) {
  auto service = teller(call, ask);
  std::vector<shunt::Answer<Number>> answers;
  for (std::int64_t i = 0; i < ask.times; ++i) answers.push_back(service.call<Number>(ask.command, Number{ask.n + i}));
  Number sum;
  while (!answers.empty()) {
    SHUNT_CO_TRY(Number each, co_await answers.back());
    answers.pop_back();
    sum.n += each.n;
  }
  co_return sum;
}
shunt::Task<shunt::Result<Words>> words(shunt::Call& call, Ask ask) {
  if (ask.command == "say") {
    std::string text(static_cast<std::size_t>(ask.n), 'x');
    co_return co_await teller(call, ask).call<Words>("say", Words{text});
  }
  co_return co_await teller(call, ask).call<Words>(ask.command, Number{ask.n});
}
shunt::Task<shunt::Result<void>> nothing(shunt::Call& call, Ask ask) {
  co_return co_await teller(call, ask).call("nothing");
}
// Begins a call and lets go of it.
shunt::Task<shunt::Result<void>> drop(shunt::Call& call, Ask ask) {
  {
    auto answer = teller(call, ask).call<Number>(ask.command, Number{ask.n});
    co_await call.sleep(1ms);
  }
  co_await call.sleep(1ms);
  co_return {};
}
shunt::Task<shunt::Result<Number>> back(shunt::Call& call, Number number) {
  if (number.n == 0) co_return Number{0};
  SHUNT_CO_TRY(Number below, co_await call.service("teller").call<Number>("back", Number{number.n - 1}));
  co_return Number{below.n + 1};
}

}  // namespace

SHUNT_SERVICE(service) {
  service.command("number", number);
  service.command("numbers", numbers);
  service.command("words", words);
  service.command("nothing", nothing);
  service.command("drop", drop);
  service.command("back", back);
}
