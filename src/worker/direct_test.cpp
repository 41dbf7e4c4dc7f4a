// A host with a broker socket: what it asks, what it attaches, where its calls go, and what becomes of them.

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "os/socket.h"
#include "worker/host.h"

namespace shunt::worker {
namespace {

struct FakeIncoming final : call::Incoming {
  void listen(call::CalleeEvents&) override {}
  void send_metadata(call::Metadata) override {}
  call::Sent send(call::Message) override { return call::Sent::more; }
  void consumed(std::size_t) override {}
  void finish(Status how, call::Metadata) override { status = std::move(how); }
  void finish_with(call::Message) override { status = Status(); }
  void release() override { released = true; }
  std::optional<Status> status;
  bool released = false;
};

struct FakeOutgoing final : call::Outgoing {
  call::Sent send(call::Message message, call::Last last) override {
    sent.emplace_back(message.bytes().view());
    half_closed = half_closed || last == call::Last::yes;
    return call::Sent::more;
  }
  void half_close() override { half_closed = true; }
  void consumed(std::size_t) override {}
  void cancel(call::Cancel reason) override { cancelled = reason; }
  void release() override { released = true; }
  std::string target;
  Deadline deadline;
  int hops = 0;
  std::vector<std::string> sent;
  bool half_closed = false;
  call::CallerEvents* events = nullptr;
  std::optional<call::Cancel> cancelled;
  bool released = false;
};

struct FakeLink;
struct Record {
  std::vector<FakeLink*> node;
  std::map<std::string, FakeLink*> direct;  ///< By the peer's service; "" is the node's.
  std::vector<Own<FakeOutgoing>> outgoing;
};

struct FakeLink final : NodeLink, call::Link {
  FakeLink(Record& record, call::Service& service, NodeLinkEvents& events)
      : record(record), service(service), events(events) {}
  ~FakeLink() override {
    std::erase(record.node, this);
    std::erase_if(record.direct, [this](auto& each) { return each.second == this; });
  }
  call::Link& calls() override { return *this; }
  void grant(std::uint64_t, const wire::GrantFrame&) override {}
  void load(const wire::LoadFrame&) override {}
  bool has_unsent() const override { return false; }
  void close(Status why) override {
    if (std::exchange(closed, true)) return;
    closed_as = why;
    for (auto& call : open_calls) {
      if (auto* heard = std::exchange(call->events, nullptr); heard != nullptr && !call->released) {
        heard->on_end(why, {});
      }
    }
    events.on_closed(why);
  }
  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& caller, call::Opening opening) override {
    record.outgoing.push_back(make_own<FakeOutgoing>());
    auto* call = record.outgoing.back().get();
    call->target = std::string(open.service) + "." + std::string(open.command);
    call->deadline = open.deadline;
    call->hops = open.hops;
    if (opening.has_message) call->sent.emplace_back(opening.message.bytes().view());
    call->half_closed = opening.last == call::Last::yes;
    call->events = &caller;
    open_calls.push_back(call);
    return call::OutgoingHandle(call);
  }
  loop::Task<void> drain(Deadline) override { co_return; }
  call::LinkStats stats() const override { return {}; }
  void deliver(FakeIncoming& incoming, std::string_view command, const call::Principal& who) {
    call::Open open;
    open.service = "shop.cart";
    open.command = command;
    open.principal = &who;
    service.begin(call::IncomingHandle(&incoming), open, call::Opening::empty());
  }
  Record& record;
  call::Service& service;
  NodeLinkEvents& events;
  std::vector<FakeOutgoing*> open_calls;
  Status closed_as;
  bool closed = false;
};

struct FakeMaker final : NodeLinkMaker {
  Result<Own<NodeLink>> make(os::Fd, call::Service& service, NodeLinkEvents& events, const wire::Hello&) override {
    auto link = make_own<FakeLink>(record, service, events);
    record.node.push_back(link.get());
    return Own<NodeLink>(std::move(link));
  }
  std::uint64_t can() const override { return wire::broker_can::direct | wire::broker_can::ring; }
  Result<Own<NodeLink>> make_direct(DirectEnd end, const DirectPeer& peer, call::Service& service,
                                    NodeLinkEvents& events, const wire::Hello& hello) override {
    if (end.descriptors.empty()) return fail(Code::invalid_argument, "no descriptors");
    EXPECT_TRUE(hello.definition.empty());
    auto link = make_own<FakeLink>(record, service, events);
    record.direct[peer.service] = link.get();
    return Own<NodeLink>(std::move(link));
  }
  Record record;
};

struct KeepingService final : call::Service, call::CalleeEvents {
  void begin(call::IncomingHandle call, const call::Open& open, call::Opening) override {
    users.push_back(open.principal == nullptr ? "" : open.principal->user);
    call->listen(*this);
    calls.push_back(std::move(call));
  }
  void on_message(call::Message) override {}
  void on_half_close() override {}
  void on_cancel(call::Cancel) override {}
  std::vector<std::string> users;
  std::vector<call::IncomingHandle> calls;
};

struct KeepingEvents final : HostEvents {
  void on_drain() override {}
  void on_drained() override {}
  void on_lost() override {}
};

struct Caller final : call::CallerEvents {
  void on_message(call::Message message) override { messages.emplace_back(message.bytes().view()); }
  void on_end(Status how, call::Metadata) override { status = std::move(how); }
  std::vector<std::string> messages;
  std::optional<Status> status;
};

class DirectTest : public testing::Test {
 protected:
  void SetUp() override {
    loop_ = *loop::EpollLoop::create({});
    Environment environment;
    environment.service = "shop.cart";
    environment.links.emplace_back();
    auto pair = *os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::no);
    environment.broker = std::move(pair.first);
    node_ = std::move(pair.second);
    HostOptions options;
    options.concurrency = 2;
    options.definition = "{}";
    options.direct.tell_every = Duration(0);
    options.direct.ask_again = Duration(0);
    host_ = *WorkerHost::create(*loop_, maker_, service_, events_, std::move(environment), std::move(options));
  }
  void turn() { loop_->turn(Duration(0)); }

