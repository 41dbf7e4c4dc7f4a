#include "call/router.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "call/client_call.h"
#include "call/forwarder.h"
#include "call/server_call.h"
#include "link/local/cross_loop_link.h"
#include "link/local/local_link.h"
#include "loop/sim_loop.h"

namespace shunt::call {
namespace {

using namespace std::chrono_literals;

Message text(std::string_view words) { return Message(Bytes::copy_of(words)); }

struct LocalInstance final : Instance {
  LocalInstance(loop::Loop& loop, Service& service, std::string called)
      : local(link::LocalLink::create(loop, service)), label(std::move(called)) {}
  Link* link(std::size_t) override { return local.get(); }
  Distance distance() const override { return Distance::local; }
  std::string name() const override { return label; }
  Own<link::LocalLink> local;
  std::string label;
};

// Tickets in a row; a test grants them.
struct FakeAdmission final : Admission {
  std::uint64_t wait(loop::Loop&, bool, Deadline, Granted granted) override {
    if (full) {
      granted(fail(Code::resource_exhausted, "S1011", "full"));
      return 0;
    }
    tickets.emplace_back(++last, std::move(granted));
    return last;
  }
  void abandon(std::uint64_t ticket) override {
    std::erase_if(tickets, [&](auto& one) { return one.first == ticket; });
  }
  void freed(Instance&) override { freed_count++; }
  bool has_waiters() const override { return !tickets.empty(); }
  void grant(std::shared_ptr<Instance> instance) {
    auto granted = std::move(tickets.front().second);
    tickets.pop_front();
    ASSERT_TRUE(instance->try_enter(false));
    granted(std::move(instance));
  }
  std::deque<std::pair<std::uint64_t, Granted>> tickets;
  std::uint64_t last = 0;
  int freed_count = 0;
  bool full = false;
};

// Refuses as a link does, never as a handler could: before anything has begun.
struct Refuser final : Service {
  Refuser(Service& to, int& count) : inner(to), refusals(count) {}
  void begin(IncomingHandle call, const Open& open, Opening opening) override {
    if (open.command != "refuse") return inner.begin(std::move(call), open, std::move(opening));
    refusals++;
    call->finish(Status(Code::unavailable, "S1015", "no room").with_retry(Retry::elsewhere), {});
  }
  Service& inner;
  int& refusals;
};

struct House : testing::Test {
  House() {
    service.add("echo", [](ServerCall& call) -> loop::Task<Status> {
      while (auto message = co_await call.receive()) co_await call.send(std::move(*message));
      co_return Status();
    });
    service.add("hang", [](ServerCall& call) -> loop::Task<Status> {
      co_return cancel_status(co_await call.wait_cancelled());
    });
    service.add("die", [this](ServerCall&) -> loop::Task<Status> {
      deaths++;
      co_return Status(Code::unavailable, "S1008", "the worker died").with_retry(Retry::reconnect);
    });
    add("shop", "prices", {"echo", "hang", "refuse", "die"});
    add("shop", "cart", {"echo"}).uses = {{"prices", ""}};
    add("blog", "posts", {"echo"}).uses = {{"shop.prices", "echo"}, {"cart", ""}};
    add("blog", "prices", {"echo"});
  }

