#include "node/peers/peer_target.h"

#include <fmt/format.h>

#include "os/file.h"

namespace shunt::node {

namespace {

constexpr std::size_t file_bytes_max = 1u << 20;

Result<std::string> read(const std::string& path, std::string_view what) {
  if (path.empty()) return std::string();
  auto text = os::read_file(path, file_bytes_max);
  if (text) return text;
  return fail(Code::failed_precondition, "S5034", fmt::format("{}: {}", what, text.error().message()));
}

}  // namespace

Result<PeerAddress> parse_peer(std::string_view url) {
  PeerAddress parsed;
  std::string_view rest = url;
  if (rest.starts_with("grpcs://")) {
    parsed.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("grpc://")) {
    rest.remove_prefix(7);
  } else if (rest.find("://") != std::string_view::npos) {
    return fail(Code::invalid_argument, "S5064",
                fmt::format("--peer {}: write grpc://HOST:PORT, or grpcs://HOST:PORT for a node that speaks TLS", url));
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  auto address = os::parse_tcp_address(rest);
  if (!address || address->port == 0) {
    return fail(Code::invalid_argument, "S5064",
                fmt::format("--peer {}: {}", url,
                            address ? "the port must not be 0"
                                    : "it is not HOST:PORT behind grpc://, such as grpc://10.0.0.2:8080"));
  }
  parsed.address = std::move(*address);
  return parsed;
}

Result<std::shared_ptr<const net::TlsContext>> peer_tls(const std::string& authorities, const std::string& certificate,
                                                        const std::string& key) {
  net::TlsClientOptions options;
  options.protocols = {"h2"};
  SHUNT_TRY(options.authorities, read(authorities, "--peer-ca"));
  options.authorities_name = authorities;
  SHUNT_TRY(options.certificates, read(certificate, "--tls-cert"));
  options.certificates_name = certificate;
  SHUNT_TRY(options.key, read(key.empty() ? certificate : key, "--tls-key"));
  options.key_name = key.empty() ? certificate : key;
  SHUNT_TRY(auto made, net::TlsContext::create(options));
  return std::shared_ptr<const net::TlsContext>(std::move(made));
}

bool is_reserved_service(std::string_view name) { return name == "manager" || name == "directory"; }

}  // namespace shunt::node