  std::optional<wire::BrokerMessage> heard(std::vector<os::Fd>* descriptors = nullptr) {
    auto received = os::receive_message(node_.get(), wire::broker_bytes_max);
    if (!received || !*received || (*received)->bytes.empty()) return std::nullopt;
    if (descriptors != nullptr) *descriptors = std::move((*received)->descriptors);
    return *wire::BrokerMessage::decode((*received)->bytes);
  }
  void say(const wire::BrokerMessage& message, std::vector<int> descriptors = {}) {
    ASSERT_TRUE(*os::send_message(node_.get(), *message.encode(), descriptors));
    turn();
    turn();
  }
  void attach(wire::BrokerRole role, std::uint64_t id, std::string_view service, int descriptors = 1) {
    wire::BrokerMessage message(wire::BrokerVerb::attach, id);
    message.add_value(wire::BrokerKey::role, static_cast<std::uint64_t>(role));
    message.add_value(wire::BrokerKey::carrier, static_cast<std::uint64_t>(wire::BrokerCarrier::stream));
    message.add(wire::BrokerKey::service, service).add(wire::BrokerKey::instance, "prices#1");
    if (role == wire::BrokerRole::callee) message.add(wire::BrokerCommand{.name = "buy"});
    auto spare = *os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::no);
    say(message, std::vector<int>(static_cast<std::size_t>(descriptors), spare.first.get()));
  }
  /// The worker calls prices once, and is given a link to it.
  void link_to_prices() {
    ASSERT_EQ(heard()->verb, wire::BrokerVerb::hello);
    Caller first;
    auto call = host_->start({.service = "prices", .command = "get"}, first, call::Opening::empty());
    auto want = heard();
    ASSERT_TRUE(want);
    ASSERT_EQ(want->verb, wire::BrokerVerb::want);
    EXPECT_EQ(want->text(wire::BrokerKey::named), "prices");
    EXPECT_EQ(maker_.record.outgoing.back()->target, "prices.get");  // By the node.
    wire::BrokerMessage answer(wire::BrokerVerb::answer, want->number);
    answer.add(wire::BrokerKey::service, "shop.prices");
    answer.add(wire::BrokerCommand{.name = "get",
                                   .timeout_ns = 5'000'000'000,
                                   .effect = static_cast<std::uint8_t>(call::Effect::none),
                                   .flags = wire::BrokerCommand::json});
    answer.add(wire::BrokerCommand{.name = "set", .flags = wire::BrokerCommand::json});
    say(answer);
    attach(wire::BrokerRole::caller, 7, "shop.prices");
    ASSERT_TRUE(maker_.record.direct.contains("shop.prices"));
    prices().events.on_open({});
  }
  FakeLink& prices() { return *maker_.record.direct.at("shop.prices"); }
  FakeOutgoing& last() { return *maker_.record.outgoing.back(); }
  call::OutgoingHandle call(std::string_view command, Caller& caller) {
    return host_->start({.service = "prices", .command = command}, caller,
                        call::Opening::unary(call::Message(Bytes::forever("tea"))));
  }

  Own<loop::EpollLoop> loop_;
  FakeMaker maker_;
  KeepingService service_;
  KeepingEvents events_;
  os::Fd node_;
  Own<WorkerHost> host_;
  std::array<FakeIncoming, 8> incoming_;
};

