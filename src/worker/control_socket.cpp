#include "worker/control_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace shunt::worker {

namespace {
constexpr std::size_t descriptors_max = 253;  // SCM_MAX_FD.
}

ControlSocket::~ControlSocket() {
  unwatch();
  close(descriptor_);
}

void ControlSocket::on_ready(bool readable, bool) {
  if (!readable) return;
  for (;;) {
    std::vector<int> descriptors;
    char kind = 0;
    switch (read_one(descriptors, kind)) {
      case Read::nothing_now:
        return;
      case Read::gone:
        unwatch();
        events_.on_supervisor_gone();
        return;
      case Read::message:
        break;
    }
    if (kind == 'L' && !descriptors.empty()) {
      events_.on_fresh_links(std::move(descriptors));
    } else {
      for (int descriptor : descriptors) close(descriptor);
    }
  }
}

ControlSocket::Read ControlSocket::read_one(std::vector<int>& descriptors, char& kind) {
  iovec vector{.iov_base = &kind, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(descriptors_max * sizeof(int))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = 0;
  do {
    count = recvmsg(descriptor_, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Read::nothing_now : Read::gone;
  if (count == 0) return Read::gone;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    std::size_t received = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::size_t before = descriptors.size();
    descriptors.resize(before + received);
    std::memcpy(descriptors.data() + before, CMSG_DATA(part), received * sizeof(int));
  }
  return Read::message;
}

}  // namespace shunt::worker