  ServiceDefinition& add(std::string app, std::string name, std::vector<std::string> commands) {
    auto definition = std::make_shared<ServiceDefinition>();
    definition->app = app;
    definition->name = name;
    definition->full_name = app + "." + name;
    auto stats = std::make_shared<ServiceStats>();
    for (auto& command : commands) {
      definition->commands[command].name = command;
      stats->commands[command] = std::make_unique<CommandStats>();
    }
    auto route = std::make_shared<Route>();
    route->definition = definition;
    route->stats = stats;
    route->instances.push_back(std::make_shared<LocalInstance>(loop, refuser, name + "/0"));
    routes[definition->full_name] = route;
    return *definition;
  }
  void install() {
    auto routing = std::make_shared<Routing>();
    for (auto& [name, route] : routes) routing->routes[name] = route;
    routing->paths = paths;
    router.install(routing);
  }
  Result<std::string> run(std::string_view service_name, std::string_view command, const Principal& who,
                          Deadline deadline = Deadline::never(), std::uint8_t hops = 0) {
    install();
    Result<std::string> result = fail(Code::unknown, "never ended");
    scope.spawn(unary(
        {.service = service_name, .command = command, .deadline = deadline, .principal = &who, .hops = hops}, result));
    clock.settle();
    return result;
  }
  loop::Task<void> unary(CallStart start, Result<std::string>& result) {
    auto answer = co_await call_unary(router, loop, start, text("hi"));
    if (answer) {
      result = std::string(answer->bytes().view());
    } else {
      result = std::unexpected(answer.error());
    }
  }

