#pragma once
// CORS: which pages of other origins may call a service from a browser, and what a browser must be told of that. The same
// for JSON, Connect, gRPC-Web and WebSocket: the carriers ask here, for each request and before any protocol sees it.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace shunt::gateway {

class Fields;
struct ListenerPolicy;
struct Request;
struct Shared;

/// Of one service. Names of origins and headers are in lower case.
struct CorsPolicy {
  std::vector<std::string> origins;  ///< "https://app.example"; or "*" alone: any.
  std::vector<std::string> headers;  ///< Beside those that the protocols need; "*": any.
  bool credentials = false;
  Duration max_age = std::chrono::minutes(10);

  [[nodiscard]] bool allows(std::string_view origin) const;
};

/// By the full name of the service.
struct CorsTable {
  std::map<std::string, CorsPolicy, std::less<>> by_service;
};

/// What one request may, and what its answer must say. Kept for as long as the answer takes.
class CorsGrant {
 public:
  /// `service` is the full name, or empty where no service was found.
  CorsGrant() = default;
  CorsGrant(std::shared_ptr<const CorsTable> table, std::string_view service, std::string_view origin);

  /// The service has a policy.
  [[nodiscard]] bool is_known() const { return policy_ != nullptr; }
  /// The page's origin is one that may call.
  [[nodiscard]] bool is_granted() const { return granted_; }
  /// Adds what lets the page read this answer. To every answer of the service, errors too. Borrowed until written.
  void add_to(Fields& fields) const;
  /// Adds, besides, the answer to a preflight: an OPTIONS with Access-Control-Request-Method. `methods`: "GET, POST".
  void add_preflight(Fields& fields, const Request& request, std::string_view methods) const;

 private:
  std::shared_ptr<const CorsTable> table_;  // Owners: the gateway, and answers that began with it.
  const CorsPolicy* policy_ = nullptr;
  std::string origin_;
  bool granted_ = false;
};

/// Of a request that has just come: for its carrier, which adds it to whatever answer there will be.
/// A service that can't be reached here has none.
CorsGrant read_cors(Shared& shared, const ListenerPolicy& policy, const Request& request);

/// Whether it asks what a later request may.
bool is_preflight(const Request& request, std::string_view origin);

}  // namespace shunt::gateway
