#include "gateway/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/base64.h"
#include "base/names.h"
#include "call/router.h"
#include "gateway/browser.h"
#include "gateway/media.h"
#include "gateway/text.h"
#include "net/http1/http1.h"

namespace shunt::gateway {

namespace {

// What a header is to us. Everything that is not listed travels with the call.
enum class Field : std::uint8_t {
  metadata,
  ignored,
  accept,
  accept_encoding,
  authorization,
  connect_timeout,
  connect_version,
  content_encoding,
  content_type,
  fetch_dest,
  fetch_mode,
  fetch_site,
  grpc_accept_encoding,
  grpc_encoding,
  grpc_timeout,
  if_none_match,
  last_event_id,
  origin,
  range,
};

struct KnownField {
  std::string_view name;
  Field field;
};

constexpr KnownField known_fields[] = {
    {"accept", Field::accept},
    {"accept-encoding", Field::accept_encoding},
    {"authorization", Field::authorization},
    {"cache-control", Field::ignored},
    {"connect-protocol-version", Field::connect_version},
    {"connect-timeout-ms", Field::connect_timeout},
    {"connection", Field::ignored},
    {"content-encoding", Field::content_encoding},
    {"content-type", Field::content_type},
    {"cookie", Field::ignored},
    {"date", Field::ignored},
    {"dnt", Field::ignored},
    {"expect", Field::ignored},
    {"forwarded", Field::ignored},
    {"from", Field::ignored},
    {"grpc-accept-encoding", Field::grpc_accept_encoding},
    {"grpc-encoding", Field::grpc_encoding},
    {"grpc-timeout", Field::grpc_timeout},
    {"host", Field::ignored},
    {"http2-settings", Field::ignored},
    {"if-none-match", Field::if_none_match},
    {"keep-alive", Field::ignored},
    {"last-event-id", Field::last_event_id},
    {"max-forwards", Field::ignored},
    {"origin", Field::origin},
    {"pragma", Field::ignored},
    {"priority", Field::ignored},
    {"range", Field::range},
    {"referer", Field::ignored},
    {"sec-fetch-dest", Field::fetch_dest},
    {"sec-fetch-mode", Field::fetch_mode},
    {"sec-fetch-site", Field::fetch_site},
    {"te", Field::ignored},
    {"trailer", Field::ignored},
    {"transfer-encoding", Field::ignored},
    {"upgrade", Field::ignored},
    {"upgrade-insecure-requests", Field::ignored},
    {"user-agent", Field::ignored},
    {"via", Field::ignored},
};
constexpr std::string_view ignored_prefixes[] = {"accept-", "connect-",     "content-", "if-",
                                                 "proxy-",  "x-forwarded-", "sec-"};

Field field_of(std::string_view name) {
  for (const KnownField& known : known_fields) {
    if (name.size() == known.name.size() && net::iequals(name, known.name)) return known.field;
  }
  for (const std::string_view prefix : ignored_prefixes) {
    if (name.size() > prefix.size() && net::iequals(name.substr(0, prefix.size()), prefix)) return Field::ignored;
  }
  return Field::metadata;
}

// Metadata of an answer that would break its framing, or that is written by us.
bool is_own_header(std::string_view name) {
  return name == "content-type" || name == "content-length" || name == "content-encoding" ||
         name == "transfer-encoding" || name == "connection" || name == "date" || name == "keep-alive" ||
         name == "trailer" || name == "upgrade" || name == "te";
}

std::unexpected<Refusal> refused(Refusal refusal) { return std::unexpected(std::move(refusal)); }

std::string reachable_services(const Shared& shared, const ListenerPolicy& policy) {
  std::vector<std::string_view> names;
  for (const auto& [name, route] : shared.router.routing()->routes) {
    if (policy.dev || policy.operator_socket || route->definition->exposed) names.push_back(name);
  }
  std::ranges::sort(names);
  constexpr std::size_t shown_max = 12;
  const std::size_t more = names.size() > shown_max ? names.size() - shown_max : 0;
  names.resize(names.size() - more);
  if (names.empty()) return "no service is exposed here (\"expose\": true in its manifest)";
  return fmt::format("there {}: {}{}", names.size() == 1 ? "is" : "are", fmt::join(names, ", "),
                     more > 0 ? fmt::format(" and {} more", more) : "");
}

}  // namespace

bool streams_requests(call::StreamShape shape) {
  return shape == call::StreamShape::client || shape == call::StreamShape::both;
}
bool streams_answers(call::StreamShape shape) {
  return shape == call::StreamShape::server || shape == call::StreamShape::both;
}

Facts read_facts(const Request& request) {
  Facts facts;
  facts.method = request.method;
  facts.host = request.host;
  facts.is_post = request.method == "POST";
  facts.is_get = request.method == "GET" || request.method == "HEAD";
  facts.is_options = request.method == "OPTIONS";

  std::string_view target = request.target;
  if (!target.starts_with('/')) {
    // The absolute form, which a server must accept: its authority counts, not Host.
    for (const std::string_view scheme : {"http://", "https://"}) {
      if (!target.starts_with(scheme)) continue;
      target.remove_prefix(scheme.size());
      facts.host = target.substr(0, target.find_first_of("/?"));
      target.remove_prefix(facts.host.size());
    }
    if (target.empty()) target = "/";
  }
  const std::size_t question = std::min(target.find('?'), target.size());
  facts.path = target.substr(0, question);
  facts.query = target.substr(std::min(question + 1, target.size()));
  for (const net::Header& header : request.headers) {
    switch (field_of(header.name)) {
      case Field::metadata:
        facts.has_metadata = true;
        break;
      case Field::ignored:
        break;
      case Field::accept:
        facts.accept = header.value;
        break;
      case Field::authorization:
        facts.authorization = header.value;
        break;
      case Field::connect_timeout:
        facts.connect_timeout = header.value;
        break;
      case Field::connect_version:
        facts.connect_version = header.value;
        break;
      case Field::content_encoding:
        facts.content_encoding = header.value;
        break;
      case Field::content_type:
        facts.content_type = header.value;
        break;
      case Field::fetch_dest:
        facts.fetch_dest = header.value;
        break;
      case Field::fetch_mode:
        facts.fetch_mode = header.value;
        break;
      case Field::fetch_site:
        facts.fetch_site = header.value;
        break;
      case Field::accept_encoding:
        facts.accept_encoding = header.value;
        break;
      case Field::grpc_accept_encoding:
        facts.grpc_accept_encoding = header.value;
        break;
      case Field::grpc_encoding:
        facts.grpc_encoding = header.value;
        break;
      case Field::grpc_timeout:
        facts.grpc_timeout = header.value;
        break;
      case Field::if_none_match:
        facts.if_none_match = header.value;
        break;
      case Field::last_event_id:
        facts.last_event_id = header.value;
        break;
      case Field::range:
        facts.range = header.value;
        break;
      case Field::origin:
        facts.origin = header.value;
        break;
    }
  }
  return facts;
}

Check check_web(const Facts& facts, const Request& request, const ListenerPolicy& policy, bool is_page_get) {
  if (policy.operator_socket || (!policy.dev && !policy.loopback)) return std::nullopt;
  BrowserFacts browser;
  browser.host = facts.host;
  browser.origin = facts.origin;
  browser.fetch_site = facts.fetch_site;
  browser.fetch_mode = facts.fetch_mode;
  browser.fetch_dest = facts.fetch_dest;
  browser.is_loopback = policy.loopback;
  browser.is_tls = policy.tls;
  browser.is_page_get = is_page_get;
  browser.is_granted = request.is_granted;
  // A header that comes twice must pass each time; browsers send each of them once.
  std::size_t origins = 0;
  std::size_t sites = 0;
  for (const net::Header& header : request.headers) {
    origins += net::iequals(header.name, "origin") ? 1 : 0;
    sites += net::iequals(header.name, "sec-fetch-site") ? 1 : 0;
  }
  if (origins > 1 || sites > 1) {
    return Refusal{403, Status(Code::permission_denied, "S4007", "Origin or Sec-Fetch-Site comes more than once")};
  }
  auto refusal = check_browser(browser, policy.hosts);
  if (!refusal) return std::nullopt;
  return Refusal{refusal->status, Status(Code::permission_denied, refusal->id, std::move(refusal->message))};
}

std::expected<TargetPtr, Refusal> find_target(Shared& shared, const ListenerPolicy& policy,
                                              std::string_view whole_path) {
  const std::string_view path = whole_path.starts_with('/') ? whole_path.substr(1) : std::string_view();
  const std::size_t slash = path.find('/');
  const std::string_view service = path.substr(0, slash);
  const std::string_view command = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  if (service.empty() || !is_command_name(command)) {
    return refused({404, Status(Code::not_found, "S4011",
                                fmt::format("there is nothing at '{}'; a command is at /SERVICE/COMMAND, and {}; the "
                                            "page at / lists their commands",
                                            whole_path, reachable_services(shared, policy)))});
  }
  auto target = shared.find_target(service, command, path);
  const bool is_hidden = target && !policy.dev && !policy.operator_socket && !(*target)->route->definition->exposed;
  if (is_hidden || (!target && !policy.dev && !policy.operator_socket)) {
    // The same for one that does not exist: what is not exposed is not told of.
    return refused(
        {404, Status(Code::not_found, "S4011",
                     fmt::format("no service '{}' is exposed here; {}", service, reachable_services(shared, policy)))});
  }
  if (!target) return refused({http_status(target.error().code()), std::move(target).error()});
  return *target;
}

Check check_token(const Shared& shared, const ListenerPolicy& policy, const Target& target,
                  std::string_view authorization, call::Principal& principal) {
  const call::ServiceDefinition& service = *target.route->definition;
  principal.kind = policy.operator_socket ? call::PrincipalKind::operator_ : call::PrincipalKind::gateway;
  principal.user.clear();
  principal.token.clear();
  if (policy.operator_socket || service.auth != call::Auth::token) return std::nullopt;

  constexpr std::string_view scheme = "bearer ";
  std::string_view given = authorization;
  const bool is_bearer = given.size() > scheme.size() && net::iequals(given.substr(0, scheme.size()), scheme);
  given = is_bearer ? trim(given.substr(scheme.size())) : std::string_view();
  const TokenTable& table = *shared.tokens;
  bool found = false;
  const auto try_all = [&](const std::vector<TokenTable::Token>& tokens) {
    for (const TokenTable::Token& token : tokens) {
      if (equal_in_constant_time(token.secret, given) && !given.empty()) {
        found = true;
        principal.user = token.user;
      }
    }
  };
  if (const auto own = table.by_service.find(service.full_name); own != table.by_service.end()) try_all(own->second);
  try_all(table.everywhere);
  if (found) {
    if (shared.hooks.mint && !principal.user.empty()) principal.token = shared.hooks.mint(principal.user);
    return std::nullopt;
  }
  Refusal refusal{401, Status(Code::unauthenticated, "S4010",
                              is_bearer ? fmt::format("the token is not one of those that open {}", service.full_name)
                                        : fmt::format("{} needs a token: send \"Authorization: Bearer TOKEN\"",
                                                      service.full_name))};
  refusal.challenge = true;
  return refusal;
}

Check read_deadline(const Facts& facts, Instant began, Deadline& deadline) {
  deadline = Deadline::never();
  const std::string_view text = facts.connect_timeout;
  if (text.empty()) return std::nullopt;
  const bool is_number = text.size() <= 10 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) {
    return Refusal{400,
                   Status(Code::invalid_argument, "S4012",
                          fmt::format("Connect-Timeout-Ms '{}' must be a whole number of milliseconds with at most "
                                      "10 digits",
                                      text))};
  }
  std::int64_t milliseconds = 0;
  for (const char c : text) milliseconds = milliseconds * 10 + (c - '0');
  deadline = Deadline::after(began, std::chrono::milliseconds(milliseconds));
  return std::nullopt;
}

