// What MuxLink adds to the contract that tests/conformance proves: principals, refusals, clocks, the owner's events, broken
// peers, batching; and everything at random on a wire that does its worst.

#include "link/mux_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>

#include "link/sim/sim_wire.h"
#include "link/unix/socket_carrier.h"
#include "loop/epoll_loop.h"
#include "loop/sim_loop.h"
#include "os/socket.h"

namespace shunt::link {
using call::Cancel;
using call::Last;
using call::Message;
using call::Metadata;
using call::Opening;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

Message text(std::string_view what) { return Message(Bytes::copy_of(what)); }

struct Owner final : LinkOwner {
  std::vector<std::string> heard;
  std::optional<Status> closed;
  Deadline wait_deadline;
  std::function<void()> on_closing;
  void on_open(const wire::Hello& peer) override { heard.push_back("open:" + peer.name); }
  void on_closed(const Status& why) override {
    heard.emplace_back("closed");
    closed = why;
    if (on_closing) on_closing();
  }
  void on_pong(std::uint64_t number) override { heard.push_back("pong:" + std::to_string(number)); }
  void on_goaway(std::string_view reason) override { heard.push_back("goaway:" + std::string(reason)); }
  void on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) override {
    heard.push_back("wait:" + std::to_string(ticket) + ":" + std::string(wait.service));
    wait_deadline = Deadline(Instant{wait.deadline_ns});
  }
  void on_grant(std::uint64_t ticket, const wire::GrantFrame& grant) override {
    heard.push_back("grant:" + std::to_string(ticket) + ":" + std::to_string(grant.grant));
  }
  void on_load(const wire::LoadFrame& load) override { heard.push_back("load:" + std::to_string(load.running)); }
};

struct Ear final : call::CallerEvents {
  std::vector<std::string> messages;
  std::optional<Status> status;
  std::size_t cost = 0;
  void on_message(Message message) override {
    cost += message.cost();
    messages.emplace_back(message.bytes().view());
  }
  void on_end(Status with, Metadata) override {
    EXPECT_FALSE(status.has_value());
    status = std::move(with);
  }
};

/// Begins calls as a test says.
struct Fake final : call::Service {
  struct Seen {
    std::string command;
    call::Principal principal;
    Deadline deadline;
    std::uint64_t grant;
    bool has_message;
    Last last;
  };
  std::vector<Seen> seen;
  std::function<void(call::IncomingHandle, const call::Open&, Opening)> serve;
  void begin(call::IncomingHandle call, const call::Open& open, Opening opening) override {
    seen.push_back(
        {std::string(open.command), *open.principal, open.deadline, open.grant, opening.has_message, opening.last});
    if (serve) {
      serve(std::move(call), open, std::move(opening));
    } else {
      call->finish_with(std::move(opening.message));
    }
  }
};

struct Pair {
  loop::SimClock clock;
  loop::SimLoop near_loop{clock};
  loop::SimLoop far_loop{clock};
  SimWire wire;
  Owner near_owner, far_owner;
  Fake near_service, far_service;
  Own<MuxLink> near, far;

  explicit Pair(SimWireOptions options = {}, bool same_clock = true, std::optional<call::Principal> worker = {})
      : wire(near_loop, far_loop, options) {
    MuxLinkOptions node{.side = wire::Side::dialler};
    node.hello.name = "node";
    node.hello.clock = "one";
    if (worker) node.peer = *worker;
    MuxLinkOptions other{.side = wire::Side::acceptor, .trust_principal = true};
    other.hello.name = "shop.cart";
    other.hello.clock = same_clock ? "one" : "two";
    near = MuxLink::create(near_loop, wire.first(), near_service, near_owner, node);
    far = MuxLink::create(far_loop, wire.second(), far_service, far_owner, other);
  }
  ~Pair() { near.reset(), far.reset(); }

  static call::Open open(std::string_view command) {
    call::Open open;
    open.service = "shop.cart";
    open.command = command;
    return open;
  }
};

