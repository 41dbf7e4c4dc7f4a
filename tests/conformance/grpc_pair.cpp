#include "grpc_pair.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "call/router.h"
#include "gateway/gateway.h"
#include "gateway/tunnel.h"
#include "link/grpc/accepted_carrier.h"
#include "link/grpc/grpc_carrier.h"
#include "link/mux_link.h"
#include "loop/epoll_loop.h"
#include "os/random.h"
#include "os/socket.h"

namespace shunt::conformance {

namespace {

constexpr std::string_view key = "the same on both sides";

class NoService final : public call::Service {
 public:
  void begin(call::IncomingHandle call, const call::Open&, call::Opening) override {
    call->finish(Status(Code::unimplemented, "S1005", "callers serve nothing here"), {});
  }
};

class SilentOwner final : public link::LinkOwner {};

link::Introduction introduction(char digit) {
  return {.node = {.id = std::string(32, digit), .name = "node", .epoch = 1, .software = "test"},
          .challenge = os::random_hex(16),
          .keyed = true};
}

link::MuxLinkOptions link_options(wire::Side side, const call::LinkLimits& limits) {
  link::MuxLinkOptions options;
  options.side = side;
  options.limits = limits;
  options.hello.name = "node";
  options.hello.clock = "one clock";
  options.trust_principal = side == wire::Side::acceptor;
  return options;
}

/// The callee's side: takes one stream.
class Accepting final : public gateway::Tunnel,
                        private gateway::TunnelEnd,
                        public link::AcceptedStream,
                        public link::AcceptEvents {
 public:
  Accepting(loop::Loop& loop, call::Service& service, const call::LinkLimits& limits)
      : loop_(loop), service_(service), limits_(limits) {}
  Own<link::MuxLink> link;

  [[nodiscard]] bool is_behind(std::string_view path) const override { return path == link::interconnect_path; }
  Result<gateway::TunnelAnswer> accept(const gateway::TunnelRequest& request, gateway::TunnelStream& stream) override {
    SHUNT_TRY(auto theirs, link::read_introduction(request.header));
    stream_ = &stream;
    link::AcceptOptions options{.self = introduction('b'), .theirs = std::move(theirs), .key = std::string(key)};
    auto headers = link::introduction_fields(options.self);
    auto carrier = make_own<link::AcceptedCarrier>(loop_, *this, std::move(options), *this);
    carrier_ = carrier.get();
    waiting_ = std::move(carrier);
    return gateway::TunnelAnswer{.headers = std::move(headers), .end = this};
  }

 private:
  void on_ready() override {
    link = link::MuxLink::create(loop_, std::move(waiting_), service_, owner_,
                                 link_options(wire::Side::acceptor, limits_));
  }
  void on_failed(Status why) override { ADD_FAILURE() << why.to_string(); }
  void on_data(std::string_view piece) override { carrier_->on_data(piece); }
  void on_drained() override { carrier_->on_drained(); }
  void on_drain() override {}
  void on_closed(Status why) override {
    stream_ = nullptr;
    carrier_->on_closed(std::move(why));
  }
  void write(std::string_view first, std::string_view second, std::string_view third) override {
    stream_->write(first, second, third);
  }
  [[nodiscard]] bool is_full() const override { return stream_->is_full(); }
  void end(const Status& status) override {
    if (stream_ != nullptr) std::exchange(stream_, nullptr)->end(status);
  }

  loop::Loop& loop_;
  call::Service& service_;
  const call::LinkLimits limits_;
  SilentOwner owner_;
  gateway::TunnelStream* stream_ = nullptr;
  link::AcceptedCarrier* carrier_ = nullptr;
  Own<link::Carrier> waiting_;
};

class GrpcPair final : public LinkPair, public link::GrpcDialEvents {
 public:
  explicit GrpcPair(const call::LinkLimits& limits) : limits_(limits) {
    auto caller = loop::EpollLoop::create({.name = "caller", .slow_turn = Duration(0)});
    auto callee = loop::EpollLoop::create({.name = "callee", .slow_turn = Duration(0)});
    SHUNT_ASSERT(caller && callee);
    caller_ = std::move(*caller);
    callee_ = std::move(*callee);
    router_ = make_own<call::Router>(*callee_, 0, random_);
  }
  ~GrpcPair() override {
    GrpcPair::stop();
    gateway_ = nullptr;
  }
  loop::Loop& caller_loop() override { return *caller_; }
  loop::Loop& callee_loop() override { return *callee_; }
  void start(call::Service& service) override {
    accepting_ = make_own<Accepting>(*callee_, service, limits_);
    gateway::GatewayHooks hooks;
    hooks.tunnel = accepting_.get();
    gateway_ = make_own<gateway::Gateway>(*callee_, *router_, stats_, 0, gateway::GatewayLimits{}, std::move(hooks));
    auto listening = os::listen_tcp({.host = "127.0.0.1", .port = 0}, 1);
    SHUNT_ASSERT(listening.has_value());
    auto address = os::local_address(listening->front().get());
    SHUNT_ASSERT(address.has_value());
    gateway::ListenerPolicy policy;
    policy.dev = policy.loopback = true;
    SHUNT_ASSERT(gateway_->listen(listening->front().release(), policy).has_value());
    link::GrpcDialOptions options;
    options.address = *address;
    options.self = introduction('a');
    options.key = key;
    dialled_ = link::GrpcCarrier::dial(*caller_, std::move(options), *this);
    while (near_ == nullptr) turn();
  }
  call::Link& link() override { return *near_; }
  // Real time: something may always happen yet. What hangs is found by whoever counts turns.
  bool turn() override {
    caller_->turn(Duration(0));
    callee_->turn(Duration(0));
    return true;
  }
  void lose_peer() override { accepting_->link.reset(); }
  [[nodiscard]] bool has_link() const override { return near_ != nullptr; }
  void drop() override { near_.reset(); }
  call::Link* callee_link() override { return accepting_->link.get(); }
  void stop() override {
    near_.reset();
    if (accepting_ != nullptr) accepting_->link.reset();
  }

 private:
  void on_ready(const link::NodeIdentity&) override {
    near_ = link::MuxLink::create(*caller_, std::move(dialled_), nobody_, owner_,
                                  link_options(wire::Side::dialler, limits_));
  }
  void on_failed(Status why) override { ADD_FAILURE() << why.to_string(); }

  const call::LinkLimits limits_;
  Own<loop::EpollLoop> caller_;
  Own<loop::EpollLoop> callee_;
  SeededRandom random_{1};
  Own<call::Router> router_;
  gateway::GatewayStats stats_{1};
  NoService nobody_;
  SilentOwner owner_;
  Own<Accepting> accepting_;
  Own<gateway::Gateway> gateway_;
  Own<link::GrpcCarrier> dialled_;
  Own<link::MuxLink> near_;
};

}  // namespace

Own<LinkPair> make_grpc_pair(const call::LinkLimits& limits) { return make_own<GrpcPair>(limits); }

}  // namespace shunt::conformance
