#pragma once
// One request on a stream of HTTP/2, and the way of its answer. Only for gateway/'s own files.

#include <cstdint>
#include <string_view>

#include "base/own.h"
#include "base/time.h"
#include "gateway/carrier.h"
#include "net/http2/session.h"

namespace shunt::gateway {

class Http2;

/// Threads: its loop's. Lifetime: its Http2's, until the stream has closed and the turn of the loop is over.
class Http2Request final : public Carrier, public net::Http2StreamEvents {
 public:
  Http2Request(Http2& http2, net::Http2Stream& stream, Instant now)
      : http2_(http2), stream_(&stream), waits_since_(now) {}
  static void* operator new(std::size_t size) { return loop::allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { loop::free_frame(memory, size); }

  void start(const net::Http2Head& head, bool end);
  /// Gives back the window of what was held, if the callee has taken it.
  void resume();
  /// After frames were collected. False: it needs not be looked after any more.
  bool look_after();
  void abandon();
  void shut_down();
  void drain();
  void time_out();
  [[nodiscard]] bool is_calling() const { return exchange_ && exchange_->is_calling(); }
  /// The client owes us a part of its request since then; never: it does not.
  [[nodiscard]] Instant waits_since() const;

  std::size_t index = 0;  ///< In Http2::requests_.

 private:
  // Http2StreamEvents
  void on_data(std::string_view piece, bool end) override;
  void on_trailers(std::span<const net::Header> trailers) override;
  void on_close(net::Http2Error error) override;

  // Carrier
  void answer(int status, Fields& fields, std::string_view body) override;
  void begin(int status, Fields& fields) override;
  void write(std::string_view first, std::string_view second, std::string_view third) override;
  void write(Bytes piece) override;
  void end(const Fields* trailers) override;
  void cut() override;
  void tunnel(Fields& fields) override;
  void close_after() override {}
  void widen(std::uint32_t window) override {
    if (stream_ != nullptr) stream_->widen(window);
  }
  void go_on() override;
  [[nodiscard]] std::size_t unsent() const override;
  [[nodiscard]] std::uint64_t written() const override { return written_; }
  [[nodiscard]] const CorsGrant& cors() const override { return cors_; }
  [[nodiscard]] Shared& shared() override;
  [[nodiscard]] const ListenerPolicy& policy() const override;

  void finish_input();
  void watch();
  void sent();

  Http2& http2_;
  net::Http2Stream* stream_;  // nullptr once it has closed
  CorsGrant cors_;
  Own<Exchange> exchange_;
  std::uint64_t received_ = 0;
  std::uint64_t written_ = 0;
  std::size_t owed_ = 0;  // window not given back
  Instant waits_since_;
  bool input_ended_ = false;
  bool output_ended_ = false;
  bool head_only_ = false;
  bool tunnel_ = false;
  bool is_watched_ = false;
  bool wants_drained_ = false;
};

}  // namespace shunt::gateway
