// dice: one service, built as a library and as a program. Attach either, or both.

#include <shunt/service.h>

#include <cstdint>
#include <random>

struct Dice {
  std::int64_t count = 1;
  std::int64_t sides = 6;
};
SHUNT_FIELDS(Dice, count, sides)

struct Throw {
  std::int64_t sum = 0;
};
SHUNT_FIELDS(Throw, sum)

shunt::Result<Throw> roll(shunt::Call&, Dice dice) {
  if (dice.count < 1 || dice.count > 1000) return shunt::invalid_argument("count", "must be from 1 to 1000");
  if (dice.sides < 1) return shunt::invalid_argument("sides", "must be at least 1");
  static thread_local std::mt19937_64 random(std::random_device{}());
  Throw result;
  for (std::int64_t i = 0; i < dice.count; i++) {
    result.sum += std::uniform_int_distribution<std::int64_t>(1, dice.sides)(random);
  }
  return result;
}

SHUNT_SERVICE(service) {
  service.description("Throws dice.");
  service.command("roll", roll, {.description = "The sum of some dice."});
}

#ifdef DICE_PROGRAM
#include <shunt/worker.h>
SHUNT_WORKER_MAIN()
#endif
