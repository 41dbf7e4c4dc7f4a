#include "node/peers/peer_acceptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gateway/gateway.h"
#include "os/random.h"

namespace shunt::node {

namespace {
constexpr Duration drain_limit = std::chrono::minutes(10);  // The gateway's own drain ends sooner.
}

/// One stream, from its first byte to its last.
class PeerAcceptor::Accepted final : public gateway::TunnelEnd,
                                     public link::AcceptedStream,
                                     public link::AcceptEvents,
                                     public PeerLinkEvents {
 public:
  Accepted(PeerAcceptor& owner, gateway::TunnelStream& stream, link::AcceptOptions options)
      : owner_(owner), stream_(&stream), peer_(options.theirs.node), scope_(owner.routing_.loop) {
    auto carrier = make_own<link::AcceptedCarrier>(owner.routing_.loop, *this, std::move(options), *this);
    carrier_ = carrier.get();
    waiting_ = std::move(carrier);
  }
  ~Accepted() override { stream_ = nullptr; }

 private:
  // TunnelEnd
  void on_data(std::string_view piece) override {
    if (carrier_ != nullptr) carrier_->on_data(piece);
  }
  void on_drained() override {
    if (carrier_ != nullptr) carrier_->on_drained();
  }
  void on_drain() override {
    if (link_ == nullptr) {
      end_later();
    } else {
      leave_politely();
    }
  }
  void on_closed(Status why) override {
    stream_ = nullptr;
    if (carrier_ != nullptr) carrier_->on_closed(std::move(why));
    end_later();
  }
  // AcceptedStream
  void write(std::string_view first, std::string_view second, std::string_view third) override {
    if (stream_ != nullptr) stream_->write(first, second, third);
  }
  [[nodiscard]] bool is_full() const override { return stream_ != nullptr && stream_->is_full(); }
  void end(const Status& status) override {
    if (auto* stream = std::exchange(stream_, nullptr)) stream->end(status);
  }
  // AcceptEvents
  void on_ready() override {
    link_ = make_own<PeerLink>(owner_.routing_, std::move(waiting_), wire::Side::acceptor, owner_.self_, peer_,
                               owner_.door_, owner_.book_, *this);
  }
  void on_failed(Status why) override {
    owner_.told_.refused({why.code(), why.id(), fmt::format("node {} ({}): {}", peer_.name, peer_.id, why.message())});
    end_later();
  }
  // PeerLinkEvents
  void on_open(PeerLink&) override { tell(true); }
  void on_leaving(PeerLink&) override {
    tell(false);
    leave_politely();
  }
  void on_closed(PeerLink&, const Status&) override {
    carrier_ = nullptr;  // The mux lets go of it.
    tell(false);
    end_later();
  }

  void tell(bool open) {
    if (std::exchange(told_open_, open) != open) owner_.told_.changed(peer_, open);
  }
  void leave_politely() {
    if (!std::exchange(leaving_, true)) scope_.spawn(drain());
  }
  loop::Task<void> drain() {
    co_await loop::sleep_for(owner_.routing_.loop, Duration(1));  // Not inside the stack of whoever said so.
    if (link_ != nullptr) co_await link_->drain(Deadline::after(owner_.routing_.loop.now(), drain_limit));
    tell(false);
    end({});
    end_later();
  }
  void end_later() {
    if (std::exchange(ended_, true)) return;
    tell(false);
    owner_.remove(*this);
  }

  PeerAcceptor& owner_;
  gateway::TunnelStream* stream_;
  const link::NodeIdentity peer_;
  link::AcceptedCarrier* carrier_ = nullptr;
  bool told_open_ = false;
  bool leaving_ = false;
  bool ended_ = false;
  Own<link::Carrier> waiting_;
  Own<PeerLink> link_;
  loop::Scope scope_;
};

PeerAcceptor::PeerAcceptor(RoutingLoop& routing, const link::NodeIdentity& self, const std::string& key,
                           call::Service& door, PeerBook& book, Told told)
    : routing_(routing), self_(self), key_(key), door_(door), book_(book), told_(std::move(told)) {}

PeerAcceptor::~PeerAcceptor() = default;

Result<gateway::TunnelAnswer> PeerAcceptor::accept(const gateway::TunnelRequest& request,
                                                   gateway::TunnelStream& stream) {
  SHUNT_TRY(auto theirs, link::read_introduction(request.header));
  if (auto may = may_come(request, theirs); !may) {
    told_.refused(may.error());
    return std::unexpected(std::move(may).error());
  }
  link::AcceptOptions options{.self = {.node = self_, .challenge = os::random_hex(16), .keyed = !key_.empty()},
                              .theirs = std::move(theirs),
                              .key = key_};
  gateway::TunnelAnswer answer{.headers = link::introduction_fields(options.self)};
  accepted_.push_back(make_own<Accepted>(*this, stream, std::move(options)));
  answer.end = accepted_.back().get();
  return answer;
}

Result<void> PeerAcceptor::may_come(const gateway::TunnelRequest& request, const link::Introduction& theirs) const {
  const auto refused = [&](std::string why) {
    return fail(Code::unauthenticated, "S5060", fmt::format("node {} is not let in: {}", theirs.node.name, why));
  };
  if (accepted_.size() >= links_max) {
    return fail(Code::resource_exhausted, "S5069",
                fmt::format("{} links to other nodes are open on this loop, its limit", links_max));
  }
  if (key_.empty()) {
    if (theirs.keyed) {
      return refused("it has a key and this node has none. Give both the same file with --peer-key");
    }
    if (!request.policy.dev || !request.policy.loopback) {
      return refused(
          "this node has no key, and takes peers without one only on loopback with --dev. Give both the same file with "
          "--peer-key");
    }
  } else if (!theirs.keyed) {
    return refused(
        "it has no key, and this node lets in only who knows its own. Give it the same file with --peer-key");
  }
  if (theirs.node.id == self_.id && theirs.node.epoch != self_.epoch) {
    return fail(Code::failed_precondition, "S5063",
                fmt::format("node {} has the same id as this one: its data folder is a copy", theirs.node.name));
  }
  return {};
}

void PeerAcceptor::Reaper::run() { acceptor.ended_.clear(); }

void PeerAcceptor::remove(Accepted& accepted) {
  const auto found = std::ranges::find(accepted_, &accepted, [](const auto& each) { return each.get(); });
  if (found == accepted_.end()) return;
  ended_.push_back(std::move(*found));
  accepted_.erase(found);
  routing_.loop.ready(reaper_);
}

}  // namespace shunt::node
