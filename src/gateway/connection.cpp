#include "gateway/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace shunt::gateway {

namespace {

constexpr int reads_max = 4;  // Of one connection, before others have their turn.
constexpr Duration linger_time = std::chrono::seconds(2);
constexpr std::size_t linger_bytes_max = 4u << 20;
constexpr std::size_t kept_bytes_max = 64u << 10;    // What an idle connection may keep for its answers.
constexpr std::size_t shift_bytes_min = 256u << 10;  // Sent bytes are cut off only in large pieces.

Status http_error(const net::Http1Error& error) {
  switch (error.status) {
    case 413:
      return {Code::resource_exhausted, "S4003", std::string(error.text)};
    case 414:
    case 431:
      return {Code::resource_exhausted, "S4002", std::string(error.text)};
    case 501:
    case 505:
      return {Code::unimplemented, "S4001", std::string(error.text)};
    default:
      return {Code::invalid_argument, "S4001", std::string(error.text)};
  }
}

}  // namespace

Connection::Connection(Shared& shared, int fd, std::shared_ptr<const ListenerPolicy> policy)
    : shared_(shared), fd_(fd), policy_(std::move(policy)), parser_(shared.http) {}

Connection::~Connection() {
  if (closed_) return;
  closed_ = true;
  exchange_.abandon();
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
  begin();
  if (closed_) return;
  exchange_.answer_error(
      503, Status(Code::unavailable, "S4005",
                  fmt::format("there are {} connections, and no more are taken now", shared_.limits.connections_max))
               .with_retry(Retry::later));
  close_when_sent();
}

void Connection::drain() {
  if (closed_ || in_request_ || head_begun_ || closing_) return;
  limit_time(std::min(time_limit_, shared_.loop.now() + shared_.limits.drain_idle));
}

void Connection::shut_down() {
  if (closed_ || closing_) return;
  if (!in_request_ || !exchange_.is_calling()) {
    close();
    return;
  }
  exchange_.shut_down();
}

std::string& Connection::out() {
  shared_.loop.flush(*this);
  return out_;
}

void Connection::go_on() {
  if (!processing_) shared_.loop.ready(resume_);
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
      parser_.feed({shared_.scratch.data(), size});
      process();
      if (closed_) return;
      if (lingering_) break;
      if (size < shared_.scratch.size() && !Watch::is_hung_up()) {
        unread_ = false;
        return;
      }
    } else if (count == 0) {
      on_end_of_input();
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

void Connection::resume() {
  if (closed_) return;
  if (!lingering_) process();
  if (!closed_ && unread_ && (lingering_ || may_read())) read();
}

// While a call runs, and while its callee holds the body, only so much is read ahead.
bool Connection::may_read() const {
  if (closing_) return false;
  return parser_.buffered() < shared_.limits.pipelined_bytes_max;
}

void Connection::process() {
  if (processing_) return;
  processing_ = true;
  while (!closed_ && !closing_) {
    if (in_request_ && exchange_.is_over()) {
      if (request_complete_) {
        finish_request();
        continue;
      }
      // Answered before its body came: what is here already is passed over, more is not waited for.
      if (!parser_.rest_is_here()) {
        close_when_sent();
        break;
      }
    } else if (in_request_ && (request_complete_ || exchange_.is_held())) {
      break;
    }
    if (!step()) break;
  }
  processing_ = false;
  if (closed_) return;
  parser_.settle();
  exchange_.head_moved();
  choose_time_limit();
}

bool Connection::step() {
  switch (parser_.next()) {
    case net::RequestParser::Event::need_more:
      if (in_request_ && parser_.head().expect_continue && !told_to_continue_ && !exchange_.is_over()) {
        told_to_continue_ = true;
        out() += "HTTP/1.1 100 Continue\r\n\r\n";
      }
      return false;
    case net::RequestParser::Event::head:
      in_request_ = true;
      request_complete_ = false;
      told_to_continue_ = false;
      head_begun_ = false;
      had_request_ = true;
      exchange_.begin(parser_.head(), parser_.rest_is_here());
      if (exchange_.takes_lines()) parser_.lift_body_limit();
      return true;
    case net::RequestParser::Event::body:
      told_to_continue_ = true;
      exchange_.body(parser_.body(), parser_.body_is_complete());
      return true;
    case net::RequestParser::Event::end:
      request_complete_ = true;
      if (!exchange_.is_over()) exchange_.complete(parser_.head());
      return true;
    case net::RequestParser::Event::error:
      refuse_request(parser_.error());
      return false;
  }
  return false;
}

void Connection::finish_request() {
  in_request_ = false;
  if (!exchange_.keeps_connection()) {
    close_when_sent();
    return;
  }
  parser_.next_request();
}

void Connection::refuse_request(const net::Http1Error& error) {
  exchange_.answer_error(error.status, http_error(error));
  close_when_sent();
}

bool Connection::client_has_gone() const {
  pollfd state{fd_, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

// The client has closed, or closed its half; who waits for an answer keeps its half open.
void Connection::on_end_of_input() {
  if (in_request_ && !exchange_.is_over()) {
    vanish();
  } else if (unsent() > 0) {
    close_when_sent();
  } else {
    close();
  }
}

void Connection::vanish() {
  if (in_request_ && exchange_.is_calling()) GatewayStats::add(shared_.shard.clients_gone);
  close();
}

void Connection::run() {
  if (!closed_) send();
}

void Connection::send() {
  const bool had_unsent = unsent() > 0;
  bool progress = false;
  while (unsent() > 0) {
    const ssize_t count = ::send(fd_, out_.data() + sent_, unsent(), MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      vanish();
      return;
    }
    GatewayStats::add(shared_.shard.bytes_sent, static_cast<std::uint64_t>(count));
    sent_ += static_cast<std::size_t>(count);
    progress = true;
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
    if (progress || write_limit_.ns == INT64_MAX) {
      write_limit_ = shared_.loop.now() + shared_.limits.write_timeout;
      arm_first_limit();
    }
  }
  if (had_unsent && progress) exchange_.drained();
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
  closed_ = true;
  exchange_.abandon();
  Watch::unwatch();
  Timer::disarm();
  ::close(fd_);
  shared_.retire(*this);
}

void Connection::choose_time_limit() {
  if (closing_ || lingering_) return;
  const Instant now = shared_.loop.now();
  const GatewayLimits& limits = shared_.limits;
  if (in_request_) {
    const bool waits_for_client = !request_complete_ && !exchange_.is_held();
    limit_time(waits_for_client ? now + limits.body_timeout : Instant{INT64_MAX});
  } else if (parser_.is_inside()) {
    // From the head's first byte on, however slowly the others follow.
    if (!head_begun_) limit_time(now + limits.header_timeout);
    head_begun_ = true;
  } else if (had_request_) {
    limit_time(now + (shared_.draining ? limits.drain_idle : limits.idle_timeout));
  }
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
    on_time_limit();
  }
  if (!closed_) arm_first_limit();
}

void Connection::on_time_limit() {
  time_limit_ = {INT64_MAX};
  const bool waits_for_request = head_begun_ || in_request_;
  if (lingering_ || closing_ || !waits_for_request) {
    close();
    return;
  }
  const bool is_head = !in_request_;
  exchange_.answer_error(
      408, Status(Code::deadline_exceeded, "S4004",
                  fmt::format("the request's {} did not come within {}", is_head ? "head" : "body",
                              format_duration(is_head ? shared_.limits.header_timeout : shared_.limits.body_timeout))));
  close_when_sent();
}

}  // namespace shunt::gateway
