#pragma once
// Who may come in, and where to: what a request's head says, the checks that every protocol makes alike, and the metadata
// that travels with the call. Only for gateway/'s own files.

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/time.h"
#include "call/definition.h"
#include "call/metadata.h"
#include "call/principal.h"
#include "gateway/carrier.h"
#include "gateway/shared.h"

namespace shunt::gateway {

/// Why a request is not let through.
struct Refusal {
  int http_status = 0;
  Status status;
  std::string allow = {};  ///< Of a 405.
  bool challenge = false;  ///< Of a 401.
};
using Check = std::optional<Refusal>;

/// What a head says, as far as it matters to more than one protocol. Views into the head.
struct Facts {
  std::string_view method;
  std::string_view host;
  std::string_view path;
  std::string_view query;
  std::string_view content_type;
  std::string_view content_encoding;
  std::string_view accept;
  std::string_view accept_encoding;
  std::string_view origin;
  std::string_view fetch_site;
  std::string_view fetch_mode;
  std::string_view fetch_dest;
  std::string_view authorization;
  std::string_view connect_timeout;
  std::string_view connect_version;
  std::string_view grpc_timeout;
  std::string_view grpc_encoding;
  std::string_view grpc_accept_encoding;
  std::string_view last_event_id;
  std::string_view if_none_match;
  std::string_view range;
  bool has_metadata = false;  ///< There are headers that travel with the call.
  bool is_get = false;        ///< HEAD too.
  bool is_post = false;
  bool is_options = false;
};

Facts read_facts(const Request& request);

/// On a dev or loopback listener: that no web page of another origin, and no name of an attacker's, is behind it.
Check check_web(const Facts& facts, const Request& request, const ListenerPolicy& policy, bool is_page_get);

/// The command at "/SERVICE/COMMAND" or "/package.Service/Method". 404 for what is not there or not exposed.
std::expected<TargetPtr, Refusal> find_target(Shared& shared, const ListenerPolicy& policy, std::string_view path);

/// Sets who calls; 401 when the service wants a token and `authorization` has none that opens it.
Check check_token(const Shared& shared, const ListenerPolicy& policy, const Target& target,
                  std::string_view authorization, call::Principal& principal);

/// Connect-Timeout-Ms, from `began` on; never without one. 400 for what is not a number.
Check read_deadline(const Facts& facts, Instant began, Deadline& deadline);

/// What travels with the call: every header that is nobody's own. 400 for a bad one, 431 for too many.
Check make_metadata(const Request& request, std::size_t bytes_max, call::Metadata& metadata);

/// Appends the metadata of an answer as header fields, "-bin" ones in base64; leaves out what is a carrier's own to say.
void add_metadata(Fields& fields, const call::Metadata& metadata, std::string_view prefix = {});

bool streams_requests(call::StreamShape shape);
bool streams_answers(call::StreamShape shape);

}  // namespace shunt::gateway
