#pragma once
// A gRPC stream that a Tunnel takes. Only for gateway/'s own files.

#include <string_view>

#include "gateway/carrier.h"
#include "gateway/tunnel.h"

namespace shunt::gateway {

/// Threads: the loop's. Lifetime: its carrier's.
class TunnelExchange final : public Exchange, private TunnelStream {
 public:
  TunnelExchange(Carrier& carrier, Tunnel& tunnel) : Exchange(carrier), tunnel_(tunnel) { takes_stream_ = true; }

  void begin(const Request& request) override;
  void body(std::string_view piece, bool last) override;
  void complete() override;
  void fail(int http_status, Status status) override;
  void drained() override;
  void abandon() override;
  void shut_down() override;
  void drain() override;

 private:
  void write(std::string_view first, std::string_view second, std::string_view third) override;
  [[nodiscard]] bool is_full() const override;
  void end(const Status& status) override;

  void refuse(const Status& status);

  Tunnel& tunnel_;
  TunnelEnd* end_ = nullptr;
};

}  // namespace shunt::gateway
