// What the tests of direct calls call: each command shows one way for a call to end.
#include <shunt/service.h>

#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;

struct Number {
  std::int64_t n = 0;
};
struct Words {
  std::string text;
};
SHUNT_FIELDS(Number, n)
SHUNT_FIELDS(Words, text)

shunt::Task<shunt::Result<Number>> twice(shunt::Call&, Number number) { co_return Number{2 * number.n}; }
shunt::Result<Number> twice_now(shunt::Call&, Number number) { return Number{2 * number.n}; }
shunt::Task<shunt::Result<void>> nothing(shunt::Call&) { co_return {}; }
shunt::Task<shunt::Result<Words>> say(shunt::Call&, Words words) { co_return words; }
shunt::Task<shunt::Result<Words>> grow(shunt::Call&, Number number) {
  co_return Words{std::string(static_cast<std::size_t>(number.n), 'x')};
}

shunt::Task<shunt::Result<Number>> later(shunt::Call& call, Number number) {
  co_await call.sleep(1ms);
  co_return Number{2 * number.n};
}
shunt::Task<shunt::Result<Number>> never(shunt::Call& call, Number) {
  bool whole = co_await call.sleep(1h);
  call.log(whole ? "slept" : "woken by cancel");
  co_return Number{};
}
shunt::Task<shunt::Result<Number>> refuse(shunt::Call&, Number) { co_return shunt::not_found("no such number"); }
shunt::Task<shunt::Result<Number>> refuse_later(shunt::Call& call, Number) {
  co_await call.sleep(1ms);
  co_return shunt::not_found("no such number");
}
shunt::Result<Number> refuse_now(shunt::Call&, Number) { return shunt::not_found("no such number"); }
shunt::Task<shunt::Result<Number>> fail(shunt::Call&, Number number) {
  if (number.n >= 0) throw std::runtime_error("secret");
  co_return number;
}
shunt::Task<shunt::Result<Number>> trail(shunt::Call& call, Number number) {
  call.send_metadata({{"first", "1"}});
  call.add_trailer("last", "2");
  co_return number;
}
shunt::Task<shunt::Result<Words>> who(shunt::Call& call, Number) {
  std::string at_once = call.principal().service;
  co_await call.sleep(1ms);
  auto principal = call.principal();
  co_return Words{at_once + " " + principal.service + " " + principal.user};
}
// Back to who asked, so many times.
shunt::Task<shunt::Result<Number>> back(shunt::Call& call, Number number) {
  if (number.n == 0) co_return Number{0};
  SHUNT_CO_TRY(Number below, co_await call.service("asker").call<Number>("back", Number{number.n - 1}));
  co_return Number{below.n + 1};
}

}  // namespace

SHUNT_SERVICE(service) {
  service.command("twice", twice);
  service.command("twice_now", twice_now);
  service.command("nothing", nothing);
  service.command("say", say);
  service.command("grow", grow);
  service.command("later", later);
  service.command("never", never);
  service.command("refuse", refuse);
  service.command("refuse_later", refuse_later);
  service.command("refuse_now", refuse_now);
  service.command("fail", fail);
  service.command("trail", trail);
  service.command("who", who);
  service.command("back", back);
}