Check make_metadata(const Request& request, std::size_t bytes_max, call::Metadata& metadata) {
  const auto wrong = [](std::string_view name, std::string_view why) {
    return Refusal{400, Status(Code::invalid_argument, "S4012", fmt::format("header '{}': {}", name, why))};
  };
  for (const net::Header& header : request.headers) {
    if (field_of(header.name) != Field::metadata) continue;
    std::string key(header.name);
    for (char& c : key) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    }
    Result<void> added;
    if (key.ends_with("-bin")) {
      const std::optional<std::string> value = decode_base64(header.value);
      if (!value) return wrong(header.name, "the value of a header that ends in -bin must be base64");
      added = metadata.add(key, *value);
    } else {
      added = metadata.add(key, header.value);
    }
    if (!added) return wrong(header.name, added.error().message());
  }
  if (metadata.cost() <= bytes_max) return std::nullopt;
  return Refusal{431, Status(Code::resource_exhausted, "S4002",
                             fmt::format("the headers that travel with the call are larger than {} bytes", bytes_max))};
}

void add_metadata(Fields& fields, const call::Metadata& metadata, std::string_view prefix) {
  for (const auto& [key, value] : metadata) {
    if ((prefix.empty() && is_own_header(key)) || !net::is_header_name(key)) continue;
    const bool is_binary = key.ends_with("-bin");
    if (!is_binary && !net::is_header_value(value)) continue;
    if (prefix.empty() && !is_binary) {
      fields.add(key, value);
    } else {
      fields.add_copy(std::string(prefix) + key, is_binary ? encode_base64(value) : value);
    }
  }
}

}  // namespace shunt::gateway
