// Every kind of link that there is.

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <utility>

#include "base/check.h"
#include "grpc_pair.h"
#include "link/local/cross_loop_link.h"
#include "link/local/local_link.h"
#include "link/mux_link.h"
#include "link/remote_like/as_if_remote.h"
#include "link/shm/ring_carrier.h"
#include "link/sim/sim_wire.h"
#include "link/unix/socket_carrier.h"
#include "link_pair.h"
#include "loop/epoll_loop.h"
#include "loop/sim_loop.h"
#include "os/socket.h"

namespace shunt::conformance {

namespace {

/// A callee's side where nobody is called back.
class NoService final : public call::Service {
 public:
  void begin(call::IncomingHandle call, const call::Open&, call::Opening) override {
    call->finish(Status(Code::unimplemented, "S1005", "callers serve nothing here"), {});
  }
};

class SilentOwner final : public link::LinkOwner {};

/// Two loops under a virtual clock: one seed, one course of events.
class SimLoops {
 public:
  loop::SimClock clock;
  loop::SimLoop caller{clock};
  loop::SimLoop callee{clock};
  bool turn() {
    if (clock.settle() > 0) return true;
    return clock.advance_to_next();
  }
};

class LocalPair final : public LinkPair {
 public:
  explicit LocalPair(const call::LinkLimits& limits) : limits_(limits) {}
  loop::Loop& caller_loop() override { return loops_.caller; }
  loop::Loop& callee_loop() override { return loops_.caller; }
  void start(call::Service& service) override { link_ = link::LocalLink::create(loops_.caller, service, limits_); }
  call::Link& link() override { return *link_; }
  bool turn() override { return loops_.turn(); }
  void lose_peer() override { link_.reset(); }
  bool has_link() const override { return link_ != nullptr; }
  void drop() override { link_.reset(); }
  void stop() override { link_.reset(); }

 private:
  SimLoops loops_;
  call::LinkLimits limits_;
  Own<link::LocalLink> link_;
};

class AsIfRemotePair final : public LinkPair {
 public:
  explicit AsIfRemotePair(const call::LinkLimits& limits) : limits_(limits) {}
  ~AsIfRemotePair() override { link_.reset(); }
  loop::Loop& caller_loop() override { return loops_.caller; }
  loop::Loop& callee_loop() override { return loops_.caller; }
  void start(call::Service& service) override {
    link_ =
        link::make_as_if_remote(loops_.caller, service, "far", {.latency = std::chrono::microseconds(100)}, limits_);
  }
  call::Link& link() override { return *link_; }
  bool turn() override { return loops_.turn(); }
  void lose_peer() override { link_.reset(); }
  bool has_link() const override { return link_ != nullptr; }
  void drop() override { link_.reset(); }
  void stop() override { link_.reset(); }

 private:
  SimLoops loops_;
  call::LinkLimits limits_;
  Own<call::Link> link_;
};

class CrossLoopPair final : public LinkPair {
 public:
  explicit CrossLoopPair(const call::LinkLimits& limits) : limits_(limits) {}
  loop::Loop& caller_loop() override { return loops_.caller; }
  loop::Loop& callee_loop() override { return loops_.callee; }
  void start(call::Service& service) override {
    *far_ = link::LocalLink::create(loops_.callee, service, limits_);
    // The target outlives this pair's links: it is shared by the closures that are still posted.
    near_ = link::CrossLoopLink::create(
        loops_.caller, loops_.callee, [far = far_]() -> call::Link* { return far->get(); }, limits_);
  }
  call::Link& link() override { return *near_; }
  bool turn() override { return loops_.turn(); }
  void lose_peer() override { far_->reset(); }
  bool has_link() const override { return near_ != nullptr; }
  void drop() override { near_.reset(); }
  void stop() override {
    near_.reset();
    far_->reset();
  }

 private:
  SimLoops loops_;
  call::LinkLimits limits_;
  // Owners: this pair, and the target function that the link's calls share.
  std::shared_ptr<Own<link::LocalLink>> far_ = std::make_shared<Own<link::LocalLink>>();
  Own<link::CrossLoopLink> near_;
};

/// The two MuxLinks of a pair, whatever carries them.
class MuxPair : public LinkPair {
 public:
  call::Link& link() override { return *near_; }
  bool has_link() const override { return near_ != nullptr; }
  void drop() override { near_.reset(); }
  void stop() override {
    near_.reset();
    far_.reset();
  }
  call::Link* callee_link() override { return far_.get(); }
  void lose_peer() override { far_.reset(); }

