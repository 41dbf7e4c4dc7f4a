#include "gateway/connect/connect_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/base64.h"
#include "base/json_text.h"
#include "gateway/media.h"
#include "gateway/query.h"
#include "gateway/text.h"
#include "net/http1/http1.h"

namespace shunt::gateway {

namespace {

constexpr std::string_view stream_prefix = "application/connect+";

// Which details a client of Connect can read; the others it would take for a broken answer.
std::string readable_details(std::string_view details) {
  const auto all = nlohmann::json::parse(details, nullptr, false);
  if (!all.is_array()) return {};
  nlohmann::json readable = nlohmann::json::array();
  for (const auto& detail : all) {
    if (!detail.is_object()) continue;
    const auto type = detail.find("type");
    const auto value = detail.find("value");
    if (type == detail.end() || !type->is_string() || value == detail.end() || !value->is_string()) continue;
    if (!decode_base64(value->get_ref<const std::string&>())) continue;
    readable.push_back(detail);
  }
  if (readable.empty()) return {};
  return readable.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::unexpected<Status> bad_parameter(std::string_view name, std::string_view why) {
  return fail(Code::invalid_argument, "S4013", fmt::format("query parameter '{}' {}", name, why));
}

}  // namespace

std::string_view ConnectForm::content_type() const {
  const bool is_proto = encoding == call::Encoding::proto;
  if (kind == Kind::stream) return is_proto ? "application/connect+proto" : "application/connect+json";
  return is_proto ? "application/proto" : "application/json";
}

std::optional<ConnectForm> connect_form(const Request& request) {
  using Kind = ConnectForm::Kind;
  if (request.method == "GET" || request.method == "HEAD") {
    const std::size_t question = request.target.find('?');
    if (question == std::string_view::npos) return std::nullopt;
    const std::string_view query = request.target.substr(question + 1);
    // Looked at on the way of every GET, so before anything is decoded.
    if (query.find("connect=v1") == std::string_view::npos || query_value(query, "connect") != "v1")
      return std::nullopt;
    const bool is_proto = query_value(query, "encoding") == "proto";
    return ConnectForm{Kind::get, is_proto ? call::Encoding::proto : call::Encoding::json};
  }
  if (request.method != "POST") return std::nullopt;
  const std::string_view type = without_parameters(request.find("content-type"));
  if (net::iequals(type, "application/proto")) return ConnectForm{Kind::unary, call::Encoding::proto};
  if (net::iequals(type, "application/json")) {
    if (request.find("connect-protocol-version").empty()) return std::nullopt;
    return ConnectForm{Kind::unary, call::Encoding::json};
  }
  if (type.size() < stream_prefix.size() || !net::iequals(type.substr(0, stream_prefix.size()), stream_prefix)) {
    return std::nullopt;
  }
  const std::string_view codec = type.substr(stream_prefix.size());
  if (net::iequals(codec, "proto")) return ConnectForm{Kind::stream, call::Encoding::proto};
  return ConnectForm{Kind::stream, call::Encoding::json, net::iequals(codec, "json")};
}

Result<ConnectQuery> read_connect_query(std::string_view query) {
  ConnectQuery read;
  const std::string encoding = query_value(query, "encoding").value_or("");
  if (encoding == "proto") {
    read.encoding = call::Encoding::proto;
  } else if (encoding != "json") {
    return fail(Code::unimplemented, "S4008",
                fmt::format("encoding '{}' is not spoken here; json and proto are", encoding));
  }
  read.compression = query_value(query, "compression").value_or("");
  std::optional<std::string> message = query_value(query, "message");
  if (!message) return bad_parameter("message", "is missing, or its escapes are broken");
  if (query_value(query, "base64").value_or("0") == "1") {
    message = decode_base64(*message);
    if (!message) return bad_parameter("message", "is not base64");
  }
  read.message = std::move(*message);
  return read;
}

std::string connect_error(const Status& status) {
  if (status.details().empty()) return error_json(status);
  Status told(status.code(), std::string(status.id()), std::string(status.message()));
  if (std::string details = readable_details(status.details()); !details.empty()) {
    told = std::move(told).with_details(std::move(details));
  }
  return error_json(told);
}

std::string connect_end_of_stream(const Status& status, const call::Metadata& trailers) {
  std::string out = "{";
  if (!status.is_ok()) out += "\"error\":" + connect_error(status);
  bool is_first = true;
  for (auto entry = trailers.begin(); entry != trailers.end(); ++entry) {
    // All values of a key stand together, where it comes first.
    const auto is_same = [&](const call::Metadata::Entry& other) { return other.first == entry->first; };
    if (std::find_if(trailers.begin(), entry, is_same) != entry) continue;
    out += is_first ? (status.is_ok() ? "\"metadata\":{" : ",\"metadata\":{") : ",";
    is_first = false;
    out += quote_json(entry->first);
    out += ":[";
    const bool is_binary = entry->first.ends_with("-bin");
    for (auto value = entry; value != trailers.end(); ++value) {
      if (!is_same(*value)) continue;
      if (value != entry) out += ',';
      out += quote_json(is_binary ? encode_base64(value->second) : value->second);
    }
    out += ']';
  }
  if (!is_first) out += '}';
  out += '}';
  return out;
}

}  // namespace shunt::gateway
