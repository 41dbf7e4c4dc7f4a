// Commands of a .proto file: generated classes, bytes, and JSON.
#include <shunt/service.h>

#include "items.pb.h"

namespace {

using cpp::v1::Item;

struct Plain {
  std::string name;
  std::int64_t unit_count;
};
SHUNT_FIELDS(Plain, name, unit_count)

shunt::Result<Item> twice(shunt::Call&, Item item) {
  if (item.name().empty()) return shunt::invalid_argument("name", "is empty");
  item.set_unit_count(item.unit_count() * 2);
  return item;
}

shunt::Task<shunt::Result<void>> count(shunt::Call&, Item item, shunt::Writer<Item> out) {
  for (std::int64_t i = 0; i < item.unit_count(); ++i) {
    Item one;
    one.set_name(item.name());
    one.set_unit_count(i);
    if (!co_await out.send(std::move(one))) break;
  }
  co_return {};
}

shunt::Result<shunt::Bytes> raw(shunt::Call&, shunt::Bytes item) {
  item.data += "\x10\x07";
  return item;
}

shunt::Result<Plain> plain(shunt::Call&, Plain item) {
  item.unit_count += 1;
  return item;
}

}  // namespace

SHUNT_SERVICE(service) {
  service.command("double", twice);
  service.command("count", count);
  service.command("raw", raw);
  service.command("plain", plain);
}
