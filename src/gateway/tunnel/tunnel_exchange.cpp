#include "gateway/tunnel/tunnel_exchange.h"

#include <utility>

#include "gateway/admission.h"
#include "gateway/shared.h"
#include "net/grpc/status.h"
#include "net/grpc/text.h"

namespace shunt::gateway {

namespace {

/// What one client's stream may wait in our memory: the link behind it stops at this.
constexpr std::uint32_t window_bytes = 8u << 20;

void add_status(Fields& fields, const Status& status) {
  fields.add_copy("grpc-status", std::to_string(static_cast<int>(status.code())));
  if (status.is_ok()) return;
  fields.add_copy("grpc-message", net::encode_grpc_message(status.message()));
  fields.add_copy("grpc-status-details-bin", net::grpc_header_value("-bin", net::encode_rpc_status(status)));
}

}  // namespace

void TunnelExchange::begin(const Request& request) {
  over_ = false;
  const auto grpc = net::parse_grpc_content_type(request.find("content-type"));
  if (request.method != "POST" || request.version != 20 || !grpc || grpc->flavour != net::GrpcFlavour::grpc) {
    refuse({Code::unimplemented, "S4009", "this path takes gRPC streams over HTTP/2 only"});
    return;
  }
  const Facts facts = read_facts(request);
  if (Check refusal = check_web(facts, request, carrier_.policy(), false)) {
    refuse(refusal->status);
    return;
  }
  const TunnelRequest asked{.path = facts.path,
                            .header = [&](std::string_view lower) { return request.find(lower); },
                            .policy = carrier_.policy()};
  auto answer = tunnel_.accept(asked, *this);
  if (!answer) {
    refuse(answer.error());
    return;
  }
  Fields fields;
  fields.add("content-type", "application/grpc");
  for (auto& [name, value] : answer->headers) fields.add(name, value);
  calling_ = true;  // No time limit waits for the rest of this body.
  end_ = answer->end;
  carrier_.widen(window_bytes);
  carrier_.begin(200, fields);
}

void TunnelExchange::refuse(const Status& status) {
  Fields fields;
  fields.add("content-type", "application/grpc");
  add_status(fields, status);
  over_ = true;
  carrier_.answer(200, fields, "");
}

void TunnelExchange::body(std::string_view piece, bool) {
  if (end_ != nullptr) end_->on_data(piece);
}

void TunnelExchange::complete() {
  if (end_ == nullptr) return;
  auto* told = end_;
  end({});
  told->on_closed(Status(Code::unavailable, "S1008", "the other node has ended the stream"));
}

void TunnelExchange::fail(int, Status status) {
  auto* told = end_;
  end(status);
  if (told != nullptr) told->on_closed(std::move(status));
}

void TunnelExchange::drained() {
  if (end_ != nullptr) end_->on_drained();
}

void TunnelExchange::abandon() {
  over_ = true;
  calling_ = false;
  if (auto* told = std::exchange(end_, nullptr)) {
    told->on_closed(Status(Code::unavailable, "S1008", "the other node is gone or has closed the connection"));
  }
}

void TunnelExchange::shut_down() {
  fail(503, Status(Code::unavailable, "S1015", "this node is ending").with_retry(Retry::elsewhere));
}

void TunnelExchange::drain() {
  if (end_ != nullptr) end_->on_drain();
}

void TunnelExchange::write(std::string_view first, std::string_view second, std::string_view third) {
  if (!over_) carrier_.write(first, second, third);
}

bool TunnelExchange::is_full() const { return carrier_.unsent() > carrier_.shared().limits.unsent_bytes_max; }

void TunnelExchange::end(const Status& status) {
  end_ = nullptr;
  calling_ = false;
  if (std::exchange(over_, true)) return;
  Fields trailers;
  add_status(trailers, status);
  carrier_.end(&trailers);
}

}  // namespace shunt::gateway