TEST_F(DirectTest, hello_says_what_it_can_and_brings_its_load) {
  std::vector<os::Fd> descriptors;
  auto hello = heard(&descriptors);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->verb, wire::BrokerVerb::hello);
  EXPECT_EQ(hello->value(wire::BrokerKey::can), wire::broker_can::direct | wire::broker_can::ring);
  ASSERT_EQ(descriptors.size(), 1u);
  EXPECT_EQ(call::LoadView::open(descriptors[0])->read().capacity, 2u);
}

TEST_F(DirectTest, after_the_first_call_calls_go_directly_with_the_commands_deadline) {
  link_to_prices();
  Caller caller;
  auto direct = call("get", caller);
  EXPECT_EQ(prices().open_calls.size(), 1u);
  EXPECT_EQ(last().target, "shop.prices.get");
  EXPECT_EQ(last().hops, 1);
  EXPECT_FALSE(last().deadline.is_never());
  last().events->on_message(call::Message(Bytes::forever("250")));
  last().events->on_end(Status(), {});
  EXPECT_TRUE(caller.status->is_ok());
  direct.reset();
  loop_->turn(Duration(-1));
  auto counts = heard();
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->verb, wire::BrokerVerb::counts);
  EXPECT_EQ(counts->counts().at(0).calls, 1u);
  EXPECT_EQ(counts->counts().at(0).instance, "prices#1");
}

TEST_F(DirectTest, a_command_that_was_not_named_goes_by_the_node) {
  link_to_prices();
  Caller caller;
  auto by_node = call("drop", caller);
  EXPECT_TRUE(prices().open_calls.empty());
  EXPECT_EQ(last().target, "prices.drop");
}

TEST_F(DirectTest, a_refused_call_goes_by_the_node_with_what_was_sent) {
  link_to_prices();
  Caller caller;
  auto moved = call("set", caller);
  prices().open_calls[0]->events->on_end(Status(Code::resource_exhausted, "S3061", "full").with_retry(Retry::elsewhere),
                                         {});
  EXPECT_FALSE(caller.status.has_value());
  EXPECT_EQ(last().target, "shop.prices.set");
  EXPECT_EQ(last().sent, std::vector<std::string>{"tea"});
  EXPECT_TRUE(last().half_closed);
  last().events->on_end(Status(), {});
  EXPECT_TRUE(caller.status->is_ok());
}

