#pragma once
// BrokerSocket: one end of a broker socket: messages of wire/broker_message.h with descriptors, in order, none lost while it
// lives. A worker has one to its node, a node one to each worker. What is said is its owner's.

#include <deque>
#include <string>
#include <vector>

#include "loop/epoll_loop.h"
#include "os/fd.h"
#include "wire/broker_message.h"

namespace shunt::worker {

class BrokerEvents {
 public:
  virtual void on_broker(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) = 0;
  /// The other side is gone, sends what can't be read, or does not read. Nothing comes after. Here, and not in
  /// on_broker(), the socket may be destroyed.
  virtual void on_broker_gone() = 0;

 protected:
  ~BrokerEvents() = default;
};

/// Threads: the loop's. Lifetime: loop and events outlive it.
class BrokerSocket final : private loop::Watch, private loop::Runnable, private loop::Timer {
 public:
  BrokerSocket(os::Fd socket, BrokerEvents& events) : socket_(std::move(socket)), events_(events) {}
  ~BrokerSocket() { unwatch(); }
  Result<void> start(loop::EpollLoop& loop);

  /// Sends now or when there is room. Beyond `queue_max` messages that the other side has not read, it is gone.
  /// False: the message is too long, or the other side is gone; the descriptors are closed.
  bool send(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors = {});
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  /// Something waits for room.
  [[nodiscard]] bool has_unsent() const { return !queue_.empty(); }

  static constexpr std::size_t queue_max = 1024;

 private:
  struct Queued {
    std::string bytes;
    std::vector<os::Fd> descriptors;
  };
  void on_ready(bool readable, bool writable) override;
  void fire() override { on_ready(true, false); }
  void run() override;  // Tells that it is gone, outside of send().
  void flush();
  void end();

  loop::EpollLoop* loop_ = nullptr;
  os::Fd socket_;
  BrokerEvents& events_;
  std::deque<Queued> queue_;
};

}  // namespace shunt::worker