  loop::SimClock clock;
  loop::SimLoop loop{clock};
  SeededRandom random{1};
  int refusals = 0;
  TaskService service{loop};
  Refuser refuser{service, refusals};
  std::map<std::string, std::shared_ptr<Route>> routes;
  std::shared_ptr<PathStats> paths = std::make_shared<PathStats>(1);
  Router router{loop, 0, random};
  Principal node{.kind = PrincipalKind::node};
  Principal gateway{.kind = PrincipalKind::gateway};
  int deaths = 0;
  loop::Scope scope{loop};
};

Principal of(std::string service) { return {.kind = PrincipalKind::service, .service = std::move(service)}; }

TEST_F(House, a_full_name_always_resolves_and_a_short_one_where_it_is_unique) {
  EXPECT_EQ(run("shop.prices", "echo", node).value(), "hi");
  EXPECT_EQ(run("cart", "echo", node).value(), "hi");
  auto ambiguous = run("prices", "echo", node);
  EXPECT_EQ(ambiguous.error().id(), "S1003");
  EXPECT_NE(ambiguous.error().message().find("blog.prices, shop.prices"), std::string::npos);
}

TEST_F(House, a_short_name_resolves_within_the_callers_app_first) {
  EXPECT_EQ(run("prices", "echo", of("shop.cart")).value(), "hi");
  EXPECT_EQ(routes["shop.prices"]->stats->of("echo").started(), 1u);
}

TEST_F(House, an_unknown_service_is_not_found_and_the_nearest_is_named) {
  auto error = run("crat", "echo", node).error();
  EXPECT_EQ(error.code(), Code::not_found);
  EXPECT_NE(error.message().find("'cart'"), std::string::npos) << error.message();
}

TEST_F(House, an_unknown_command_is_unimplemented_and_the_known_ones_are_named) {
  auto error = run("cart", "ecko", node).error();
  EXPECT_EQ(error.id(), "S1005");
  EXPECT_NE(error.message().find("echo"), std::string::npos);
}

TEST_F(House, who_is_not_named_in_uses_or_allow_may_not_call) {
  auto unused = run("cart", "echo", of("shop.prices")).error();
  EXPECT_EQ(unused.id(), "S1010");
  EXPECT_NE(unused.message().find("\"uses\" of shop.prices"), std::string::npos) << unused.message();
  auto not_allowed = run("shop.prices", "echo", of("blog.posts")).error();
  EXPECT_NE(not_allowed.message().find("\"allow\" of shop.prices"), std::string::npos) << not_allowed.message();
  const_cast<ServiceDefinition&>(*routes["shop.prices"]->definition).allow = {"blog.posts"};
  EXPECT_TRUE(run("shop.prices", "echo", of("blog.posts")).has_value());
  EXPECT_EQ(run("shop.prices", "hang", of("blog.posts")).error().id(), "S1010");
}

TEST_F(House, the_gateway_reaches_what_is_exposed) {
  EXPECT_EQ(run("cart", "echo", gateway).error().code(), Code::permission_denied);
  const_cast<ServiceDefinition&>(*routes["shop.cart"]->definition).exposed = true;
  EXPECT_TRUE(run("cart", "echo", gateway).has_value());
}

TEST_F(House, nobody_may_call_anything) { EXPECT_EQ(run("cart", "echo", Principal{}).error().id(), "S1010"); }

TEST_F(House, a_deadline_ends_the_call_and_its_message_tells_the_times) {
  Result<std::string> result = fail(Code::unknown, "never ended");
  install();
  scope.spawn(unary(
      {.service = "shop.prices", .command = "hang", .deadline = Deadline(clock.now() + 250ms), .principal = &node},
      result));
  clock.advance(250ms);
  EXPECT_EQ(result.error().code(), Code::deadline_exceeded);
  EXPECT_EQ(result.error().message(), "call shop.prices.hang: waited 0s for a worker, ran 250ms, deadline 250ms");
}

TEST_F(House, without_a_deadline_the_commands_or_the_services_default_applies) {
  Result<std::string> result = fail(Code::unknown, "never ended");
  install();
  scope.spawn(unary({.service = "shop.prices", .command = "hang", .principal = &node}, result));
  clock.advance(59s);
  EXPECT_EQ(result.error().code(), Code::unknown);
  clock.advance(1s);
  EXPECT_EQ(result.error().code(), Code::deadline_exceeded);
}

TEST_F(House, a_chain_of_too_many_hops_is_refused) {
  EXPECT_EQ(run("cart", "echo", node, Deadline::never(), hops_max).error().id(), "S1006");
}

TEST_F(House, without_an_instance_a_call_is_unavailable_and_says_why) {
  routes["shop.cart"]->instances.clear();
  routes["shop.cart"]->why_absent = "its module crashed";
  auto error = run("cart", "echo", node).error();
  EXPECT_EQ(error.id(), "S1009");
  EXPECT_NE(error.message().find("its module crashed"), std::string::npos);
}

TEST_F(House, a_service_whose_commands_are_not_known_is_unavailable_and_says_why) {
  routes["shop.cart"]->instances.clear();
  routes["shop.cart"]->why_absent = "cart.py does not import";
  const_cast<ServiceDefinition&>(*routes["shop.cart"]->definition).commands.clear();
  auto error = run("cart", "echo", node).error();
  EXPECT_EQ(error.code(), Code::unavailable);
  EXPECT_EQ(error.id(), "S1009");
  EXPECT_NE(error.message().find("cart.py does not import"), std::string::npos);
}

TEST_F(House, a_call_takes_a_slot_while_it_runs_and_gives_it_back) {
  auto& instance = *routes["shop.prices"]->instances[0];
  install();
  Result<std::string> result = fail(Code::unknown, "never ended");
  scope.spawn(
      unary({.service = "shop.prices", .command = "hang", .deadline = Deadline(clock.now() + 1s), .principal = &node},
            result));
  clock.settle();
  EXPECT_EQ(instance.in_flight, 1u);
  clock.advance(1s);
  EXPECT_EQ(instance.in_flight, 0u);
  EXPECT_EQ(instance.served, 1u);
}

TEST_F(House, each_call_is_measured_on_the_path_that_it_took) {
  install();
  ASSERT_TRUE(run("prices", "echo", of("shop.cart")).has_value());
  ASSERT_TRUE(run("shop.prices", "echo", of("shop.cart")).has_value());
  EXPECT_FALSE(run("shop.prices", "hang", of("shop.cart"), Deadline(clock.now() + 1ms)).has_value());
  ASSERT_TRUE(run("shop.prices", "echo", node).has_value());
  clock.advance(1ms);
  auto all = paths->report();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].key, (PathKey{"node", "shop.prices", "prices/0", Distance::local}));
  EXPECT_EQ(all[0].counts.calls, 1u);
  EXPECT_EQ(all[1].key, (PathKey{"shop.cart", "shop.prices", "prices/0", Distance::local}));
  EXPECT_EQ(all[1].counts.calls, 3u);
  EXPECT_EQ(all[1].counts.errors, 1u);
  EXPECT_EQ(all[1].counts.timed(), 3u);
}