TEST(MuxLink, owners_hear_of_each_other) {
  Pair pair;
  pair.clock.settle();
  EXPECT_EQ(pair.near_owner.heard, std::vector<std::string>{"open:shop.cart"});
  EXPECT_EQ(pair.far_owner.heard, std::vector<std::string>{"open:node"});
  pair.near_owner.heard.clear();
  pair.far_owner.heard.clear();
  pair.near->ping(7);
  pair.near->grant(3, {.grant = 9});
  pair.far->wait(3, {.service = "shop.prices"});
  pair.far->load({2, 4});
  pair.far->goaway("enough");
  pair.clock.settle();
  EXPECT_EQ(pair.near_owner.heard,
            (std::vector<std::string>{"wait:3:shop.prices", "load:2", "goaway:enough", "pong:7"}));
  EXPECT_EQ(pair.far_owner.heard, (std::vector<std::string>{"grant:3:9"}));
}

TEST(MuxLink, a_worker_is_who_its_link_says_and_the_node_is_believed) {
  Pair pair({}, true, call::Principal{call::PrincipalKind::service, "shop.cart", "", ""});
  call::Principal liar{call::PrincipalKind::operator_, "shop.admin", "root", "signed"};
  Ear up, down;
  auto open = Pair::open("x");
  open.principal = &liar;
  auto from_worker = pair.far->open(open, up, Opening::unary(text("")));
  auto from_node = pair.near->open(open, down, Opening::unary(text("")));
  pair.clock.settle();
  ASSERT_EQ(pair.near_service.seen.size(), 1u);
  EXPECT_EQ(pair.near_service.seen[0].principal,
            (call::Principal{call::PrincipalKind::service, "shop.cart", "", "signed"}));
  ASSERT_EQ(pair.far_service.seen.size(), 1u);
  EXPECT_EQ(pair.far_service.seen[0].principal, liar);
}

TEST(MuxLink, the_first_message_comes_with_the_opening) {
  Pair pair;
  Ear ear;
  auto open = Pair::open("x");
  open.grant = 77;
  auto call = pair.near->open(open, ear, Opening::unary(text("hello")));
  pair.clock.settle();
  EXPECT_TRUE(pair.far_service.seen[0].has_message);
  EXPECT_EQ(pair.far_service.seen[0].last, Last::yes);
  EXPECT_EQ(pair.far_service.seen[0].grant, 77u);
  EXPECT_EQ(ear.messages, std::vector<std::string>{"hello"});
}

TEST(MuxLink, only_a_refusal_at_the_door_may_be_moved) {
  Pair pair;
  call::IncomingHandle kept;
  pair.far_service.serve = [&](call::IncomingHandle call, const call::Open& open, Opening) {
    if (open.command == "door") {
      call->finish(Status(Code::unavailable, "S1009", "full").with_retry(Retry::elsewhere), {});
    } else {
      kept = std::move(call);
    }
  };
  Ear door, later;
  auto first = pair.near->open(Pair::open("door"), door, Opening::unary(text("")));
  auto second = pair.near->open(Pair::open("later"), later, Opening::unary(text("")));
  pair.clock.settle();
  EXPECT_EQ(door.status->retry(), Retry::elsewhere);
  kept->finish(Status(Code::unavailable, "S1009", "handed on").with_retry(Retry::elsewhere), {});
  pair.clock.settle();
  EXPECT_EQ(later.status->retry(), Retry::later);
}

TEST(MuxLink, deadlines_cross_clocks_that_differ) {
  for (bool same : {true, false}) {
    Pair pair({.delay = milliseconds(10)}, same);
    pair.far_service.serve = [](call::IncomingHandle call, const call::Open&, Opening) { call->finish({}, {}); };
    auto at = Deadline::after(pair.clock.now(), seconds(5));
    auto open = Pair::open("x");
    open.deadline = at;
    Ear early, late;
    auto first = pair.near->open(open, early, Opening::unary(text("")));  // Before the HELLO.
    pair.clock.advance(milliseconds(100));
    auto second = pair.near->open(open, late, Opening::unary(text("")));
    pair.far->wait(1, {.service = "s", .deadline_ns = at.at().ns});
    pair.clock.advance(milliseconds(100));
    ASSERT_EQ(pair.far_service.seen.size(), 2u);
    // What is left is taken off at sending, so the time on the way is not.
    Duration slack = same ? Duration(0) : Duration(milliseconds(10));
    EXPECT_EQ(pair.far_service.seen[0].deadline.at(), at.at() + slack);
    EXPECT_EQ(pair.far_service.seen[1].deadline.at(), at.at() + slack);
    EXPECT_EQ(pair.near_owner.wait_deadline.at(), at.at() + slack);
  }
}

