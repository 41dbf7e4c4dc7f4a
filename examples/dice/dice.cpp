// dice: one service, built as a library and as a program. Attach either, or both.

#include <shunt/service.h>

#include <cstdint>

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
  // Good enough for a game.
  static thread_local std::uint64_t state = 0x9e3779b97f4a7c15ull;
  Throw result;
  for (std::int64_t i = 0; i < dice.count; i++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    result.sum += 1 + static_cast<std::int64_t>((state >> 33) % static_cast<std::uint64_t>(dice.sides));
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
