#include "gateway/browser.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

namespace shunt::gateway {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool is_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// An address can't be pointed anywhere by DNS, so it is safe as a Host.
bool is_address(const std::string& name) {
  in6_addr address{};
  if (name.starts_with('[') && name.ends_with(']')) {
    return inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), &address) == 1;
  }
  return inet_pton(AF_INET, name.c_str(), &address) == 1;
}

bool is_loopback_address(const std::string& name) {
  in_addr address{};
  if (inet_pton(AF_INET, name.c_str(), &address) == 1) return ntohl(address.s_addr) >> 24 == 127;
  return name == "[::1]";
}

bool is_ours(const std::string& name, bool is_loopback, std::span<const std::string> hosts) {
  return name == "localhost" || name.ends_with(".localhost") || is_loopback_address(name) ||
         (!is_loopback && is_address(name)) ||
         std::ranges::any_of(hosts, [&](const std::string& host) { return lower(host) == name; });
}

// "localhost:80" and "localhost" are one origin's authority.
std::string authority(std::string_view text, std::string_view default_port) {
  std::string out = lower(text);
  if (out.ends_with(default_port)) out.resize(out.size() - default_port.size());
  return out;
}

}  // namespace

bool is_same_origin(std::string_view origin, std::string_view host, bool is_tls) {
  const std::string_view scheme = is_tls ? "https://" : "http://";
  const std::string_view port = is_tls ? ":443" : ":80";
  return origin.starts_with(scheme) && authority(origin.substr(scheme.size()), port) == authority(host, port);
}

std::string host_name(std::string_view host) {
  const std::size_t bracket = host.rfind(']');
  const std::size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    if (!is_digits(host.substr(colon + 1))) return {};
    host = host.substr(0, colon);
  }
  return lower(host);
}

std::optional<BrowserRefusal> check_browser(const BrowserFacts& facts, std::span<const std::string> hosts) {
  // HTTP/1.0 may come without a Host; no browser does.
  if (!facts.host.empty() && !is_ours(host_name(facts.host), facts.is_loopback, hosts)) {
    return BrowserRefusal{421, "S4006",
                          fmt::format("Host '{}' is not this machine's: use localhost or an address (a web page could "
                                      "have pointed that name here)",
                                      facts.host)};
  }
  // What the service has let in may come; that is for its manifest to say.
  if (facts.is_granted) return std::nullopt;
  if (!facts.origin.empty() && !is_same_origin(facts.origin, facts.host, facts.is_tls)) {
    return BrowserRefusal{403, "S4007",
                          fmt::format("a page of '{}' may not call this development server; only pages that it serves "
                                      "itself may",
                                      facts.origin)};
  }
  const bool is_foreign = !facts.fetch_site.empty() && facts.fetch_site != "none" && facts.fetch_site != "same-origin";
  const bool is_link = facts.is_page_get && facts.fetch_mode == "navigate" && facts.fetch_dest == "document";
  if (is_foreign && !is_link) {
    return BrowserRefusal{403, "S4007",
                          fmt::format("a page of another origin (Sec-Fetch-Site: {}) may not call this development "
                                      "server",
                                      facts.fetch_site)};
  }
  return std::nullopt;
}

}  // namespace shunt::gateway
