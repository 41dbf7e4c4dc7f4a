#include "worker/broker_socket.h"

#include <algorithm>

#include "os/socket.h"

namespace shunt::worker {

namespace {
/// Messages that are read before others of the loop have their turn.
constexpr int messages_per_turn_max = 256;
}  // namespace

Result<void> BrokerSocket::start(loop::EpollLoop& loop) {
  loop_ = &loop;
  SHUNT_CHECK(os::set_blocking(socket_.get(), os::Blocking::no));
  return loop.watch(*this, socket_.get());
}

bool BrokerSocket::send(const wire::BrokerMessage& message, std::vector<os::Fd> descriptors) {
  if (!socket_) return false;
  auto bytes = message.encode();
  if (!bytes) return false;
  if (queue_.size() >= queue_max) {
    end();
    return false;
  }
  queue_.push_back({std::move(*bytes), std::move(descriptors)});
  flush();
  return true;
}

void BrokerSocket::flush() {
  while (!queue_.empty() && socket_) {
    std::vector<int> numbers;
    for (const os::Fd& each : queue_.front().descriptors) numbers.push_back(each.get());
    auto sent = os::send_message(socket_.get(), queue_.front().bytes, numbers);
    if (!sent) return end();
    if (!*sent) return;
    queue_.pop_front();
  }
}

void BrokerSocket::on_ready(bool readable, bool writable) {
  if (writable) flush();
  if (!readable) return;
  for (int i = 0; i < messages_per_turn_max && socket_; i++) {
    auto received = os::receive_message(socket_.get(), wire::broker_bytes_max);
    if (received && !*received) return;
    if (!received || ((*received)->bytes.empty() && (*received)->descriptors.empty())) return end();
    auto message = wire::BrokerMessage::decode((*received)->bytes);
    if (!message) return end();
    events_.on_broker(*message, std::move((*received)->descriptors));
  }
  // Edge-triggered: nobody will tell again of what is still there.
  if (socket_) loop_->arm(*this, loop_->now());
}

void BrokerSocket::end() {
  if (!socket_) return;
  unwatch();
  socket_.close();
  queue_.clear();
  loop_->ready(*this);
}

void BrokerSocket::run() { events_.on_broker_gone(); }

}  // namespace shunt::worker
