// Modules as users write them, loaded from real shared libraries (testdata/), behind the router and the local link.
#include "library/module_service.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "call/client_call.h"
#include "call/router.h"
#include "library/library.h"
#include "link/local/local_link.h"
#include "loop/epoll_loop.h"
#include "loop/scope.h"

namespace shunt::library {
namespace {

using call::CallStart;
using call::ClientCall;
using call::Message;
using call::Opening;
using call::Principal;
using call::PrincipalKind;
using namespace std::chrono_literals;

std::string module_path(std::string_view name) { return fmt::format("{}/liblibrary_test_{}.so", MODULES, name); }

Message text(std::string_view words) { return Message(Bytes::copy_of(words)); }

struct LocalInstance final : call::Instance {
  LocalInstance(loop::Loop& loop, call::Service& service) : local(link::LocalLink::create(loop, service)) {}
  call::Link* link(std::size_t) override { return local.get(); }
  call::Distance distance() const override { return call::Distance::local; }
  std::string name() const override { return "test/0"; }
  Own<link::LocalLink> local;
};

struct Hosted {
  std::vector<std::string> log;
  Own<Library> library;
  Own<ModuleService> service;
  std::shared_ptr<LocalInstance> instance;
};

struct Modules : testing::Test {
  Modules() : loop(loop::EpollLoop::create({.name = "test", .slow_turn = Duration::zero()}).value()) {
    host("shop",
         {"get",     "get_now",       "json",      "bytes",  "nothing",  "who",   "throws",  "throws_now",
          "count",   "sum",           "doubles",   "wait",   "stubborn", "twice", "streams", "waits_for_another",
          "forever", "typed_as_json", "by_mirror", "unknown"});
    host("mirror", {"get"});
    host("throws", {"keeps", "releases"});
    auto all = std::make_shared<call::Routing>();
    for (auto& [name, route] : routes) all->routes[name] = route;
    router.install(all);
  }
  ~Modules() override {
    router.install(std::make_shared<call::Routing>());
    routes.clear();
    for (auto& [name, hosted] : modules) {
      hosted.instance.reset();
      hosted.service.reset();
    }
  }

  void host(const std::string& name, std::vector<std::string> commands) {
    Hosted& hosted = modules[name];
    hosted.library =
        Library::load(module_path(name), [&](int, std::string_view words) { hosted.log.emplace_back(words); }).value();
    ModuleOptions options;
    options.self = {.kind = PrincipalKind::service, .service = name};
    options.activity = {.enter =
                            [](void* owner, std::string_view service, std::string_view command) {
                              static_cast<Modules*>(owner)->activity.push_back(fmt::format("{}.{}", service, command));
                            },
                        .owner = this};
    hosted.service = ModuleService::create(*hosted.library, *loop, router, options).value();
    hosted.instance = std::make_shared<LocalInstance>(*loop, *hosted.service);
    auto definition = std::make_shared<call::ServiceDefinition>();
    definition->app = "test";
    definition->name = definition->full_name = name;
    definition->allow_all = true;
    definition->uses = {{"shop", ""}, {"mirror", ""}};
    auto stats = std::make_shared<call::ServiceStats>();
    for (auto& command : commands) {
      definition->commands[command].name = command;
      stats->commands[command] = std::make_unique<call::CommandStats>();
    }
    auto route = std::make_shared<call::Route>();
    route->definition = definition;
    route->stats = stats;
    route->instances.push_back(hosted.instance);
    routes[name] = route;
  }

  // Runs one task on the loop until it has ended.
  void run(loop::Task<void> task) {
    scope.spawn(then_stop(std::move(task)));
    loop->run();
  }
  loop::Task<void> then_stop(loop::Task<void> task) {
    co_await std::move(task);
    loop->stop();
  }
  /// The answer's text, or the status in one line.
  std::string ask(std::string_view target, std::string_view request, Duration timeout = 10s) {
    std::string result;
    auto dot = target.find('.');
    run(unary({.service = target.substr(0, dot),
               .command = target.substr(dot + 1),
               .deadline = Deadline::after(loop->refresh_now(), timeout),
               .principal = &node},
              text(request), result));
    return result;
  }
  loop::Task<void> unary(CallStart start, Message request, std::string& result) {
    auto answer = co_await call::call_unary(router, *loop, start, std::move(request));
    result = answer ? std::string(answer->bytes().view()) : answer.error().to_string();
  }
  bool logged(std::string_view module, std::string_view words) {
    for (auto& line : modules.at(std::string(module)).log) {
      if (line.find(words) != std::string::npos) return true;
    }
    return false;
  }
  /// Turns the loop until what was deferred has run.
  void settle() {
    for (int i = 0; i < 10; ++i) loop->turn(Duration::zero());
  }
  CallStart to_shop(std::string_view command) {
    return {.service = "shop",
            .command = command,
            .deadline = Deadline::after(loop->refresh_now(), 60s),
            .principal = &node};
  }