TEST_F(DirectTest, a_callee_that_dies_is_told_unless_the_commands_effect_permits_another_try) {
  link_to_prices();
  Caller set;
  Caller get;
  auto any = call("set", set);
  auto none = call("get", get);
  prices().close(Status(Code::unavailable, "S1008", "lost shop.prices").with_retry(Retry::reconnect));
  ASSERT_TRUE(set.status.has_value());
  EXPECT_EQ(set.status->code(), Code::unavailable);
  EXPECT_FALSE(get.status.has_value());
  EXPECT_EQ(last().target, "shop.prices.get");  // By the node.
  any.reset();
  loop_->turn(Duration(-1));
  EXPECT_TRUE(maker_.record.direct.empty());
  auto closed = heard();
  while (closed && closed->verb == wire::BrokerVerb::counts) closed = heard();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->verb, wire::BrokerVerb::closed);
  EXPECT_EQ(closed->number, 7u);
}

TEST_F(DirectTest, a_link_that_is_revoked_ends_its_calls_with_the_reason) {
  link_to_prices();
  Caller caller;
  auto ended = call("get", caller);
  wire::BrokerMessage revoke(wire::BrokerVerb::revoke, 7);
  revoke.add_error(Status(Code::permission_denied, "S1010", "not any more"));
  say(revoke);
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_EQ(caller.status->code(), Code::permission_denied);
  Caller next;
  auto by_node = call("get", next);
  EXPECT_EQ(last().target, "prices.get");
}

TEST_F(DirectTest, a_retired_link_takes_no_new_calls_and_closes_when_its_last_has_ended) {
  link_to_prices();
  Caller caller;
  auto open = call("get", caller);
  say(wire::BrokerMessage(wire::BrokerVerb::retire, 7));
  Caller next;
  auto by_node = call("get", next);
  EXPECT_EQ(last().target, "prices.get");
  EXPECT_FALSE(caller.status.has_value());
  prices().open_calls[0]->events->on_end(Status(), {});
  open.reset();
  turn();
  EXPECT_TRUE(maker_.record.direct.empty());
}

TEST_F(DirectTest, a_second_way_to_the_node_is_used_for_calls_both_ways) {
  attach(wire::BrokerRole::node, 3, "");
  ASSERT_TRUE(maker_.record.direct.contains(""));
  maker_.record.direct[""]->deliver(incoming_[0], "buy", {});
  EXPECT_EQ(service_.calls.size(), 1u);
  Caller caller;
  auto out =
      host_->start_beside(*service_.calls[0], {.service = "stock", .command = "take"}, caller, call::Opening::empty());
  EXPECT_EQ(maker_.record.direct[""]->open_calls.size(), 1u);
  // It breaks: the first way is still there.
  maker_.record.direct[""]->close(Status(Code::unavailable, "garbled").with_retry(Retry::reconnect));
  turn();
  auto again = host_->start({.service = "stock", .command = "take"}, caller, call::Opening::empty());
  EXPECT_EQ(maker_.record.node[0]->open_calls.size(), 1u);
}

TEST_F(DirectTest, a_caller_may_call_what_the_node_has_said_and_no_more) {
  attach(wire::BrokerRole::callee, 4, "shop.till");
  FakeLink& till = *maker_.record.direct.at("shop.till");
  call::Principal who{.kind = call::PrincipalKind::service, .service = "shop.till"};
  till.deliver(incoming_[0], "buy", who);
  EXPECT_EQ(service_.calls.size(), 1u);
  till.deliver(incoming_[1], "burn", who);
  EXPECT_EQ(service_.calls.size(), 1u);
  ASSERT_TRUE(incoming_[1].status.has_value());
  EXPECT_EQ(incoming_[1].status->id(), "S1010");
  wire::BrokerMessage policy(wire::BrokerVerb::policy, 4);
  policy.add(wire::BrokerCommand{.name = "burn"});
  say(policy);
  till.deliver(incoming_[2], "buy", who);
  EXPECT_EQ(incoming_[2].status->id(), "S1010");
  // No call of ours ever goes out over it.
  Caller caller;
  auto out = host_->start({.service = "stock", .command = "take"}, caller, call::Opening::empty());
  EXPECT_TRUE(till.open_calls.empty());
}

