#include "worker/host.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "os/socket.h"

namespace shunt::worker {
namespace {

/// The node's end of one call that came to the worker: what the host's link would make of it.
struct FakeIncoming final : call::Incoming {
  void listen(call::CalleeEvents& events) override { heard_by = &events; }
  void send_metadata(call::Metadata) override {}
  call::Sent send(call::Message message) override {
    sent.emplace_back(message.bytes().view());
    return call::Sent::more;
  }
  void consumed(std::size_t cost) override { credit += cost; }
  void finish(Status how, call::Metadata) override { status = std::move(how); }
  void finish_with(call::Message message) override {
    send(std::move(message));
    status = Status();
  }
  void release() override { released = true; }

  call::CalleeEvents* heard_by = nullptr;
  std::vector<std::string> sent;
  std::size_t credit = 0;
  std::optional<Status> status;
  bool released = false;
};

struct FakeOutgoing final : call::Outgoing {
  call::Sent send(call::Message, call::Last) override { return call::Sent::more; }
  void half_close() override {}
  void consumed(std::size_t) override {}
  void cancel(call::Cancel reason) override { cancelled = reason; }
  void release() override { released = true; }

  std::string target;
  call::CallerEvents* events = nullptr;
  std::optional<call::Cancel> cancelled;
  bool released = false;
};

struct Told {
  std::uint64_t ticket;
  Code code;
  std::uint64_t grant;
};

struct FakeLink;

/// What survives the links: the host destroys them when it likes.
struct Record {
  std::vector<FakeLink*> links;
  std::vector<Told> grants;
  std::vector<wire::LoadFrame> loads;
  std::vector<Own<FakeOutgoing>> outgoing;
  std::vector<wire::Hello> hellos;
  int destroyed = 0;
};

struct FakeLink final : NodeLink, call::Link {
  FakeLink(Record& record, call::Service& service, NodeLinkEvents& events)
      : record(record), service(service), events(events) {}
  ~FakeLink() override {
    std::erase(record.links, this);
    record.destroyed++;
  }

  call::Link& calls() override { return *this; }
  void grant(std::uint64_t ticket, const wire::GrantFrame& frame) override {
    record.grants.push_back({ticket, frame.status.code, frame.grant});
  }
  void load(const wire::LoadFrame& load) override { record.loads.push_back(load); }
  bool has_unsent() const override { return unsent; }
  void close(Status why) override {
    if (!std::exchange(closed, true)) events.on_closed(why);
  }
  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& caller, call::Opening) override {
    record.outgoing.push_back(make_own<FakeOutgoing>());
    record.outgoing.back()->target = std::string(open.service) + "." + std::string(open.command);
    record.outgoing.back()->events = &caller;
    opened_here++;
    return call::OutgoingHandle(record.outgoing.back().get());
  }
  loop::Task<void> drain(Deadline) override { co_return; }
  call::LinkStats stats() const override { return {}; }

  /// A call comes in over this link.
  void deliver(FakeIncoming& incoming, std::uint64_t grant = 0) {
    call::Open open;
    open.service = "shop.prices";
    open.command = "get";
    open.grant = grant;
    service.begin(call::IncomingHandle(&incoming), open, call::Opening::empty());
  }

  Record& record;
  call::Service& service;
  NodeLinkEvents& events;
  bool closed = false;
  bool unsent = false;
  int opened_here = 0;
};

struct FakeMaker final : NodeLinkMaker {
  Result<Own<NodeLink>> make(os::Fd, call::Service& service, NodeLinkEvents& events,
                             const wire::Hello& hello) override {
    auto link = make_own<FakeLink>(record, service, events);
    record.links.push_back(link.get());
    record.hellos.push_back(hello);
    return Own<NodeLink>(std::move(link));
  }
  Record record;
};

/// Keeps every call that it is given, as a runtime does.
struct KeepingService final : call::Service, call::CalleeEvents {
  void begin(call::IncomingHandle call, const call::Open&, call::Opening) override {
    call->listen(*this);
    calls.push_back(std::move(call));
  }
  void on_message(call::Message) override {}
  void on_half_close() override {}
  void on_cancel(call::Cancel) override { cancels++; }

