// A second module with the same Item, so that its values are passed as they are, and another Price, which are not.
#include <shunt/service.h>

#include <string>

namespace elsewhere {
struct Item {
  std::string sku;
  std::int64_t count = 1;
};
SHUNT_FIELDS(Item, sku, count)

struct Price {
  std::string currency;
  std::int64_t cents = 0;
};
SHUNT_FIELDS(Price, cents)
}  // namespace elsewhere

SHUNT_SERVICE(service) {
  service.command("get", [](shunt::Call&, elsewhere::Item item) -> shunt::Result<elsewhere::Price> {
    return elsewhere::Price{"EUR", static_cast<std::int64_t>(item.sku.size()) * item.count};
  });
}
