// unruly: a C++ service that does what tests need of one, good and bad. The same library runs in each backend.

#include <pthread.h>
#include <shunt/service.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

using std::chrono_literals::operator""s;

struct Name {
  std::string name;
};
SHUNT_FIELDS(Name, name)

struct Count {
  std::int64_t to = 0;
};
SHUNT_FIELDS(Count, to)

struct Number {
  std::int64_t n = 0;
};
SHUNT_FIELDS(Number, n)

struct Place {
  std::int64_t pid = 0;
  std::int64_t thread = 0;
};
SHUNT_FIELDS(Place, pid, thread)

struct Meeting {
  std::int64_t count = 0;
};
SHUNT_FIELDS(Meeting, count)

struct Message {
  std::string message;
};
SHUNT_FIELDS(Message, message)

struct Who {
  std::string kind;
  std::string service;
  std::string user;
  std::string metadata;
};
SHUNT_FIELDS(Who, kind, service, user, metadata)

struct Notes {
  std::vector<std::string> notes;
};
SHUNT_FIELDS(Notes, notes)

static std::mutex mutex;
static std::condition_variable arrived;
static std::int64_t present = 0;
static std::vector<std::string> notes;

static void note(std::string text) {
  std::lock_guard lock(mutex);
  notes.push_back(std::move(text));
}

shunt::Result<Place> ping(shunt::Call&) { return Place{getpid(), gettid()}; }

shunt::Result<void> crash(shunt::Call&) {
  volatile int* nowhere = nullptr;
  *nowhere = 1;
  return {};
}

shunt::Result<void> throws(shunt::Call&, Name secret) { throw std::runtime_error("boom " + secret.name); }

shunt::Task<shunt::Result<void>> throws_later(shunt::Call& call, Name secret) {
  co_await call.sleep(std::chrono::milliseconds(1));
  throw std::runtime_error("boom " + secret.name);
}

// Blocks its thread until so many calls are here at once.
shunt::Result<Meeting> meet(shunt::Call&, Meeting meeting) {
  std::unique_lock lock(mutex);
  if (++present >= meeting.count) arrived.notify_all();
  bool met = arrived.wait_for(lock, 50s, [&] { return present >= meeting.count; });
  if (!met) return shunt::deadline_exceeded("nobody else came");
  return Meeting{present};
}

shunt::Task<shunt::Result<void>> hang(shunt::Call& call, Name name) {
  note(name.name + " began");
  while (co_await call.sleep(1s)) {
  }
  note(name.name + " cancelled");
  co_return shunt::cancelled("it was cancelled");
}

shunt::Result<Notes> seen(shunt::Call&) {
  std::lock_guard lock(mutex);
  return Notes{notes};
}

shunt::Task<shunt::Result<void>> count(shunt::Call&, Count request, shunt::Writer<Number> out) {
  for (std::int64_t n = 0; n < request.to; ++n) {
    if (!co_await out.send(Number{n})) break;
  }
  co_return {};
}

shunt::Task<shunt::Result<Number>> add(shunt::Call&, shunt::Reader<Number> in) {
  Number sum;
  while (auto number = co_await in.next()) sum.n += number->n;
  co_return sum;
}

shunt::Task<shunt::Result<void>> running(shunt::Call&, shunt::Reader<Number> in, shunt::Writer<Number> out) {
  Number sum;
  while (auto number = co_await in.next()) {
    sum.n += number->n;
    if (!co_await out.send(sum)) break;
  }
  co_return {};
}

shunt::Result<shunt::Bytes> reverse(shunt::Call&, shunt::Bytes body) {
  std::ranges::reverse(body.data);
  return body;
}

shunt::Result<Message> refuse(shunt::Call&, Name reason) { return shunt::failed_precondition(reason.name); }

// From here to Python, and on to wherever it was asked for.
shunt::Task<shunt::Result<Message>> ask(shunt::Call& call, Name name) {
  auto shapes = call.service("shapes");
  SHUNT_CO_TRY(Message answer, co_await shapes.call<Message>("greet", name));
  co_return answer;
}

shunt::Task<shunt::Result<Place>> ask_inside(shunt::Call& call) {
  auto inside = call.service("inside");
  SHUNT_CO_TRY(Place place, co_await inside.call<Place>("ping"));
  co_return place;
}

shunt::Task<shunt::Result<Number>> collect(shunt::Call& call, Count request) {
  auto shapes = call.service("shapes");
  auto numbers = shapes.open<Number>("count", request);
  Number sum;
  while (auto number = co_await numbers.next()) sum.n += number->n;
  if (auto end = co_await numbers.result(); !end) co_return end.error();
  co_return sum;
}

shunt::Task<shunt::Result<void>> forbidden(shunt::Call& call) {
  auto notes = call.service("notes");
  auto answer = co_await notes.call<void>("seen");
  if (!answer) co_return answer.error();
  co_return {};
}

shunt::Result<void> says(shunt::Call& call, Name text) {
  call.log(shunt::Level::warning, text.name);
  return {};
}

SHUNT_SERVICE(service) {
  service.description("Does what tests need.");
  service.version("7");
  service.command("ping", ping, {.description = "Where it runs.", .effect = shunt::Effect::none});
  service.command("crash", crash);
  service.command("throws", throws);
  service.command("throws_later", throws_later);
  service.command("meet", meet);
  service.command("hang", hang);
  service.command("seen", seen, {.effect = shunt::Effect::none});
  service.command("count", count, {.effect = shunt::Effect::none});
  service.command("add", add);
  service.command("running", running);
  service.command("reverse", reverse);
  service.command("refuse", refuse);
  service.command("ask", ask);
  service.command("ask_inside", ask_inside);
  service.command("collect", collect);
  service.command("forbidden", forbidden);
  service.command("says", says);
}