  std::vector<call::IncomingHandle> calls;
  int cancels = 0;
};

struct KeepingEvents final : HostEvents {
  void on_drain() override { drains++; }
  void on_drained() override { drained++; }
  void on_lost() override { lost++; }
  int drains = 0;
  int drained = 0;
  int lost = 0;
};

struct SilentCaller final : call::CallerEvents {
  void on_message(call::Message) override {}
  void on_end(Status how, call::Metadata) override { status = std::move(how); }
  std::optional<Status> status;
};

class WorkerHostTest : public testing::Test {
 protected:
  void start(int links, HostOptions options = {.concurrency = 2}) {
    loop_ = *loop::EpollLoop::create({});
    Environment environment;
    environment.service = "shop.prices";
    for (int i = 0; i < links; i++) environment.links.emplace_back();
    auto control = *os::make_socket_pair(os::SocketKind::seqpacket, os::Blocking::no, os::Blocking::no);
    environment.control = std::move(control.first);
    supervisor_ = std::move(control.second);
    host_ = *WorkerHost::create(*loop_, maker_, service_, events_, std::move(environment), std::move(options));
  }
  FakeLink& link(std::size_t index) { return *maker_.record.links[index]; }
  std::vector<Told>& grants() { return maker_.record.grants; }
  void turn() { loop_->turn(Duration(0)); }

  wire::WaitFrame patient() {
    wire::WaitFrame wait;
    wait.service = "shop.prices";
    return wait;
  }