struct Pooled : House {
  Pooled() {
    admission = std::make_shared<FakeAdmission>();
    routes["shop.prices"]->admission = admission;
    instance = routes["shop.prices"]->instances[0];
    instance->capacity = 1;
  }
  std::shared_ptr<FakeAdmission> admission;
  std::shared_ptr<Instance> instance;
  Result<std::string> result = fail(Code::unknown, "never ended");
};

TEST_F(Pooled, a_call_that_finds_no_room_waits_for_its_slot) {
  ASSERT_TRUE(instance->try_enter(false));
  install();
  scope.spawn(unary({.service = "shop.prices", .command = "echo", .principal = &node}, result));
  clock.settle();
  ASSERT_EQ(admission->tickets.size(), 1u);
  instance->leave(false);
  admission->grant(instance);
  clock.settle();
  EXPECT_EQ(result.value(), "hi");
  EXPECT_EQ(instance->in_flight, 0u);
  EXPECT_EQ(admission->freed_count, 1);
}

TEST_F(Pooled, whoever_waits_already_goes_first) {
  ASSERT_TRUE(instance->try_enter(false));
  install();
  scope.spawn(unary({.service = "shop.prices", .command = "echo", .principal = &node}, result));
  clock.settle();
  instance->leave(false);
  Result<std::string> second = fail(Code::unknown, "never ended");
  scope.spawn(unary({.service = "shop.prices", .command = "echo", .principal = &node}, second));
  clock.settle();
  EXPECT_EQ(admission->tickets.size(), 2u);
}

TEST_F(Pooled, a_deadline_that_passes_in_the_queue_gives_the_ticket_back) {
  ASSERT_TRUE(instance->try_enter(false));
  install();
  scope.spawn(
      unary({.service = "shop.prices", .command = "echo", .deadline = Deadline(clock.now() + 20ms), .principal = &node},
            result));
  clock.advance(20ms);
  EXPECT_EQ(result.error().message(), "call shop.prices.echo: waited 20ms for a worker, ran 0s, deadline 20ms");
  EXPECT_TRUE(admission->tickets.empty());
}

TEST_F(Pooled, a_caller_that_gives_up_in_the_queue_leaves_no_ticket) {
  ASSERT_TRUE(instance->try_enter(false));
  install();
  {
    ClientCall call(router, loop, {.service = "shop.prices", .command = "echo", .principal = &node},
                    Opening::unary(text("x")));
    EXPECT_EQ(admission->tickets.size(), 1u);
  }
  EXPECT_TRUE(admission->tickets.empty());
}

TEST_F(Pooled, a_full_queue_refuses_at_once) {
  ASSERT_TRUE(instance->try_enter(false));
  admission->full = true;
  EXPECT_EQ(run("shop.prices", "echo", node).error().code(), Code::resource_exhausted);
}

TEST_F(Pooled, a_refused_call_moves_on_and_is_never_lost) {
  install();
  scope.spawn(unary({.service = "shop.prices", .command = "refuse", .principal = &node}, result));
  clock.settle();
  EXPECT_EQ(refusals, 1);
  ASSERT_EQ(admission->tickets.size(), 1u);
  admission->grant(instance);
  clock.settle();
  admission->grant(instance);
  clock.settle();
  EXPECT_EQ(refusals, 3);
  EXPECT_EQ(result.error().id(), "S1015");
  EXPECT_EQ(instance->in_flight, 0u);
}

TEST_F(Pooled, a_handler_that_hands_on_a_refusal_is_not_run_again) {
  int runs = 0;
  service.add("hand_on", [&](ServerCall&) -> loop::Task<Status> {
    runs++;
    co_return Status(Code::unavailable, "S1015", "no room over there").with_retry(Retry::elsewhere);
  });
  auto& definition = const_cast<ServiceDefinition&>(*routes["shop.prices"]->definition);
  definition.commands["hand_on"].name = "hand_on";
  auto error = run("shop.prices", "hand_on", node).error();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(error.retry(), Retry::later);
}