TEST(MuxLink, a_lost_peer_is_named_with_the_reason) {
  Pair pair;
  pair.clock.settle();
  Ear ear;
  call::IncomingHandle kept;
  pair.far_service.serve = [&](call::IncomingHandle call, const call::Open&, Opening) { kept = std::move(call); };
  auto call = pair.near->open(Pair::open("x"), ear, Opening::unary(text("")));
  pair.clock.settle();
  pair.wire.cut();
  pair.clock.settle();
  EXPECT_EQ(ear.status->message(), "lost shop.cart: the wire was cut");
  EXPECT_TRUE(pair.near->is_closed());
  EXPECT_TRUE(pair.far->is_closed());
  EXPECT_EQ(pair.near_owner.heard.back(), "closed");
}

TEST(MuxLink, an_owner_may_destroy_the_link_when_it_hears_the_end) {
  Pair pair;
  pair.clock.settle();
  pair.near_owner.on_closing = [&] { pair.near.reset(); };
  pair.far_owner.on_closing = [&] { pair.far.reset(); };
  pair.wire.cut();
  pair.clock.settle();
  EXPECT_EQ(pair.near, nullptr);
  EXPECT_EQ(pair.far, nullptr);
}

TEST(MuxLink, closing_ends_calls_as_it_was_told) {
  Pair pair;
  Ear ear;
  auto call = pair.near->open(Pair::open("x"), ear, Opening::first(text("")));
  pair.near->close(Status(Code::failed_precondition, "S1023", "no"));
  EXPECT_EQ(ear.status->id(), "S1023");
  EXPECT_EQ(pair.near_owner.closed->id(), "S1023");
}