  Own<loop::EpollLoop> loop_;
  FakeMaker maker_;
  KeepingService service_;
  KeepingEvents events_;
  os::Fd supervisor_;
  Own<WorkerHost> host_;
  std::array<FakeIncoming, 8> incoming_;
};

TEST_F(WorkerHostTest, a_call_beyond_the_concurrency_is_refused_unstarted) {
  start(1);
  link(0).deliver(incoming_[0]);
  link(0).deliver(incoming_[1]);
  link(0).deliver(incoming_[2]);
  EXPECT_EQ(service_.calls.size(), 2u);
  ASSERT_TRUE(incoming_[2].status.has_value());
  EXPECT_EQ(incoming_[2].status->retry(), Retry::elsewhere);
  EXPECT_EQ(incoming_[2].status->id(), "S3061");
  EXPECT_TRUE(incoming_[2].released);
  EXPECT_EQ(host_->running(), 2u);
}

TEST_F(WorkerHostTest, the_slot_is_free_when_the_call_has_finished_even_before_it_is_released) {
  start(1, {.concurrency = 1});
  link(0).deliver(incoming_[0]);
  service_.calls[0]->finish(Status(), {});
  EXPECT_EQ(host_->running(), 0u);
  link(0).deliver(incoming_[1]);
  EXPECT_FALSE(incoming_[1].status.has_value());
  EXPECT_EQ(host_->running(), 1u);
  service_.calls.clear();
  EXPECT_EQ(host_->running(), 0u);
  EXPECT_TRUE(incoming_[1].released);
}

TEST_F(WorkerHostTest, the_node_says_the_concurrency_when_the_worker_does_not) {
  start(1, {.concurrency = 0});
  EXPECT_EQ(host_->capacity(), 0u);
  wire::Hello node;
  node.concurrency = 1;
  link(0).events.on_open(node);
  EXPECT_EQ(host_->capacity(), 1u);
  link(0).deliver(incoming_[0]);
  link(0).deliver(incoming_[1]);
  EXPECT_EQ(service_.calls.size(), 1u);
}

TEST_F(WorkerHostTest, a_granted_slot_is_kept_for_the_call_that_brings_the_grant) {
  start(1, {.concurrency = 1});
  link(0).events.on_wait(7, patient());
  ASSERT_EQ(grants().size(), 1u);
  EXPECT_EQ(grants()[0].ticket, 7u);
  EXPECT_EQ(host_->reserved(), 1u);

  link(0).deliver(incoming_[0]);  // Without the grant.
  EXPECT_EQ(service_.calls.size(), 0u);
  link(0).deliver(incoming_[1], grants()[0].grant);
  EXPECT_EQ(service_.calls.size(), 1u);
  EXPECT_EQ(host_->reserved(), 0u);
}

TEST_F(WorkerHostTest, a_grant_that_nobody_uses_expires) {
  start(1, {.concurrency = 1, .reservation = Duration(0)});
  link(0).events.on_wait(7, patient());
  EXPECT_EQ(host_->reserved(), 1u);
  turn();
  EXPECT_EQ(host_->reserved(), 0u);
  link(0).deliver(incoming_[0]);
  EXPECT_EQ(service_.calls.size(), 1u);
}

TEST_F(WorkerHostTest, tickets_are_served_by_priority_then_by_age_as_slots_come_free) {
  start(2, {.concurrency = 1});
  link(0).deliver(incoming_[0]);
  auto urgent = patient();
  urgent.priority = 9;
  link(0).events.on_wait(1, patient());
  link(0).events.on_wait(2, patient());
  link(1).events.on_wait(3, urgent);
  EXPECT_TRUE(grants().empty());

  service_.calls[0]->finish(Status(), {});
  ASSERT_EQ(grants().size(), 1u);
  EXPECT_EQ(grants()[0].ticket, 3u);
  link(1).deliver(incoming_[1], grants()[0].grant);
  service_.calls[1]->finish(Status(), {});
  ASSERT_EQ(grants().size(), 2u);
  EXPECT_EQ(grants()[1].ticket, 1u);
}

TEST_F(WorkerHostTest, a_ticket_whose_deadline_passes_is_told_so) {
  start(1, {.concurrency = 1});
  link(0).deliver(incoming_[0]);
  auto late = patient();
  late.deadline_ns = 1;
  link(0).events.on_wait(5, late);
  turn();
  ASSERT_EQ(grants().size(), 1u);
  EXPECT_EQ(grants()[0].code, Code::deadline_exceeded);
  EXPECT_EQ(grants()[0].grant, 0u);
}

TEST_F(WorkerHostTest, too_many_tickets_are_refused) {
  start(1, {.concurrency = 1, .waits_max = 1});
  link(0).deliver(incoming_[0]);
  link(0).events.on_wait(1, patient());
  link(0).events.on_wait(2, patient());
  ASSERT_EQ(grants().size(), 1u);
  EXPECT_EQ(grants()[0].ticket, 2u);
  EXPECT_EQ(grants()[0].code, Code::resource_exhausted);
}

TEST_F(WorkerHostTest, a_link_that_closes_gives_its_slots_to_those_who_wait_on_another) {
  start(2, {.concurrency = 1});
  link(0).events.on_wait(1, patient());
  link(1).events.on_wait(2, patient());
  ASSERT_EQ(grants().size(), 1u);
  link(0).close(Status(Code::unavailable, "gone"));
  ASSERT_EQ(grants().size(), 2u);
  EXPECT_EQ(grants()[1].ticket, 2u);
}

TEST_F(WorkerHostTest, a_goaway_on_the_control_link_drains_and_open_calls_end_first) {
  start(2);
  link(1).deliver(incoming_[0]);
  link(0).events.on_goaway("restart");
  EXPECT_EQ(events_.drains, 1);
  link(1).deliver(incoming_[1]);
  ASSERT_TRUE(incoming_[1].status.has_value());
  EXPECT_EQ(incoming_[1].status->id(), "S1015");
  EXPECT_EQ(incoming_[1].status->retry(), Retry::elsewhere);

  // What still runs may still call others.
  SilentCaller caller;
  auto call = host_->start({.service = "stock", .command = "take"}, caller, call::Opening::empty());
  EXPECT_EQ(link(1).opened_here, 1);
  turn();
  EXPECT_EQ(events_.drained, 0);
  service_.calls.clear();
  call.reset();
  turn();
  EXPECT_EQ(events_.drained, 1);
}

TEST_F(WorkerHostTest, a_drained_worker_ends_only_when_its_last_answer_has_left) {
  start(1);
  link(0).unsent = true;
  host_->drain();
  turn();
  EXPECT_EQ(events_.drained, 0);
  link(0).unsent = false;
  loop_->turn(Duration(-1));  // Until its timer.
  EXPECT_EQ(events_.drained, 1);
}

TEST_F(WorkerHostTest, calls_go_out_over_the_link_on_which_their_parent_came) {
  start(3);
  link(2).deliver(incoming_[0]);
  link(1).deliver(incoming_[1]);
  SilentCaller caller;
  auto beside =
      host_->start_beside(*service_.calls[0], {.service = "stock", .command = "take"}, caller, call::Opening::empty());
  EXPECT_EQ(link(2).opened_here, 1);
  auto last = host_->start({.service = "stock", .command = "take"}, caller, call::Opening::empty());
  EXPECT_EQ(link(1).opened_here, 1);
  EXPECT_EQ(maker_.record.outgoing[0]->target, "stock.take");
}

TEST_F(WorkerHostTest, ends_outlive_their_link_and_the_host) {
  start(1);
  link(0).deliver(incoming_[0]);
  link(0).deliver(incoming_[1]);
  SilentCaller caller;
  auto call = host_->start({.service = "stock", .command = "take"}, caller, call::Opening::empty());
  link(0).close(Status(Code::unavailable, "gone"));
  turn();
  EXPECT_EQ(maker_.record.destroyed, 1);
  EXPECT_TRUE(incoming_[0].released);
  EXPECT_TRUE(maker_.record.outgoing[0]->released);
  EXPECT_EQ(service_.calls[0]->send(call::Message(Bytes::forever("late"))), call::Sent::ended);
  EXPECT_EQ(call->send(call::Message(Bytes::forever("late")), call::Last::no), call::Sent::ended);
  service_.calls[0]->finish(Status(), {});
  EXPECT_EQ(host_->running(), 1u);  // The other one's handler still runs.
  host_.reset();
  call.reset();
  service_.calls.clear();
}

TEST_F(WorkerHostTest, fresh_links_replace_those_of_a_node_that_died) {
  start(2);
  link(0).deliver(incoming_[0]);
  link(0).close(Status(Code::unavailable, "gone"));
  turn();
  auto spare = *os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::no);
  std::array<int, 2> descriptors = {spare.first.get(), spare.second.get()};
  ASSERT_TRUE(*os::send_message(supervisor_.get(), "L", descriptors));
  turn();
  turn();
  EXPECT_EQ(events_.lost, 0);
  EXPECT_EQ(host_->links_open(), 2u);
  EXPECT_EQ(maker_.record.destroyed, 2);  // The second old link's end had not been seen yet.
  EXPECT_EQ(maker_.record.hellos.size(), 4u);
  link(1).deliver(incoming_[1]);
  EXPECT_EQ(service_.calls.size(), 2u);
}

