#pragma once
// What the bytes of a connection mean: HTTP/1.1 or HTTP/2. The connection reads, sends and keeps time; its protocol
// says what it read, and what there is to send. Only for gateway/'s own files.

#include <string>
#include <string_view>

namespace shunt::gateway {

/// Threads: the loop's. Lifetime: its connection owns it.
class Protocol {
 public:
  virtual ~Protocol() = default;
  /// What was read; borrowed during the call.
  virtual void receive(std::string_view bytes) = 0;
  /// Goes on with what was received, after Connection::go_on().
  virtual void resume() = 0;
  /// More may be read now.
  [[nodiscard]] virtual bool may_read() const = 0;
  /// The client sends no more.
  virtual void on_end_of_input() = 0;
  /// The end of the loop's turn: appends what there is to send, and frees what has ended.
  virtual void collect(std::string& out) { (void)out; }
  /// Something was sent.
  virtual void on_sent() = 0;
  /// Connection::limit_time() has come.
  virtual void on_time_limit() = 0;
  /// There are too many connections: says so, and closes.
  virtual void refuse_connection() = 0;
  /// Takes no new requests; ends the connection when the open ones are answered.
  virtual void drain() = 0;
  /// Cancels what runs and tells its client; closes.
  virtual void shut_down() = 0;
  /// The connection is gone: lets go of every call.
  virtual void abandon() = 0;
  /// How many calls run.
  [[nodiscard]] virtual std::size_t calls() const = 0;
};

}  // namespace shunt::gateway
