#include "wire/mux.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "wire/call_frame.h"
#include "wire/call_table.h"

namespace shunt::wire {
namespace {

/// Writes down what it hears. May act on it through `then`.
struct Ear final : MuxEvents {
  struct Call {
    std::string service;
    std::vector<std::string> messages;
    std::size_t cost = 0;
    bool opened = false, half_closed = false, ended = false, refused = false, cancelled = false, metadata = false;
    std::uint8_t reason = 0;
    int credits = 0;
    Code code = Code::ok;
    std::string id, text;
  };
  Mux* mux = nullptr;
  std::map<CallId, Call> calls;
  std::vector<CallId> incoming;
  bool hello = false;
  std::string peer;
  std::vector<std::uint64_t> pongs;
  std::string goaway, wait_service;
  std::uint64_t grant = 0;
  std::uint32_t capacity = 0;
  std::function<void(CallId)> on_opened;

  void on_hello(const Hello& said) override { hello = true, peer = said.name; }
  std::string seen;  ///< Of the last opening.
  void on_open(CallId id, const OpenFrame& open, Bytes* first, bool last) override {
    auto& call = calls[id];
    seen = std::string(open.service) + "." + std::string(open.command) + " by " + std::to_string(open.principal_kind) +
           " " + std::string(open.principal_service) + "/" + std::string(open.principal_user) + "/" +
           std::string(open.token) + ", grant " + std::to_string(open.grant) + ", hops " + std::to_string(open.hops) +
           ", " + std::to_string(open.metadata.size()) + " metadata";
    call.service = open.service;
    call.opened = true;
    incoming.push_back(id);
    mux->set_user(id, user_of(id));
    if (first != nullptr) add(id, *first);
    call.half_closed = last;
    if (on_opened) on_opened(id);
  }
  /// A pointer for each call, by which its events must come.
  void* user_of(CallId id) { return &users.emplace(id, id).first->second; }
  std::map<CallId, CallId> users;
  void check(CallId id, void* user) { EXPECT_EQ(user, user_of(id)); }
  void add(CallId id, const Bytes& message) {
    auto& call = calls[id];
    call.messages.emplace_back(message.view());
    call.cost += message.size() + message_overhead;
  }
  void on_metadata(CallId id, void* user, const MetadataView&) override { check(id, user), calls[id].metadata = true; }
  void on_message(CallId id, void* user, Bytes message) override { check(id, user), add(id, message); }
  void on_half_close(CallId id, void* user) override {
    check(id, user);
    EXPECT_FALSE(std::exchange(calls[id].half_closed, true));
  }
  void end(CallId id, const StatusFrame& status) {
    auto& call = calls[id];
    EXPECT_FALSE(std::exchange(call.ended, true));
    call.code = status.code;
    call.id = status.id;
    call.text = status.message;
  }
  void on_status(CallId id, void* user, const StatusFrame& status) override { check(id, user), end(id, status); }
  void on_refused(CallId id, void* user, const StatusFrame& status) override {
    check(id, user), end(id, status);
    calls[id].refused = true;
  }
  void on_cancel(CallId id, void* user, std::uint8_t reason) override {
    check(id, user);
    EXPECT_FALSE(std::exchange(calls[id].cancelled, true));
    calls[id].reason = reason;
  }
  void on_credit(CallId id, void* user) override { check(id, user), calls[id].credits++; }
  void on_pong(std::uint64_t number) override { pongs.push_back(number); }
  void on_goaway(std::string_view reason) override { goaway = reason; }
  void on_wait(std::uint64_t, const WaitFrame& wait) override { wait_service = wait.service; }
  void on_grant(std::uint64_t, const GrantFrame& given) override { grant = given.grant; }
  void on_load(const LoadFrame& load) override { capacity = load.capacity; }
};

struct Rig {
  Ear a_ear, b_ear;
  Mux a, b;
  explicit Rig(MuxLimits a_limits = {}, MuxLimits b_limits = {}, bool greet = true,
               std::uint16_t a_minor = version_minor, std::uint16_t b_minor = version_minor)
      : a(Side::dialler, a_limits, named("a", a_minor), a_ear),
        b(Side::acceptor, b_limits, named("b", b_minor), b_ear) {
    a_ear.mux = &a;
    b_ear.mux = &b;
    if (greet) pump();
  }
  static Hello named(std::string name, std::uint16_t minor) {
    Hello hello;
    hello.version_minor = minor;
    hello.name = std::move(name);
    hello.clock = "one";
    return hello;
  }
  static std::string take(Mux& from, std::size_t most = SIZE_MAX) {
    std::string out;
    iovec vectors[16];
    int count = from.output(vectors, 16);
    for (int i = 0; i < count && out.size() < most; i++) {
      out.append(static_cast<char*>(vectors[i].iov_base), std::min(vectors[i].iov_len, most - out.size()));
    }
    from.written(out.size());
    return out;
  }
  static std::string drain(Mux& from) {
    std::string out;
    while (from.has_output()) out += take(from);
    return out;
  }
  void pump() {
    while (a.has_output() || b.has_output()) {
      ASSERT_TRUE(b.receive(take(a)).has_value());
      ASSERT_TRUE(a.receive(take(b)).has_value());
    }
  }
  CallId open(bool last = false) {
    CallId id = a.open({.service = "s", .command = "c"}, last, nullptr);
    a.set_user(id, a_ear.user_of(id));
    return id;
  }
};

/// The types of the frames in `bytes`, in order.
std::vector<FrameType> types(std::string_view bytes) {
  std::vector<FrameType> found;
  while (bytes.size() >= header_bytes) {
    auto header = decode_header(std::span<const char, header_bytes>(bytes.data(), header_bytes));
    found.push_back(header->type);
    bytes.remove_prefix(header_bytes + header->length);
  }
  return found;
}

Bytes text(std::string_view what) { return Bytes::copy_of(what); }
Bytes letters(std::size_t size, char letter = 'x') { return Bytes::adopt(std::string(size, letter)); }

TEST(Mux, says_hello_and_writes_nothing_else_before_the_peers) {
  Rig rig({}, {}, false);
  CallId id = rig.open();
  EXPECT_EQ(rig.a.send(id, text("early"), true), MuxSent::held);
  auto first = Rig::drain(rig.a);
  ASSERT_TRUE(rig.b.receive(first).has_value());
  EXPECT_TRUE(rig.b.is_open());
  EXPECT_TRUE(rig.b_ear.calls.empty());
  rig.pump();
  EXPECT_EQ(rig.a_ear.peer, "b");
  EXPECT_EQ(rig.b_ear.calls[id].messages, std::vector<std::string>{"early"});
  EXPECT_TRUE(rig.b_ear.calls[id].half_closed);
}

TEST(Mux, a_unary_call_goes_and_its_answer_comes) {
  Rig rig;
  CallId id = rig.open();
  EXPECT_EQ(id, 1u);
  EXPECT_EQ(rig.a.send(id, text("hello"), true), MuxSent::more);
  rig.pump();
  auto& call = rig.b_ear.calls[id];
  EXPECT_EQ(call.messages, std::vector<std::string>{"hello"});
  EXPECT_TRUE(call.half_closed);
  rig.b.metadata(id, {{"k", "v"}});
  EXPECT_EQ(rig.b.send(id, text("world"), false), MuxSent::more);
  rig.b.finish(id, {});
  rig.pump();
  auto& mine = rig.a_ear.calls[id];
  EXPECT_TRUE(mine.metadata);
  EXPECT_EQ(mine.messages, std::vector<std::string>{"world"});
  EXPECT_TRUE(mine.ended);
  EXPECT_EQ(rig.a.calls_open(), 0u);
  EXPECT_EQ(rig.b.calls_open(), 0u);
  EXPECT_EQ(rig.a.bytes_held(), 0u);
  EXPECT_EQ(rig.b.bytes_held(), 0u);
}

TEST(Mux, a_path_is_named_once_and_then_a_call_is_a_frame_each_way) {
  Rig rig;
  for (int i = 0; i < 3; i++) {
    Bytes first = text("hello");
    OpenFrame open{.service = "shop.cart",
                   .command = i == 2 ? "other" : "total",
                   .hops = 3,
                   .principal_kind = 1,
                   .principal_service = "shop.web"};
    if (i == 1) open.principal_user = "ann", open.token = "t", open.metadata = {{"k", "v"}}, open.grant = 7;
    rig.b_ear.seen = {};
    auto opened = rig.a.open(open, &first, true, nullptr);
    rig.a.set_user(opened.id, rig.a_ear.user_of(opened.id));
    EXPECT_EQ(opened.sent, MuxSent::more);
    auto bytes = Rig::drain(rig.a);
    auto asked = types(bytes);
    EXPECT_EQ(asked, i == 1 ? std::vector<FrameType>{FrameType::call}
                            : std::vector<FrameType>({FrameType::path, FrameType::call}));
    ASSERT_TRUE(rig.b.receive(bytes).has_value());
    EXPECT_EQ(rig.b_ear.seen, i == 0   ? "shop.cart.total by 1 shop.web//, grant 0, hops 3, 0 metadata"
                              : i == 1 ? "shop.cart.total by 1 shop.web/ann/t, grant 7, hops 3, 1 metadata"
                                       : "shop.cart.other by 1 shop.web//, grant 0, hops 3, 0 metadata");
    EXPECT_EQ(rig.b_ear.calls[opened.id].messages, std::vector<std::string>{"hello"});
    EXPECT_TRUE(rig.b_ear.calls[opened.id].half_closed);
    rig.b.answer(opened.id, text("world"));
    bytes = Rig::drain(rig.b);
    EXPECT_EQ(types(bytes), std::vector<FrameType>{FrameType::message});
    ASSERT_TRUE(rig.a.receive(bytes).has_value());
    EXPECT_EQ(rig.a_ear.calls[opened.id].messages, std::vector<std::string>{"world"});
    EXPECT_TRUE(rig.a_ear.calls[opened.id].ended);
  }
  EXPECT_EQ(rig.a.calls_open() + rig.b.calls_open() + rig.a.bytes_held() + rig.b.bytes_held(), 0u);
}

TEST(Mux, a_side_of_the_version_before_gets_only_frames_that_it_knows) {
  for (bool near : {false, true}) {
    Rig rig({}, {}, true, near ? 1 : 2, near ? 2 : 1);
    for (std::size_t size : {5ul, 100'000ul}) {
      Bytes first = letters(size);
      auto opened = rig.a.open({.service = "s", .command = "c"}, &first, true, nullptr);
      rig.a.set_user(opened.id, rig.a_ear.user_of(opened.id));
      auto bytes = Rig::drain(rig.a);
      for (auto type : types(bytes)) EXPECT_TRUE(type == FrameType::open || type == FrameType::message);
      ASSERT_TRUE(rig.b.receive(bytes).has_value());
      ASSERT_EQ(rig.b_ear.calls[opened.id].messages.size(), 1u);
      rig.b.answer(opened.id, letters(size, 'y'));
      bytes = Rig::drain(rig.b);
      for (auto type : types(bytes)) EXPECT_TRUE(type == FrameType::status || type == FrameType::message);
      ASSERT_TRUE(rig.a.receive(bytes).has_value());
      EXPECT_TRUE(rig.a_ear.calls[opened.id].ended);
      EXPECT_EQ(rig.a_ear.calls[opened.id].messages.size(), 1u);
    }
  }
}

TEST(Mux, a_message_too_large_for_a_call_ends_the_call_unbegun) {
  Rig rig({}, {.message_bytes_max = 1000});
  // What a sender that does not check would send.
  rig.a.open({.service = "s", .command = "c"}, true, nullptr);
  rig.pump();
  std::string call;
  auto begin = begin_frame(call);
  CallFields fields{.path = path_number({.service = "s", .command = "c"})};
  call.append(reinterpret_cast<const char*>(&fields), call_fields_bytes);
  call.append(2000, 'x');
  end_frame(call, begin, FrameType::call, 3, flag::with | flag::last);
  ASSERT_TRUE(rig.b.receive(call).has_value());
  EXPECT_FALSE(rig.b_ear.calls[3].opened);
  EXPECT_EQ(types(Rig::drain(rig.b)), std::vector<FrameType>{FrameType::status});
  EXPECT_EQ(rig.b.calls_open(), 1u);
  EXPECT_EQ(rig.b.bytes_held(), 0u);
}

TEST(Mux, a_large_message_never_holds_up_small_ones_of_other_calls) {
  Rig rig;
  CallId large = rig.open();
  rig.a.send(large, letters(4 << 20), true);
  auto before = Rig::take(rig.a);
  EXPECT_LT(before.size(), 200u << 10);
  CallId small = rig.open();
  rig.a.send(small, text("small"), true);
  ASSERT_TRUE(rig.b.receive(before).has_value());
  ASSERT_TRUE(rig.b.receive(Rig::take(rig.a)).has_value());
  EXPECT_EQ(rig.b_ear.calls[small].messages.size(), 1u);
  EXPECT_EQ(rig.b_ear.calls[large].messages.size(), 0u);
  rig.pump();
  ASSERT_EQ(rig.b_ear.calls[large].messages.size(), 1u);
  EXPECT_EQ(rig.b_ear.calls[large].messages[0].size(), 4u << 20);
}

TEST(Mux, a_slow_reader_does_not_hold_up_other_calls) {
  Rig rig({.stream_credit = 1000});
  CallId slow = rig.open();
  int sent = 0;
  while (rig.a.send(slow, letters(100), false) == MuxSent::more) sent++;
  EXPECT_EQ(sent, 6);
  EXPECT_EQ(rig.a.send(slow, letters(1), false), MuxSent::ended);
  rig.pump();
  EXPECT_EQ(rig.b_ear.calls[slow].messages.size(), 7u);
  CallId other = rig.open();
  EXPECT_EQ(rig.a.send(other, text("x"), true), MuxSent::more);
  rig.pump();
  EXPECT_EQ(rig.b_ear.calls[other].messages.size(), 1u);
  EXPECT_EQ(rig.a_ear.calls[slow].credits, 0);
  rig.b.consumed(slow, rig.b_ear.calls[slow].cost);
  rig.pump();
  EXPECT_EQ(rig.a_ear.calls[slow].credits, 1);
  EXPECT_EQ(rig.a.send(slow, letters(1), false), MuxSent::more);
}

TEST(Mux, a_status_waits_behind_the_messages_of_its_call) {
  Rig rig;
  CallId id = rig.open(true);
  rig.pump();
  rig.b.send(id, letters(1 << 20), false);
  rig.b.finish(id, {});
  EXPECT_EQ(rig.b.send(id, text("late"), false), MuxSent::ended);
  rig.pump();
  ASSERT_EQ(rig.a_ear.calls[id].messages.size(), 1u);
  EXPECT_TRUE(rig.a_ear.calls[id].ended);
  EXPECT_EQ(rig.b.calls_open(), 0u);
}

TEST(Mux, a_dropped_answer_ends_inside_a_message) {
  Rig rig;
  CallId id = rig.open(true);
  rig.pump();
  rig.b.send(id, letters(1 << 20), false);
  ASSERT_TRUE(rig.a.receive(Rig::take(rig.b)).has_value());
  rig.b.finish(id, {.code = Code::deadline_exceeded}, Unsent::drop);
  rig.pump();
  EXPECT_EQ(rig.a_ear.calls[id].messages.size(), 0u);
  EXPECT_EQ(rig.a_ear.calls[id].code, Code::deadline_exceeded);
}

TEST(Mux, a_cancelled_call_is_forgotten_and_what_comes_late_is_dropped) {
  Rig rig;
  CallId id = rig.open();
  rig.pump();
  rig.b.send(id, text("late"), false);
  rig.a.cancel(id, 1);
  rig.pump();
  EXPECT_TRUE(rig.b_ear.calls[id].cancelled);
  EXPECT_EQ(rig.b_ear.calls[id].reason, 1);
  EXPECT_TRUE(rig.a_ear.calls[id].messages.empty());
  EXPECT_EQ(rig.b.send(id, text("later"), false), MuxSent::ended);
  EXPECT_EQ(rig.b.calls_open(), 1u);
  rig.b.finish(id, {});
  EXPECT_EQ(rig.b.calls_open(), 0u);
  EXPECT_FALSE(rig.b.has_output());
}

TEST(Mux, both_sides_open_calls) {
  Rig rig;
  CallId back = rig.b.open({.service = "n"}, true, nullptr);
  EXPECT_EQ(back, 2u);
  rig.pump();
  EXPECT_EQ(rig.a_ear.calls[back].service, "n");
  rig.a.finish(back, {.code = Code::not_found, .id = "S1002", .message = "no"});
  rig.b.set_user(back, rig.b_ear.user_of(back));
  rig.pump();
  EXPECT_EQ(rig.b_ear.calls[back].id, "S1002");
}

TEST(Mux, calls_beyond_the_limit_are_refused_unstarted) {
  Rig rig({}, {.calls_max = 2});
  rig.open(), rig.open();
  EXPECT_EQ(rig.open(), 0u);  // The limit is agreed, so the opener knows it too.
  rig.pump();
  EXPECT_EQ(rig.b_ear.incoming.size(), 2u);
  rig.a.cancel(1, 1);  // The callee still owes its end, so its place is not free there.
  CallId third = rig.open();
  rig.pump();
  EXPECT_TRUE(rig.a_ear.calls[third].refused);
  EXPECT_EQ(rig.a_ear.calls[third].id, "S1015");
}

TEST(Mux, a_draining_side_refuses_and_ends_what_it_has) {
  Rig rig;
  CallId id = rig.open();
  rig.pump();
  rig.b.goaway("redeploy");
  CallId crossing = rig.open(true);
  rig.pump();
  EXPECT_EQ(rig.a_ear.goaway, "redeploy");
  EXPECT_TRUE(rig.a_ear.calls[crossing].refused);
  EXPECT_EQ(rig.open(), 0u);
  EXPECT_EQ(rig.a.send(id, text("still"), true), MuxSent::more);
  rig.pump();
  rig.b.finish(id, {});
  rig.pump();
  EXPECT_TRUE(rig.a_ear.calls[id].ended);
}

TEST(Mux, a_message_beyond_the_limit_ends_its_call_and_not_the_link) {
  Rig rig({}, {});
  Rig narrow({.message_bytes_max = 50 << 10}, {});
  CallId id = narrow.open();
  narrow.pump();
  narrow.a.send(id, letters(100 << 10), true);
  narrow.pump();
  EXPECT_TRUE(narrow.b_ear.calls[id].cancelled);
  EXPECT_EQ(narrow.b_ear.calls[id].reason, 5);
  EXPECT_EQ(narrow.a_ear.calls[id].code, Code::resource_exhausted);
  EXPECT_EQ(narrow.a_ear.calls[id].id, "S1007");
  narrow.b.finish(id, {});
  CallId next = narrow.open(true);
  narrow.pump();
  narrow.b.send(next, letters(100 << 10), false);
  narrow.b.finish(next, {});
  narrow.pump();
  EXPECT_EQ(narrow.a_ear.calls[next].id, "S1007");
  EXPECT_EQ(narrow.a.calls_open(), 0u);
  EXPECT_EQ(narrow.b.calls_open(), 0u);
  EXPECT_EQ(narrow.a.bytes_held(), 0u);
}

TEST(Mux, the_links_budget_ends_the_call_that_broke_it) {
  Rig rig({}, {.stream_credit = 4 << 20, .link_bytes_max = 3 << 20});
  CallId one = rig.open();
  CallId two = rig.open();
  rig.a.send(one, letters(200 << 10), false);
  rig.pump();
  rig.a.send(two, letters(4 << 20), false);
  rig.pump();
  EXPECT_EQ(rig.a_ear.calls[two].id, "S1020");
  EXPECT_FALSE(rig.a_ear.calls[one].ended);
}

TEST(Mux, control_messages_of_the_pool_come_across) {
  Rig rig;
  rig.a.ping(42);
  rig.b.wait(7, {.service = "shop.cart"});
  rig.a.grant(7, {.grant = 99});
  rig.b.load({3, 4});
  rig.pump();
  EXPECT_EQ(rig.a_ear.pongs, std::vector<std::uint64_t>{42});
  EXPECT_EQ(rig.a_ear.wait_service, "shop.cart");
  EXPECT_EQ(rig.b_ear.grant, 99u);
  EXPECT_EQ(rig.a_ear.capacity, 4u);
}

TEST(Mux, deadlines_asked_for_before_hello_can_be_rewritten) {
  Rig rig({}, {}, false);
  rig.a.open({.service = "s", .deadline_ns = 1000}, true, nullptr);
  auto hello = Rig::drain(rig.b);
  ASSERT_TRUE(rig.a.receive(hello).has_value());
  rig.a.rewrite_deadlines([](std::int64_t at) { return at - 1; });  // Too late: nothing is there to change.
  EXPECT_TRUE(rig.a.same_clock());
}

// --- What a peer must not do ---

std::string frame(FrameType type, CallId call, std::string_view payload = {}, std::uint8_t flags = 0) {
  std::string out;
  append_frame(out, type, call, payload, flags);
  return out;
}
std::string open_frame(CallId call, std::uint8_t flags = 0) {
  std::string payload;
  encode_open({.service = "s", .command = "c"}, payload);
  return frame(FrameType::open, call, payload, flags);
}
std::string status_frame(CallId call, Code code = Code::ok) {
  std::string payload;
  encode_status({.code = code}, payload);
  return frame(FrameType::status, call, payload);
}

/// One mux (the acceptor) that is fed by hand, with a call 2 of its own open and a call 1 of the peer.
struct Fed {
  Ear ear;
  Mux mux;
  explicit Fed(MuxLimits limits = {}) : mux(Side::acceptor, limits, {}, ear) {
    ear.mux = &mux;
    EXPECT_EQ(feed(frame(FrameType::hello, 0, encode_hello({}))), Code::ok);
    mux.open({.service = "s"}, false, nullptr);
    mux.set_user(2, ear.user_of(2));
    EXPECT_EQ(feed(open_frame(1)), Code::ok);
  }
  Code feed(std::string_view bytes) {
    auto fed = mux.receive(bytes);
    return fed.has_value() ? Code::ok : fed.error().code();
  }
};

TEST(MuxHostile, what_breaks_the_protocol_ends_the_link) {
  auto bad = [](const std::string& bytes) {
    Fed fed;
    return fed.feed(bytes) == Code::data_loss;
  };
  EXPECT_TRUE(bad(frame(FrameType::hello, 0, encode_hello({}))));
  EXPECT_TRUE(bad(open_frame(1)));
  EXPECT_TRUE(bad(open_frame(4)));
  EXPECT_TRUE(bad(open_frame(0)));
  EXPECT_TRUE(bad(frame(FrameType::open, 3, "short")));
  EXPECT_TRUE(bad(frame(FrameType::message, 3, "never opened")));
  EXPECT_TRUE(bad(frame(FrameType::message, 4, "never opened")));
  EXPECT_TRUE(bad(frame(FrameType::half_close, 1) + frame(FrameType::message, 1, "x")));
  EXPECT_TRUE(bad(frame(FrameType::half_close, 1) + frame(FrameType::half_close, 1)));
  EXPECT_TRUE(bad(frame(FrameType::message, 1, "x", flag::more) + frame(FrameType::half_close, 1)));
  EXPECT_TRUE(bad(frame(FrameType::message, 1, "x", flag::more | flag::last)));
  EXPECT_TRUE(bad(frame(FrameType::message, 2, "x", flag::last)));
  EXPECT_TRUE(bad(frame(FrameType::half_close, 2)));
  EXPECT_TRUE(bad(frame(FrameType::cancel, 2, "\1")));
  EXPECT_TRUE(bad(frame(FrameType::cancel, 1)));
  EXPECT_TRUE(bad(status_frame(1)));
  EXPECT_TRUE(bad(frame(FrameType::message, 2, "x", flag::more) + status_frame(2)));
  EXPECT_TRUE(bad(frame(FrameType::message, 2, "x") + frame(FrameType::metadata, 2, std::string_view("\0\0", 2))));
  EXPECT_TRUE(bad(frame(FrameType::refused, 2, "")));
  EXPECT_TRUE(bad(frame(FrameType::credit, 1, "1234")));
  EXPECT_TRUE(bad(frame(FrameType::credit, 1, std::string(8, '\xff'))));
  EXPECT_TRUE(bad(frame(static_cast<FrameType>(99), 0)));
  std::string path;
  encode_path({.service = "s", .command = "c"}, path);
  EXPECT_TRUE(bad(frame(FrameType::path, 0, path)));
  EXPECT_TRUE(bad(frame(FrameType::path, paths_max + 1, path)));
  EXPECT_TRUE(bad(frame(FrameType::path, 1, path.substr(0, path.size() - 1))));
  std::string long_path;
  encode_path({.service = std::string(path_bytes_max, 's'), .command = "c"}, long_path);
  EXPECT_TRUE(bad(frame(FrameType::path, 1, long_path)));
  auto call = [](CallFields fields) { return std::string(reinterpret_cast<const char*>(&fields), sizeof fields); };
  EXPECT_FALSE(bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 3, call({.path = 1}))));
  EXPECT_TRUE(bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 1, call({.path = 1}))));
  EXPECT_TRUE(bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 3, call({.path = 2}))));
  EXPECT_TRUE(bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 3, call({.path = 65535}))));
  EXPECT_TRUE(bad(frame(FrameType::call, 3, call({.path = 1}))));
  EXPECT_TRUE(bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 3, "short")));
  EXPECT_TRUE(bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 3, call({.path = 1, .extra_bytes = 1}))));
  EXPECT_TRUE(
      bad(frame(FrameType::path, 1, path) + frame(FrameType::call, 3, call({.path = 1, .extra_bytes = 4}) + "1234")));
  EXPECT_TRUE(bad(frame(FrameType::message, 2, "x", flag::final_ | flag::ok) +
                  frame(FrameType::message, 4, "x", flag::final_ | flag::ok)));
  EXPECT_TRUE(bad("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
}

TEST(MuxHostile, what_comes_late_or_from_a_later_version_is_passed_over) {
  Fed fed;
  EXPECT_EQ(fed.feed(frame(static_cast<FrameType>(99), 0, "news", flag::skip)), Code::ok);
  EXPECT_EQ(fed.feed(status_frame(2) + status_frame(2) + frame(FrameType::message, 2, "x")), Code::ok);
  fed.mux.finish(1, {});
  EXPECT_EQ(fed.feed(frame(FrameType::cancel, 1, "\1") + frame(FrameType::message, 1, "x")), Code::ok);
  EXPECT_EQ(fed.feed(frame(FrameType::load, 0, std::string(12, '\0'))), Code::ok);
  // A hint is a hint, however wrong.
  Fed other;
  EXPECT_EQ(other.feed(frame(FrameType::size, 1, "123", flag::skip)), Code::ok);
  EXPECT_EQ(other.feed(frame(FrameType::size, 1, std::string(8, '\xff'), flag::skip)), Code::ok);
  EXPECT_EQ(other.feed(frame(FrameType::size, 1, std::string("\1\0\0\0\0\0\0\0", 8), flag::skip)), Code::ok);
  EXPECT_EQ(other.feed(frame(FrameType::message, 1, "he", flag::more) + frame(FrameType::message, 1, "llo")), Code::ok);
  EXPECT_EQ(other.ear.calls[1].messages, std::vector<std::string>{"hello"});
}

TEST(CallTable, ids_that_all_want_one_place_are_found_quickly_all_the_same) {
  struct Entry {
    std::uint64_t id = 0;
    void reset() { id = 0; }
  };
  CallTable<Entry> table;
  for (std::uint64_t i = 1; i <= 20'000; i++) table.add(i << 20);
  EXPECT_LE(table.probes_max(), 64u);
  for (std::uint64_t i = 1; i <= 20'000; i++) {
    Entry* entry = table.find(i << 20);
    ASSERT_NE(entry, nullptr);
    if (i % 2 == 0) table.remove(*entry);
  }
  for (std::uint64_t i = 1; i <= 20'000; i++) EXPECT_EQ(table.find(i << 20) != nullptr, i % 2 == 1);
}

TEST(MuxHostile, a_peer_that_ignores_credit_ends_the_link) {
  Fed fed({.stream_credit = 1000});
  EXPECT_EQ(fed.feed(frame(FrameType::message, 1, std::string(2000, 'x'))), Code::ok);
  EXPECT_EQ(fed.feed(frame(FrameType::message, 1, "x")), Code::data_loss);
}

TEST(MuxHostile, a_peer_that_begins_with_anything_but_hello_is_told_off) {
  Ear ear;
  Mux mux(Side::acceptor, {}, {}, ear);
  auto fed = mux.receive(open_frame(1));
  ASSERT_FALSE(fed.has_value());
  EXPECT_NE(fed.error().message().find("HELLO"), std::string::npos);
}

TEST(MuxHostile, a_peer_that_asks_and_never_reads_is_let_go) {
  Fed fed;
  std::string pings;
  for (int i = 0; i < 1000; i++) pings += frame(FrameType::ping, 1);
  Code code = Code::ok;
  for (int i = 0; i < 1000 && code == Code::ok; i++) code = fed.feed(pings);
  EXPECT_EQ(code, Code::resource_exhausted);
}

// --- Everything at once, at random ---

TEST(MuxProperty, whatever_two_sides_do_each_call_hears_a_prefix_of_what_was_said_and_nothing_is_left) {
  for (std::uint64_t seed = 1; seed <= 60; seed++) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    MuxLimits limits{.calls_max = static_cast<std::uint32_t>(1 + random.below(40)),
                     .stream_credit = static_cast<std::uint32_t>(1 + random.below(100'000))};
    auto minor = [&] { return static_cast<std::uint16_t>(1 + random.below(2)); };
    Rig rig(limits, {}, random.below(2) == 0, minor(), minor());
    struct Said {
      std::vector<std::string> up, down;
      bool open = true, cancelled = false, finished = false;
    };
    std::map<CallId, Said> said;
    auto message = [&] {
      static constexpr std::size_t sizes[] = {0, 1, 100, 4096, 4097, 16384, 16385, 100'000};
      return std::string(sizes[random.below(8)], static_cast<char>('a' + random.below(26)));
    };
    auto move = [&](Mux& from, Mux& to) {
      auto bytes = Rig::take(from, 1 + random.below(50'000));
      for (std::size_t at = 0; at < bytes.size();) {
        std::size_t size =
            std::min<std::size_t>(1 + random.below(random.below(4) == 0 ? 20 : 20'000), bytes.size() - at);
        ASSERT_TRUE(to.receive(std::string_view(bytes).substr(at, size)).has_value());
        at += size;
      }
    };
    auto consume = [&](Ear& ear, CallId id) {
      auto& call = ear.calls[id];
      std::size_t cost = random.below(2) == 0 ? call.cost : call.cost / 2;
      call.cost -= cost;
      ear.mux->consumed(id, cost);
    };
    for (int step = 0; step < 2000; step++) {
      auto pick = [&]() -> CallId { return said.empty() ? 0 : 1 + 2 * random.below(said.size()); };
      CallId id = pick();
      switch (random.below(12)) {
        case 0:
        case 1:
          if (random.below(2) == 0) {
            if (CallId opened = rig.open()) said[opened];
          } else {
            auto what = message();
            Bytes first = Bytes::copy_of(what);
            std::string commands[] = {"c", "total", "a-command-with-a-long-name"};
            OpenFrame open{.service = "s", .command = commands[random.below(3)], .grant = random.below(2)};
            if (auto opened = rig.a.open(open, &first, random.below(2) == 0, nullptr); opened.id != 0) {
              rig.a.set_user(opened.id, rig.a_ear.user_of(opened.id));
              said[opened.id].up.push_back(what);
            }
          }
          break;
        case 2:
        case 3:
          if (id != 0) {
            auto what = message();
            bool last = random.below(10) == 0;
            if (rig.a.send(id, Bytes::copy_of(what), last) != MuxSent::ended) said[id].up.push_back(what);
          }
          break;
        case 4:
        case 5:
          if (id != 0 && rig.b_ear.calls[id].opened) {
            auto what = message();
            if (rig.b.send(id, Bytes::copy_of(what), false) != MuxSent::ended) said[id].down.push_back(what);
          }
          break;
        case 6:
          if (id != 0) rig.a.half_close(id);
          break;
        case 7:
          if (id != 0 && rig.b_ear.calls[id].opened && random.below(4) == 0) {
            auto what = message();
            if (random.below(2) == 0) {
              rig.b.finish(id, {});
            } else if (!said[id].finished) {
              said[id].down.push_back(what);
              rig.b.answer(id, Bytes::copy_of(what));
            }
            said[id].finished = true;
          }
          break;
        case 8:
          if (id != 0 && random.below(8) == 0) {
            rig.a.cancel(id, 1);
            said[id].cancelled = true;
          }
          break;
        case 9:
          if (id != 0) consume(rig.a_ear, id), consume(rig.b_ear, id);
          break;
        case 10:
          move(rig.a, rig.b);
          break;
        case 11:
          move(rig.b, rig.a);
          break;
        default:
          break;
      }
      if (HasFatalFailure()) return;
    }
    rig.pump();
    for (auto& [id, call] : said) {
      if (rig.b_ear.calls[id].opened && !call.finished) rig.b.finish(id, {.code = Code::aborted});
    }
    rig.pump();
    EXPECT_EQ(rig.a.calls_open(), 0u);
    EXPECT_EQ(rig.b.calls_open(), 0u);
    EXPECT_EQ(rig.a.bytes_held(), 0u);
    EXPECT_EQ(rig.b.bytes_held(), 0u);
    for (auto& [id, call] : said) {
      auto& up = rig.b_ear.calls[id].messages;
      auto& down = rig.a_ear.calls[id].messages;
      ASSERT_LE(up.size(), call.up.size());
      ASSERT_LE(down.size(), call.down.size());
      EXPECT_TRUE(std::equal(up.begin(), up.end(), call.up.begin()));
      EXPECT_TRUE(std::equal(down.begin(), down.end(), call.down.begin()));
      if (!call.cancelled && !rig.a_ear.calls[id].refused) {
        EXPECT_TRUE(rig.a_ear.calls[id].ended);
        EXPECT_EQ(down.size(), call.down.size()) << id;
      }
    }
  }
}

}  // namespace

}  // namespace shunt::wire
