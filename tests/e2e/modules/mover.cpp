// mover: a service that is moved and replaced while it is called. Built twice: MOVER says which version it is. It can also be
// a program of its own.

#include <shunt/service.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

struct Where {
  std::int64_t version = 0;
  std::int64_t pid = 0;
  std::int64_t n = 0;
};
SHUNT_FIELDS(Where, version, pid, n)

struct Number {
  std::int64_t n = 0;
};
SHUNT_FIELDS(Number, n)

struct Count {
  std::int64_t to = 0;
  std::int64_t pause_ms = 0;
};
SHUNT_FIELDS(Count, to, pause_ms)

static Where where(std::int64_t n) { return {MOVER, getpid(), n}; }

shunt::Task<shunt::Result<Where>> get(shunt::Call&, Number number) { co_return where(number.n); }

shunt::Task<shunt::Result<Where>> nap(shunt::Call& call, Count count) {
  co_await call.sleep(std::chrono::milliseconds(count.pause_ms));
  co_return where(count.to);
}

shunt::Task<shunt::Result<void>> count(shunt::Call& call, Count count, shunt::Writer<Where> out) {
  for (std::int64_t n = 0; n < count.to; n++) {
    if (!co_await out.send(where(n))) break;
    co_await call.sleep(std::chrono::milliseconds(count.pause_ms));
  }
  co_return {};
}

SHUNT_SERVICE(service) {
  service.command("get", get, {.effect = shunt::Effect::any});
  service.command("nap", nap);
  service.command("count", count);
}

#ifdef MOVER_PROGRAM
#include <shunt/worker.h>
SHUNT_WORKER_MAIN()
#endif
