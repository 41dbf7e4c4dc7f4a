#include "node/arguments.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace shunt::node {

namespace {

template <typename Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Duration> nanoseconds(std::string_view text) {
  auto value = number<std::int64_t>(text);
  return value ? std::optional<Duration>(Duration(*value)) : std::nullopt;
}

}  // namespace

std::vector<std::string> to_arguments(const RunOptions& options) {
  std::vector<std::string> all;
  auto add = [&](std::string_view key, const auto& value) { all.push_back(fmt::format("{}={}", key, value)); };
  for (const auto& path : options.paths) add("path", path);
  for (const auto& address : options.listen) add("listen", address);
  add("data", options.data);
  if (options.dev) add("dev", *options.dev ? 1 : 0);
  if (options.as_if_remote) add("as-if-remote", *options.as_if_remote);
  if (options.json) add("json", 1);
  if (options.loops) add("loops", *options.loops);
  if (options.tls_self) add("tls-self", 1);
  if (!options.tls_cert.empty()) add("tls-cert", options.tls_cert);
  if (!options.tls_key.empty()) add("tls-key", options.tls_key);
  if (!options.tls_client_ca.empty()) add("tls-client-ca", options.tls_client_ca);
  if (!options.tls_client_required) add("tls-client-required", 0);
  for (const auto& peer : options.peers) add("peer", peer);
  if (!options.peer_key.empty()) add("peer-key", options.peer_key);
  if (!options.peer_ca.empty()) add("peer-ca", options.peer_ca);
  if (!options.node_name.empty()) add("node-name", options.node_name);
  if (!options.tokens.empty()) add("tokens", options.tokens);
  if (options.header_bytes_max) add("header-bytes-max", *options.header_bytes_max);
  if (options.body_bytes_max) add("body-bytes-max", *options.body_bytes_max);
  if (options.connections_max) add("connections-max", *options.connections_max);
  if (options.header_timeout) add("header-timeout", options.header_timeout->count());
  if (options.idle_timeout) add("idle-timeout", options.idle_timeout->count());
  if (options.drain_timeout) add("drain-timeout", options.drain_timeout->count());
  return all;
}

Result<RunOptions> from_arguments(std::span<const std::string> arguments) {
  RunOptions options;
  for (const auto& argument : arguments) {
    auto equals = argument.find('=');
    std::string_view key = std::string_view(argument).substr(0, equals);
    std::string value = equals == std::string::npos ? std::string() : argument.substr(equals + 1);
    bool good = equals != std::string::npos;
    auto take = [&](auto& to, const auto& read) {
      good = read.has_value();
      if (good) to = read;
    };
    if (key == "path") {
      options.paths.push_back(value);
    } else if (key == "listen") {
      options.listen.push_back(value);
    } else if (key == "data") {
      options.data = value;
    } else if (key == "dev") {
      options.dev = value == "1";
    } else if (key == "as-if-remote") {
      options.as_if_remote = value;
    } else if (key == "json") {
      options.json = true;
    } else if (key == "loops") {
      take(options.loops, number<unsigned>(value));
      good = good && *options.loops > 0;
    } else if (key == "tls-self") {
      options.tls_self = true;
    } else if (key == "tls-cert") {
      options.tls_cert = value;
    } else if (key == "tls-key") {
      options.tls_key = value;
    } else if (key == "tls-client-ca") {
      options.tls_client_ca = value;
    } else if (key == "tls-client-required") {
      options.tls_client_required = value == "1";
    } else if (key == "peer") {
      options.peers.push_back(value);
    } else if (key == "peer-key") {
      options.peer_key = value;
    } else if (key == "peer-ca") {
      options.peer_ca = value;
    } else if (key == "node-name") {
      options.node_name = value;
    } else if (key == "tokens") {
      options.tokens = value;
    } else if (key == "header-bytes-max") {
      take(options.header_bytes_max, number<std::uint64_t>(value));
    } else if (key == "body-bytes-max") {
      take(options.body_bytes_max, number<std::uint64_t>(value));
    } else if (key == "connections-max") {
      take(options.connections_max, number<std::uint64_t>(value));
    } else if (key == "header-timeout") {
      take(options.header_timeout, nanoseconds(value));
    } else if (key == "idle-timeout") {
      take(options.idle_timeout, nanoseconds(value));
    } else if (key == "drain-timeout") {
      take(options.drain_timeout, nanoseconds(value));
    } else {
      good = false;
    }
    if (!good) {
      return fail(Code::invalid_argument,
                  fmt::format("'{}' is not an argument of a node; `shunt run` starts it", argument));
    }
  }
  return options;
}

}  // namespace shunt::node
