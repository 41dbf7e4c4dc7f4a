#include "gateway/cors.h"

#include <algorithm>

#include "base/names.h"
#include "call/router.h"
#include "gateway/carrier.h"
#include "gateway/shared.h"
#include "net/forms/parameters.h"

namespace shunt::gateway {

namespace {

// What a page of any of our protocols sends, beyond what every page may.
constexpr std::string_view own_headers[] = {
    "accept",
    "accept-language",
    "authorization",
    "cache-control",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-encoding",
    "content-language",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "if-match",
    "if-none-match",
    "if-range",
    "last-event-id",
    "range",
    "traceparent",
    "tracestate",
    "x-grpc-web",
    "x-user-agent",
};

constexpr std::string_view shown_headers =
    "accept-ranges, connect-content-encoding, content-encoding, content-range, etag, grpc-encoding, grpc-message, "
    "grpc-status, grpc-status-details-bin, retry-after, shunt-error, www-authenticate";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool contains(const std::vector<std::string>& list, std::string_view text) {
  return std::ranges::find(list, text) != list.end();
}

}  // namespace

bool CorsPolicy::allows(std::string_view origin) const {
  if (origin.empty()) return false;
  return contains(origins, "*") || (origin != "null" && contains(origins, lower(origin)));
}

CorsGrant::CorsGrant(std::shared_ptr<const CorsTable> table, std::string_view service, std::string_view origin)
    : table_(std::move(table)) {
  const auto found = table_->by_service.find(service);
  if (found == table_->by_service.end()) return;
  policy_ = &found->second;
  granted_ = policy_->allows(origin);
  if (granted_) origin_ = origin;
}

void CorsGrant::add_to(Fields& fields) const {
  if (policy_ == nullptr) return;
  const bool any = contains(policy_->origins, "*");
  // A cache must not give one origin's answer to another.
  if (!any) fields.add("vary", "Origin");
  if (!granted_) return;
  fields.add("access-control-allow-origin", any ? std::string_view("*") : origin_);
  fields.add("access-control-expose-headers", policy_->credentials ? shown_headers : std::string_view("*"));
  if (policy_->credentials) fields.add("access-control-allow-credentials", "true");
}

void CorsGrant::add_preflight(Fields& fields, const Request& request, std::string_view methods) const {
  if (!granted_) return;
  fields.add("access-control-allow-methods", methods);
  std::string allowed;
  net::for_each_element(request.find("access-control-request-headers"), [&](std::string_view header) {
    const std::string name = lower(header);
    if (!contains(policy_->headers, "*") && !contains(policy_->headers, name) &&
        std::ranges::find(own_headers, name) == std::end(own_headers)) {
      return;
    }
    if (!allowed.empty()) allowed += ", ";
    allowed += name;
  });
  if (!allowed.empty()) fields.add_copy("access-control-allow-headers", std::move(allowed));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(policy_->max_age).count();
  fields.add_copy("access-control-max-age", std::to_string(seconds));
  // Chromium asks before a public page may reach a private address.
  if (!request.find("access-control-request-private-network").empty()) {
    fields.add("access-control-allow-private-network", "true");
  }
}

CorsGrant read_cors(Shared& shared, const ListenerPolicy& policy, const Request& request) {
  if (shared.cors->by_service.empty()) return {};
  std::string_view path = request.target.substr(0, request.target.find('?'));
  if (!path.starts_with('/')) return {};
  path.remove_prefix(1);
  const std::size_t slash = std::min(path.find('/'), path.size());
  const std::string_view command = path.substr(std::min(slash + 1, path.size()));
  if (!is_command_name(command)) return {};
  const auto target = shared.find_target(path.substr(0, slash), command, path);
  if (!target) return {};
  const call::ServiceDefinition& service = *(*target)->route->definition;
  if (!service.exposed && !policy.dev && !policy.operator_socket) return {};
  return {shared.cors, service.full_name, request.find("origin")};
}

bool is_preflight(const Request& request, std::string_view origin) {
  return request.method == "OPTIONS" && !origin.empty() && !request.find("access-control-request-method").empty();
}

}  // namespace shunt::gateway