TEST_F(Pooled, a_call_whose_worker_died_is_not_run_again_unless_its_effect_permits) {
  EXPECT_EQ(run("shop.prices", "die", node).error().id(), "S1008");
  EXPECT_EQ(deaths, 1);
  const_cast<ServiceDefinition&>(*routes["shop.prices"]->definition).commands["die"].effect = Effect::idempotent;
  EXPECT_EQ(run("shop.prices", "die", node).error().id(), "S1008");
  EXPECT_EQ(deaths, 4);
}

TEST_F(Pooled, what_a_stream_sends_while_it_waits_arrives_in_order) {
  ASSERT_TRUE(instance->try_enter(false));
  install();
  ClientCall call(router, loop, {.service = "shop.prices", .command = "echo", .principal = &node},
                  Opening::first(text("a")));
  std::string got;
  auto talk = [](ClientCall& on, std::string& to) -> loop::Task<void> {
    co_await on.send(text("b"));
    co_await on.send(text("c"), Last::yes);
    while (auto message = co_await on.receive()) to += message->bytes().view();
  };
  scope.spawn(talk(call, got));
  clock.settle();
  EXPECT_EQ(got, "");
  instance->leave(false);
  admission->grant(instance);
  clock.settle();
  EXPECT_EQ(got, "abc");
}

TEST_F(House, a_forwarded_call_keeps_its_principal_and_streams_both_ways) {
  install();
  Forwarder forwarder(router);
  auto link = link::LocalLink::create(loop, forwarder);
  Principal cart = of("shop.cart");
  ClientCall call(loop, *link, {.service = "prices", .command = "echo", .principal = &cart}, Opening::empty());
  std::string got;
  auto talk = [](ClientCall& on, std::string& to) -> loop::Task<void> {
    for (int i = 0; i < 2000; i++) co_await on.send(text(std::string(1000, 'x')), i == 1999 ? Last::yes : Last::no);
    to += "sent ";
  };
  auto listen = [](ClientCall& on, std::string& to) -> loop::Task<void> {
    std::size_t bytes = 0;
    while (auto message = co_await on.receive()) bytes += message->bytes().size();
    to += std::to_string(bytes) + on.status().to_string();
  };
  scope.spawn(talk(call, got));
  scope.spawn(listen(call, got));
  clock.settle();
  EXPECT_EQ(got, "sent 2000000ok");
  EXPECT_EQ(link->stats().calls_open, 0u);
}

TEST_F(House, a_call_to_another_loop_comes_back) {
  loop::SimLoop far(clock);
  TaskService far_service(far);
  far_service.add("echo", [](ServerCall& call) -> loop::Task<Status> {
    while (auto message = co_await call.receive()) co_await call.send(std::move(*message));
    co_return Status(Code::aborted, "done");
  });
  auto far_link = link::LocalLink::create(far, far_service);
  auto crossing = link::CrossLoopLink::create(loop, far, [&]() -> Link* { return far_link.get(); });
  ClientCall call(loop, *crossing, {.service = "s", .command = "echo", .principal = &node},
                  Opening::unary(text("over")));
  std::string got;
  auto listen = [](ClientCall& on, std::string& to) -> loop::Task<void> {
    while (auto message = co_await on.receive()) to += message->bytes().view();
    to += on.status().message();
  };
  scope.spawn(listen(call, got));
  clock.settle();
  EXPECT_EQ(got, "overdone");
  EXPECT_EQ(far_link->stats().calls_open, 0u);
}

// Stands for protobuf: it writes each byte twice.
struct Doubling final : Transcoder {
  Result<Bytes> convert(Side side, Encoding from, Encoding to, const Bytes& message) const override {
    EXPECT_NE(from, to);
    std::string out;
    if (to == Encoding::proto) {
      for (const char c : message.view()) out.append(2, c);
      return Bytes::adopt(std::move(out));
    }
    if (message.size() % 2 != 0) {
      return fail(Code::invalid_argument, "S1013", side == Side::request ? "an odd request" : "an odd answer");
    }
    for (std::size_t i = 0; i < message.size(); i += 2) out += message.view()[i];
    return Bytes::adopt(std::move(out));
  }
  std::string_view type_name(Side) const override { return "test.Doubled"; }
};

