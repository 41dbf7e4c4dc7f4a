// What the micro-benchmark of this room calls: a command, and one that calls it many times.
#include <shunt/service.h>

struct Item {
  std::string sku;
};
struct Price {
  std::int64_t cents = 0;
};
struct Times {
  std::int64_t n = 0;
};
SHUNT_FIELDS(Item, sku)
SHUNT_FIELDS(Price, cents)
SHUNT_FIELDS(Times, n)

shunt::Task<shunt::Result<Price>> get(shunt::Call&, Item item) {
  if (item.sku.empty()) co_return shunt::invalid_argument("sku", "is empty");
  co_return Price{995};
}
shunt::Result<Price> get_now(shunt::Call&, Item item) { return Price{static_cast<std::int64_t>(item.sku.size())}; }
shunt::Result<shunt::Bytes> bytes(shunt::Call&, shunt::Bytes value) { return value; }

shunt::Task<shunt::Result<Price>> repeat(shunt::Call& call, Times times) {
  auto prices = call.service("bench");
  Price sum;
  for (std::int64_t i = 0; i < times.n; ++i) {
    SHUNT_CO_TRY(Price price, co_await prices.call<Price>("get", Item{"apple"}));
    sum.cents += price.cents;
  }
  co_return sum;
}
shunt::Task<shunt::Result<Price>> repeat_now(shunt::Call& call, Times times) {
  auto prices = call.service("bench");
  Price sum;
  for (std::int64_t i = 0; i < times.n; ++i) {
    SHUNT_CO_TRY(Price price, co_await prices.call<Price>("get_now", Item{"apple"}));
    sum.cents += price.cents;
  }
  co_return sum;
}

SHUNT_SERVICE(service) {
  service.command("get", get);
  service.command("get_now", get_now);
  service.command("bytes", bytes);
  service.command("repeat", repeat);
  service.command("repeat_now", repeat_now);
}
