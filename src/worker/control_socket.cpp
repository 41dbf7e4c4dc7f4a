#include "worker/control_socket.h"

#include "os/socket.h"

namespace shunt::worker {

namespace {
constexpr std::size_t message_bytes_max = 4096;
}

void ControlSocket::on_ready(bool readable, bool) {
  if (!readable) return;
  for (;;) {
    auto message = os::receive_message(socket_.get(), message_bytes_max);
    if (!message && message.error().code() == Code::resource_exhausted) continue;  // Too long to be for us.
    if (message && !message->has_value()) return;
    if (!message || ((*message)->bytes.empty() && (*message)->descriptors.empty())) {
      unwatch();
      events_.on_supervisor_gone();
      return;
    }
    if ((*message)->bytes.starts_with('B') && !(*message)->descriptors.empty()) {
      events_.on_fresh_broker(std::move((*message)->descriptors.front()));
      continue;
    }
    bool links = (*message)->bytes.starts_with('L') && !(*message)->descriptors.empty();
    if (links) events_.on_fresh_links(std::move((*message)->descriptors));
  }
}

}  // namespace shunt::worker
