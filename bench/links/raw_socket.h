#pragma once
// The least that a socket can cost: messages of a fixed size, no frames, one thread a side. One at a time they block in
// read; many at once, each read and write takes as much as there is.

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "measure.h"

namespace bench {

/// Two connected ends.
inline std::array<int, 2> socket_ends(bool is_tcp) {
  std::array<int, 2> ends{};
  if (!is_tcp) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) give_up("no socket pair");
    return ends;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    give_up("no listener");
  }
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(ends[0], reinterpret_cast<sockaddr*>(&address), size) != 0) give_up("no connection");
  ends[1] = accept(listener, nullptr, nullptr);
  close(listener);
  int on = 1;
  for (int end : ends) setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return ends;
}

inline bool read_all(int fd, char* to, std::size_t size) {
  while (size > 0) {
    auto got = read(fd, to, size);
    if (got <= 0) return false;
    to += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}
inline bool write_all(int fd, const char* from, std::size_t size) {
  while (size > 0) {
    auto put = write(fd, from, size);
    if (put <= 0) return false;
    from += put;
    size -= static_cast<std::size_t>(put);
  }
  return true;
}

/// Moves what it can: `owed` bytes out of `block`, and as much in as there is. Returns how much came in; waits when nothing moves.
inline std::size_t move_some(int fd, std::vector<char>& block, std::size_t& owed, bool is_awake) {
  for (;;) {
    bool has_moved = false;
    if (owed > 0) {
      auto put = write(fd, block.data(), std::min(owed, block.size()));
      if (put > 0) {
        owed -= static_cast<std::size_t>(put);
        has_moved = true;
      }
    }
    auto got = read(fd, block.data(), block.size());
    if (got == 0) std::_Exit(0);
    if (got > 0) return static_cast<std::size_t>(got);
    if (has_moved) continue;
    if (is_awake) {
      relax();
      continue;
    }
    pollfd wait{fd, static_cast<short>(owed > 0 ? POLLIN | POLLOUT : POLLIN), 0};
    poll(&wait, 1, -1);
  }
}

inline void raw_socket(const Ask& ask, bool is_tcp) {
  auto ends = socket_ends(is_tcp);
  bool is_ping_pong = ask.in_flight == 1 && !ask.is_awake;
  std::size_t block_bytes = is_ping_pong ? ask.bytes : std::size_t{256} << 10;
  Callee callee(ask, [&](auto ready) {
    close(ends[0]);
    std::vector<char> block(block_bytes, 'x');
    ready("");
    if (is_ping_pong) {
      while (read_all(ends[1], block.data(), ask.bytes) && write_all(ends[1], block.data(), ask.bytes)) {
      }
      return;
    }
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    std::size_t owed = 0;
    for (;;) owed += move_some(ends[1], block, owed, ask.is_awake);
  });
  close(ends[1]);
  std::vector<char> block(block_bytes, 'x');
  Meter meter(ask.seconds, callee.clocks());
  if (is_ping_pong) {
    auto began = ticks();
    while (!meter.over()) {
      if (!write_all(ends[0], block.data(), ask.bytes) || !read_all(ends[0], block.data(), ask.bytes))
        give_up("broken");
      auto now = ticks();
      meter.answered(began, now);
      began = now;
    }
    return meter.print();
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  Window window(ask.in_flight);
  std::size_t owed = 0;
  std::size_t came = 0;
  while (!meter.over()) {
    while (window.has_room()) {
      window.begin(ticks());
      owed += ask.bytes;
    }
    for (came += move_some(ends[0], block, owed, ask.is_awake); came >= ask.bytes; came -= ask.bytes) {
      meter.answered(window.end());
    }
  }
  meter.print();
}

}  // namespace bench
