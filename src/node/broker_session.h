#pragma once
// BrokerSession: one worker's broker socket, from the node's side: what the worker can, the links of the node's own loops to it
// over shared memory, and the direct links in which it has a part. What may be linked is the Broker's to decide.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "call/definition.h"
#include "call/load_page.h"
#include "loop/epoll_loop.h"
#include "pool/wiring.h"
#include "pool/worker_instance.h"
#include "worker/broker_socket.h"
#include "worker_links/direct_end.h"

namespace shunt::node {

class BrokerSession;
class WorkerLinks;

/// What a session needs of its Broker.
class BrokerSessionOwner {
 public:
  virtual void on_session_ready(BrokerSession& session) = 0;
  virtual void on_session_message(BrokerSession& session, const wire::BrokerMessage& message) = 0;
  /// The worker has ended, or broke the rules of its socket. The session may be destroyed.
  virtual void on_session_gone(BrokerSession& session) = 0;
  virtual std::uint64_t next_link_id() = 0;
  /// Takes room for a link of that carrier, or says why there is none.
  virtual Result<void> reserve(wire::BrokerCarrier carrier) = 0;
  virtual void give_back(wire::BrokerCarrier carrier) = 0;
  /// Something that `shunt explain` shows has changed.
  virtual void on_distance_change() = 0;

 protected:
  ~BrokerSessionOwner() = default;
};

/// How a service's workers are reached.
struct BrokerTraits {
  std::string service;      ///< Full name.
  bool wants_rings = true;  ///< False: its manifest says "link": "unix".
  std::size_t loops = 1;    ///< Of the node, the control loop too.
};

/// Threads: the control loop's. Lifetime: loop, owner and links outlive it; the instance it holds by itself.
class BrokerSession final : private worker::BrokerEvents, private loop::Timer {
 public:
  BrokerSession(loop::EpollLoop& loop, BrokerSessionOwner& owner, WorkerLinks& links,
                std::shared_ptr<pool::WorkerInstance> instance, BrokerTraits traits, os::Fd socket);
  ~BrokerSession();
  Result<void> start();
  /// Tells the worker about its own service. Once it has said hello, and again when that changed.
  void greet(const call::ServiceDefinition& definition);

  bool send(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors = {}) {
    return socket_.send(message, std::move(descriptors));
  }
  [[nodiscard]] bool is_ready() const { return greeted_by_ && socket_.is_open(); }
  [[nodiscard]] bool can(std::uint64_t what) const { return (can_ & what) == what; }
  [[nodiscard]] bool can_ring() const { return traits_.wants_rings && can(wire::broker_can::ring); }
  [[nodiscard]] const std::string& service() const { return traits_.service; }
  [[nodiscard]] std::string name() const { return instance_->identity().name(); }
  [[nodiscard]] pool::WorkerInstance& instance() { return *instance_; }
  /// For a caller of it; nothing where it publishes no load.
  [[nodiscard]] std::optional<os::Fd> share_load() const;

 private:
  /// The second way of one loop.
  struct Way {
    enum class State : std::uint8_t { none, open, waiting } state = State::none;
    std::uint64_t id = 0;
    wire::BrokerCarrier carrier{};
    Instant retry_at;
    Duration wait{0};
  };
  void on_broker(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) override;
  void on_broker_gone() override;
  void fire() override;  // Ways that are to be tried again.
  void take_hello(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors);
  void open_ways();
  void open_way(std::size_t loop_index);
  void on_way_ended(std::size_t loop_index, std::uint64_t id, const Status& why);
  void put_off(Way& way);
  void arm();
  void say_why(std::string why);

  loop::EpollLoop& loop_;
  BrokerSessionOwner& owner_;
  WorkerLinks& links_;
  std::shared_ptr<pool::WorkerInstance> instance_;
  const BrokerTraits traits_;
  std::uint64_t can_ = 0;
  bool greeted_by_ = false;
  std::string told_definition_;
  os::Fd load_fd_;
  std::vector<Way> ways_;
  std::shared_ptr<BrokerSession*> alive_;  ///< Owners: this; what is told later looks at it.
  worker::BrokerSocket socket_;
};

}  // namespace shunt::node
