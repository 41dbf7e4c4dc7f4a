// @NAME@: a service of Shunt.

#include <shunt/service.h>

#include <chrono>
#include <optional>
#include <string>

// What commands take and give: plain structs, described once. Their JSON form and their schema follow from that.
struct Who {
  std::optional<std::string> name;
};
SHUNT_FIELDS(Who, name)

struct Greeting {
  std::string message;
};
SHUNT_FIELDS(Greeting, message)

struct Countdown {
  int from = 0;
};
SHUNT_FIELDS(Countdown, from)

struct Count {
  int n = 0;
};
SHUNT_FIELDS(Count, n)

// One request, one answer.
shunt::Task<shunt::Result<Greeting>> greet(shunt::Call&, Who who) {
  if (who.name && who.name->empty()) co_return shunt::invalid_argument("name", "is empty");
  co_return Greeting{"Hello, " + who.name.value_or("world") + "!"};
}

// One request, many answers. Other calls are served while it sleeps.
shunt::Task<shunt::Result<void>> count_down(shunt::Call& call, Countdown countdown, shunt::Writer<Count> counts) {
  for (int n = countdown.from; n >= 0; --n) {
    if (!co_await counts.send({n})) break;
    if (!co_await call.sleep(std::chrono::milliseconds(200))) break;
  }
  co_return {};
}

SHUNT_SERVICE(service) {
  service.description("Greets, and counts down.");
  service.command("greet", greet, {.description = "Greets someone.", .effect = shunt::Effect::none});
  service.command("count_down", count_down, {.description = "Counts down to zero.", .effect = shunt::Effect::none});
}