 protected:
  static link::MuxLinkOptions options(wire::Side side, std::string name, const call::LinkLimits& limits,
                                      std::string clock) {
    link::MuxLinkOptions options;
    options.side = side;
    options.limits = limits;
    options.hello.name = std::move(name);
    options.hello.clock = std::move(clock);
    options.trust_principal = side == wire::Side::acceptor;
    return options;
  }
  SilentOwner owner_;
  NoService nobody_;
  Own<link::MuxLink> near_;
  Own<link::MuxLink> far_;
};

/// Two loops of the system, turned in turn by one thread.
class SystemPair : public MuxPair {
 public:
  explicit SystemPair(const call::LinkLimits& limits) : limits_(limits) {
    auto caller = loop::EpollLoop::create({.name = "caller", .slow_turn = Duration(0)});
    auto callee = loop::EpollLoop::create({.name = "callee", .slow_turn = Duration(0)});
    SHUNT_ASSERT(caller && callee);
    caller_ = std::move(*caller);
    callee_ = std::move(*callee);
  }
  ~SystemPair() override { SystemPair::stop(); }
  loop::Loop& caller_loop() override { return *caller_; }
  loop::Loop& callee_loop() override { return *callee_; }
  void start(call::Service& service) override {
    auto [near, far] = carriers();
    near_ = link::MuxLink::create(*caller_, std::move(near), nobody_, owner_,
                                  options(wire::Side::dialler, "node", limits_, "one clock"));
    far_ = link::MuxLink::create(*callee_, std::move(far), service, owner_,
                                 options(wire::Side::acceptor, "worker", limits_, "one clock"));
  }
  // Real time: something may always happen yet. What hangs is found by whoever counts turns.
  bool turn() override {
    caller_->turn(Duration(0));
    callee_->turn(Duration(0));
    return true;
  }

 protected:
  /// The caller's and the callee's.
  virtual std::pair<Own<link::Carrier>, Own<link::Carrier>> carriers() = 0;
  Own<loop::EpollLoop> caller_;
  Own<loop::EpollLoop> callee_;

 private:
  call::LinkLimits limits_;
};

class UnixPair final : public SystemPair {
 public:
  using SystemPair::SystemPair;

 private:
  std::pair<Own<link::Carrier>, Own<link::Carrier>> carriers() override {
    auto sockets = os::make_socket_pair(os::SocketKind::stream, os::Blocking::no, os::Blocking::no);
    SHUNT_ASSERT(sockets.has_value());
    return {link::make_socket_carrier(*caller_, std::move(sockets->first)),
            link::make_socket_carrier(*callee_, std::move(sockets->second))};
  }
};

class RingPair final : public SystemPair {
 public:
  RingPair(const call::LinkLimits& limits, std::size_t ring_bytes) : SystemPair(limits), ring_bytes_(ring_bytes) {}

 private:
  std::pair<Own<link::Carrier>, Own<link::Carrier>> carriers() override {
    auto ends = link::make_ring_pair({.ring_bytes = ring_bytes_});
    SHUNT_ASSERT(ends.has_value());
    auto near = link::make_ring_carrier(*caller_, std::move((*ends)[0]), link::RingSide::first);
    auto far = link::make_ring_carrier(*callee_, std::move((*ends)[1]), link::RingSide::second);
    SHUNT_ASSERT(near && far);
    return {std::move(*near), std::move(*far)};
  }
  std::size_t ring_bytes_;
};

class SimPair final : public MuxPair {
 public:
  SimPair(const call::LinkLimits& limits, link::SimWireOptions wire, bool same_clock)
      : limits_(limits), same_clock_(same_clock), wire_(loops_.caller, loops_.callee, wire) {}
  ~SimPair() override { SimPair::stop(); }
  loop::Loop& caller_loop() override { return loops_.caller; }
  loop::Loop& callee_loop() override { return loops_.callee; }
  void start(call::Service& service) override {
    near_ = link::MuxLink::create(loops_.caller, wire_.first(), nobody_, owner_,
                                  options(wire::Side::dialler, "node", limits_, "one clock"));
    far_ =
        link::MuxLink::create(loops_.callee, wire_.second(), service, owner_,
                              options(wire::Side::acceptor, "worker", limits_, same_clock_ ? "one clock" : "another"));
  }
  bool turn() override { return loops_.turn(); }

 private:
  SimLoops loops_;
  call::LinkLimits limits_;
  bool same_clock_;
  link::SimWire wire_;
};

}  // namespace

const std::vector<LinkPairKind>& link_pair_kinds() {
  static const std::vector<LinkPairKind> kinds = [] {
    using std::chrono::microseconds;
    using std::chrono::milliseconds;
    std::vector<LinkPairKind> all;
    all.push_back({"local", [](const auto& limits) { return make_own<LocalPair>(limits); }});
    all.push_back({"cross_loop", [](const auto& limits) { return make_own<CrossLoopPair>(limits); }});
    all.push_back({"as_if_remote", [](const auto& limits) { return make_own<AsIfRemotePair>(limits); }});
    all.push_back({"unix", [](const auto& limits) { return make_own<UnixPair>(limits); }});
    all.push_back({"grpc", [](const auto& limits) { return make_grpc_pair(limits); }});
    all.push_back({"shm", [](const auto& limits) { return make_own<RingPair>(limits, 256u << 10); }});
    all.push_back({"shm_small", [](const auto& limits) { return make_own<RingPair>(limits, 4096u); }});
    all.push_back({"sim", [](const auto& limits) { return make_own<SimPair>(limits, link::SimWireOptions{}, true); }});
    all.push_back({"sim_slow", [](const auto& limits) {
                     link::SimWireOptions wire{.seed = 7, .delay = milliseconds(2), .jitter = milliseconds(3)};
                     return make_own<SimPair>(limits, wire, false);
                   }});
    all.push_back({"sim_choppy", [](const auto& limits) {
                     link::SimWireOptions wire{.seed = 9,
                                               .delay = microseconds(10),
                                               .write_bytes_max = 5000,
                                               .chunk_bytes_max = 700,
                                               .in_flight_bytes_max = 30'000};
                     return make_own<SimPair>(limits, wire, true);
                   }});
    return all;
  }();
  return kinds;
}

}  // namespace shunt::conformance
