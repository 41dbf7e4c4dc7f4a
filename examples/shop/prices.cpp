// prices: what things cost.

#include <shunt/service.h>

#include <map>
#include <string>

struct Item {
  std::string sku;
};
SHUNT_FIELDS(Item, sku)

struct Price {
  std::string sku;
  std::int64_t cents = 0;
};
SHUNT_FIELDS(Price, sku, cents)

static const std::map<std::string, std::int64_t> price_list = {
    {"cake", 420},
    {"coffee", 295},
    {"milk", 115},
    {"tea", 250},
};

shunt::Task<shunt::Result<Price>> get(shunt::Call&, Item item) {
  if (item.sku.empty()) co_return shunt::invalid_argument("sku", "is empty");
  auto found = price_list.find(item.sku);
  if (found == price_list.end()) co_return shunt::not_found("the shop does not sell " + item.sku);
  co_return Price{item.sku, found->second};
}

shunt::Task<shunt::Result<void>> list(shunt::Call&, shunt::Writer<Price> prices) {
  for (const auto& [sku, cents] : price_list) {
    if (!co_await prices.send({sku, cents})) break;  // The caller has gone.
  }
  co_return {};
}

SHUNT_SERVICE(service) {
  service.description("What things cost.");
  service.command("get", get, {.description = "The price of one item.", .effect = shunt::Effect::none});
  service.command("list", list, {.description = "All prices, one by one.", .effect = shunt::Effect::none});
}
