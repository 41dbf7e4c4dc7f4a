// stock: how many of each thing are left. Kept in memory, so every start fills the shelves.

#include <shunt/service.h>

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>

struct Item {
  std::string sku;
};
SHUNT_FIELDS(Item, sku)

struct Order {
  std::string sku;
  std::int64_t count = 0;
};
SHUNT_FIELDS(Order, sku, count)

struct Watch {
  std::string sku;
  std::optional<std::int64_t> times;  // Without it: until the caller has seen enough.
};
SHUNT_FIELDS(Watch, sku, times)

struct Level {
  std::string sku;
  std::int64_t left = 0;
};
SHUNT_FIELDS(Level, sku, left)

/// The shelves. In the thread backend several loops call at once, so they have a lock.
class Shelves {
 public:
  shunt::Result<Level> look(const std::string& sku) {
    std::lock_guard lock(mutex_);
    auto shelf = left_.find(sku);
    if (shelf == left_.end()) return shunt::not_found("there is no shelf for " + sku);
    return Level{sku, shelf->second};
  }

  shunt::Result<Level> take(const std::string& sku, std::int64_t count) {
    std::lock_guard lock(mutex_);
    auto shelf = left_.find(sku);
    if (shelf == left_.end()) return shunt::not_found("there is no shelf for " + sku);
    if (shelf->second < count) {
      return shunt::failed_precondition("only " + std::to_string(shelf->second) + " of " + sku + " are left");
    }
    shelf->second -= count;
    return Level{sku, shelf->second};
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::int64_t> left_ = {{"cake", 12}, {"coffee", 500}, {"milk", 80}, {"tea", 1000}};
};

static Shelves shelves;

// Neither of these two waits for anything, so plain functions do.
shunt::Result<Level> check(shunt::Call&, Item item) { return shelves.look(item.sku); }

shunt::Result<Level> reserve(shunt::Call& call, Order order) {
  if (order.count < 1) return shunt::invalid_argument("count", "must be 1 or more");
  call.log("reserving " + std::to_string(order.count) + " of " + order.sku);
  return shelves.take(order.sku, order.count);
}

// This one waits between its answers; while it does, other calls are served.
shunt::Task<shunt::Result<void>> watch(shunt::Call& call, Watch watch, shunt::Writer<Level> levels) {
  for (std::int64_t seen = 0; !watch.times || seen < *watch.times; ++seen) {
    if (seen > 0 && !co_await call.sleep(std::chrono::seconds(1))) break;
    SHUNT_CO_TRY(Level level, shelves.look(watch.sku));
    if (!co_await levels.send(level)) break;
  }
  co_return {};
}

SHUNT_SERVICE(service) {
  service.description("How many of each thing are left.");
  service.command("check", check, {.description = "What is left of one item.", .effect = shunt::Effect::none});
  service.command("reserve", reserve, {.description = "Takes items off the shelf."});
  service.command("watch", watch, {.description = "What is left, each second.", .effect = shunt::Effect::none});
}