TEST_F(WorkerHostTest, without_its_links_a_worker_waits_for_its_node_and_says_so_to_callers) {
  start(1);
  link(0).close(Status(Code::unavailable, "gone"));
  turn();
  EXPECT_EQ(events_.lost, 0);
  SilentCaller caller;
  auto call = host_->start({.service = "stock", .command = "take"}, caller, call::Opening::empty());
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_EQ(caller.status->id(), "S3062");
}

TEST_F(WorkerHostTest, the_end_of_the_supervisor_is_the_end) {
  start(2);
  supervisor_.close();
  turn();
  EXPECT_EQ(events_.lost, 1);
  EXPECT_TRUE(host_->is_lost());
  EXPECT_EQ(host_->links_open(), 0u);
}

TEST_F(WorkerHostTest, what_the_control_socket_brings_beside_links_is_passed_over) {
  start(1);
  ASSERT_TRUE(*os::send_message(supervisor_.get(), "L"));
  ASSERT_TRUE(*os::send_message(supervisor_.get(), "?"));
  ASSERT_TRUE(*os::send_message(supervisor_.get(), std::string(9000, 'x')));
  turn();
  EXPECT_EQ(host_->links_open(), 1u);
  EXPECT_EQ(events_.lost, 0);
}

TEST_F(WorkerHostTest, load_is_told_when_it_has_changed) {
  start(1, {.concurrency = 4, .load_every = Duration(0)});
  link(0).deliver(incoming_[0]);
  turn();
  ASSERT_EQ(maker_.record.loads.size(), 1u);
  EXPECT_EQ(maker_.record.loads[0].running, 1u);
  EXPECT_EQ(maker_.record.loads[0].capacity, 4u);
}

TEST_F(WorkerHostTest, hello_says_who_it_is_and_describes_the_service_once) {
  start(2, {.concurrency = 3, .software = "python 0.1.0", .definition = "{}"});
  auto& hellos = maker_.record.hellos;
  EXPECT_EQ(hellos[0].role, "worker");
  EXPECT_EQ(hellos[0].name, "shop.prices");
  EXPECT_EQ(hellos[0].software, "python 0.1.0");
  EXPECT_EQ(hellos[0].concurrency, 3u);
  EXPECT_EQ(hellos[0].definition, "{}");
  EXPECT_EQ(hellos[1].definition, "");
}

}  // namespace
}  // namespace shunt::worker