TEST_F(DirectTest, a_user_is_known_by_the_token_that_the_node_knows) {
  ASSERT_TRUE(heard());
  attach(wire::BrokerRole::callee, 4, "shop.till");
  FakeLink& till = *maker_.record.direct.at("shop.till");
  call::Principal who{.kind = call::PrincipalKind::service, .service = "shop.till", .token = "s1.ann"};
  till.deliver(incoming_[0], "buy", who);
  EXPECT_EQ(incoming_[0].status->retry(), Retry::elsewhere);  // By the node, this time.
  auto verify = heard();
  ASSERT_TRUE(verify);
  EXPECT_EQ(verify->verb, wire::BrokerVerb::verify);
  EXPECT_EQ(verify->text(wire::BrokerKey::token), "s1.ann");
  till.deliver(incoming_[1], "buy", who);
  EXPECT_FALSE(heard().has_value());  // Asked once.
  wire::BrokerMessage answer(wire::BrokerVerb::answer, verify->number);
  say(answer.add(wire::BrokerKey::user, "ann").add_value(wire::BrokerKey::lifetime_ms, 60'000));
  till.deliver(incoming_[2], "buy", who);
  EXPECT_EQ(service_.users, std::vector<std::string>{"ann"});

  who.token = "s1.eve";
  till.deliver(incoming_[3], "buy", who);
  verify = heard();
  wire::BrokerMessage refusal(wire::BrokerVerb::answer, verify->number);
  say(refusal.add_error(Status(Code::unauthenticated, "S1050", "forged")));
  till.deliver(incoming_[4], "buy", who);
  EXPECT_EQ(incoming_[4].status->code(), Code::unauthenticated);
}

TEST_F(DirectTest, when_the_node_is_gone_callers_whom_nobody_could_stop_are_sent_away) {
  attach(wire::BrokerRole::callee, 4, "shop.till");
  FakeLink& till = *maker_.record.direct.at("shop.till");
  call::Principal who{.kind = call::PrincipalKind::service, .service = "shop.till"};
  till.deliver(incoming_[0], "buy", who);
  node_.close();
  turn();
  till.deliver(incoming_[1], "buy", who);
  EXPECT_EQ(incoming_[1].status->retry(), Retry::elsewhere);
  EXPECT_FALSE(incoming_[0].status.has_value());  // What runs goes on.
}

TEST_F(DirectTest, what_can_not_be_attached_is_declined) {
  ASSERT_TRUE(heard());
  attach(wire::BrokerRole::caller, 9, "shop.nobody_asked");
  EXPECT_EQ(heard()->number, 9u);
  attach(wire::BrokerRole::node, 10, "", 0);
  EXPECT_EQ(heard()->number, 10u);
  attach(static_cast<wire::BrokerRole>(99), 11, "");
  EXPECT_EQ(heard()->number, 11u);
}

TEST_F(DirectTest, a_blocking_call_leaves_no_room_and_its_load_says_so) {
  std::vector<os::Fd> descriptors;
  ASSERT_TRUE(heard(&descriptors));
  auto view = *call::LoadView::open(descriptors[0]);
  wire::BrokerMessage greeting(wire::BrokerVerb::greeting);
  say(greeting.add(wire::BrokerCommand{.name = "buy", .flags = wire::BrokerCommand::blocking}));
  attach(wire::BrokerRole::callee, 4, "shop.till");
  call::Principal who{.kind = call::PrincipalKind::service, .service = "shop.till"};
  FakeLink& till = *maker_.record.direct.at("shop.till");
  till.deliver(incoming_[0], "buy", who);
  EXPECT_FALSE(view.read().has_room());
  till.deliver(incoming_[1], "buy", who);
  EXPECT_EQ(incoming_[1].status->retry(), Retry::elsewhere);
  service_.calls.clear();
  EXPECT_TRUE(view.read().has_room());
}

TEST_F(DirectTest, ends_outlive_the_host) {
  link_to_prices();
  Caller caller;
  auto call_end = call("set", caller);
  host_.reset();
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_EQ(caller.status->code(), Code::unavailable);
  call_end.reset();
}

}  // namespace
}  // namespace shunt::worker
