#pragma once
// HTTP/1.1 (and 1.0) on a connection: one request at a time, each answered by an Exchange; pipelined ones wait their turn.
// Only for gateway/'s own files.

#include <cstdint>
#include <string_view>

#include "base/own.h"
#include "gateway/carrier.h"
#include "gateway/connection/protocol.h"
#include "net/http1/http1.h"

namespace shunt::gateway {

class Connection;

/// Threads: its loop's.
class Http1 final : public Protocol, private Carrier {
 public:
  explicit Http1(Connection& connection);
  ~Http1() override;

  void receive(std::string_view bytes) override;
  void resume() override;
  [[nodiscard]] bool may_read() const override;
  void on_end_of_input() override;
  void on_sent() override;
  void on_time_limit() override;
  void refuse_connection() override;
  /// Answers what is no request of ours, and closes.
  void refuse(int http_status, Status why) { fail_request(http_status, std::move(why)); }
  void drain() override;
  void shut_down() override;
  void abandon() override;
  [[nodiscard]] std::size_t calls() const override { return exchange_ && exchange_->is_calling() ? 1 : 0; }

 private:
  void answer(int status, Fields& fields, std::string_view body) override;
  void begin(int status, Fields& fields) override;
  void write(std::string_view first, std::string_view second, std::string_view third) override;
  using Carrier::write;
  void end(const Fields* trailers) override;
  void cut() override;
  void tunnel(Fields& fields) override;
  void close_after() override { keep_alive_ = false; }
  void go_on() override;
  [[nodiscard]] std::size_t unsent() const override;
  [[nodiscard]] std::uint64_t written() const override { return written_; }
  [[nodiscard]] const CorsGrant& cors() const override { return cors_; }
  [[nodiscard]] Shared& shared() override;
  [[nodiscard]] const ListenerPolicy& policy() const override;

  void process();
  bool step();
  void begin_request();
  bool upgrade_to_http2();
  void feed_tunnel();
  void finish_request();
  void fail_request(int http_status, Status status);
  [[nodiscard]] bool keeps_connection() const;
  void begin_head(int status, const Fields& fields);
  void write_connection();
  void choose_time_limit();

  Connection& connection_;
  net::RequestParser parser_;
  CorsGrant cors_;
  Own<Exchange> exchange_;  // kept for the next request
  std::uint64_t written_ = 0;

  bool processing_ = false;
  bool in_request_ = false;  // between a head and the end of its answer
  bool request_complete_ = false;
  bool told_to_continue_ = false;
  bool head_begun_ = false;  // the head's time limit runs
  bool had_request_ = false;
  bool keep_alive_ = true;
  bool head_only_ = false;
  bool http10_ = false;
  bool head_written_ = false;
  bool is_shutting_down_ = false;
  bool upgraded_ = false;
  bool tunnel_ = false;
};

}  // namespace shunt::gateway
