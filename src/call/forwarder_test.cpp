#include "call/forwarder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "link/local/local_link.h"
#include "loop/sim_loop.h"

namespace shunt::call {
namespace {

// Sends as many messages as were asked for, as far as there is credit; the first of them inside begin().
class Counter final : public Service {
 public:
  explicit Counter(std::size_t messages) : left_(messages) {}
  void begin(IncomingHandle call, const Open&, Opening) override {
    call_ = std::move(call);
    call_->listen(events_);
    pump();
  }

 private:
  struct Events final : CalleeEvents {
    explicit Events(Counter& of) : counter(of) {}
    void on_message(Message) override {}
    void on_half_close() override {}
    void on_cancel(Cancel) override { counter.call_ = nullptr; }
    void on_credit() override { counter.pump(); }
    Counter& counter;
  };
  void pump() {
    while (call_ != nullptr && left_ > 0) {
      left_--;
      if (call_->send(Message(Bytes::adopt(std::string(1000, 'x')))) == Sent::held) return;
    }
    if (call_ == nullptr) return;
    call_->finish({}, {});
    call_ = nullptr;
  }
  Events events_{*this};
  IncomingHandle call_;
  std::size_t left_;
};

// Places every call over one link, as a router does with a module of its loop.
class OverLink final : public Caller {
 public:
  explicit OverLink(Link& link) : link_(link) {}
  OutgoingHandle start(const CallStart& start, CallerEvents& events, Opening opening) override {
    return link_.open({.service = start.service, .command = start.command}, events, std::move(opening));
  }

 private:
  Link& link_;
};

struct Heard final : CallerEvents {
  void on_message(Message message) override {
    messages++;
    // Dealt with at once, or, while there is no handle yet, once there is one.
    if (call != nullptr) {
      call->consumed(message.cost());
    } else {
      owed += message.cost();
    }
  }
  void on_end(Status status, Metadata) override {
    ended = true;
    code = status.code();
  }
  OutgoingHandle call;
  std::size_t messages = 0;
  std::size_t owed = 0;
  bool ended = false;
  Code code = Code::unknown;
};

TEST(Forwarder, a_callee_that_answers_at_once_gets_its_credit_back) {
  loop::SimClock clock;
  loop::SimLoop loop(clock);
  Counter counter(5000);
  auto near = link::LocalLink::create(loop, counter);
  OverLink caller(*near);
  Forwarder forwarder(caller);
  auto far = link::LocalLink::create(loop, forwarder);
  Heard heard;
  heard.call = far->open({.service = "counter", .command = "count"}, heard, Opening::unary(Message(Bytes())));
  heard.call->consumed(std::exchange(heard.owed, 0));
  clock.settle();
  EXPECT_TRUE(heard.ended);
  EXPECT_EQ(heard.code, Code::ok);
  EXPECT_EQ(heard.messages, 5000u);
}

}  // namespace
}  // namespace shunt::call
