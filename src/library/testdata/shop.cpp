// The module that most tests of this room call: each command shows one thing.
#include <shunt/service.h>

#include <chrono>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;

struct Item {
  std::string sku;
  std::int64_t count = 1;
};
struct Price {
  std::int64_t cents = 0;
};
struct Range {
  std::int64_t to = 0;
};
struct Number {
  std::int64_t n = 0;
};
struct Who {
  std::string service;
  std::string user;
  std::string color;
  bool has_deadline = false;
};
SHUNT_FIELDS(Item, sku, count)
SHUNT_FIELDS(Price, cents)
SHUNT_FIELDS(Range, to)
SHUNT_FIELDS(Number, n)
SHUNT_FIELDS(Who, service, user, color, has_deadline)

shunt::Task<shunt::Result<Price>> get(shunt::Call&, Item item) {
  if (item.sku.empty()) co_return shunt::invalid_argument("sku", "is empty");
  if (item.sku == "nothing") co_return shunt::not_found("there is no item nothing");
  co_return Price{995 * item.count};
}

shunt::Result<Price> get_now(shunt::Call&, Item item) {
  if (item.sku.empty()) return shunt::invalid_argument("sku", "is empty");
  return Price{995 * item.count};
}

shunt::Result<shunt::Json> json(shunt::Call&, shunt::Json value) { return shunt::Json::object({{"got", value}}); }
shunt::Result<shunt::Bytes> bytes(shunt::Call&, shunt::Bytes value) { return shunt::Bytes(value.data + "!"); }
shunt::Result<void> nothing(shunt::Call&) { return {}; }

shunt::Task<shunt::Result<Who>> who(shunt::Call& call) {
  // What the opening lent must last beyond the first wait.
  co_await call.sleep(1ms);
  auto principal = call.principal();
  call.send_metadata({{"first", "1"}});
  call.add_trailer("last", "2");
  co_return Who{principal.service, principal.user, call.metadata("color").value_or("none"),
                call.deadline().has_value()};
}

shunt::Task<shunt::Result<void>> throws(shunt::Call& call) {
  co_await call.sleep(0ms);
  throw std::runtime_error("secret");
}
shunt::Result<void> throws_now(shunt::Call&) { throw std::runtime_error("secret"); }

shunt::Task<shunt::Result<void>> count(shunt::Call& call, Range range, shunt::Writer<Number> out) {
  for (std::int64_t n = 0; n < range.to; ++n) {
    if (!co_await out.send({n})) {
      call.log("count was cancelled");
      co_return {};
    }
  }
  co_return {};
}

shunt::Task<shunt::Result<Number>> sum(shunt::Call&, shunt::Reader<Number> in) {
  Number all;
  while (auto number = co_await in.next()) all.n += number->n;
  co_return all;
}

shunt::Task<shunt::Result<void>> doubles(shunt::Call&, shunt::Reader<Number> in, shunt::Writer<Number> out) {
  while (auto number = co_await in.next()) {
    if (!co_await out.send({number->n * 2})) break;
  }
  co_return {};
}

shunt::Task<shunt::Result<void>> wait(shunt::Call& call) {
  bool whole = co_await call.sleep(1h);
  call.log(whole ? "slept" : "woken by cancel");
  co_return {};
}

// Does not heed its cancellation.
shunt::Task<shunt::Result<void>> stubborn(shunt::Call& call) {
  struct Last {
    shunt::Call& call;
    ~Last() { call.log("stubborn frame is gone"); }
  };
  [[maybe_unused]] const Last last{call};
  while (true) co_await call.sleep(1h);
}

// ---- Calls to itself, by way of the router ----

shunt::Task<shunt::Result<Price>> twice(shunt::Call& call, Item item) {
  auto shop = call.service("shop");
  auto first = shop.call<Price>("get", item);
  auto second = shop.call<Price>("get", item);
  SHUNT_CO_TRY(Price one, co_await first);
  SHUNT_CO_TRY(Price two, co_await second);
  co_return Price{one.cents + two.cents};
}

shunt::Task<shunt::Result<Number>> streams(shunt::Call& call, Range range) {
  auto shop = call.service("shop");
  auto counted = shop.open<Number>("count", range);
  auto doubled = shop.open<Number, Number>("doubles");
  auto summed = shop.open<Number, Number>("sum");
  while (auto number = co_await counted.next()) {
    if (!co_await doubled.send(*number)) break;
    auto twice_as_much = co_await doubled.next();
    if (!twice_as_much || !co_await summed.send(*twice_as_much)) break;
  }
  doubled.close();
  SHUNT_CO_TRY(Number all, co_await summed.answer());
  if (auto end = co_await counted.result(); !end) co_return std::move(end).error();
  if (auto end = co_await doubled.result(); !end) co_return std::move(end).error();
  co_return all;
}

shunt::Task<shunt::Result<void>> waits_for_another(shunt::Call& call) {
  auto end = co_await call.service("shop").call("wait");
  call.log(end ? "it came" : "other ended: " + end.error().to_string());
  co_return end;
}

shunt::Task<shunt::Result<void>> forever(shunt::Call& call) { co_return co_await call.service("shop").call("forever"); }

shunt::Task<shunt::Result<Price>> typed_as_json(shunt::Call& call, Item item) {
  // The callee's Item and Price are other types than these of Json: the same by their text.
  auto request = shunt::Json::object({{"sku", item.sku}, {"count", item.count}});
  SHUNT_CO_TRY(shunt::Json price, co_await call.service("shop").call<shunt::Json>("get", request));
  co_return Price{price["cents"].as_int()};
}

shunt::Task<shunt::Result<Price>> by_mirror(shunt::Call& call, Item item) {
  co_return co_await call.service("mirror").with({.timeout = 5s}).call<Price>("get", item);
}

}  // namespace

SHUNT_SERVICE(service) {
  service.description("A shop to test with.");
  service.version("1.2.3");
  service.command("get", get,
                  {.description = "The \"price\" of one item.", .effect = shunt::Effect::none, .timeout = 2s});
  service.command("get_now", get_now);
  service.command("json", json);
  service.command("bytes", bytes);
  service.command("nothing", nothing);
  service.command("who", who);
  service.command("throws", throws);
  service.command("throws_now", throws_now);
  service.command("count", count);
  service.command("sum", sum);
  service.command("doubles", doubles);
  service.command("wait", wait);
  service.command("stubborn", stubborn);
  service.command("twice", twice);
  service.command("streams", streams);
  service.command("waits_for_another", waits_for_another);
  service.command("forever", forever);
  service.command("typed_as_json", typed_as_json);
  service.command("by_mirror", by_mirror);
}
