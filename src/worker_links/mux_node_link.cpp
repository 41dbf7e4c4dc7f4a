#include "worker_links/mux_node_link.h"

#include "link/mux_link.h"
#include "link/unix/socket_carrier.h"
#include "worker_links/direct_end.h"

namespace shunt::worker_links {

namespace {

class MuxNodeLink final : public worker::NodeLink, private link::LinkOwner {
 public:
  MuxNodeLink(loop::EpollLoop& loop, Own<link::Carrier> carrier, call::Service& service, worker::NodeLinkEvents& events,
              const wire::Hello& hello, const worker::DirectPeer& peer)
      : events_(events) {
    link::MuxLinkOptions options;
    // The node dials: it made the sockets and started this process. So does another worker that calls this one.
    options.side = peer.role == wire::BrokerRole::caller ? wire::Side::dialler : wire::Side::acceptor;
    options.hello = hello;
    options.trust_principal = peer.role == wire::BrokerRole::node;  // The node says who calls.
    if (!options.trust_principal) {
      options.peer.kind = call::PrincipalKind::service;
      options.peer.service = peer.service;
    }
    link_ = link::MuxLink::create(loop, std::move(carrier), service, *this, std::move(options));
  }

  call::Link& calls() override { return *link_; }
  void grant(std::uint64_t ticket, const wire::GrantFrame& grant) override { link_->grant(ticket, grant); }
  void load(const wire::LoadFrame& load) override { link_->load(load); }
  bool has_unsent() const override { return link_->has_unsent(); }
  void close(Status why) override { link_->close(std::move(why)); }

 private:
  void on_open(const wire::Hello& peer) override { events_.on_open(peer); }
  void on_closed(const Status& why) override { events_.on_closed(why); }
  void on_goaway(std::string_view reason) override { events_.on_goaway(reason); }
  void on_wait(std::uint64_t ticket, const wire::WaitFrame& wait) override { events_.on_wait(ticket, wait); }

  worker::NodeLinkEvents& events_;
  Own<link::MuxLink> link_;
};

}  // namespace

Result<Own<worker::NodeLink>> MuxNodeLinkMaker::make(os::Fd socket, call::Service& service,
                                                     worker::NodeLinkEvents& events, const wire::Hello& hello) {
  auto carrier = link::make_socket_carrier(loop_, std::move(socket));
  const worker::DirectPeer node{wire::BrokerRole::node, {}};
  return Own<worker::NodeLink>(make_own<MuxNodeLink>(loop_, std::move(carrier), service, events, hello, node));
}

std::uint64_t MuxNodeLinkMaker::can() const { return wire::broker_can::direct | wire::broker_can::ring; }

Result<Own<worker::NodeLink>> MuxNodeLinkMaker::make_direct(worker::DirectEnd end, const worker::DirectPeer& peer,
                                                            call::Service& service, worker::NodeLinkEvents& events,
                                                            const wire::Hello& hello) {
  const bool dials = peer.role == wire::BrokerRole::caller;
  SHUNT_TRY(auto carrier, open_direct_end(loop_, std::move(end), dials ? wire::Side::dialler : wire::Side::acceptor));
  return Own<worker::NodeLink>(make_own<MuxNodeLink>(loop_, std::move(carrier), service, events, hello, peer));
}

}  // namespace shunt::worker_links