struct Sockets {
  Own<loop::EpollLoop> loop;
  Owner owner;
  Fake service;
  Own<MuxLink> link;
  os::Fd other;
  explicit Sockets(call::LinkLimits limits = {}) {
    loop = std::move(*loop::EpollLoop::create({.name = "test", .slow_turn = Duration(0)}));
    auto pair = std::move(*os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::no));
    other = std::move(pair.second);
    MuxLinkOptions options{.side = wire::Side::acceptor, .limits = limits};
    link = MuxLink::create(*loop, make_socket_carrier(*loop, std::move(pair.first)), service, owner, options);
    loop->turn(Duration(0));
  }
  void say(std::string_view bytes) {
    ASSERT_EQ(::write(other.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    loop->turn(Duration(0));
  }
  std::string hear() {
    char buffer[65536];
    auto got = ::read(other.get(), buffer, sizeof buffer);
    return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
  }
};

std::string hello() {
  std::string out;
  wire::append_frame(out, wire::FrameType::hello, 0, wire::encode_hello({}));
  return out;
}

TEST(MuxLink, a_peer_that_breaks_the_protocol_is_told_why_and_let_go) {
  Sockets sockets;
  sockets.say(hello());
  sockets.hear();
  sockets.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(sockets.link->is_closed());
  EXPECT_EQ(sockets.owner.closed->code(), Code::data_loss);
  EXPECT_NE(sockets.hear().find("wire:"), std::string::npos);
  EXPECT_EQ(sockets.hear(), "");
  Ear ear;
  auto call = sockets.link->open(Pair::open("x"), ear, Opening::unary(text("")));
  EXPECT_EQ(ear.status->retry(), Retry::reconnect);
}

TEST(MuxLink, what_happens_in_one_turn_is_written_at_once) {
  Sockets sockets;
  sockets.say(hello());
  sockets.hear();
  std::string opens;
  for (wire::CallId id = 1; id < 200; id += 2) {
    std::string payload;
    wire::encode_open({.service = "s", .command = "c"}, payload);
    wire::append_frame(opens, wire::FrameType::open, id, payload);
    wire::append_frame(opens, wire::FrameType::message, id, "x", wire::flag::last);
  }
  sockets.say(opens);
  EXPECT_EQ(sockets.service.seen.size(), 100u);
  EXPECT_EQ(sockets.hear().size(), 100 * (16 + 1));
  EXPECT_EQ(sockets.link->stats().calls_open, 0u);
}

TEST(MuxLink, what_a_process_said_before_it_ended_is_heard) {
  Sockets sockets;
  std::string payload;
  wire::encode_open({.service = "s", .command = "last"}, payload);
  std::string bytes = hello();
  wire::append_frame(bytes, wire::FrameType::open, 1, payload, wire::flag::last);
  ASSERT_EQ(::write(sockets.other.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  sockets.other.close();
  while (!sockets.link->is_closed()) sockets.loop->turn(Duration(0));
  ASSERT_EQ(sockets.service.seen.size(), 1u);
  EXPECT_EQ(sockets.service.seen[0].command, "last");
  EXPECT_EQ(sockets.owner.closed->code(), Code::unavailable);
}

TEST(MuxLink, a_large_message_passes_a_full_socket) {
  Sockets sockets;
  sockets.say(hello());
  Ear ear;
  auto call =
      sockets.link->open(Pair::open("x"), ear, Opening::unary(Message(Bytes::adopt(std::string(5 << 20, 'x')))));
  std::size_t heard = 0;
  while (heard < 5u << 20) {
    sockets.loop->turn(Duration(0));
    heard += sockets.hear().size();
  }
  EXPECT_GE(sockets.link->stats().bytes_sent, 5u << 20);
}

// --- Everything at random, on a wire that does its worst ---

/// A callee that does something else with each call.
struct Wild final : call::Service {
  struct Served final : call::CalleeEvents {
    Wild& wild;
    call::IncomingHandle call;
    std::size_t cost = 0;
    bool over = false;
    Served(Wild& in, call::IncomingHandle with) : wild(in), call(std::move(with)) { call->listen(*this); }
    void on_message(Message message) override {
      EXPECT_FALSE(over);
      cost += message.cost();
      act();
    }
    void on_half_close() override { act(); }
    void on_cancel(Cancel) override {
      EXPECT_FALSE(over);
      over = true;
      act();
    }
    void on_credit() override { act(); }
    void act() {
      if (!call) return;
      switch (wild.random.below(8)) {
        case 0:
          call->send(Message(Bytes::adopt(std::string(wild.random.below(40'000), 'd'))));
          break;
        case 1:
          call->consumed(std::exchange(cost, 0));
          break;
        case 2:
          call->finish({}, {}), call.reset(), over = true;
          break;
        case 3:
          call->finish_with(text("done")), call.reset(), over = true;
          break;
        case 4:
          call.reset(), over = true;
          break;
        case 5:
          call->send_metadata({});
          break;
        default:
          break;
      }
    }
  };
  Random& random;
  std::vector<Own<Served>> served;
  explicit Wild(Random& with) : random(with) {}
  void begin(call::IncomingHandle call, const call::Open&, Opening opening) override {
    if (random.below(10) == 0) return;
    served.push_back(make_own<Served>(*this, std::move(call)));
    if (opening.has_message) served.back()->cost += opening.message.cost();
    served.back()->act();
  }
};

TEST(MuxLinkProperty, on_any_wire_every_call_ends_once_and_nothing_is_left) {
  for (std::uint64_t seed = 1; seed <= 150; seed++) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    SimWireOptions options{.seed = seed,
                           .delay = Duration(random.below(3'000'000)),
                           .jitter = Duration(random.below(2'000'000)),
                           .write_bytes_max = random.below(2) == 0 ? SIZE_MAX : 1 + random.below(9000),
                           .chunk_bytes_max = random.below(2) == 0 ? SIZE_MAX : 1 + random.below(3000),
                           .in_flight_bytes_max = 10'000 + random.below(300'000)};
    call::LinkLimits limits{.message_bytes_max = 50'000,
                            .calls_max = static_cast<std::uint32_t>(1 + random.below(30)),
                            .stream_credit = static_cast<std::uint32_t>(1 + random.below(60'000)),
                            .link_bytes_max = 500'000};
    loop::SimClock clock;
    loop::SimLoop near_loop(clock), far_loop(clock);
    SimWire wire(near_loop, far_loop, options);
    Owner near_owner, far_owner;
    Wild near_service(random), far_service(random);
    MuxLinkOptions near_options{.side = wire::Side::dialler, .limits = limits};
    MuxLinkOptions far_options{.side = wire::Side::acceptor, .limits = {}};
    near_options.hello.clock = "one";
    far_options.hello.clock = random.below(2) == 0 ? "one" : "two";
    auto near = MuxLink::create(near_loop, wire.first(), near_service, near_owner, near_options);
    auto far = MuxLink::create(far_loop, wire.second(), far_service, far_owner, far_options);

    struct Calling {
      Ear ear;
      call::OutgoingHandle call;
      bool closed = false;
    };
    std::vector<Own<Calling>> calls;
    bool cut = false;
    for (int step = 0; step < 600; step++) {
      Calling* one = calls.empty() ? nullptr : calls[random.below(calls.size())].get();
      switch (random.below(14)) {
        case 0:
        case 1:
        case 2: {
          auto open = Pair::open("x");
          if (random.below(3) == 0) open.deadline = Deadline::after(clock.now(), milliseconds(random.below(20)));
          calls.push_back(make_own<Calling>());
          auto& fresh = *calls.back();
          auto& link = random.below(3) == 0 ? far : near;
          Opening opening = random.below(2) == 0 ? Opening::empty() : Opening::first(text("first"));
          fresh.closed = random.below(3) == 0;
          if (fresh.closed) opening.last = Last::yes;
          fresh.call = link->open(open, fresh.ear, std::move(opening));
          break;
        }
        case 3:
        case 4:
          if (one != nullptr && one->call && !one->closed) {
            one->closed = random.below(5) == 0;
            one->call->send(Message(Bytes::adopt(std::string(random.below(45'000), 'u'))), Last{one->closed});
          }
          break;
        case 5:
          if (one != nullptr && one->call && !std::exchange(one->closed, true)) one->call->half_close();
          break;
        case 6:
          if (one != nullptr && one->call) one->call->consumed(std::exchange(one->ear.cost, 0));
          break;
        case 7:
          if (one != nullptr && one->call && random.below(3) == 0) one->call->cancel(Cancel::caller);
          break;
        case 8:
          if (one != nullptr && random.below(3) == 0) one->call.reset();
          break;
        case 9:
          for (auto* side : {&near_service, &far_service}) {
            if (!side->served.empty()) side->served[random.below(side->served.size())]->act();
          }
          break;
        case 10:
          clock.settle();
          break;
        case 11:
          clock.advance(Duration(random.below(5'000'000)));
          break;
        case 12:
          if (random.below(4) == 0) wire.stall(random.below(2) == 0);
          break;
        case 13:
          if (random.below(200) == 0) cut = true, wire.cut();
          break;
        default:
          break;
      }
    }
    wire.stall(false);
    for (auto* side : {&near_service, &far_service}) side->served.clear();
    clock.advance(seconds(1));
    for (auto* side : {&near_service, &far_service}) side->served.clear();
    clock.advance(seconds(1));
    EXPECT_EQ(near_owner.closed.has_value(), cut) << (near_owner.closed ? near_owner.closed->to_string() : "");
    EXPECT_EQ(far_owner.closed.has_value(), cut) << (far_owner.closed ? far_owner.closed->to_string() : "");
    for (auto& one : calls) {
      // A call whose opening never found a handler to end it is one that the callee still held: none is.
      if (one->call) EXPECT_TRUE(one->ear.status.has_value());
    }
    EXPECT_EQ(near->stats().calls_open, 0u);
    EXPECT_EQ(far->stats().calls_open, 0u);
    calls.clear();
  }
}

}  // namespace

}  // namespace shunt::link
