#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <thread>

#include "shunt/shunt.h"
#include "test_node.h"

namespace shunt::sdk {
namespace {

std::string_view view(shunt_slice slice) { return {slice.data, slice.size}; }
shunt_slice slice(std::string_view text) { return {text.data(), text.size()}; }

shunt_message borrowed(std::string_view text) {
  shunt_message message{};
  message.data = text.data();
  message.size = text.size();
  return message;
}

shunt_status error_status(std::uint32_t code, std::string_view message) {
  shunt_status status{};
  status.size = sizeof status;
  status.code = code;
  status.message = slice(message);
  return status;
}

class WorkerTest : public testing::Test {
 protected:
  ~WorkerTest() override { close_worker(); }

  void start(int links = 2, std::uint32_t concurrency = 0) {
    auto control = *os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::yes, os::Blocking::no);
    supervisor_ = std::move(control.second);
    std::string list;
    for (int i = 0; i < links; i++) {
      list += fmt::format("{}{}", i == 0 ? "" : ",", node_.add_link(concurrency).release());
    }
    setenv("SHUNT_LINKS", list.c_str(), 1);
    setenv("SHUNT_CONTROL", fmt::format("{}", control.first.release()).c_str(), 1);
    setenv("SHUNT_SERVICE", "shop.cart", 1);
    shunt_worker_options options{};
    options.size = sizeof options;
    options.sdk = slice("test 0.1.0");
    options.definition = slice("{}");
    shunt_status error{};
    worker_ = shunt_worker_open(&options, &error);
    ASSERT_NE(worker_, nullptr) << view(error.message);
    api_ = shunt_worker_api(worker_);
  }
  void close_worker() {
    if (worker_ != nullptr) shunt_worker_close(std::exchange(worker_, nullptr));
  }

  using Handler = std::function<void(const shunt_event&)>;

  /// One turn of both sides.
  void step(const Handler& handler, int capacity = 32) {
    node_.turn();
    std::array<shunt_event, 32> events;
    int count = shunt_worker_poll(worker_, events.data(), capacity, 0);
    for (int i = 0; i < count; i++) {
      if (!shunt_event_is_void(&events[i])) handler(events[i]);
    }
  }
  /// Turns both sides until `done`; false when that does not come.
  bool run(const Handler& handler, const std::function<bool()>& done) {
    for (int i = 0; i < 100'000; i++) {
      if (done()) return true;
      step(handler);
    }
    return done();
  }
  /// Turns both sides until nothing can be on its way.
  void settle(const Handler& handler) {
    for (int i = 0; i < 50; i++) step(handler);
  }

  void answer(shunt_call* call, std::string_view text) {
    auto message = borrowed(text);
    api_->finish(call, nullptr, &message, nullptr, 0);
    api_->release(call);
  }
  void fail_call(shunt_call* call, std::uint32_t code, std::string_view text) {
    auto status = error_status(code, text);
    api_->finish(call, &status, nullptr, nullptr, 0);
    api_->release(call);
  }
  shunt_call* open(std::string_view target, std::string_view text, shunt_call* parent = nullptr, void* user = nullptr,
                   std::int64_t deadline = SHUNT_NO_DEADLINE) {
    shunt_open opening{};
    opening.size = sizeof opening;
    opening.flags = SHUNT_HAS_MESSAGE | SHUNT_LAST;
    opening.target = slice(target);
    opening.deadline_ns = deadline;
    opening.parent = parent;
    auto message = borrowed(text);
    return api_->open(shunt_worker_context(worker_), &opening, &message, user);
  }
  Handler echo() {
    return [this](const shunt_event& event) {
      // A large message comes after its CALL, by itself.
      if (event.message != nullptr) answer(event.call, {event.message->data, event.message->size});
    };
  }
  Handler keep(shunt_call*& call) {
    return [&call](const shunt_event& event) {
      if (event.kind == SHUNT_EVENT_CALL) call = event.call;
    };
  }

