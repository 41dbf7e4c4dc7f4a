#pragma once
// One client's connection: the socket, time limits, what is to be sent. Its Protocol says what the bytes mean. Everything
// that is answered within a turn of the loop is written with one send. Only for gateway/'s own files.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/own.h"
#include "gateway/carrier.h"
#include "gateway/connection/protocol.h"
#include "gateway/shared.h"
#include "loop/epoll_loop.h"
#include "net/tls/tls_session.h"

namespace shunt::gateway {

/// Threads: its loop. Lifetime: owned by Shared; close() retires it, and it is freed at the end of the turn.
class Connection final : private loop::Watch, private loop::Timer, private loop::Runnable {
 public:
  Connection(Shared& shared, int fd, std::shared_ptr<const ListenerPolicy> policy);
  ~Connection();

  /// Begins to read. Errors: it could not be watched; the connection is closed then.
  void begin();
  /// Answers 503 and closes: there are too many.
  void begin_refused();
  /// Ends soon: idle connections at once or after drain_idle, others after their answer.
  void drain();
  /// Cancels a call that runs and tells its client; anything else is closed.
  void shut_down();

  // For its protocol.
  /// What is to be sent, at the end of the turn.
  std::string& out();
  [[nodiscard]] std::size_t unsent() const { return out_.size() - sent_ + ciphertext_.size() - ciphertext_sent_; }
  /// Protocol::collect() is called at the end of the turn.
  void flush() {
    if (!closed_) shared_.loop.flush(*this);
  }
  /// Protocol::resume() is called, later in this turn and outside this stack; and reading goes on.
  void go_on() {
    if (!closed_) shared_.loop.ready(resume_);
  }
  /// Protocol::on_time_limit() is called then; replaces the one before.
  void limit_time(Instant at);
  [[nodiscard]] Instant time_limit() const { return time_limit_; }
  /// No more is read; closes when all is sent.
  void close_when_sent();
  void close();
  /// The client went away without a word.
  void vanish();
  /// The client asked by Upgrade: what comes from now on is HTTP/2, and `request` is its stream 1. The answer 101 must
  /// have been written. `rest`: what was received after the request.
  void upgrade_to_http2(std::string_view settings, const Request& request, std::string_view rest);
  [[nodiscard]] bool is_closed() const { return closed_; }
  [[nodiscard]] bool is_closing() const { return closing_; }
  [[nodiscard]] Shared& shared() { return shared_; }
  [[nodiscard]] const ListenerPolicy& policy() const { return *policy_; }
  /// What TLS knows of the client; nullptr in clear.
  [[nodiscard]] const net::TlsSession* tls() const { return tls_.get(); }

  std::size_t index = 0;  ///< In Shared::connections.

 private:
  /// Goes on with what was read, outside the stack of whoever answered.
  struct Resume final : loop::Runnable {
    explicit Resume(Connection& to) : connection(to) {}
    void run() override { connection.resume(); }
    Connection& connection;
  };

  void on_ready(bool readable, bool writable) override;
  void fire() override;  // a time limit
  void run() override;   // the end of the turn: send

  void read();
  void receive(std::string_view bytes);
  void take(std::string_view bytes);
  void choose_protocol(std::string_view bytes);
  void refuse();
  void end_of_input();
  void resume();
  void discard_input();
  [[nodiscard]] bool may_read() const;
  [[nodiscard]] bool client_has_gone() const;
  void send();
  bool push(std::string& bytes, std::size_t& sent);
  bool push_secure();
  void start_lingering();

  // tls.cpp
  void receive_secure(std::string_view bytes);
  void begin_secure();
  void fail_secure(const Status& why);
  void note_failed_handshake(const Status& why);
  void say_goodbye();
  [[nodiscard]] bool is_shaking_hands() const { return secure_ && (!tls_ || !tls_->is_established()); }
  void arm_first_limit();

  Shared& shared_;
  const int fd_;
  const std::shared_ptr<const ListenerPolicy> policy_;  // Owners: the listener and its connections.
  Own<Protocol> protocol_;                              // none until the first bytes tell
  Own<Protocol> replaced_;                              // by an upgrade; it may be on the stack
  std::string preface_;                                 // what may become HTTP/2's, while it is not whole
  std::string out_;
  std::size_t sent_ = 0;
  Own<net::TlsSession> tls_;  // begins with the client's first bytes
  std::string ciphertext_;    // what the socket did not take, or the handshake says
  std::size_t ciphertext_sent_ = 0;

  bool progress_ = false;   // the socket took something
  bool secure_;             // TLS is spoken, or would be
  bool refused_ = false;    // there are too many
  bool ended_ = false;      // the client sends no more
  bool unread_ = false;     // the kernel may hold more than we read
  bool closing_ = false;    // closes when everything is sent
  bool lingering_ = false;  // closed for writing; reads until the client closes too
  bool closed_ = false;
  std::size_t lingered_bytes_ = 0;
  Instant time_limit_{INT64_MAX};
  Instant write_limit_{INT64_MAX};
  Instant armed_for_{INT64_MAX};
  Resume resume_{*this};
};

}  // namespace shunt::gateway
