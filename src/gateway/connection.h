#pragma once
// One client's connection: bytes in, bytes out, time limits. Requests are parsed one at a time; each is an Exchange.
// Everything that is answered within a turn of the loop is written with one send. Only for gateway/'s own files.

#include <cstdint>
#include <string>

#include "gateway/exchange.h"
#include "gateway/shared.h"
#include "loop/epoll_loop.h"
#include "net/http1/http1.h"

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

  // For its Exchange.
  /// The answer's bytes; they are sent at the end of the turn.
  std::string& out();
  [[nodiscard]] std::size_t unsent() const { return out_.size() - sent_; }
  /// The exchange is over, or wants more of the body: go on reading, later in this turn.
  void go_on();
  [[nodiscard]] Shared& shared() { return shared_; }
  [[nodiscard]] const ListenerPolicy& policy() const { return *policy_; }

  std::size_t index = 0;  ///< In Shared::connections.
  /// Something of a next request is here already.
  [[nodiscard]] bool has_read_ahead() const { return request_complete_ && parser_.buffered() > 0; }

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
  void resume();
  void process();
  bool step();
  void finish_request();
  void refuse_request(const net::Http1Error& error);
  void discard_input();
  [[nodiscard]] bool may_read() const;
  [[nodiscard]] bool client_has_gone() const;
  void on_end_of_input();
  void on_time_limit();
  void send();
  void close_when_sent();
  void start_lingering();
  void vanish();
  void close();
  void choose_time_limit();
  void limit_time(Instant at);
  void arm_first_limit();

  Shared& shared_;
  const int fd_;
  const std::shared_ptr<const ListenerPolicy> policy_;  // Owners: the listener and its connections.
  net::RequestParser parser_;
  std::string out_;
  std::size_t sent_ = 0;

  bool processing_ = false;
  bool in_request_ = false;  // between a head and the end of its answer
  bool request_complete_ = false;
  bool told_to_continue_ = false;
  bool head_begun_ = false;  // the head's time limit runs
  bool had_request_ = false;
  bool unread_ = false;     // the kernel may hold more than we read
  bool closing_ = false;    // closes when everything is sent
  bool lingering_ = false;  // closed for writing; reads until the client closes too
  bool closed_ = false;
  std::size_t lingered_bytes_ = 0;
  Instant time_limit_{INT64_MAX};
  Instant write_limit_{INT64_MAX};
  Instant armed_for_{INT64_MAX};
  Resume resume_{*this};
  Exchange exchange_{*this};
};

}  // namespace shunt::gateway