  TestNode node_;
  os::Fd supervisor_;
  shunt_worker* worker_ = nullptr;
  const shunt_api* api_ = nullptr;
};

TEST_F(WorkerTest, a_process_that_no_node_started_is_told_how_to_start_it) {
  EXPECT_EQ(shunt_is_worker(), 0);
  shunt_status error{};
  EXPECT_EQ(shunt_worker_open(nullptr, &error), nullptr);
  EXPECT_EQ(view(error.id), "S3060");
  EXPECT_EQ(error.code, 9u);
}

TEST_F(WorkerTest, hello_tells_the_node_who_it_is) {
  start(2);
  EXPECT_EQ(view(shunt_worker_service(worker_)), "shop.cart");
  ASSERT_TRUE(run([](auto&) {}, [&] { return node_.hellos.size() == 2; }));
  EXPECT_EQ(node_.hellos[0].role, "worker");
  EXPECT_EQ(node_.hellos[0].name, "shop.cart");
  EXPECT_EQ(node_.hellos[0].software, "test 0.1.0");
  EXPECT_EQ(node_.hellos[0].pid, static_cast<std::uint64_t>(getpid()));
}

TEST_F(WorkerTest, a_unary_call_shows_how_it_began_and_is_answered) {
  start();
  call::Metadata metadata;
  metadata.add_unchecked("traceparent", "00-1-2-01");
  call::Principal principal;
  principal.kind = call::PrincipalKind::gateway;
  principal.user = "ada";
  principal.token = "t0k3n";
  call::Open open;
  open.metadata = &metadata;
  open.principal = &principal;
  open.deadline = Deadline(Instant{api_->now() + 3'600'000'000'000});
  auto caller = node_.call(1, "total", call::Opening::unary(call::Message(Bytes::copy_of("[1,2]"))), open);
  int calls = 0;
  auto handler = [&](const shunt_event& event) {
    ASSERT_EQ(event.kind, SHUNT_EVENT_CALL);
    calls++;
    EXPECT_EQ(event.flags, unsigned{SHUNT_HAS_MESSAGE | SHUNT_LAST});
    EXPECT_EQ(view(event.open->target), "total");
    EXPECT_EQ(event.open->deadline_ns, open.deadline.at().ns);
    ASSERT_EQ(event.open->metadata_count, 1u);
    EXPECT_EQ(view(event.open->metadata[0].key), "traceparent");
    EXPECT_EQ(view(event.open->metadata[0].value), "00-1-2-01");
    EXPECT_EQ(event.open->principal_kind, 2u);
    EXPECT_EQ(view(event.open->principal_user), "ada");
    EXPECT_EQ(view(event.open->token), "t0k3n");
    EXPECT_EQ(std::string_view(event.message->data, event.message->size), "[1,2]");
    EXPECT_GE(event.cost, 5u);
    answer(event.call, "3");
  };
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(caller->status->is_ok()) << caller->status->to_string();
  EXPECT_EQ(caller->messages, std::vector<std::string>{"3"});
}

TEST_F(WorkerTest, many_calls_at_once_come_in_batches_and_each_gets_its_own_answer) {
  start(2);
  std::vector<Own<NodeCaller>> callers;
  for (int round = 0; round < 3; round++) {
    callers.clear();
    for (int i = 0; i < 200; i++) {
      callers.push_back(
          node_.call(i % 2, "echo", call::Opening::unary(call::Message(Bytes::adopt(std::to_string(i))))));
    }
    auto all = [&] { return std::ranges::all_of(callers, [](auto& caller) { return caller->status.has_value(); }); };
    ASSERT_TRUE(run(echo(), all));
    for (int i = 0; i < 200; i++) EXPECT_EQ(callers[i]->messages, std::vector<std::string>{std::to_string(i)});
  }
}

TEST_F(WorkerTest, a_runtime_that_takes_one_event_at_a_time_gets_them_all) {
  start(1);
  std::vector<Own<NodeCaller>> callers;
  for (int i = 0; i < 5000; i++) callers.push_back(node_.unary("echo", std::to_string(i)));
  auto all = [&] { return std::ranges::all_of(callers, [](auto& caller) { return caller->status.has_value(); }); };
  for (int i = 0; i < 100'000 && (i % 1000 != 0 || !all()); i++) step(echo(), 1);
  ASSERT_TRUE(all());
  for (int i = 0; i < 5000; i++) EXPECT_EQ(callers[i]->messages, std::vector<std::string>{std::to_string(i)});
}

TEST_F(WorkerTest, messages_of_no_byte_and_of_a_megabyte_pass) {
  start();
  auto empty = node_.unary("echo", "");
  std::string large(1 << 20, 'x');
  auto big = node_.unary("echo", large);
  ASSERT_TRUE(run(echo(), [&] { return empty->status && big->status; }));
  EXPECT_EQ(empty->messages, std::vector<std::string>{""});
  ASSERT_EQ(big->messages.size(), 1u);
  EXPECT_EQ(big->messages[0], large);
}

TEST_F(WorkerTest, status_details_metadata_and_trailers_reach_the_caller) {
  start();
  auto caller = node_.unary("get", "{}");
  auto handler = [&](const shunt_event& event) {
    shunt_pair head{slice("x-shard"), slice("7")};
    api_->send_metadata(event.call, &head, 1);
    auto status = error_status(5, "no such sku");
    status.id = slice("S1002");
    status.retry = 1;
    status.details = slice("[{\"type\":\"a\"}]");
    shunt_pair trailer{slice("x-cost"), slice("12")};
    api_->finish(event.call, &status, nullptr, &trailer, 1);
    api_->release(event.call);
  };
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  EXPECT_EQ(caller->status->code(), Code::not_found);
  EXPECT_EQ(caller->status->message(), "no such sku");
  EXPECT_EQ(caller->status->id(), "S1002");
  EXPECT_EQ(caller->status->retry(), Retry::later);
  EXPECT_EQ(caller->status->details(), "[{\"type\":\"a\"}]");
  EXPECT_EQ(caller->metadata.find("x-shard"), "7");
  EXPECT_EQ(caller->trailers.find("x-cost"), "12");
}

TEST_F(WorkerTest, a_last_message_with_trailers_comes_before_them) {
  start();
  auto caller = node_.unary("get", "{}");
  auto handler = [&](const shunt_event& event) {
    shunt_pair trailer{slice("x-cost"), slice("12")};
    auto message = borrowed("995");
    api_->finish(event.call, nullptr, &message, &trailer, 1);
    api_->release(event.call);
  };
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  EXPECT_TRUE(caller->status->is_ok());
  EXPECT_EQ(caller->messages, std::vector<std::string>{"995"});
  EXPECT_EQ(caller->trailers.find("x-cost"), "12");
}

TEST_F(WorkerTest, a_call_that_is_let_go_unanswered_ends_as_internal) {
  start();
  auto caller = node_.unary("get", "{}");
  ASSERT_TRUE(run([&](const shunt_event& event) { api_->release(event.call); }, [&] { return !!caller->status; }));
  EXPECT_EQ(caller->status->code(), Code::internal);
  EXPECT_EQ(caller->status->id(), "S1013");
}

TEST_F(WorkerTest, a_stream_that_comes_in_ends_with_half_close) {
  start();
  auto caller = node_.call(0, "sum", call::Opening::empty());
  int sum = 0;
  int sent = 0;
  auto handler = [&](const shunt_event& event) {
    // The first may come with the call.
    if (event.message != nullptr) {
      sum += std::atoi(std::string(event.message->data, event.message->size).c_str());
      api_->consume(event.call, event.cost);
    }
    if (event.kind == SHUNT_EVENT_HALF_CLOSE) answer(event.call, std::to_string(sum));
  };
  auto feed = [&] {
    while (sent < 1000 && !caller->held) {
      sent++;
      caller->send(std::to_string(sent), sent == 1000 ? call::Last::yes : call::Last::no);
    }
    return caller->status.has_value();
  };
  ASSERT_TRUE(run(handler, feed));
  EXPECT_EQ(caller->messages, std::vector<std::string>{"500500"});
}

TEST_F(WorkerTest, a_stream_that_goes_out_waits_for_its_reader_and_loses_nothing) {
  start();
  auto caller = node_.call(0, "count", call::Opening::unary(call::Message(Bytes::copy_of("{}"))));
  caller->consume = false;
  std::string block(10'000, 'b');
  int sent = 0;
  int helds = 0;
  shunt_call* call = nullptr;
  bool held = false;
  auto produce = [&] {
    while (!held && sent < 99) {
      auto message = borrowed(block);
      int how = api_->send(call, &message, 0);
      ASSERT_NE(how, SHUNT_ENDED);
      sent++;
      if (how == SHUNT_HELD) held = true, helds++;
    }
    if (sent < 99) return;
    // Even where there is no credit the last message is not lost.
    auto last = borrowed(block);
    api_->finish(std::exchange(call, nullptr), nullptr, &last, nullptr, 0);
  };
  shunt_call* finished = nullptr;
  auto handler = [&](const shunt_event& event) {
    if (event.kind == SHUNT_EVENT_CALL) finished = call = event.call;
    if (event.kind == SHUNT_EVENT_CREDIT) held = false;
    if (call != nullptr) produce();
  };
  settle(handler);
  EXPECT_TRUE(held);
  EXPECT_LT(sent, 99);
  EXPECT_FALSE(caller->status);
  caller->consume = true;
  caller->end->consumed(std::exchange(caller->consumed_later, 0));
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  EXPECT_TRUE(caller->status->is_ok()) << caller->status->to_string();
  EXPECT_EQ(caller->messages.size(), 100u);
  EXPECT_GT(helds, 1);
  api_->release(finished);
}

TEST_F(WorkerTest, a_finish_without_credit_keeps_its_last_message_even_when_released_at_once) {
  start();
  auto caller = node_.call(0, "count", call::Opening::unary(call::Message(Bytes::copy_of("{}"))));
  caller->consume = false;
  std::size_t sent = 0;
  auto handler = [&](const shunt_event& event) {
    if (event.kind != SHUNT_EVENT_CALL) return;
    std::string block(50'000, 'b');
    int how = SHUNT_MORE;
    while (how == SHUNT_MORE) {
      auto message = borrowed(block);
      how = api_->send(event.call, &message, 0);
      sent++;
    }
    answer(event.call, "the end");
  };
  settle(handler);
  EXPECT_FALSE(caller->status);
  caller->consume = true;
  caller->end->consumed(std::exchange(caller->consumed_later, 0));
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  ASSERT_EQ(caller->messages.size(), sent + 1);
  EXPECT_EQ(caller->messages.back(), "the end");
}

TEST_F(WorkerTest, a_call_beyond_the_concurrency_may_go_elsewhere) {
  start(1, 1);
  shunt_call* call = nullptr;
  auto first = node_.unary("slow", "{}");
  ASSERT_TRUE(run(keep(call), [&] { return call != nullptr; }));
  auto second = node_.unary("slow", "{}");
  ASSERT_TRUE(run([](auto&) { FAIL(); }, [&] { return second->status.has_value(); }));
  EXPECT_EQ(second->status->retry(), Retry::elsewhere);
  answer(call, "1");
  ASSERT_TRUE(run([](auto&) {}, [&] { return first->status.has_value(); }));
}

TEST_F(WorkerTest, a_granted_slot_is_kept) {
  start(1, 1);
  wire::WaitFrame wait;
  wait.service = "shop.cart";
  settle([](auto&) {});
  node_.link(0).wait(7, wait);
  ASSERT_TRUE(run([](auto&) {}, [&] { return node_.grants.size() == 1; }));
  auto barging = node_.unary("echo", "1");
  ASSERT_TRUE(run(echo(), [&] { return barging->status.has_value(); }));
  EXPECT_EQ(barging->status->retry(), Retry::elsewhere);
  call::Open open;
  open.grant = node_.grants[0];
  auto granted = node_.call(0, "echo", call::Opening::unary(call::Message(Bytes::copy_of("2"))), open);
  ASSERT_TRUE(run(echo(), [&] { return granted->status.has_value(); }));
  EXPECT_TRUE(granted->status->is_ok());
}

TEST_F(WorkerTest, an_outgoing_call_reaches_the_node_and_its_answer_comes_back) {
  start(2);
  int user = 0;
  auto* call = open("prices.get", R"({"sku":"a"})", nullptr, &user);
  std::vector<std::uint32_t> kinds;
  std::string got;
  auto handler = [&](const shunt_event& event) {
    EXPECT_EQ(event.call, call);
    EXPECT_EQ(event.user, &user);
    kinds.push_back(event.kind);
    if (event.kind == SHUNT_EVENT_METADATA) EXPECT_EQ(view(event.metadata[0].value), "7");
    if (event.kind == SHUNT_EVENT_MESSAGE) got.assign(event.message->data, event.message->size);
    if (event.kind == SHUNT_EVENT_END) {
      EXPECT_EQ(event.status->code, 0u);
      ASSERT_EQ(event.metadata_count, 1u);
      EXPECT_EQ(view(event.metadata[0].key), "x-cost");
      api_->release(event.call);
    }
  };
  ASSERT_TRUE(run(handler, [&] { return node_.calls.size() == 1; }));
  auto& arrived = *node_.calls[0];
  EXPECT_EQ(arrived.target, "prices.get");
  EXPECT_EQ(arrived.principal.service, "shop.cart");
  EXPECT_EQ(arrived.messages, std::vector<std::string>{R"({"sku":"a"})"});
  EXPECT_TRUE(arrived.half_closed);
  call::Metadata metadata;
  metadata.add_unchecked("x-shard", "7");
  arrived.end->send_metadata(std::move(metadata));
  arrived.end->send(call::Message(Bytes::copy_of("995")));
  call::Metadata trailers;
  trailers.add_unchecked("x-cost", "12");
  arrived.end->finish(Status(), std::move(trailers));
  ASSERT_TRUE(run(handler, [&] { return kinds.size() == 3; }));
  EXPECT_EQ(kinds, (std::vector<std::uint32_t>{SHUNT_EVENT_METADATA, SHUNT_EVENT_MESSAGE, SHUNT_EVENT_END}));
  EXPECT_EQ(got, "995");
}

TEST_F(WorkerTest, an_outgoing_stream_is_held_without_credit) {
  start(1);
  shunt_open opening{};
  opening.size = sizeof opening;
  opening.target = slice("log.write");
  opening.deadline_ns = SHUNT_NO_DEADLINE;
  auto* call = api_->open(shunt_worker_context(worker_), &opening, nullptr, nullptr);
  ASSERT_TRUE(run([](auto&) {}, [&] { return node_.calls.size() == 1; }));
  int sent = 0;
  int how = SHUNT_MORE;
  std::string block(50'000, 'b');
  while (how == SHUNT_MORE) {
    auto message = borrowed(block);
    how = api_->send(call, &message, 0);
    sent++;
  }
  EXPECT_EQ(how, SHUNT_HELD);
  auto refused = borrowed(block);
  EXPECT_EQ(api_->send(call, &refused, 0), SHUNT_ENDED);
  int credits = 0;
  auto handler = [&](const shunt_event& event) { credits += event.kind == SHUNT_EVENT_CREDIT; };
  settle(handler);
  EXPECT_EQ(credits, 0);
  for (int i = 0; i < sent; i++) node_.calls[0]->end->consumed(50'000 + call::message_overhead);
  ASSERT_TRUE(run(handler, [&] { return credits == 1; }));
  api_->half_close(call);
  ASSERT_TRUE(run(handler, [&] { return node_.calls[0]->half_closed; }));
  EXPECT_EQ(node_.calls[0]->messages.size(), static_cast<std::size_t>(sent));
  api_->release(call);
  ASSERT_TRUE(run(handler, [&] { return node_.calls[0]->cancelled.has_value(); }));
}

TEST_F(WorkerTest, what_a_parent_has_goes_on_to_its_children) {
  start(2);
  call::Metadata metadata;
  metadata.add_unchecked("traceparent", "00-1-2-01");
  metadata.add_unchecked("x-secret", "no");
  call::Principal principal;
  principal.kind = call::PrincipalKind::gateway;
  principal.token = "t0k3n";
  call::Open opening;
  opening.metadata = &metadata;
  opening.principal = &principal;
  opening.deadline = Deadline(Instant{api_->now() + 3'600'000'000'000});
  auto caller = node_.call(1, "total", call::Opening::unary(call::Message(Bytes::copy_of("[]"))), opening);
  shunt_call* parent = nullptr;
  ASSERT_TRUE(run(keep(parent), [&] { return parent != nullptr; }));
  auto* child = open("prices.get", "{}", parent);
  std::vector<std::uint32_t> kinds;
  auto handler = [&](const shunt_event& event) {
    kinds.push_back(event.kind);
    if (event.kind == SHUNT_EVENT_CANCEL) EXPECT_EQ(event.reason, unsigned{SHUNT_CANCEL_CALLER});
    if (event.kind == SHUNT_EVENT_END) EXPECT_EQ(event.status->code, 1u);
  };
  ASSERT_TRUE(run(handler, [&] { return node_.calls.size() == 1; }));
  auto& arrived = *node_.calls[0];
  EXPECT_EQ(arrived.link, 1u);
  EXPECT_EQ(arrived.metadata.find("traceparent"), "00-1-2-01");
  EXPECT_FALSE(arrived.metadata.find("x-secret"));
  EXPECT_EQ(arrived.principal.token, "t0k3n");
  EXPECT_EQ(arrived.deadline, opening.deadline);

  caller->end->cancel(call::Cancel::caller);
  ASSERT_TRUE(run(handler, [&] { return kinds.size() == 2 && arrived.cancelled; }));
  EXPECT_EQ(arrived.cancelled, call::Cancel::caller);
  auto* too_late = open("prices.get", "{}", parent);
  ASSERT_TRUE(run(handler, [&] { return kinds.size() == 3; }));
  EXPECT_EQ(node_.calls.size(), 1u);
  api_->release(too_late);
  api_->release(child);
  fail_call(parent, 1, "cancelled");
}

TEST_F(WorkerTest, a_call_to_nowhere_ends_with_an_error_that_says_what_a_target_is) {
  start();
  for (std::string_view bad : {"prices", ".get", "prices.", "", "."}) {
    auto* call = open(bad, "{}");
    bool ended = false;
    auto handler = [&](const shunt_event& event) {
      EXPECT_EQ(event.kind, SHUNT_EVENT_END);
      EXPECT_EQ(event.status->code, 3u);
      EXPECT_EQ(view(event.status->id), "S3063");
      ended = true;
    };
    ASSERT_TRUE(run(handler, [&] { return ended; })) << bad;
    api_->release(call);
  }
}

TEST_F(WorkerTest, a_handler_may_poll_for_its_own_answer_and_keep_what_else_comes) {
  start(1);
  auto first = node_.unary("total", "1");
  std::vector<shunt_event> kept;
  std::string answer_text;
  auto handler = [&](const shunt_event& event) {
    if (event.kind != SHUNT_EVENT_CALL) return;
    auto* outer = event.call;
    auto* inner = open("prices.get", "{}", outer);
    auto second = node_.unary("total", "2");
    bool done = false;
    for (int i = 0; i < 1000 && !done; i++) {
      node_.turn();
      if (!node_.calls.empty() && node_.calls[0]->end && i > 20) {
        node_.calls[0]->end->finish_with(call::Message(Bytes::copy_of("995")));
        node_.calls[0]->end.reset();
      }
      std::array<shunt_event, 8> events;
      int count = shunt_worker_poll(worker_, events.data(), 8, 0);
      for (int k = 0; k < count; k++) {
        if (events[k].call != inner) {
          kept.push_back(events[k]);
        } else if (events[k].kind == SHUNT_EVENT_MESSAGE) {
          answer_text.assign(events[k].message->data, events[k].message->size);
        } else if (events[k].kind == SHUNT_EVENT_END) {
          done = true;
        }
      }
    }
    EXPECT_TRUE(done);
    api_->release(inner);
    answer(outer, answer_text);
    ASSERT_EQ(kept.size(), 1u);
    answer(kept[0].call, "later");
    ASSERT_TRUE(run([](auto&) {}, [&] { return second->status.has_value(); }));
    EXPECT_EQ(second->messages, std::vector<std::string>{"later"});
  };
  node_.turn();
  std::array<shunt_event, 1> events;
  while (shunt_worker_poll(worker_, events.data(), 1, 0) == 0) node_.turn();
  handler(events[0]);
  ASSERT_TRUE(run([](auto&) {}, [&] { return first->status.has_value(); }));
  EXPECT_EQ(first->messages, std::vector<std::string>{"995"});
}

TEST_F(WorkerTest, a_message_that_was_taken_lives_until_it_is_let_go) {
  start();
  auto caller = node_.unary("keep", "precious");
  shunt_message taken{};
  auto handler = [&](const shunt_event& event) {
    taken = *event.message;
    event.message->release = nullptr;
    answer(event.call, "ok");
  };
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  close_worker();
  EXPECT_EQ(std::string_view(taken.data, taken.size), "precious");
  taken.release(taken.owner);
}

TEST_F(WorkerTest, a_message_that_is_given_is_released_once) {
  start();
  auto caller = node_.unary("get", "{}");
  static int releases = 0;
  releases = 0;
  std::string text = "mine";
  auto handler = [&](const shunt_event& event) {
    shunt_message message = borrowed(text);
    message.owner = &text;
    message.release = [](void* owner) { releases += *static_cast<std::string*>(owner) == "mine"; };
    api_->finish(event.call, nullptr, &message, nullptr, 0);
    // The call is over: what comes after is not taken, and released at once.
    message = borrowed(text);
    message.owner = &text;
    message.release = [](void*) { releases += 10; };
    EXPECT_EQ(api_->send(event.call, &message, 0), SHUNT_ENDED);
    EXPECT_GE(releases, 10);
    api_->release(event.call);
  };
  ASSERT_TRUE(run(handler, [&] { return caller->status.has_value(); }));
  EXPECT_EQ(caller->messages, std::vector<std::string>{"mine"});
  EXPECT_EQ(releases, 11);
}

TEST_F(WorkerTest, events_of_a_call_that_was_let_go_in_the_same_batch_are_void) {
  start(1);
  auto* call = open("prices.get", "{}");
  ASSERT_TRUE(run([](auto&) {}, [&] { return node_.calls.size() == 1; }));
  node_.calls[0]->end->send(call::Message(Bytes::copy_of("1")));
  node_.calls[0]->end->send(call::Message(Bytes::copy_of("2")));
  node_.calls[0]->end->finish(Status(), {});
  std::array<shunt_event, 8> events;
  int count = 0;
  node_.turn();
  while ((count = shunt_worker_poll(worker_, events.data(), 8, 0)) == 0) node_.turn();
  ASSERT_EQ(count, 3);
  EXPECT_FALSE(shunt_event_is_void(&events[0]));
  api_->release(call);
  EXPECT_TRUE(shunt_event_is_void(&events[1]));
  EXPECT_TRUE(shunt_event_is_void(&events[2]));
}

TEST_F(WorkerTest, the_descriptor_is_readable_while_events_wait) {
  start(1);
  settle([](auto&) {});
  pollfd wait{.fd = shunt_worker_fd(worker_), .events = POLLIN, .revents = 0};
  auto first = node_.unary("echo", "1");
  auto second = node_.unary("echo", "2");
  node_.turn();
  EXPECT_EQ(poll(&wait, 1, 0), 1);
  std::array<shunt_event, 1> event;
  ASSERT_EQ(shunt_worker_poll(worker_, event.data(), 1, 0), 1);
  EXPECT_EQ(poll(&wait, 1, 0), 1);  // One event was left over.
  EXPECT_EQ(shunt_worker_idle_ns(worker_), 0);
  answer(event[0].call, "1");
  ASSERT_EQ(shunt_worker_poll(worker_, event.data(), 1, 0), 1);
  answer(event[0].call, "2");
  while (poll(&wait, 1, 0) == 1) EXPECT_EQ(shunt_worker_poll(worker_, event.data(), 1, 0), 0);
  ASSERT_TRUE(run([](auto&) {}, [&] { return first->status && second->status; }));

  // What an action brings about outside of poll is told too.
  auto* bad = open("nowhere", "{}");
  EXPECT_EQ(poll(&wait, 1, 0), 1);
  ASSERT_EQ(shunt_worker_poll(worker_, event.data(), 1, 0), 1);
  EXPECT_EQ(event[0].call, bad);
  api_->release(bad);
}

TEST_F(WorkerTest, flush_writes_what_was_sent_without_a_poll) {
  start(1);
  settle([](auto&) {});
  auto* call = open("prices.get", "{}");
  shunt_worker_flush(worker_);
  node_.turn();
  EXPECT_EQ(node_.calls.size(), 1u);
  api_->release(call);
}

TEST_F(WorkerTest, another_thread_wakes_a_waiting_poll) {
  start(1);
  settle([](auto&) {});
  shunt_event event;
  std::thread waker([&] { shunt_worker_wake(worker_); });
  // Before or after: the wake is not lost.
  EXPECT_EQ(shunt_worker_poll(worker_, &event, 1, -1), 0);
  waker.join();
  std::vector<std::thread> many;
  for (int i = 0; i < 4; i++) many.emplace_back([&] { shunt_worker_wake(worker_); });
  for (auto& thread : many) thread.join();
  EXPECT_EQ(shunt_worker_poll(worker_, &event, 1, -1), 0);
}

TEST_F(WorkerTest, a_poll_ends_at_its_time_out) {
  start(1);
  settle([](auto&) {});
  shunt_event event;
  auto before = api_->now();
  while (shunt_worker_poll(worker_, &event, 1, before + 5'000'000 - api_->now()) == 0 &&
         api_->now() < before + 5'000'000) {
  }
  EXPECT_GE(api_->now(), before + 5'000'000);
}

TEST_F(WorkerTest, when_the_node_dies_calls_end_and_fresh_links_bring_new_ones) {
  start(2);
  auto caller = node_.unary("slow", "{}");
  shunt_call* incoming = nullptr;
  ASSERT_TRUE(run(keep(incoming), [&] { return incoming != nullptr; }));
  auto* outgoing = open("prices.get", "{}");
  ASSERT_TRUE(run([](auto&) {}, [&] { return node_.calls.size() == 1; }));
  caller->end.reset();
  node_.die();
  bool cancelled = false;
  bool ended = false;
  auto handler = [&](const shunt_event& event) {
    ASSERT_NE(event.kind, SHUNT_EVENT_LOST);
    if (event.kind == SHUNT_EVENT_CANCEL) cancelled = event.call == incoming;
    if (event.kind == SHUNT_EVENT_END) {
      EXPECT_EQ(event.status->code, 14u);
      ended = event.call == outgoing;
    }
  };
  ASSERT_TRUE(run(handler, [&] { return cancelled && ended; }));
  api_->consume(outgoing, 64);
  answer(incoming, "nobody reads it");
  api_->release(outgoing);

  os::Fd first = node_.add_link();
  os::Fd second = node_.add_link();
  std::array<int, 2> descriptors = {first.get(), second.get()};
  ASSERT_TRUE(*os::send_message(supervisor_.get(), "L", descriptors));
  first.close();
  second.close();
  auto again = node_.unary("echo", "hello again");
  ASSERT_TRUE(run(echo(), [&] { return again->status.has_value(); }));
  EXPECT_EQ(again->messages, std::vector<std::string>{"hello again"});
}

TEST_F(WorkerTest, a_call_is_cancelled_when_its_worker_is_closed) {
  start(1);
  auto caller = node_.unary("slow", "{}");
  shunt_call* call = nullptr;
  ASSERT_TRUE(run(keep(call), [&] { return call != nullptr; }));
  close_worker();
  for (int i = 0; i < 100 && !caller->status; i++) node_.turn();
  ASSERT_TRUE(caller->status.has_value());
  EXPECT_EQ(caller->status->code(), Code::unavailable);
}

TEST_F(WorkerTest, an_answer_that_was_given_before_the_close_arrives) {
  start(1);
  auto caller = node_.unary("last", "{}");
  auto handler = [&](const shunt_event& event) { answer(event.call, std::string(3 << 20, 'z')); };
  std::array<shunt_event, 1> event;
  node_.turn();
  while (shunt_worker_poll(worker_, event.data(), 1, 0) == 0) node_.turn();
  handler(event[0]);
  std::thread reader([&] {
    while (!caller->status) node_.turn();
  });
  close_worker();
  reader.join();
  EXPECT_TRUE(caller->status->is_ok()) << caller->status->to_string();
  ASSERT_EQ(caller->messages.size(), 1u);
  EXPECT_EQ(caller->messages[0].size(), std::size_t{3} << 20);
}

TEST_F(WorkerTest, a_drain_is_told_once_and_new_calls_are_sent_elsewhere) {
  start(2);
  shunt_call* call = nullptr;
  auto open_one = node_.call(1, "slow", call::Opening::unary(call::Message(Bytes::copy_of("{}"))));
  ASSERT_TRUE(run(keep(call), [&] { return call != nullptr; }));
  node_.link(0).goaway("stopping");
  int drains = 0;
  auto handler = [&](const shunt_event& event) { drains += event.kind == SHUNT_EVENT_DRAIN; };
  ASSERT_TRUE(run(handler, [&] { return drains == 1; }));
  auto late = node_.call(1, "slow", call::Opening::unary(call::Message(Bytes::copy_of("{}"))));
  ASSERT_TRUE(run(handler, [&] { return late->status.has_value(); }));
  EXPECT_EQ(late->status->retry(), Retry::elsewhere);
  answer(call, "done");
  ASSERT_TRUE(run(handler, [&] { return open_one->status.has_value(); }));
  EXPECT_TRUE(open_one->status->is_ok());
  shunt_worker_drain(worker_);
  settle(handler);
  EXPECT_EQ(drains, 1);
}

TEST_F(WorkerTest, the_end_of_the_supervisor_is_told_as_lost) {
  start(1);
  supervisor_.close();
  bool lost = false;
  ASSERT_TRUE(run([&](const shunt_event& event) { lost = event.kind == SHUNT_EVENT_LOST; }, [&] { return lost; }));
}

TEST_F(WorkerTest, bad_metadata_of_an_outgoing_call_is_an_error_that_names_it) {
  start(1);
  shunt_pair pair{slice("Not A Key"), slice("x")};
  shunt_open opening{};
  opening.size = sizeof opening;
  opening.target = slice("prices.get");
  opening.deadline_ns = SHUNT_NO_DEADLINE;
  opening.metadata = &pair;
  opening.metadata_count = 1;
  auto* call = api_->open(shunt_worker_context(worker_), &opening, nullptr, nullptr);
  bool ended = false;
  auto handler = [&](const shunt_event& event) {
    EXPECT_EQ(event.status->code, 3u);
    ended = true;
  };
  ASSERT_TRUE(run(handler, [&] { return ended; }));
  api_->release(call);
}

}  // namespace
}  // namespace shunt::sdk
