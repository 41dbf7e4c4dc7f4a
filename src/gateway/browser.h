#pragma once
// Keeps web pages away from a developer's services. A page of any site can make its reader's browser send requests to
// localhost; the browser then says so in Host, Origin and Sec-Fetch-Site, which a page can't forge.

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shunt::gateway {

/// What a browser says of a request. Empty: it did not say.
struct BrowserFacts {
  std::string_view host;
  std::string_view origin;
  std::string_view fetch_site;
  std::string_view fetch_mode;
  std::string_view fetch_dest;
  bool is_loopback = false;  ///< The listener is bound to a loopback address: no other address can be meant.
  bool is_tls = false;       ///< The pages that it serves itself are https.
  bool is_granted = false;   ///< The service lets this origin in.
  bool is_page_get = false;  ///< GET or HEAD of `/`: anybody may link to the page.
};

struct BrowserRefusal {
  int status = 0;
  std::string_view id;
  std::string message;
};

/// Why the request is refused, if it is: 421 S4006 for a Host that is not this machine's (a name that an attacker's DNS
/// pointed here), 403 S4007 for a request that a page of another origin made.
std::optional<BrowserRefusal> check_browser(const BrowserFacts& facts, std::span<const std::string> hosts);

/// Whether a page of `origin` came from `host`.
bool is_same_origin(std::string_view origin, std::string_view host, bool is_tls);

/// A Host header without its port, in lower case: "localhost", "[::1]". Empty for nonsense.
std::string host_name(std::string_view host);

}  // namespace shunt::gateway
