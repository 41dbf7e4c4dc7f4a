#include "gateway/carrier.h"

#include "gateway/connect/connect_exchange.h"
#include "gateway/grpc/grpc_exchange.h"
#include "gateway/json/json_exchange.h"
#include "gateway/shared.h"
#include "gateway/tunnel/tunnel_exchange.h"
#include "gateway/websocket/websocket_exchange.h"
#include "net/grpc/text.h"

namespace shunt::gateway {

std::string_view Request::find(std::string_view lower) const {
  for (const net::Header& header : headers) {
    if (net::iequals(header.name, lower)) return header.value;
  }
  return {};
}

void Fields::add_copy(std::string name, std::string value) {
  const std::string& kept_name = kept_.emplace_back(std::move(name));
  const std::string& kept_value = kept_.emplace_back(std::move(value));
  add(kept_name, kept_value);
}

void Fields::spill(std::string_view name, std::string_view value) {
  if (many_.empty()) many_.assign(few_.begin(), few_.end());
  many_.push_back({name, value});
}

Own<Exchange> make_exchange(Carrier& carrier, const Request& request) {
  if (wants_websocket(request)) return make_own<WebSocketExchange>(carrier);
  Tunnel* tunnel = carrier.shared().hooks.tunnel;
  if (tunnel != nullptr && tunnel->is_behind(request.target)) return make_own<TunnelExchange>(carrier, *tunnel);
  const auto grpc = net::parse_grpc_content_type(request.find("content-type"));
  if (grpc) return make_own<GrpcExchange>(carrier, *grpc);
  if (const auto form = connect_form(request)) return make_own<ConnectExchange>(carrier, *form);
  return make_own<JsonExchange>(carrier);
}

}  // namespace shunt::gateway