  Own<loop::EpollLoop> loop;
  SeededRandom random{1};
  Principal node{.kind = PrincipalKind::node};
  call::Router router{*loop, 0, random};
  std::map<std::string, Hosted> modules;
  std::map<std::string, std::shared_ptr<call::Route>> routes;
  std::vector<std::string> activity;
  loop::Scope scope{*loop};
};

// ---- Loading ----------------------------------------------------------------------------------------------------------

std::string load_error(const std::string& path) {
  auto library = Library::load(path, {});
  return library ? "none" : library.error().to_string();
}

TEST(Loading, what_is_no_module_is_refused_with_the_reason) {
  EXPECT_NE(load_error("/nowhere/libx.so").find("S3030 not_found: /nowhere/libx.so: there is no such file"),
            std::string::npos);
  EXPECT_NE(load_error("/etc/passwd").find("S3031"), std::string::npos);
  auto no_entry = load_error(module_path("no_entry"));
  EXPECT_NE(no_entry.find("S3032"), std::string::npos);
  EXPECT_NE(no_entry.find("does not export shunt_module_abi"), std::string::npos);
}

TEST(Loading, another_major_version_of_the_abi_is_refused_before_anything_is_called) {
  auto error = load_error(module_path("other_abi"));
  EXPECT_NE(error.find("S3033"), std::string::npos);
  EXPECT_NE(error.find("built for version 7.3 of Shunt's ABI, this is version 1.1"), std::string::npos);
}

TEST(Loading, a_wrong_description_is_told_in_the_modules_words) {
  auto error = load_error(module_path("fails_to_load"));
  EXPECT_NE(error.find("S3034"), std::string::npos);
  EXPECT_NE(error.find("two commands are named twice"), std::string::npos);
}

TEST_F(Modules, a_module_that_can_not_start_is_refused) {
  std::string log;
  auto library =
      Library::load(module_path("fails_to_start"), [&](int, std::string_view words) { log += words; }).value();
  auto service = ModuleService::create(*library, *loop, router, {});
  ASSERT_FALSE(service.has_value());
  EXPECT_EQ(service.error().id(), "S3035");
  EXPECT_EQ(log, "on_start threw: the database is not there");
}

TEST_F(Modules, the_definition_says_what_the_service_is) {
  std::string definition(modules["shop"].library->definition());
  for (
      std::string_view part :
      {R"("sdk":"c++ )", R"("version":"1.2.3")", R"("description":"A shop to test with.")",
       R"("get":{"effect":"none","stream":"unary","description":"The \"price\" of one item.","timeout":"2000ms","request":{)",
       R"("get_now":{"effect":"any","stream":"unary","blocking":true,)",
       R"("count":{"effect":"any","stream":"server",)", R"("sum":{"effect":"any","stream":"client",)",
       R"("doubles":{"effect":"any","stream":"both",)"}) {
    EXPECT_NE(definition.find(part), std::string::npos) << part << "\n" << definition;
  }
}

// ---- Unary ------------------------------------------------------------------------------------------------------------

TEST_F(Modules, json_goes_in_and_out) {
  EXPECT_EQ(ask("shop.get", R"({"sku":"apple","count":2})"), R"({"cents":1990})");
  EXPECT_EQ(ask("shop.get_now", R"({"count":3,"sku":"apple"})"), R"({"cents":2985})");
  EXPECT_EQ(ask("shop.json", R"([1,{"a":null}])"), R"({"got":[1,{"a":null}]})");
  EXPECT_EQ(ask("shop.bytes", std::string_view("\0\xff", 2)), std::string("\0\xff!", 3));
  EXPECT_EQ(ask("shop.nothing", ""), "{}");
  EXPECT_EQ(ask("shop.nothing", "{}"), "{}");
  ClientCall call(router, *loop, to_shop("bytes"), Opening::unary(text("raw")));
  settle();
  EXPECT_EQ(call.metadata().find("content-type"), "application/octet-stream");
}

TEST_F(Modules, a_wrong_request_never_reaches_the_handler) {
  EXPECT_EQ(ask("shop.get", R"({"sku":7,"count":1})"),
            "S1030 invalid_argument: sku: expected a string, found a number");
  EXPECT_EQ(ask("shop.get_now", ""), "S1030 invalid_argument: sku is missing");
  EXPECT_EQ(ask("shop.get", "{"), "S1030 invalid_argument: not JSON at offset 1: expected a key in quotes");
  EXPECT_EQ(ask("shop.nothing", R"({"a":1})"), "S1030 invalid_argument: a is no known field; the command takes none");
}

TEST_F(Modules, errors_and_exceptions_end_the_call) {
  EXPECT_EQ(ask("shop.get", R"({"sku":"","count":1})"), "invalid_argument: sku is empty");
  EXPECT_EQ(ask("shop.get", R"({"sku":"nothing","count":1})"), "not_found: there is no item nothing");
  EXPECT_EQ(ask("shop.throws", "{}"), "S1031 internal: the handler of throws failed; the service's log says why");
  EXPECT_EQ(ask("shop.throws_now", "{}"),
            "S1031 internal: the handler of throws_now failed; the service's log says why");
  EXPECT_TRUE(logged("shop", "the handler of throws threw: secret"));
  EXPECT_TRUE(logged("shop", "the handler of throws_now threw: secret"));
}

TEST_F(Modules, an_unknown_command_is_unimplemented) {
  EXPECT_NE(ask("shop.unknown", "{}").find("S1005 unimplemented"), std::string::npos);
}

TEST_F(Modules, an_exception_out_of_on_event_does_not_leave_the_module) {
  EXPECT_NE(ask("throws.keeps", "").find("internal: the service failed"), std::string::npos);
  EXPECT_NE(ask("throws.releases", "").find("S1013 internal"), std::string::npos);
  EXPECT_TRUE(logged("throws", "thrown out of on_event"));
}

loop::Task<void> ask_who(Modules& house, std::string& result) {
  call::Metadata metadata;
  (void)metadata.add("color", "red");
  Principal who{.kind = PrincipalKind::service, .service = "shop", .user = "ann with a long name of no use"};
  CallStart start = house.to_shop("who");
  start.metadata = &metadata;
  start.principal = &who;
  ClientCall call(house.router, *house.loop, start, Opening::unary(text("{}")));
  auto answer = co_await call.receive();
  result = std::string(answer->bytes().view());
  Status status = co_await call.finish();
  result += status.is_ok() ? " ok" : status.to_string();
  result +=
      fmt::format(" {} {}", call.metadata().find("first").value_or("-"), call.trailers().find("last").value_or("-"));
}

TEST_F(Modules, a_handler_knows_who_calls_and_answers_with_metadata) {
  std::string result;
  run(ask_who(*this, result));
  EXPECT_EQ(result,
            R"({"service":"shop","user":"ann with a long name of no use","color":"red","has_deadline":true} ok 1 2)");
}

// ---- Streams ----------------------------------------------------------------------------------------------------------

loop::Task<void> count(Modules& house, int to, int& received, Status& status) {
  ClientCall call(house.router, *house.loop, house.to_shop("count"),
                  Opening::unary(text(fmt::format("{{\"to\":{}}}", to))));
  while (auto message = co_await call.receive()) {
    EXPECT_EQ(message->bytes().view(), fmt::format("{{\"n\":{}}}", received));
    received++;
  }
  status = call.status();
}

TEST_F(Modules, a_long_answer_streams_with_credit) {
  int received = 0;
  Status status;
  run(count(*this, 20000, received, status));
  EXPECT_EQ(received, 20000);
  EXPECT_TRUE(status.is_ok()) << status.to_string();
}

loop::Task<void> sum(Modules& house, int count, std::string bad, std::string& result) {
  ClientCall call(house.router, *house.loop, house.to_shop("sum"), Opening::empty());
  for (int n = 1; n <= count; ++n) {
    if (!co_await call.send(text(fmt::format("{{\"n\":{}}}", n)))) break;
  }
  if (!bad.empty()) co_await call.send(text(bad));
  call.half_close();
  auto answer = co_await call.receive();
  if (answer) result = std::string(answer->bytes().view());
  Status status = co_await call.finish();
  if (!status.is_ok()) result += status.to_string();
}

TEST_F(Modules, a_long_request_streams_with_credit) {
  std::string result;
  run(sum(*this, 20000, "", result));
  EXPECT_EQ(result, R"({"n":200010000})");
}

TEST_F(Modules, a_wrong_message_of_a_stream_ends_the_call) {
  std::string result;
  run(sum(*this, 3, R"({"n":"x"})", result));
  EXPECT_EQ(result, "S1030 invalid_argument: n: expected an integer, found a string");
}

loop::Task<void> late(Modules& house, std::string_view command, std::string& result) {
  ClientCall call(house.router, *house.loop, house.to_shop(command), Opening::empty());
  co_await call.send(text(R"({"sku":"apple","count":2})"), call::Last::yes);
  auto answer = co_await call.receive();
  if (answer) result = std::string(answer->bytes().view());
  Status status = co_await call.finish();
  if (!status.is_ok()) result += status.to_string();
}

// Between processes a large request follows its call in pieces.
TEST_F(Modules, a_request_may_come_after_its_call_has_begun) {
  for (std::string_view command : {"get", "get_now"}) {
    std::string result;
    run(late(*this, command, result));
    EXPECT_EQ(result, R"({"cents":1990})");
  }
}

TEST_F(Modules, a_call_may_be_dropped_before_its_request_has_come) {
  for (std::string_view command : {"get", "get_now"}) {
    ClientCall call(router, *loop, to_shop(command), Opening::empty());
    settle();
    EXPECT_EQ(modules["shop"].service->running(), 1u);
  }
  settle();
  EXPECT_EQ(modules["shop"].service->running(), 0u);
}

loop::Task<void> doubles(Modules& house, std::string& result) {
  ClientCall call(house.router, *house.loop, house.to_shop("doubles"), Opening::first(text(R"({"n":1})")));
  for (int n = 2; n <= 4; ++n) {
    result += (co_await call.receive())->bytes().view();
    co_await call.send(text(fmt::format("{{\"n\":{}}}", n)), n == 4 ? call::Last::yes : call::Last::no);
  }
  result += (co_await call.receive())->bytes().view();
  Status status = co_await call.finish();
  result += status.is_ok() ? "ok" : status.to_string();
}

TEST_F(Modules, both_directions_stream) {
  std::string result;
  run(doubles(*this, result));
  EXPECT_EQ(result, R"({"n":2}{"n":4}{"n":6}{"n":8}ok)");
}

// ---- Calls from modules -----------------------------------------------------------------------------------------------

TEST_F(Modules, a_module_calls_itself_and_others) {
  EXPECT_EQ(ask("shop.twice", R"({"sku":"apple","count":2})"), R"({"cents":3980})");
  EXPECT_EQ(ask("shop.twice", R"({"sku":"nothing","count":2})"), "not_found: there is no item nothing");
  EXPECT_EQ(ask("shop.typed_as_json", R"({"sku":"apple","count":2})"), R"({"cents":1990})");
  // The other module's Item is the same type, its Price is not: that goes as JSON.
  EXPECT_EQ(ask("shop.by_mirror", R"({"sku":"apple","count":2})"), R"({"cents":10})");
}

TEST_F(Modules, a_module_streams_to_itself) { EXPECT_EQ(ask("shop.streams", R"({"to":1000})"), R"({"n":999000})"); }

TEST_F(Modules, calls_in_a_circle_end) {
  EXPECT_NE(ask("shop.forever", "{}").find("S1006 resource_exhausted"), std::string::npos);
}

TEST_F(Modules, the_hook_is_told_whose_code_runs) {
  activity.clear();
  ask("shop.by_mirror", R"({"sku":"apple","count":1})");
  ASSERT_GE(activity.size(), 4u);
  EXPECT_EQ(activity.front(), "shop.by_mirror");
  EXPECT_NE(std::find(activity.begin(), activity.end(), "mirror.get"), activity.end());
  EXPECT_EQ(activity.back(), ".");
}

// ---- Cancellation and deadlines ---------------------------------------------------------------------------------------

TEST_F(Modules, a_deadline_wakes_the_handler) {
  EXPECT_NE(ask("shop.wait", "{}", 1ms).find("deadline_exceeded"), std::string::npos);
  settle();
  EXPECT_TRUE(logged("shop", "woken by cancel"));
  EXPECT_EQ(modules["shop"].service->running(), 0u);
}

TEST_F(Modules, a_deadline_is_handed_on_to_calls_on_its_behalf) {
  EXPECT_NE(ask("shop.waits_for_another", "{}", 1ms).find("deadline_exceeded"), std::string::npos);
  settle();
  EXPECT_TRUE(logged("shop", "other ended: deadline_exceeded"));
  EXPECT_TRUE(logged("shop", "woken by cancel"));
  EXPECT_EQ(modules["shop"].service->running(), 0u);
}

TEST_F(Modules, dropping_a_call_cancels_it_and_those_on_its_behalf) {
  {
    ClientCall call(router, *loop, to_shop("waits_for_another"), Opening::unary(text("{}")));
    EXPECT_EQ(modules["shop"].service->running(), 2u);
  }
  EXPECT_FALSE(logged("shop", "woken by cancel")) << "not inside the caller's stack";
  settle();
  EXPECT_TRUE(logged("shop", "woken by cancel"));
  EXPECT_TRUE(logged("shop", "other ended: cancelled"));
  EXPECT_EQ(modules["shop"].service->running(), 0u);
}

TEST_F(Modules, a_stream_that_nobody_reads_waits_and_is_cancelled) {
  {
    ClientCall call(router, *loop, to_shop("count"), Opening::unary(text(R"({"to":1000000000})")));
    settle();
    EXPECT_EQ(modules["shop"].service->running(), 1u);
  }
  settle();
  EXPECT_TRUE(logged("shop", "count was cancelled"));
  EXPECT_EQ(modules["shop"].service->running(), 0u);
}

TEST_F(Modules, a_handler_that_does_not_heed_its_cancellation_is_dropped_where_it_waits) {
  {
    ClientCall call(router, *loop, to_shop("stubborn"), Opening::unary(text("{}")));
  }
  settle();
  EXPECT_TRUE(logged("shop", "stubborn frame is gone"));
  EXPECT_EQ(modules["shop"].service->running(), 0u);
}

TEST_F(Modules, calls_that_are_open_when_the_service_goes_end) {
  ClientCall waiting(router, *loop, to_shop("waits_for_another"), Opening::unary(text("{}")));
  ClientCall stubborn(router, *loop, to_shop("stubborn"), Opening::unary(text("{}")));
  ClientCall reading(router, *loop, to_shop("sum"), Opening::first(text(R"({"n":1})")));
  modules["shop"].service.reset();
  EXPECT_TRUE(logged("shop", "stubborn frame is gone"));
  EXPECT_TRUE(waiting.ended());
  EXPECT_TRUE(stubborn.ended());
  EXPECT_TRUE(reading.ended());
  EXPECT_EQ(reading.status().code(), Code::unavailable);
}

// ---- Threads ----------------------------------------------------------------------------------------------------------

// One loop of several that share a library, as the serving loops of a node do.
struct ServingLoop {
  explicit ServingLoop(const Library& library) : loop(loop::EpollLoop::create({.name = "serving"}).value()) {
    ModuleOptions options;
    options.self = {.kind = PrincipalKind::service, .service = "shop"};
    service = ModuleService::create(library, *loop, router, options).value();
    auto definition = std::make_shared<call::ServiceDefinition>();
    definition->app = definition->name = definition->full_name = "shop";
    definition->uses = {{"shop", ""}};
    definition->allow_all = true;
    for (std::string command : {"get", "twice", "streams", "count", "sum", "doubles", "who"}) {
      definition->commands[command].name = command;
    }
    auto route = std::make_shared<call::Route>();
    route->definition = definition;
    route->stats = std::make_shared<call::ServiceStats>();
    route->instances.push_back(std::make_shared<LocalInstance>(*loop, *service));
    auto routing = std::make_shared<call::Routing>();
    routing->routes["shop"] = route;
    router.install(routing);
  }
  ~ServingLoop() { router.install(std::make_shared<call::Routing>()); }

