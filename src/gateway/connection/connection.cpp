#include "gateway/connection/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "gateway/connection/http1.h"
#include "gateway/connection/http2.h"

namespace shunt::gateway {

namespace {

constexpr int reads_max = 4;  // Of one connection, before others have their turn.
constexpr Duration linger_time = std::chrono::seconds(2);
constexpr std::size_t linger_bytes_max = 4u << 20;
constexpr std::size_t kept_bytes_max = 64u << 10;    // What an idle connection may keep for its answers.
constexpr std::size_t shift_bytes_min = 256u << 10;  // Sent bytes are cut off only in large pieces.

constexpr std::string_view http2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

}  // namespace

Connection::Connection(Shared& shared, int fd, std::shared_ptr<const ListenerPolicy> policy)
    : shared_(shared), fd_(fd), policy_(std::move(policy)), secure_(policy_->tls) {}

Connection::~Connection() {
  if (closed_) return;
  closed_ = true;
  if (protocol_) protocol_->abandon();
  Watch::unwatch();
  ::close(fd_);
}

void Connection::begin() {
  if (!shared_.loop.watch(*this, fd_)) {
    close();
    return;
  }
  limit_time(shared_.loop.now() + shared_.limits.header_timeout);
}

void Connection::begin_refused() {
  refused_ = true;
  begin();
  // Over TLS they can be told when hands are shaken.
  if (!closed_ && !secure_) refuse();
}

void Connection::refuse() {
  if (!protocol_) protocol_ = make_own<Http1>(*this);
  protocol_->refuse_connection();
}

void Connection::drain() {
  if (closed_ || closing_) return;
  if (protocol_) {
    protocol_->drain();
  } else {
    limit_time(std::min(time_limit_, shared_.loop.now() + shared_.limits.drain_idle));
  }
}

void Connection::shut_down() {
  if (closed_ || closing_) return;
  if (protocol_) {
    protocol_->shut_down();
  } else {
    close();
  }
}

std::string& Connection::out() {
  shared_.loop.flush(*this);
  return out_;
}

void Connection::on_ready(bool readable, bool writable) {
  if (writable && unsent() > 0) send();
  if (readable && !closed_) read();
}

void Connection::read() {
  if (lingering_) {
    discard_input();
    return;
  }
  for (int round = 0; round < reads_max; ++round) {
    if (!may_read()) {
      unread_ = true;
      if (!closing_ && client_has_gone()) vanish();
      return;
    }
    const ssize_t count = ::recv(fd_, shared_.scratch.data(), shared_.scratch.size(), 0);
    if (count > 0) {
      const auto size = static_cast<std::size_t>(count);
      GatewayStats::add(shared_.shard.bytes_received, size);
      receive({shared_.scratch.data(), size});
      if (closed_) return;
      if (lingering_) break;
      if (size < shared_.scratch.size() && !Watch::is_hung_up()) {
        unread_ = false;
        return;
      }
    } else if (count == 0) {
      end_of_input();
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      unread_ = false;
      return;
    } else if (errno != EINTR) {
      vanish();
      return;
    }
  }
  unread_ = true;
  go_on();
}

void Connection::receive(std::string_view bytes) {
  if (secure_) {
    receive_secure(bytes);
  } else {
    take(bytes);
  }
}

void Connection::end_of_input() {
  if (std::exchange(ended_, true) && protocol_) return;
  if (is_shaking_hands() && tls_)
    note_failed_handshake({Code::unavailable, "S4040", "the client closed in the midst of the TLS handshake."});
  if (protocol_) {
    protocol_->on_end_of_input();
  } else {
    close();
  }
}

void Connection::take(std::string_view bytes) {
  if (!protocol_) {
    choose_protocol(bytes);
  } else {
    protocol_->receive(bytes);
  }
  replaced_.reset();
}

// HTTP/2 by prior knowledge begins with words that are no request of HTTP/1.1.
void Connection::choose_protocol(std::string_view bytes) {
  std::string whole;
  if (!preface_.empty()) {
    whole = std::exchange(preface_, {}).append(bytes);
    bytes = whole;
  }
  if (!secure_ && net::looks_like_tls(bytes)) {
    auto http1 = make_own<Http1>(*this);
    Http1& answers = *http1;
    protocol_ = std::move(http1);
    answers.refuse(400, {Code::invalid_argument, "S4042",
                         "this port speaks HTTP in clear, and the client began with TLS. Use http:// in place of "
                         "https://."});
    return;
  }
  const std::size_t same = std::min(bytes.size(), http2_preface.size());
  if (bytes.substr(0, same) != http2_preface.substr(0, same)) {
    protocol_ = make_own<Http1>(*this);
  } else if (same == http2_preface.size()) {
    protocol_ = make_own<Http2>(*this);
  } else {
    preface_ = bytes;
    return;
  }
  protocol_->receive(bytes);
}

void Connection::upgrade_to_http2(std::string_view settings, const Request& request, std::string_view rest) {
  replaced_ = std::move(protocol_);
  auto next = make_own<Http2>(*this);
  Http2& http2 = *next;
  protocol_ = std::move(next);
  http2.begin_upgraded(settings, request);
  if (!rest.empty() && !closed_ && !closing_) http2.receive(rest);
}

void Connection::resume() {
  if (closed_) return;
  if (!lingering_ && protocol_) protocol_->resume();
  replaced_.reset();
  if (!closed_ && unread_ && (lingering_ || may_read())) read();
}

bool Connection::may_read() const { return !closing_ && (!protocol_ || protocol_->may_read()); }

bool Connection::client_has_gone() const {
  pollfd state{fd_, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Connection::vanish() {
  if (protocol_) GatewayStats::add(shared_.shard.clients_gone, protocol_->calls());
  close();
}

void Connection::run() {
  if (closed_) return;
  if (protocol_ && !lingering_) protocol_->collect(out_);
  if (!closed_) send();
}

void Connection::send() {
  const bool had_unsent = unsent() > 0;
  progress_ = false;
  if (!(secure_ ? push_secure() : push(out_, sent_))) {
    vanish();
    return;
  }
  if (unsent() == 0) {
    out_.clear();
    sent_ = 0;
    if (out_.capacity() > kept_bytes_max) out_.shrink_to_fit();
    write_limit_ = {INT64_MAX};
    if (closing_) {
      start_lingering();
      return;
    }
  } else {
    if (sent_ >= shift_bytes_min) {
      out_.erase(0, sent_);
      sent_ = 0;
    }
    if (progress_ || write_limit_.ns == INT64_MAX) {
      write_limit_ = shared_.loop.now() + shared_.limits.write_timeout;
      arm_first_limit();
    }
  }
  if (had_unsent && progress_ && protocol_) protocol_->on_sent();
}

// False when the client is gone. What the socket does not take now is left.
bool Connection::push(std::string& bytes, std::size_t& sent) {
  while (sent < bytes.size()) {
    const ssize_t count = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK;
    }
    GatewayStats::add(shared_.shard.bytes_sent, static_cast<std::uint64_t>(count));
    sent += static_cast<std::size_t>(count);
    progress_ = true;
  }
  return true;
}

void Connection::close_when_sent() {
  if (closing_ || closed_) return;
  closing_ = true;
  time_limit_ = {INT64_MAX};  // Sending has its own.
  shared_.loop.flush(*this);
}

// A close with unread input would reset the connection, and the client might lose our answer to that.
void Connection::start_lingering() {
  if (lingering_) return;
  say_goodbye();
  lingering_ = true;
  ::shutdown(fd_, SHUT_WR);
  limit_time(shared_.loop.now() + linger_time);
  discard_input();
}

void Connection::discard_input() {
  for (int round = 0; round < reads_max; ++round) {
    const ssize_t count = ::recv(fd_, shared_.scratch.data(), shared_.scratch.size(), 0);
    if (count > 0) {
      lingered_bytes_ += static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    close();
    return;
  }
  if (lingered_bytes_ > linger_bytes_max) {
    close();
    return;
  }
  unread_ = true;
  go_on();
}

void Connection::close() {
  if (closed_) return;
  if (!lingering_) say_goodbye();
  closed_ = true;
  if (protocol_) protocol_->abandon();
  Watch::unwatch();
  Timer::disarm();
  ::close(fd_);
  shared_.retire(*this);
}

void Connection::limit_time(Instant at) {
  time_limit_ = at;
  arm_first_limit();
}

// Armed early and checked when it fires: a busy connection moves its limit without touching the timers.
void Connection::arm_first_limit() {
  const Instant first = std::min(time_limit_, write_limit_);
  if (first >= armed_for_) return;
  armed_for_ = first;
  shared_.loop.arm(*this, first);
}

void Connection::fire() {
  armed_for_ = {INT64_MAX};
  const Instant now = shared_.loop.now();
  if (write_limit_ <= now) {
    vanish();
  } else if (time_limit_ <= now) {
    time_limit_ = {INT64_MAX};
    if (is_shaking_hands() && tls_ && !closing_)
      note_failed_handshake({Code::deadline_exceeded, "S4040", "the TLS handshake was not over in time."});
    if (lingering_ || closing_ || !protocol_) {
      close();
    } else {
      protocol_->on_time_limit();
    }
  }
  if (!closed_) arm_first_limit();
}

}  // namespace shunt::gateway
