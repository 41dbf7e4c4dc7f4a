#include "node/worker_links.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/version.h"
#include "link/local/cross_loop_link.h"
#include "link/mux_link.h"
#include "link/unix/socket_carrier.h"
#include "node/broker.h"
#include "os/clock_id.h"

namespace shunt::node {

namespace {

// A socket that, when its worker is gone, waits for the news of how before it tells its link: so that the calls can say so.
class WorkerCarrier final : public link::Carrier, private link::Carrier::Events {
 public:
  WorkerCarrier(Own<link::Carrier> socket, pool::WorkerLinkEvents& worker)
      : socket_(std::move(socket)), worker_(worker) {}
  void start(link::Carrier::Events& events) override {
    events_ = &events;
    socket_->start(*this);
  }
  std::size_t write(const iovec* vectors, int count) override {
    // Nobody reads any more; what is written is lost with the worker.
    return *asking_ ? 0 : socket_->write(vectors, count);
  }
  void close() override {
    events_ = nullptr;
    socket_->close();
  }

 private:
  void on_bytes(std::string_view bytes) override {
    if (events_ != nullptr) events_->on_bytes(bytes);
  }
  void on_writable() override {
    if (events_ != nullptr) events_->on_writable();
  }
  void on_closed(Status) override {
    *asking_ = true;
    worker_.ask_why([this, alive = std::weak_ptr(asking_)](Status why) {
      if (alive.lock() == nullptr || events_ == nullptr) return;
      events_->on_closed(std::move(why));
    });
  }

  Own<link::Carrier> socket_;
  pool::WorkerLinkEvents& worker_;
  link::Carrier::Events* events_ = nullptr;
  std::shared_ptr<bool> asking_ = std::make_shared<bool>(false);  // Owners: this; an answer on its way looks at it.
};

class MuxWorkerLink final : public pool::WorkerLink, private link::LinkOwner {
 public:
  MuxWorkerLink(RoutingLoop& routing, Own<link::Carrier> bytes, call::Service& calls, pool::WorkerLinkEvents& events,
                const std::string& service, std::uint32_t concurrency)
      : events_(events) {
    link::MuxLinkOptions options;
    options.side = wire::Side::dialler;
    options.hello.role = "node";
    options.hello.name = "node";
    options.hello.software = fmt::format("shunt {}", version);
    options.hello.clock = os::clock_id();
    options.hello.concurrency = concurrency;
    options.hello.pid = static_cast<std::uint64_t>(getpid());
    // What a worker says of who it is, is not believed.
    options.trust_principal = false;
    options.peer.kind = call::PrincipalKind::service;
    options.peer.service = service;
    auto carrier = make_own<WorkerCarrier>(std::move(bytes), events);
    link_ = link::MuxLink::create(routing.loop, std::move(carrier), calls, *this, std::move(options));
  }
  call::Link& link() override { return *link_; }
  void ping(std::uint64_t number) override { link_->ping(number); }
  void wait(std::uint64_t ticket, Deadline deadline) override {
    wire::WaitFrame wait;
    wait.deadline_ns = deadline.at().ns;
    link_->wait(ticket, wait);
  }
  void goaway(std::string_view reason) override { link_->goaway(reason); }
  void close(Status why) override { link_->close(std::move(why)); }

 private:
  void on_open(const wire::Hello& peer) override {
    events_.on_opened(
        {.name = peer.name, .software = peer.software, .concurrency = peer.concurrency, .definition = peer.definition});
  }
  void on_closed(const Status& why) override { events_.on_closed(why); }
  void on_pong(std::uint64_t number) override { events_.on_pong(number); }
  void on_goaway(std::string_view reason) override { events_.on_goaway(reason); }
  void on_grant(std::uint64_t ticket, const wire::GrantFrame& grant) override {
    Status status(grant.status.code, grant.status.id, std::string(grant.status.message));
    events_.on_grant(ticket, status, grant.grant);
  }

  pool::WorkerLinkEvents& events_;
  Own<link::MuxLink> link_;
};

}  // namespace

Own<pool::WorkerLink> WorkerLinks::make_link(std::size_t loop_index, os::Fd socket, const pool::WorkerIdentity&,
                                             pool::WorkerLinkEvents& events) {
  RoutingLoop& routing = loops_.at(loop_index);
  return make_own<MuxWorkerLink>(routing, link::make_socket_carrier(routing.loop, std::move(socket)),
                                 broker_.gate(loop_index), events, service_, concurrency_);
}

Own<pool::WorkerLink> WorkerLinks::make_direct_link(std::size_t loop_index, worker::DirectEnd end,
                                                    pool::WorkerLinkEvents& events) {
  RoutingLoop& routing = loops_.at(loop_index);
  auto carrier = worker_links::open_direct_end(routing.loop, std::move(end), wire::Side::dialler);
  if (!carrier) return nullptr;
  return make_own<MuxWorkerLink>(routing, std::move(*carrier), broker_.gate(loop_index), events, service_,
                                 concurrency_);
}

void WorkerLinks::open_broker(const std::shared_ptr<pool::WorkerInstance>& instance, os::Fd socket) {
  broker_.add(*this, instance, {.service = service_, .wants_rings = wants_rings_}, std::move(socket));
}

void WorkerLinks::close_broker(const pool::WorkerInstance& instance) { broker_.remove(instance); }

Own<call::Link> WorkerLinks::make_crossing(std::size_t loop_index, std::function<call::Link*()> target) {
  return link::CrossLoopLink::create(loops_.at(loop_index).loop, loops_.control().loop, std::move(target));
}

}  // namespace shunt::node
