#pragma once
// MuxLink: a call::Link over a wire::Mux and a Carrier. One class for every carrier that moves bytes: a unix socket
// (link/unix), a simulated wire (link/sim), later a ring and a gRPC stream.
//
// It adds to the mux what needs a loop: deadlines (at both ends), one write at the end of a turn, drain. A callee refuses
// a call (REFUSED: never started, safe to move) by finishing it inside Service::begin() with Retry::elsewhere; later, or
// in a status that it only hands on, Retry::elsewhere becomes Retry::later.

#include <string>

#include "base/own.h"
#include "call/link.h"
#include "link/carrier.h"
#include "loop/loop.h"
#include "wire/mux.h"

namespace shunt::link {

/// What a link tells its owner. Called on its loop.
class LinkOwner {
 public:
  virtual void on_open(const wire::Hello& peer) { (void)peer; }
  /// The link has ended: its calls have ended as unavailable. The owner may destroy the link.
  virtual void on_closed(const Status& why) { (void)why; }
  virtual void on_pong(std::uint64_t number) { (void)number; }
  virtual void on_goaway(std::string_view reason) { (void)reason; }
  /// The deadline is an Instant of this side's clock here and in wait(); the link translates it for the wire.
  virtual void on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) { (void)ticket, (void)wait; }
  virtual void on_grant(std::uint64_t ticket, const wire::GrantFrame& grant) { (void)ticket, (void)grant; }
  virtual void on_load(const wire::LoadFrame& load) { (void)load; }

 protected:
  ~LinkOwner() = default;
};

struct MuxLinkOptions {
  wire::Side side = wire::Side::dialler;
  call::LinkLimits limits;
  wire::Hello hello;
  /// Who is calling, on calls that come in over this link, when the other side is a service: principal_kind and _service
  /// on the wire are not believed. When false (the other side is the node) they are.
  bool trust_principal = false;
  /// The service behind is a router, which finishes a call with Retry::elsewhere only if no instance has begun it: that is
  /// told as REFUSED outside begin() too.
  bool refuses_late = false;
  call::Principal peer;
};

class MuxLink final : public call::Link {
 public:
  /// Incoming calls go to `service`, which must outlive the link; so must the loop and the owner.
  static Own<MuxLink> create(loop::Loop& loop, Own<Carrier> carrier, call::Service& service, LinkOwner& owner,
                             MuxLinkOptions options);
  ~MuxLink() override;

  call::OutgoingHandle open(const call::Open& open, call::CallerEvents& events, call::Opening opening) override;
  loop::Task<void> drain(Deadline deadline) override;
  call::LinkStats stats() const override;

  [[nodiscard]] bool is_closed() const;
  /// What was sent has not all been taken by the carrier yet.
  [[nodiscard]] bool has_unsent() const;
  void ping(std::uint64_t number);
  void goaway(std::string_view reason);
  void wait(std::uint64_t ticket, const wire::WaitFrame& wait);
  void grant(std::uint64_t ticket, const wire::GrantFrame& grant);
  void load(const wire::LoadFrame& load);
  /// Ends the link now: every call of it ends as `why`, on_closed comes.
  void close(Status why);

 private:
  struct State;
  struct Node;
  class OutCall;
  class InCall;
  explicit MuxLink(State* state);
  State* state_;  ///< Counted: the link owns it together with whoever of it is on the stack.
};

}  // namespace shunt::link
