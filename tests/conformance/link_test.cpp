// The contract of call::Link (src/call/link.h, src/call/ends.h), as tests. Each runs on every kind of link.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "rig.h"

namespace shunt::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Link : public testing::TestWithParam<LinkPairKind> {};
INSTANTIATE_TEST_SUITE_P(Every, Link, testing::ValuesIn(link_pair_kinds()),
                         [](const auto& instance) { return instance.param.name; });

// A test's body is a coroutine on the caller's loop (so EXPECT only: ASSERT would return).
#define LINK_TEST_WITH(name, ...)                      \
  static Task<void> body_of_##name(Rig& rig);          \
  TEST_P(Link, name) {                                 \
    Rig rig(GetParam(), call::LinkLimits __VA_ARGS__); \
    rig.run(body_of_##name(rig));                      \
  }                                                    \
  static Task<void> body_of_##name([[maybe_unused]] Rig& rig)
#define LINK_TEST(name) LINK_TEST_WITH(name, {})

bool is_in_order(const std::vector<std::string>& heard, std::initializer_list<std::string_view> expected) {
  return std::ranges::equal(heard, expected);
}

/// What a callee hears when its link goes: the caller has vanished, or, within one process, its side is ending.
bool is_loss(Cancel reason) { return reason == Cancel::caller || reason == Cancel::shutdown; }

// --- Shapes of calls ---

LINK_TEST(a_unary_call_is_answered) {
  auto call = rig.start("echo", Opening::unary(text("hello")));
  EXPECT_EQ(string_of(co_await call.receive()), "hello");
  EXPECT_FALSE((co_await call.receive()).has_value());
  EXPECT_TRUE(call.status().is_ok()) << call.status().to_string();
  EXPECT_EQ(rig.stats().calls_open, 0u);
  EXPECT_EQ(rig.stats().calls_opened, 1u);
}

LINK_TEST(an_answer_may_come_at_once) {
  auto call = rig.start("at_once", Opening::unary(text("hello")));
  EXPECT_EQ(string_of(co_await call.receive()), "hello");
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

LINK_TEST(a_client_streams) {
  auto call = rig.start("join", Opening::empty());
  for (int i = 0; i < 20; i++) EXPECT_TRUE(co_await call.send(text(std::to_string(i)), i == 19 ? Last::yes : Last::no));
  EXPECT_EQ(string_of(co_await call.receive()), "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,");
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

LINK_TEST(a_client_may_send_nothing) {
  auto call = rig.start("join", Opening::empty());
  call.half_close();
  EXPECT_EQ(string_of(co_await call.receive()), "");
  EXPECT_TRUE((co_await call.finish()).is_ok());

  Opening closed;
  closed.last = Last::yes;
  auto second = rig.start("join", std::move(closed));
  EXPECT_EQ(string_of(co_await second.receive()), "");
  EXPECT_TRUE((co_await second.finish()).is_ok());
}

LINK_TEST(a_half_close_follows_what_was_sent) {
  auto call = rig.start("join", Opening::first(text("one")));
  EXPECT_TRUE(co_await call.send(letters(100'000, 'a')));
  call.half_close();
  auto answer = string_of(co_await call.receive());
  EXPECT_EQ(answer.size(), 100'005u);
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

LINK_TEST(a_server_streams) {
  auto call = rig.start("count", Opening::unary(text("500")));
  for (int i = 0; i < 500; i++) EXPECT_EQ(string_of(co_await call.receive()), std::to_string(i));
  EXPECT_FALSE((co_await call.receive()).has_value());
  EXPECT_TRUE(call.status().is_ok());
}

LINK_TEST(both_stream_in_turns) {
  auto call = rig.start("chat", Opening::first(text("0")));
  for (int i = 0; i < 100; i++) {
    EXPECT_EQ(string_of(co_await call.receive()), std::to_string(i));
    EXPECT_TRUE(co_await call.send(text(std::to_string(i + 1))));
  }
  EXPECT_EQ(string_of(co_await call.receive()), "100");
  call.half_close();
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

LINK_TEST(messages_keep_their_order_whatever_their_size) {
  auto call = rig.start("join", Opening::empty());
  std::string expected;
  for (int i = 0; i < 200; i++) {
    std::size_t sizes[] = {0, 1, 4096, 4097, 16'384, 16'385, 40'000, 3};
    std::string what(sizes[i % 8], static_cast<char>('a' + i % 26));
    expected += what + ",";
    EXPECT_TRUE(co_await call.send(text(what), i == 199 ? Last::yes : Last::no));
  }
  EXPECT_TRUE(string_of(co_await call.receive()) == expected);
}

LINK_TEST(what_opens_a_call_arrives_with_it) {
  Metadata metadata;
  EXPECT_TRUE(metadata.add("traceparent", "00-abc"));
  EXPECT_TRUE(metadata.add("raw-bin", std::string_view("\0\n\xff", 3)));
  EXPECT_TRUE(metadata.add("twice", "1"));
  EXPECT_TRUE(metadata.add("twice", "2"));
  call::Principal principal{call::PrincipalKind::service, "shop.cart", "ann", "token"};
  auto open = rig.open("tell", rig.in(seconds(100)));
  open.metadata = &metadata;
  open.principal = &principal;
  open.hops = 3;
  ClientCall call(rig.pair->caller_loop(), rig.pair->link(), open, Opening::unary(text("")));
  auto told = string_of(co_await call.receive());
  EXPECT_EQ(told,
            std::string("tell hops=3 service=shop.cart user=ann kind=1 deadline=some traceparent=6:00-abc raw-bin=3:") +
                std::string("\0\n\xff", 3) + " twice=1:1 twice=1:2");
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

LINK_TEST(a_command_that_is_not_there_says_what_is) {
  auto call = rig.start("nope", Opening::unary(text("")));
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::unimplemented);
  EXPECT_EQ(status.id(), "S1005");
  EXPECT_NE(status.message().find("echo"), std::string_view::npos);
}

// --- How a callee ends a call ---

LINK_TEST(an_error_arrives_whole_with_metadata_and_trailers) {
  auto call = rig.start("fail", Opening::unary(text("")));
  EXPECT_EQ(string_of(co_await call.receive()), "before");
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::not_found);
  EXPECT_EQ(status.id(), "S1002");
  EXPECT_EQ(status.message(), "there is no such thing");
  EXPECT_EQ(status.details(), R"([{"type":"x"}])");
  EXPECT_EQ(call.metadata().find("first"), "one");
  EXPECT_EQ(call.trailers().find("last"), "two");
  EXPECT_EQ(call.trailers().find("raw-bin"), std::string_view("\0\xff", 2));
}

LINK_TEST(a_callee_that_lets_go_ends_as_internal) {
  auto call = rig.start("let_go", Opening::unary(text("")));
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::internal);
  EXPECT_EQ(status.id(), "S1013");

  auto later = rig.start("raw", Opening::first(text("x")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  EXPECT_FALSE(later.ended());
  rig.raw.clear();
  EXPECT_EQ((co_await later.finish()).id(), "S1013");
}

LINK_TEST(a_refusal_at_the_door_is_safe_to_move) {
  auto call = rig.start("refuse", Opening::unary(text("")));
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_EQ(status.retry(), Retry::elsewhere);
  EXPECT_EQ(status.id(), "S1009");
}

LINK_TEST(a_callee_may_finish_before_it_has_read_everything) {
  Ear ear;
  auto call = rig.pair->link().open(rig.open("raw"), ear, Opening::first(text("one")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  rig.raw[0]->call->finish({}, {});
  rig.raw.clear();
  co_await rig.wait_for([&] { return ear.ended; });
  EXPECT_TRUE(ear.status.is_ok());
  EXPECT_EQ(call->send(text("late"), Last::no), Sent::ended);
  call->half_close();
  call->cancel(Cancel::caller);
  co_await rig.sleep(milliseconds(1));
  EXPECT_TRUE(is_in_order(ear.heard, {"end:ok"}));
}

LINK_TEST(what_was_sent_before_the_end_comes_before_it) {
  Ear ear;
  auto call = rig.pair->link().open(rig.open("raw"), ear, Opening::unary(text("")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  auto& callee = *rig.raw[0]->call;
  callee.send_metadata({});
  callee.send(letters(60'000, 'a'));
  callee.send(text(""));
  callee.finish_with(text("b"));
  rig.raw.clear();
  co_await rig.wait_for([&] { return ear.ended; });
  EXPECT_TRUE(is_in_order(ear.heard, {"metadata", "message:aaaaaaaaaaaaaaaaaaaa", "message:", "message:b", "end:ok"}));
}

// --- Cancellation ---

LINK_TEST(a_callers_cancel_reaches_the_handler_with_its_reason) {
  for (auto reason : {Cancel::caller, Cancel::overload, Cancel::shutdown}) {
    rig.cancels.clear();
    auto before = rig.begun;
    auto call = rig.start("hang", Opening::unary(text("")));
    co_await rig.wait_for([&] { return rig.begun > before; });
    call.cancel(reason);
    EXPECT_TRUE(call.ended());
    EXPECT_EQ((co_await call.finish()).code(), call::cancel_status(reason).code());
    co_await rig.wait_for([&] { return !rig.cancels.empty(); });
    EXPECT_EQ(rig.cancels, std::vector<Cancel>{reason});
  }
  co_await rig.wait_for([&] { return rig.stats().calls_open == 0; });
}

LINK_TEST(dropping_a_call_cancels_it) {
  {
    auto call = rig.start("hang", Opening::unary(text("")));
    co_await rig.wait_for([&] { return rig.begun == 1; });
  }
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
  EXPECT_EQ(rig.cancels[0], Cancel::caller);
}

LINK_TEST(a_call_dropped_at_once_harms_nobody) {
  for (int i = 0; i < 50; i++) {
    auto call = rig.start(i % 2 == 0 ? "hang" : "flood", Opening::unary(text("")));
  }
  auto call = rig.start("echo", Opening::unary(text("x")));
  EXPECT_EQ(string_of(co_await call.receive()), "x");
  co_await rig.wait_for([&] { return rig.running() == 0; });
}

LINK_TEST(a_cancelled_callee_is_heard_no_more) {
  Ear ear;
  auto call = rig.pair->link().open(rig.open("raw"), ear, Opening::first(text("x")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  call->cancel(Cancel::caller);
  co_await rig.wait_for([&] { return rig.raw[0]->heard.back() == "cancel:1"; });
  auto& callee = *rig.raw[0]->call;
  callee.send_metadata({});
  EXPECT_EQ(callee.send(text("late")), Sent::ended);
  callee.consumed(65);
  callee.finish(Status(Code::aborted, "late"), {});
  rig.raw.clear();
  co_await rig.sleep(milliseconds(1));
  EXPECT_TRUE(is_in_order(ear.heard, {"end:cancelled"}));
}

LINK_TEST(a_cancel_inside_a_stream_stops_it) {
  auto call = rig.start("flood", Opening::unary(text("")));
  for (int i = 0; i < 10; i++) EXPECT_EQ(string_of(co_await call.receive()).size(), 1000u);
  call.cancel(Cancel::caller);
  (void)co_await call.finish();
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
  EXPECT_EQ(rig.cancels[0], Cancel::caller);
}

// --- Deadlines ---

LINK_TEST(a_deadline_ends_the_call_on_both_sides) {
  auto call = rig.start("hang", Opening::unary(text("")), rig.in(milliseconds(20)));
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::deadline_exceeded);
  EXPECT_EQ(status.id(), "S1004");
  EXPECT_GE(rig.pair->caller_loop().refresh_now().ns, 0);
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
  EXPECT_EQ(rig.cancels[0], Cancel::deadline);
  co_await rig.wait_for([&] { return rig.stats().calls_open == 0; });
}

LINK_TEST(a_deadline_that_has_passed_starts_nothing) {
  auto call =
      rig.start("echo", Opening::unary(text("")), Deadline(rig.pair->caller_loop().refresh_now() - milliseconds(1)));
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::deadline_exceeded);
  EXPECT_EQ(status.id(), "S1004");
  co_await rig.sleep(milliseconds(5));
  EXPECT_EQ(rig.begun, 0u);
}

LINK_TEST(a_deadline_interrupts_a_stream_each_way) {
  auto down = rig.start("flood", Opening::unary(text("")), rig.in(milliseconds(20)));
  for (int i = 0; i < 3; i++) EXPECT_TRUE((co_await down.receive()).has_value());
  co_await rig.wait_for([&] { return down.ended(); });
  EXPECT_EQ(down.status().code(), Code::deadline_exceeded);
  auto up = rig.start("when_told", Opening::empty(), rig.in(milliseconds(20)));
  while (co_await up.send(letters(10'000))) {
  }
  EXPECT_EQ((co_await up.finish()).code(), Code::deadline_exceeded);
  co_await rig.wait_for([&] { return rig.running() == 0; });
  EXPECT_EQ(rig.cancels, (std::vector<Cancel>{Cancel::deadline, Cancel::deadline}));
}

LINK_TEST(a_deadline_that_is_kept_does_nothing) {
  auto call = rig.start("echo", Opening::unary(text("x")), rig.in(seconds(60)));
  EXPECT_EQ(string_of(co_await call.receive()), "x");
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

// --- Credit ---

LINK_TEST_WITH(a_slow_reader_holds_up_its_sender_and_nobody_else, {.stream_credit = 10'000}) {
  // Until a link has opened, it has credit for one message only.
  auto first = rig.start("echo", Opening::unary(text("x")));
  EXPECT_TRUE((co_await first.finish()).is_ok());
  auto slow = rig.start("when_told", Opening::empty());
  Ear ear;
  auto raw = rig.pair->link().open(rig.open("when_told"), ear, Opening::empty());
  int taken = 0;
  Sent sent = Sent::more;
  while (sent == Sent::more) {
    sent = raw->send(letters(936), Last::no);
    taken++;
  }
  EXPECT_EQ(sent, Sent::held);
  EXPECT_EQ(taken, 10);
  EXPECT_EQ(raw->send(text("too much"), Last::no), Sent::ended);
  // A link with a queue of its own in the middle gives its own credit too, once.
  std::size_t expected = 10;
  if (rig.kind.name == "cross_loop") {
    co_await rig.wait_for([&] { return !ear.heard.empty(); });
    while (raw->send(letters(936), Last::no) == Sent::more) expected++;
    expected++;
    ear.heard.clear();
    co_await rig.sleep(milliseconds(2));
    ear.heard.clear();
    while (raw->send(letters(936), Last::no) == Sent::more) expected++;
    EXPECT_LE(expected, 30u);
    ear.heard.clear();
  }
  for (int i = 0; i < 10; i++) {
    auto other = rig.start("echo", Opening::unary(letters(5000)));
    EXPECT_EQ(string_of(co_await other.receive()).size(), 5000u);
  }
  EXPECT_TRUE(ear.heard.empty());
  rig.go = true;
  co_await rig.wait_for([&] { return !ear.heard.empty(); });
  EXPECT_EQ(ear.heard[0], "credit");
  EXPECT_EQ(raw->send(text("more"), Last::yes), Sent::more);
  co_await rig.wait_for([&] { return ear.ended; });
  EXPECT_TRUE(ear.status.is_ok());
  EXPECT_GE(rig.received.size(), expected + 1);
  slow.half_close();
  EXPECT_TRUE((co_await slow.finish()).is_ok());
}

LINK_TEST_WITH(a_caller_that_does_not_read_holds_up_its_callee, {.stream_credit = 10'000}) {
  Ear ear;
  auto call = rig.pair->link().open(rig.open("flood"), ear, Opening::unary(text("")));
  co_await rig.wait_for([&] { return ear.messages.size() >= 10; });
  co_await rig.sleep(milliseconds(20));
  EXPECT_EQ(ear.messages.size(), 10u);
  EXPECT_EQ(rig.sent, 10u);
  auto other = rig.start("echo", Opening::unary(text("x")));
  EXPECT_EQ(string_of(co_await other.receive()), "x");
  call->consumed(ear.cost);
  co_await rig.wait_for([&] { return ear.messages.size() >= 20; });
}

LINK_TEST_WITH(a_stream_of_any_length_passes_through_little_credit, {.stream_credit = 1000}) {
  auto call = rig.start("chat", Opening::empty());
  for (int i = 0; i < 300; i++) {
    EXPECT_TRUE(co_await call.send(letters(static_cast<std::size_t>(i * 7), 'c')));
    EXPECT_EQ(string_of(co_await call.receive()).size(), static_cast<std::size_t>(i * 7));
  }
  call.half_close();
  EXPECT_TRUE((co_await call.finish()).is_ok());
}

LINK_TEST_WITH(an_opening_that_uses_up_all_credit_does_not_end_the_stream, {.stream_credit = 100}) {
  auto call = rig.start("join", Opening::first(letters(5000)));
  EXPECT_TRUE(co_await call.send(text("two")));
  EXPECT_TRUE(co_await call.send(text("three"), Last::yes));
  EXPECT_EQ(string_of(co_await call.receive()).size(), 5001u + 4 + 6);
}

LINK_TEST_WITH(the_answer_of_a_finishing_call_needs_no_credit, {.stream_credit = 100}) {
  Ear ear;
  auto call = rig.pair->link().open(rig.open("raw"), ear, Opening::unary(text("")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  EXPECT_EQ(rig.raw[0]->call->send(letters(5000)), Sent::held);
  rig.raw[0]->call->finish_with(letters(6000));
  rig.raw.clear();
  co_await rig.wait_for([&] { return ear.ended; });
  EXPECT_TRUE(ear.status.is_ok());
  EXPECT_EQ(ear.messages.size(), 2u);
}

// --- Limits ---

LINK_TEST_WITH(messages_up_to_the_limit_pass, {.message_bytes_max = 1 << 20}) {
  for (std::size_t size : {0u, 1u, 65'536u, (1u << 20)}) {
    auto call = rig.start("echo", Opening::unary(letters(size, 'm')));
    auto answer = co_await call.receive();
    EXPECT_TRUE(answer.has_value());
    if (answer) EXPECT_TRUE(string_of(std::move(*answer)) == std::string(size, 'm')) << size;
    EXPECT_TRUE((co_await call.finish()).is_ok());
  }
}

LINK_TEST_WITH(a_message_beyond_the_limit_ends_its_call_alone, {.message_bytes_max = 10'000}) {
  auto other = rig.start("chat", Opening::empty());
  auto opening = rig.start("echo", Opening::unary(letters(10'001)));
  EXPECT_EQ((co_await opening.finish()).id(), "S1007");

  auto streaming = rig.start("read_then_hang", Opening::first(text("x")));
  EXPECT_FALSE(co_await streaming.send(letters(10'001)));
  auto status = co_await streaming.finish();
  EXPECT_EQ(status.code(), Code::resource_exhausted);
  EXPECT_EQ(status.id(), "S1007");
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
  EXPECT_EQ(rig.cancels[0], Cancel::protocol);

  auto answer = rig.start("large", Opening::unary(text("10001")));
  EXPECT_EQ((co_await answer.finish()).id(), "S1007");

  Ear ear;
  auto raw = rig.pair->link().open(rig.open("raw"), ear, Opening::unary(text("")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  rig.raw[0]->call->finish_with(letters(10'001));
  rig.raw.clear();
  co_await rig.wait_for([&] { return ear.ended; });
  EXPECT_EQ(ear.status.id(), "S1007");
  EXPECT_TRUE(ear.messages.empty());

  EXPECT_TRUE(co_await other.send(text("still"), Last::yes));
  EXPECT_EQ(string_of(co_await other.receive()), "still");
}

LINK_TEST_WITH(metadata_beyond_the_limit_ends_its_call_alone, {.metadata_bytes_max = 1000}) {
  Metadata metadata;
  EXPECT_TRUE(metadata.add("heavy", std::string(1000, 'h')));
  auto open = rig.open("echo");
  open.metadata = &metadata;
  ClientCall call(rig.pair->caller_loop(), rig.pair->link(), open, Opening::unary(text("")));
  EXPECT_EQ((co_await call.finish()).code(), Code::resource_exhausted);
  auto trailers = rig.start("heavy_trailers", Opening::unary(text("")));
  EXPECT_EQ((co_await trailers.finish()).code(), Code::resource_exhausted);
  auto after = rig.start("echo", Opening::unary(text("x")));
  EXPECT_EQ(string_of(co_await after.receive()), "x");
}

LINK_TEST_WITH(calls_beyond_the_limit_are_refused_unstarted, {.calls_max = 3}) {
  auto one = rig.start("hang", Opening::unary(text("")));
  auto two = rig.start("hang", Opening::unary(text("")));
  std::optional<ClientCall> three;
  three.emplace(rig.pair->caller_loop(), rig.pair->link(), rig.open("hang"), Opening::unary(text("")));
  auto four = rig.start("hang", Opening::unary(text("")));
  auto status = co_await four.finish();
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_EQ(status.retry(), Retry::elsewhere);
  co_await rig.wait_for([&] { return rig.begun == 3; });
  three->cancel(Cancel::caller);
  three.reset();
  co_await rig.wait_for([&] { return rig.running() == 2; });
  auto five = rig.start("echo", Opening::unary(text("room")));
  EXPECT_EQ(string_of(co_await five.receive()), "room");
}

// --- The loss of the peer ---

LINK_TEST(a_peer_lost_before_the_first_message) {
  auto call = rig.start("read_then_hang", Opening::empty());
  co_await rig.wait_for([&] { return rig.begun == 1; });
  rig.pair->lose_peer();
  auto status = co_await call.finish();
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_EQ(status.id(), "S1008");
  EXPECT_EQ(status.retry(), Retry::reconnect);
  if (rig.pair->has_link()) {
    auto after = rig.start("echo", Opening::unary(text("x")));
    auto refused = co_await after.finish();
    EXPECT_EQ(refused.code(), Code::unavailable);
    EXPECT_NE(refused.retry(), Retry::no);
  }
}

LINK_TEST(a_peer_lost_before_anything_was_sent) {
  auto call = rig.start("hang", Opening::unary(text("")));
  rig.pair->lose_peer();
  EXPECT_EQ((co_await call.finish()).id(), "S1008");
}

LINK_TEST(a_peer_lost_inside_a_request_stream) {
  auto call = rig.start("read_then_hang", Opening::first(text("0")));
  for (int i = 0; i < 10; i++) EXPECT_TRUE(co_await call.send(letters(10'000)));
  co_await rig.wait_for([&] { return rig.received.size() > 3; });
  rig.pair->lose_peer();
  EXPECT_EQ((co_await call.finish()).id(), "S1008");
  EXPECT_FALSE(co_await call.send(text("late")));
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
  EXPECT_TRUE(is_loss(rig.cancels[0]));
}

LINK_TEST(a_peer_lost_inside_a_response_stream) {
  auto call = rig.start("flood", Opening::unary(text("")));
  for (int i = 0; i < 10; i++) EXPECT_TRUE((co_await call.receive()).has_value());
  rig.pair->lose_peer();
  auto status = co_await call.finish();
  EXPECT_EQ(status.id(), "S1008");
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
}

LINK_TEST(a_peer_lost_after_the_half_close) {
  auto call = rig.start("read_then_hang", Opening::unary(text("all")));
  co_await rig.wait_for([&] { return rig.received.size() == 2; });
  rig.pair->lose_peer();
  EXPECT_EQ((co_await call.finish()).id(), "S1008");
}

LINK_TEST(a_caller_that_vanishes_is_a_cancel) {
  auto call = rig.start("hang", Opening::unary(text("")));
  auto raw = rig.start("raw", Opening::first(text("")));
  co_await rig.wait_for([&] { return rig.begun == 2; });
  rig.pair->drop();
  EXPECT_TRUE(call.ended());
  EXPECT_EQ(call.status().code(), Code::unavailable);
  EXPECT_EQ(call.status().id(), "S1008");
  co_await rig.wait_for([&] { return !rig.cancels.empty() && rig.raw[0]->heard.back().starts_with("cancel"); });
  EXPECT_TRUE(is_loss(rig.cancels[0]));
}

LINK_TEST(ends_outlive_their_link) {
  Ear ear;
  auto call = rig.pair->link().open(rig.open("raw"), ear, Opening::first(text("x")));
  co_await rig.wait_for([&] { return !rig.raw.empty(); });
  rig.pair->stop();
  EXPECT_TRUE(ear.ended);
  call.reset();
  rig.raw.clear();
}

LINK_TEST(a_link_dropped_with_many_calls_ends_each_once) {
  std::vector<Ear> ears(100);
  std::vector<call::OutgoingHandle> calls;
  calls.reserve(ears.size());
  for (auto& ear : ears) {
    // Each end lets go of its neighbour's call when it hears the end.
    calls.push_back(rig.pair->link().open(rig.open("read_then_hang"), ear, Opening::first(text("x"))));
  }
  for (std::size_t i = 0; i + 1 < ears.size(); i += 2) {
    ears[i].on_any = [&calls, i](Ear&) { calls[i + 1].reset(); };
  }
  co_await rig.wait_for([&] { return rig.begun == 100; });
  rig.pair->drop();
  std::size_t heard = 0;
  for (auto& ear : ears) heard += ear.ended ? 1 : 0;
  EXPECT_GE(heard, 50u);
  calls.clear();
}

// --- Drain ---

LINK_TEST(a_drain_lets_open_calls_end_and_takes_no_new_ones) {
  auto call = rig.start("when_told", Opening::unary(text("x")));
  co_await rig.wait_for([&] { return rig.begun == 1; });
  loop::Scope scope(rig.pair->caller_loop());
  bool drained = false;
  bool joined = false;
  auto drain = [](call::Link& link, Deadline deadline, bool* done) -> Task<void> {
    co_await link.drain(deadline);
    *done = true;
  };
  scope.spawn(drain(rig.pair->link(), Deadline::never(), &drained));
  scope.spawn(drain(rig.pair->link(), Deadline::never(), &joined));
  auto late = rig.start("echo", Opening::unary(text("")));
  auto status = co_await late.finish();
  EXPECT_EQ(status.code(), Code::unavailable);
  EXPECT_EQ(status.id(), "S1015");
  EXPECT_EQ(status.retry(), Retry::elsewhere);
  co_await rig.sleep(milliseconds(5));
  EXPECT_FALSE(drained);
  rig.go = true;
  EXPECT_EQ(string_of(co_await call.receive()), "told");
  EXPECT_TRUE((co_await call.finish()).is_ok());
  co_await rig.wait_for([&] { return drained && joined; });
  EXPECT_EQ(rig.begun, 1u);
}

LINK_TEST(a_drain_that_runs_out_of_time_shuts_its_calls_down) {
  auto call = rig.start("hang", Opening::unary(text("")));
  co_await rig.wait_for([&] { return rig.begun == 1; });
  co_await rig.pair->link().drain(rig.in(milliseconds(20)));
  EXPECT_TRUE(call.ended());
  EXPECT_EQ(call.status().code(), call::cancel_status(Cancel::shutdown).code());
  co_await rig.wait_for([&] { return !rig.cancels.empty(); });
  EXPECT_EQ(rig.cancels[0], Cancel::shutdown);
}

LINK_TEST(a_drain_with_nothing_open_ends_at_once) {
  co_await rig.pair->link().drain(Deadline::never());
  auto late = rig.start("echo", Opening::unary(text("")));
  EXPECT_EQ((co_await late.finish()).id(), "S1015");
}

LINK_TEST(a_callee_may_drain_too) {
  if (rig.pair->callee_link() == nullptr) co_return;
  auto first = rig.start("echo", Opening::unary(text("x")));
  (void)co_await first.finish();
  auto call = rig.start("when_told", Opening::unary(text("x")));
  co_await rig.wait_for([&] { return rig.begun == 2; });
  loop::Scope scope(rig.pair->callee_loop());
  bool drained = false;
  auto drain = [](call::Link& link, bool* done) -> Task<void> {
    co_await link.drain(Deadline::never());
    *done = true;
  };
  scope.spawn(drain(*rig.pair->callee_link(), &drained));
  // One that crosses the news is refused unstarted, one after it is not even sent.
  for (int i = 0; i < 2; i++) {
    auto late = rig.start("echo", Opening::unary(text("")));
    EXPECT_EQ((co_await late.finish()).retry(), Retry::elsewhere);
  }
  rig.go = true;
  EXPECT_TRUE((co_await call.finish()).is_ok());
  co_await rig.wait_for([&] { return drained; });
  EXPECT_EQ(rig.begun, 2u);
}

// --- Many ---

LINK_TEST(a_thousand_calls_at_once) {
  std::vector<Own<ClientCall>> calls;
  calls.reserve(1000);
  for (int i = 0; i < 1000; i++) {
    calls.push_back(make_own<ClientCall>(rig.pair->caller_loop(), rig.pair->link(), rig.open("chat"),
                                         Opening::first(text(std::to_string(i)))));
  }
  for (int i = 0; i < 1000; i++) {
    EXPECT_EQ(string_of(co_await calls[static_cast<std::size_t>(i)]->receive()), std::to_string(i));
    calls[static_cast<std::size_t>(i)]->half_close();
  }
  for (auto& call : calls) EXPECT_TRUE((co_await call->finish()).is_ok());
  EXPECT_EQ(rig.stats().calls_open, 0u);
  EXPECT_EQ(rig.stats().calls_opened, 1000u);
}

LINK_TEST(a_long_sequence_of_calls_leaves_nothing_behind) {
  for (int i = 0; i < 2000; i++) {
    auto call = rig.start("at_once", Opening::unary(text("x")), rig.in(seconds(60)));
    EXPECT_EQ(string_of(co_await call.receive()), "x");
    EXPECT_TRUE((co_await call.finish()).is_ok());
  }
  EXPECT_EQ(rig.stats().calls_open, 0u);
  EXPECT_EQ(rig.running(), 0u);
}

// --- Inside events ---

LINK_TEST(a_caller_may_let_go_inside_any_event) {
  for (std::string_view at : {"metadata", "message:before", "end:not_found"}) {
    Ear ear;
    call::OutgoingHandle call;
    bool let_go = false;
    ear.on_any = [&](Ear& self) {
      if (self.heard.back() != at || !call) return;
      call.reset();
      let_go = true;
    };
    call = rig.pair->link().open(rig.open("fail"), ear, Opening::unary(text("")));
    // On a link without a queue everything has been heard inside open().
    co_await rig.wait_for([&] { return let_go || ear.ended; });
    auto heard = ear.heard.size();
    co_await rig.sleep(milliseconds(2));
    if (let_go) EXPECT_EQ(ear.heard.size(), heard);
  }
}

LINK_TEST(a_caller_may_cancel_and_open_inside_events) {
  Ear first;
  Ear second;
  call::OutgoingHandle one;
  call::OutgoingHandle two;
  first.on_any = [&](Ear& self) {
    if (self.heard.back().starts_with("message") && !two) {
      two = rig.pair->link().open(rig.open("echo"), second, Opening::unary(text("inner")));
      if (one) one->cancel(Cancel::caller);
    }
  };
  one = rig.pair->link().open(rig.open("flood"), first, Opening::unary(text("")));
  co_await rig.wait_for([&] { return second.ended; });
  one->cancel(Cancel::caller);
  EXPECT_TRUE(first.ended);
  EXPECT_EQ(second.messages, std::vector<std::string>{"inner"});
  auto heard = first.heard.size();
  co_await rig.sleep(milliseconds(2));
  EXPECT_EQ(first.heard.size(), heard);
}

LINK_TEST(a_callee_may_finish_and_let_go_inside_any_event) {
  for (std::string_view at : {":one", ":two", "half_close"}) {
    rig.on_raw = [&](RawCall& mine) {
      auto act = [at](RawCall& self) {
        if (self.heard.empty() || !self.heard.back().ends_with(at) || !self.call) return;
        self.call->finish_with(text("done"));
        self.call.reset();
      };
      mine.on_any = act;
      act(mine);
    };
    auto call = rig.start("raw", Opening::first(text("one")));
    co_await call.send(text("two"));
    call.half_close();
    EXPECT_EQ(string_of(co_await call.receive()), "done");
    EXPECT_TRUE((co_await call.finish()).is_ok());
  }
  rig.on_raw = [](RawCall& mine) {
    mine.on_any = [](RawCall& self) {
      if (self.heard.back() == "cancel:1") self.call.reset();
    };
  };
  auto begun = rig.raw.size();
  auto call = rig.start("raw", Opening::first(text("one")));
  co_await rig.wait_for([&] { return rig.raw.size() > begun; });
  call.cancel(Cancel::caller);
  co_await rig.wait_for([&] { return rig.raw.back()->call == nullptr; });
}

// --- What one side holds, the other can't change ---

struct Number {
  int value;
};
const shunt_type number_type = {
    sizeof(shunt_type),
    sizeof(Number),
    {1, 2},
    [](void* value) { delete static_cast<Number*>(value); },
    [](const void* value) -> void* { return new Number(*static_cast<const Number*>(value)); },
    [](const void* value, void (*append)(void*, const char*, size_t), void* to) {
      auto text = std::to_string(static_cast<const Number*>(value)->value);
      append(to, text.data(), text.size());
    },
    [](const void*) -> size_t { return 8; }};

LINK_TEST(messages_never_alias) {
  auto* number = new Number{1};
  Message mine(&number_type, number);
  Ear ear;
  auto call = rig.pair->link().open(rig.open("raw"), ear, Opening::first(mine.copy()));
  number->value = 2;
  call->send(mine.copy(), Last::no);
  number->value = 3;
  co_await rig.wait_for([&] { return !rig.raw.empty() && rig.raw[0]->heard.size() == 2; });
  EXPECT_TRUE(rig.raw[0]->heard[0].ends_with(":1"));
  EXPECT_TRUE(rig.raw[0]->heard[1].ends_with(":2"));
  rig.raw[0]->call->finish_with(Message(&number_type, new Number{4}));
  rig.raw.clear();
  co_await rig.wait_for([&] { return ear.ended; });
  EXPECT_EQ(ear.messages, std::vector<std::string>{"4"});
}

}  // namespace
}  // namespace shunt::conformance
