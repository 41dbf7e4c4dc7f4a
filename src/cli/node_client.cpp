#include "cli/node_client.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/settings.h"
#include "os/file.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

constexpr std::size_t answer_bytes_max = 64 * 1024 * 1024;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// Our id of the error: in the body, or in the details (Connect's place for what it does not know).
std::string id_of(const json& error) {
  if (std::string id = text_of(error, "id"); !id.empty()) return id;
  const auto details = error.find("details");
  if (details == error.end() || !details->is_array()) return {};
  for (const json& detail : *details) {
    if (!detail.is_object()) continue;
    if (std::string id = text_of(detail, "id"); !id.empty()) return id;
    if (const auto debug = detail.find("debug"); debug != detail.end() && debug->is_object())
      if (std::string id = text_of(*debug, "id"); !id.empty()) return id;
  }
  return {};
}

std::optional<Status> status_of(const json& error, std::optional<Code> otherwise) {
  if (!error.is_object()) return std::nullopt;
  auto code = code_from_name(text_of(error, "code"));
  if (!code) code = otherwise;
  if (!code || *code == Code::ok) return std::nullopt;
  Status status(*code, id_of(error), text_of(error, "message"));
  if (const auto details = error.find("details"); details != error.end() && details->is_array() && !details->empty())
    status.with_details(details->dump(-1, ' ', false, json::error_handler_t::replace));
  return status;
}

std::unexpected<Status> bad_address(std::string_view text, std::string_view why) {
  return fail(
      Code::invalid_argument, "S5004",
      fmt::format(
          "--at {}: {}. It may be http://ADDR:PORT, https://ADDR:PORT, ADDR:PORT, unix:SOCKET, or a node's data "
          "folder; for `shunt call` also grpc://ADDR:PORT and grpcs://ADDR:PORT.",
          text, why));
}

Result<std::string> read_pem(std::string_view flag, const std::string& path) {
  auto text = os::read_file(path);
  if (text) return text;
  return fail(Code::failed_precondition, "S5034", fmt::format("{} {}: {}", flag, path, text.error().message()));
}

Result<net::TlsClientOptions> tls_options(const NodeAddress& node) {
  net::TlsClientOptions options;
  options.verify = !node.insecure;
  if (!node.cacert.empty()) {
    options.authorities_name = node.cacert;
    SHUNT_TRY(options.authorities, read_pem("--cacert", node.cacert));
  }
  if (!node.cert.empty()) {
    options.certificates_name = node.cert;
    options.key_name = node.key;
    SHUNT_TRY(options.certificates, read_pem("--cert", node.cert));
    SHUNT_TRY(options.key, read_pem("--key", node.key));
  }
  return options;
}

Result<Endpoint> tcp_endpoint(std::string_view text, std::string_view authority, std::string_view default_port = "80") {
  Endpoint endpoint;
  const auto colon = authority.rfind(':');
  const bool has_port = colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos;
  std::string_view host = authority.substr(0, has_port ? colon : authority.size());
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  endpoint.host = host;
  endpoint.port = has_port ? authority.substr(colon + 1) : default_port;
  if (host.empty() || !is_listen_address("h:" + endpoint.port) ||
      host.find_first_of("/@ \t\r\n") != std::string_view::npos)
    return bad_address(text, "is not an address");
  return endpoint;
}

}  // namespace

Result<Endpoint> find_node(const NodeAddress& node) {
  const std::string_view at = node.at;
  Endpoint endpoint;
  if (at.empty()) {
    endpoint.socket = node.data + "/admin.sock";
    return endpoint;
  }
  endpoint.grpc = at.starts_with("grpc://") || at.starts_with("grpcs://");
  const bool secure = at.starts_with("https://") || at.starts_with("grpcs://");
  if (secure || endpoint.grpc || at.starts_with("http://")) {
    std::string_view rest = at.substr(at.find("://") + 3);
    while (rest.ends_with('/')) rest.remove_suffix(1);
    if (rest.find('/') != std::string_view::npos) return bad_address(at, "has a path, which a node's address has not");
    const bool grpc = endpoint.grpc;
    SHUNT_TRY(endpoint, tcp_endpoint(at, rest, secure ? "443" : "80"));
    endpoint.grpc = grpc;
    if (secure) {
      SHUNT_TRY(endpoint.tls, tls_options(node));
      if (grpc) endpoint.tls->protocols = {"h2"};
    }
    return endpoint;
  }
  if (at.starts_with("unix:")) {
    endpoint.socket = at.substr(5);
    if (endpoint.socket.starts_with("//")) endpoint.socket.erase(0, 2);
    if (endpoint.socket.empty()) return bad_address(at, "names no socket");
    return endpoint;
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(std::filesystem::path(at), ignored)) {
    endpoint.socket = std::string(at) + "/admin.sock";
    return endpoint;
  }
  if (at.find('/') != std::string_view::npos) return bad_address(at, "there is no such folder");
  if (at.find(':') == std::string_view::npos)
    return bad_address(at, "is neither an address with its port nor a folder");
  return tcp_endpoint(at, at);
}

Code code_of_http(int http_status) {
  switch (http_status) {
    case 400:
      return Code::invalid_argument;
    case 401:
      return Code::unauthenticated;
    case 403:
      return Code::permission_denied;
    case 404:
      return Code::not_found;
    case 405:
    case 415:
    case 501:
      return Code::unimplemented;
    case 408:
    case 504:
      return Code::deadline_exceeded;
    case 409:
      return Code::aborted;
    case 413:
    case 429:
    case 431:
      return Code::resource_exhausted;
    case 499:
      return Code::cancelled;
    case 500:
      return Code::internal;
    case 502:
    case 503:
      return Code::unavailable;
    default:
      return Code::unknown;
  }
}

Status read_error(int http_status, std::string_view body) {
  const Code code = code_of_http(http_status);
  const json error = json::parse(body, nullptr, false);
  if (auto status = status_of(error, code)) {
    if (!status->message().empty()) return std::move(*status);
    return Status(status->code(), status->id(), fmt::format("the node answered {} and no more", http_status));
  }
  return Status(code, fmt::format("the node answered {}: {}", http_status, body.substr(0, 500)));
}

std::optional<Status> error_line(std::string_view line) {
  if (line.find("\"$error\"") == std::string_view::npos) return std::nullopt;
  const json root = json::parse(line, nullptr, false);
  if (!root.is_object() || root.size() != 1 || !root.contains("$error")) return std::nullopt;
  return status_of(root["$error"], Code::unknown);
}

Result<std::string> call_manager(const NodeAddress& node, std::string_view command, std::string_view body,
                                 std::optional<Duration> give_up_after) {
  SHUNT_TRY(const Endpoint endpoint, find_node(node));
  SHUNT_TRY(HttpClient client, HttpClient::dial(endpoint, give_up_after));
  SHUNT_TRY(const ResponseHead head,
            client.post(fmt::format("/manager/{}", command), {{"content-type", "application/json"}}, body));
  SHUNT_TRY(std::string answer, client.read_all(answer_bytes_max));
  if (head.status != 200) return std::unexpected(read_error(head.status, answer));
  return answer;
}

}  // namespace shunt::cli
