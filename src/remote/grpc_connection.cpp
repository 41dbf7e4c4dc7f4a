#include "remote/grpc_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shunt::remote {

namespace {
constexpr std::size_t read_bytes = 64u << 10;
/// What one connection may read before the others of its loop have their turn.
constexpr std::size_t turn_bytes_max = 512u << 10;
/// What is framed ahead of the socket.
constexpr std::size_t unsent_bytes_max = 256u << 10;
}  // namespace

GrpcConnection::GrpcConnection(loop::EpollLoop& loop, const GrpcClientOptions& options, GrpcConnectionOwner& owner)
    : loop_(loop), options_(options), owner_(owner) {
  net::GrpcClientOptions session;
  session.authority = options.authority.empty() ? options.address.to_string() : options.authority;
  session.scheme = options.tls == nullptr ? "http" : "https";
  session.message_bytes_max = options.limits.message_bytes_max;
  session.http2.header_bytes_max = options.limits.metadata_bytes_max;
  session.http2.stream_window = options.limits.stream_credit;
  session_ = net::GrpcClientSession::create(*this, std::move(session));
}

GrpcConnection::~GrpcConnection() = default;

Result<void> GrpcConnection::dial() {
  heard_ = loop_.now();
  if (options_.tls != nullptr) {
    const std::string& host = options_.tls_host.empty() ? options_.address.host : options_.tls_host;
    SHUNT_TRY(tls_, net::TlsSession::connect(*options_.tls, {.host = host, .ticket = ""}));
  }
  SHUNT_TRY(socket_, os::connect_tcp(options_.address));
  SHUNT_CHECK(loop_.watch(*this, socket_.get()));
  loop_.arm(*this, heard_ + options_.connect_timeout);
  return {};
}

void GrpcConnection::retire() {
  retired_ = true;
  if (!lost_) loop_.flush(*this);
}

void GrpcConnection::on_output() {
  if (!lost_) loop_.flush(*this);
}

void GrpcConnection::on_goaway() {
  retired_ = true;
  owner_.on_goaway(*this);
}

void GrpcConnection::on_ready(bool readable, bool writable) {
  if (lost_) return;
  if (!is_open_) {
    if (!writable) return;
    if (auto connected = os::finish_connect(socket_.get(), options_.address); !connected) {
      lose(std::move(connected).error());
      return;
    }
    is_open_ = true;
    if (tls_) {
      // receive() with nothing begins the handshake.
      if (auto begun = tls_->receive({}, plain_, out_); !begun) {
        lose(std::move(begun).error());
        return;
      }
    }
    loop_.flush(*this);
  }
  if (readable) read();
  if (writable && !lost_ && sent_ < out_.size()) loop_.flush(*this);
}

void GrpcConnection::read() {
  if (buffer_.size() != read_bytes) buffer_.resize(read_bytes);
  for (std::size_t taken = 0; taken < turn_bytes_max;) {
    const ssize_t count = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count <= 0) {
      lose(Status(Code::unavailable, fmt::format("{} {}", options_.address.to_string(),
                                                 count == 0 ? "closed the connection" : std::strerror(errno))));
      return;
    }
    const auto size = static_cast<std::size_t>(count);
    taken += size;
    received_bytes_ += size;
    if (auto read = take({buffer_.data(), size}); !read) {
      send();  // What explains it to the server.
      lose(std::move(read).error());
      return;
    }
    if (lost_) return;
    if (size < buffer_.size() && !Watch::is_hung_up()) return;
  }
  // Edge-triggered: nobody will tell again of what is still there.
  loop_.arm(*this, loop_.now());
}

Result<void> GrpcConnection::take(std::string_view bytes) {
  heard_ = loop_.now();
  loop_.flush(*this);
  if (tls_) {
    plain_.clear();
    SHUNT_CHECK(tls_->receive(bytes, plain_, out_));
    if (!tls_->is_established()) return {};
    if (tls_->protocol() != "h2") {
      return fail(Code::unavailable, fmt::format("{} does not speak HTTP/2: it chose '{}' by ALPN",
                                                 options_.address.to_string(), tls_->protocol()));
    }
    bytes = plain_;
    if (bytes.empty()) return {};
  }
  // What begins with another frame than SETTINGS speaks something else: HTTP/1.1 most likely.
  constexpr char settings = 4;
  if (!heard_anything_ && bytes.size() > 3 && bytes[3] != settings) {
    return fail(Code::unavailable, fmt::format("{} answers, but not in HTTP/2", options_.address.to_string()));
  }
  SHUNT_CHECK(session_->receive(bytes, loop_.now().ns));
  if (!std::exchange(heard_anything_, true)) {
    loop_.arm(*this, heard_ + options_.ping_interval);
    owner_.on_connected(*this);
  }
  return {};
}

void GrpcConnection::run() {
  if (lost_) return;
  send();
  if (!lost_ && sent_ == out_.size() && session_->is_done()) {
    lose(Status(Code::unavailable, fmt::format("{} ended the connection", options_.address.to_string())));
  }
  if (lost_ || !retired_ || session_->calls() > 0 || sent_ < out_.size()) return;
  lose(Status(Code::unavailable, "the connection was retired"));
}

void GrpcConnection::send() {
  if (!is_open_ || lost_) return;
  for (;;) {
    if (out_.size() - sent_ < unsent_bytes_max) {
      if (!tls_) {
        session_->collect(out_, sent_ + unsent_bytes_max);
      } else if (tls_->is_established()) {
        plain_.clear();
        session_->collect(plain_, unsent_bytes_max);
        if (!plain_.empty() && !tls_->send(plain_, out_)) return;
      }
    }
    if (sent_ == out_.size()) return;
    const ssize_t count = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        lose(Status(Code::unavailable, fmt::format("{}: {}", options_.address.to_string(), std::strerror(errno))));
      }
      return;
    }
    sent_bytes_ += static_cast<std::uint64_t>(count);
    sent_ += static_cast<std::size_t>(count);
    if (sent_ == out_.size() || sent_ >= unsent_bytes_max) {
      out_.erase(0, sent_);
      sent_ = 0;
    }
  }
}

void GrpcConnection::fire() {
  if (lost_) return;
  const Instant now = loop_.now();
  if (!heard_anything_) {
    if (now >= heard_ + options_.connect_timeout) {
      lose(Status(Code::unavailable, fmt::format("{} did not answer within {}", options_.address.to_string(),
                                                 format_duration(options_.connect_timeout))));
      return;
    }
    loop_.arm(*this, heard_ + options_.connect_timeout);
    read();
    return;
  }
  read();
  if (lost_) return;
  if (waits_for_ping_ && now >= ping_sent_ + options_.ping_timeout) {
    lose(Status(Code::unavailable, fmt::format("{} did not answer a ping within {}", options_.address.to_string(),
                                               format_duration(options_.ping_timeout))));
    return;
  }
  if (!waits_for_ping_ && session_->calls() > 0 && now >= heard_ + options_.ping_interval) {
    waits_for_ping_ = true;
    ping_sent_ = now;
    session_->ping();
    loop_.flush(*this);
  }
  Instant next = now + options_.ping_interval;
  if (waits_for_ping_) next = std::min(next, ping_sent_ + options_.ping_timeout);
  if (!Timer::is_armed()) loop_.arm(*this, next);
}

void GrpcConnection::lose(Status why) {
  if (std::exchange(lost_, true)) return;
  Watch::unwatch();
  Timer::disarm();
  Runnable::unlink();
  socket_.close();
  session_->fail(why.message());
  owner_.on_lost(*this, why, heard_anything_);
}

}  // namespace shunt::remote