  loop::Task<void> ask_often(int times) {
    for (int i = 0; i < times; ++i) {
      for (auto [command, request, answer] :
           {std::array<std::string_view, 3>{"twice", R"({"sku":"apple","count":2})", R"({"cents":3980})"},
            {"streams", R"({"to":10})", R"({"n":90})"},
            {"get", R"({"sku":"","count":1})", "invalid_argument: sku is empty"}}) {
        CallStart start{
            .service = "shop", .command = command, .deadline = Deadline::after(loop->now(), 60s), .principal = &node};
        auto got = co_await call::call_unary(router, *loop, start, text(request));
        auto words = got ? std::string(got->bytes().view()) : got.error().to_string();
        if (words != answer) problem = words;
      }
    }
    loop->stop();
  }
  void run(int times) {
    scope.spawn(ask_often(times));
    loop->run();
  }

  Own<loop::EpollLoop> loop;
  SeededRandom random{1};
  Principal node{.kind = PrincipalKind::node};
  call::Router router{*loop, 0, random};
  Own<ModuleService> service;
  std::string problem;
  loop::Scope scope{*loop};
};

TEST(Threads, a_module_serves_several_loops_at_once) {
  auto library = Library::load(module_path("shop"), {}).value();
  std::vector<std::thread> threads;
  std::vector<std::string> problems(3);
  for (auto& problem : problems) {
    threads.emplace_back([&library, &problem] {
      ServingLoop serving(*library);
      serving.run(200);
      problem = serving.problem;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(problems, std::vector<std::string>(3));
}

}  // namespace
}  // namespace shunt::library