struct TranscodingHouse : House {
  TranscodingHouse() {
    service.add("upper", [this](ServerCall& call) -> loop::Task<Status> {
      while (auto message = co_await call.receive()) {
        seen += message->bytes().view();
        if (!co_await call.send(text(message->bytes().view()))) break;
      }
      co_return Status();
    });
    auto& command = add("shop", "typed", {"upper"}).commands["upper"];
    command.transcoder = std::make_shared<Doubling>();
  }
  Result<std::string> ask(Encoding encoding, std::string_view words) {
    install();
    Result<std::string> result = fail(Code::unknown, "never ended");
    auto call = [&](std::string message) -> loop::Task<void> {
      auto answer = co_await call_unary(
          router, loop, {.service = "typed", .command = "upper", .principal = &node, .encoding = encoding},
          text(message));
      if (answer) {
        result = std::string(answer->bytes().view());
      } else {
        result = std::unexpected(answer.error());
      }
    };
    scope.spawn(call(std::string(words)));
    clock.settle();
    return result;
  }
  std::string seen;
};

TEST_F(TranscodingHouse, a_message_is_turned_on_its_way_there_and_back_when_the_two_ends_write_differently) {
  EXPECT_EQ(ask(Encoding::proto, "hhii").value(), "hhii");
  EXPECT_EQ(seen, "hi");
}

TEST_F(TranscodingHouse, a_message_passes_as_it_is_when_both_ends_write_alike) {
  EXPECT_EQ(ask(Encoding::json, "hi").value(), "hi");
  EXPECT_EQ(seen, "hi");
}

TEST_F(TranscodingHouse, a_request_that_is_not_of_its_type_never_reaches_the_handler) {
  const auto error = ask(Encoding::proto, "odd").error();
  EXPECT_EQ(error.code(), Code::invalid_argument);
  EXPECT_EQ(error.message(), "an odd request");
  EXPECT_EQ(seen, "");
}

TEST_F(TranscodingHouse, an_answer_that_is_not_of_its_type_is_the_callees_fault) {
  service.add("odd", [](ServerCall& call) -> loop::Task<Status> {
    (void)co_await call.receive();
    co_await call.send(text("odd"));
    co_return Status();
  });
  auto& command = add("blog", "typed_too", {"odd"}).commands["odd"];
  command.transcoder = std::make_shared<Doubling>();
  command.encoding = Encoding::proto;
  install();
  Result<std::string> result = fail(Code::unknown, "never ended");
  scope.spawn(unary({.service = "typed_too", .command = "odd", .principal = &node}, result));
  clock.settle();
  EXPECT_EQ(result.error().id(), "S1016");
  EXPECT_EQ(result.error().code(), Code::internal);
}

TEST_F(TranscodingHouse, credit_is_given_back_in_what_the_sender_spent) {
  install();
  ClientCall call(router, loop,
                  {.service = "typed", .command = "upper", .principal = &node, .encoding = Encoding::proto},
                  Opening::empty());
  std::size_t got = 0;
  auto exchange = [](ClientCall& on, std::size_t& to) -> loop::Task<void> {
    const std::string block(200'000, 'x');  // More than half of a stream's credit, once turned.
    for (int i = 0; i < 20; ++i) {
      if (!co_await on.send(text(block))) co_return;
      auto message = co_await on.receive();
      if (!message) co_return;
      to += message->bytes().size();
    }
    on.half_close();
    (void)co_await on.finish();
  };
  scope.spawn(exchange(call, got));
  clock.settle();
  EXPECT_EQ(got, 4'000'000u);
  EXPECT_TRUE(call.status().is_ok()) << call.status().to_string();
}

}  // namespace
}  // namespace shunt::call
