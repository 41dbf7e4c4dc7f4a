// The part of a connection that is there for TLS: between the socket and the protocol.

#include <sys/socket.h>

#include <algorithm>

#include "gateway/connection/connection.h"
#include "gateway/connection/http1.h"
#include "gateway/connection/http2.h"

namespace shunt::gateway {

namespace {

constexpr std::size_t encrypted_at_once = 64u
                                          << 10;  // What is encrypted before the socket is asked whether it has room.

}  // namespace

void Connection::receive_secure(std::string_view bytes) {
  if (!tls_) {
    auto session = shared_.tls ? net::TlsSession::accept(*shared_.tls)
                               : fail(Code::internal, "S4040", "there is no certificate for TLS.");
    if (!session) return fail_secure(session.error());
    tls_ = std::move(*session);
  }
  const bool was_shaking_hands = is_shaking_hands();
  std::string& plaintext = shared_.plaintext;
  plaintext.clear();
  const Result<void> received = tls_->receive(bytes, plaintext, ciphertext_);
  if (!ciphertext_.empty()) shared_.loop.flush(*this);
  if (was_shaking_hands && tls_->is_established()) begin_secure();
  // What came before an error was whole, and is heard.
  if (!plaintext.empty() && !closing_ && !closed_) take(plaintext);
  if (closed_) return;
  if (!received) return fail_secure(received.error());
  if (tls_->is_closed_by_peer() && !closing_) end_of_input();
}

void Connection::begin_secure() {
  GatewayStats::add(shared_.shard.tls_handshakes);
  if (tls_->is_resumed()) GatewayStats::add(shared_.shard.tls_resumed);
  limit_time(shared_.loop.now() + shared_.limits.header_timeout);
  // Without ALPN the first bytes tell, as they do in clear.
  if (tls_->protocol() == "h2") {
    protocol_ = make_own<Http2>(*this);
  } else if (refused_ || tls_->protocol() == "http/1.1") {
    protocol_ = make_own<Http1>(*this);
  }
  if (refused_) refuse();
}

void Connection::fail_secure(const Status& why) {
  if (tls_ && tls_->is_established()) {
    // An alert says why; nothing that it could be waited for follows.
    [[maybe_unused]] const bool sent = push(ciphertext_, ciphertext_sent_);
    vanish();
    return;
  }
  note_failed_handshake(why);
  if (why.id() == "S4041") {
    // HTTP in clear is answered in clear.
    secure_ = false;
    auto http1 = make_own<Http1>(*this);
    Http1& answers = *http1;
    protocol_ = std::move(http1);
    answers.refuse(400, why);
    return;
  }
  close_when_sent();
}

void Connection::note_failed_handshake(const Status& why) {
  GatewayStats::add(shared_.shard.tls_handshakes_failed);
  if (shared_.hooks.tls_failed) shared_.hooks.tls_failed(why);
}

// What the loop's connections encrypt goes through one buffer; only what a socket did not take stays with its connection.
bool Connection::push_secure() {
  for (;;) {
    if (!push(ciphertext_, ciphertext_sent_)) return false;
    if (ciphertext_sent_ < ciphertext_.size()) return true;
    if (!ciphertext_.empty()) ciphertext_ = {};
    ciphertext_sent_ = 0;
    const std::size_t size = std::min(out_.size() - sent_, encrypted_at_once);
    if (size == 0 || is_shaking_hands()) return true;
    std::string& buffer = shared_.ciphertext;
    buffer.clear();
    if (!tls_->send(std::string_view(out_).substr(sent_, size), buffer)) return false;
    sent_ += size;
    std::size_t sent = 0;
    if (!push(buffer, sent)) return false;
    if (sent < buffer.size()) {
      ciphertext_.assign(buffer, sent);
      return true;
    }
  }
}

// So that the client knows that nothing was cut off. Not behind half a record.
void Connection::say_goodbye() {
  if (!tls_ || unsent() > 0) return;
  std::string& buffer = shared_.ciphertext;
  buffer.clear();
  tls_->close(buffer);
  std::size_t sent = 0;
  [[maybe_unused]] const bool heard = push(buffer, sent);
}

}  // namespace shunt::gateway
