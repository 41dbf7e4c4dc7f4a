#include "link/unix/socket_carrier.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace shunt::link {

namespace {

/// How much one read takes at most: little at first, more when reads come back full.
constexpr std::size_t read_bytes_first = 16 << 10;
constexpr std::size_t read_bytes_max = 64 << 10;
/// A write of this size, taken whole, is no part of a long transfer.
constexpr std::size_t small_write_bytes = 16 << 10;
/// What one link may read before the others of its loop have their turn.
constexpr std::size_t turn_bytes_max = 512 << 10;

class SocketCarrier final : public Carrier, private loop::Watch, private loop::Timer {
 public:
  SocketCarrier(loop::EpollLoop& loop, os::Fd socket) : loop_(loop), socket_(std::move(socket)) {}
  ~SocketCarrier() override {
    if (gone_ != nullptr) *gone_ = true;
  }

  void start(Events& events) override {
    events_ = &events;
    if (auto watched = loop_.watch(*this, socket_.get(), loop::Interest::reading); !watched) {
      failure_ = watched.error().message();
      read_again();
    }
  }

  std::size_t write(const iovec* vectors, int count) override {
    std::size_t wanted = 0;
    for (int i = 0; i < count; i++) wanted += vectors[i].iov_len;
    // A broken writer swallows: what the peer said before it went is still to be read, then the end is told.
    if (!failure_.empty() || events_ == nullptr) return wanted;
    ssize_t sent = 0;
    do {
      if (count == 1) {
        sent = send(socket_.get(), vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
      } else {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(vectors);
        message.msg_iovlen = static_cast<std::size_t>(count);
        sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    } while (sent < 0 && errno == EINTR);
    if (sent == static_cast<ssize_t>(wanted)) {
      // Not at once after a large one, which has more behind it.
      if (wants_writable() && wanted <= small_write_bytes) want_writable(false);
      return wanted;
    }
    if (sent < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        wants_to_write_ = true;
        want_writable(true);
        return 0;
      }
      failure_ = errno == EPIPE || errno == ECONNRESET ? "the process has ended or closed the connection"
                                                       : fmt::format("write: {}", std::strerror(errno));
      read_again();
      return wanted;
    }
    wants_to_write_ = true;
    want_writable(true);
    return static_cast<std::size_t>(sent);
  }

  void close() override {
    unwatch();
    Timer::disarm();
    events_ = nullptr;
    socket_.close();
  }

 private:
  void on_ready(bool readable, bool writable) override {
    bool gone = false;
    gone_ = &gone;
    if (writable && std::exchange(wants_to_write_, false)) {
      events_->on_writable();
      if (gone) return;
    }
    if (readable && events_ != nullptr) {
      read(gone);
      if (gone) return;
    }
    gone_ = nullptr;
  }

  void fire() override { on_ready(true, false); }
  void read_again() { loop_.arm(*this, loop_.now()); }

  void read(const bool& gone) {
    for (std::size_t taken = 0; taken < turn_bytes_max;) {
      if (buffer_.size() != read_bytes_) {
        buffer_.resize_and_overwrite(read_bytes_, [](char*, std::size_t size) { return size; });
      }
      ssize_t got = recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      // A unix socket whose peer closed it before it had read all of ours says so once; what the peer wrote is behind it.
      if (got < 0 && errno == ECONNRESET && !std::exchange(was_reset_, true)) continue;
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        if (!failure_.empty()) end(failure_);
        return;
      }
      if (got <= 0) {
        end(got == 0 || errno == ECONNRESET ? "the process has ended or closed the connection"
                                            : fmt::format("read: {}", std::strerror(errno)));
        return;
      }
      auto size = static_cast<std::size_t>(got);
      taken += size;
      // The carrier may go inside the event, and the bytes with it: the buffer is on its own while they are read.
      std::string buffer = std::exchange(buffer_, {});
      events_->on_bytes({buffer.data(), size});
      if (gone || events_ == nullptr) return;
      buffer_ = std::move(buffer);
      // A short read has emptied the socket; the end, if it is near, has been told with this readiness.
      bool full = size == buffer_.size();
      if (!full && !is_hung_up() && failure_.empty()) return;
      if (full) read_bytes_ = std::min(4 * read_bytes_, read_bytes_max);
    }
    // Edge-triggered: nobody will tell again of what is still there.
    read_again();
  }

  void end(std::string why) {
    unwatch();
    Timer::disarm();
    auto* events = std::exchange(events_, nullptr);
    events->on_closed(Status(Code::unavailable, std::move(why)));
  }

  loop::EpollLoop& loop_;
  os::Fd socket_;
  Events* events_ = nullptr;
  bool* gone_ = nullptr;  // Set when it is destroyed inside an event.
  bool wants_to_write_ = false;
  bool was_reset_ = false;
  std::string failure_;
  std::size_t read_bytes_ = read_bytes_first;
  std::string buffer_;
};

}  // namespace

Own<Carrier> make_socket_carrier(loop::EpollLoop& loop, os::Fd socket) {
  return make_own<SocketCarrier>(loop, std::move(socket));
}

}  // namespace shunt::link
