#include "gateway/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/names.h"
#include "gateway/browser.h"
#include "gateway/connection.h"
#include "gateway/media.h"
#include "gateway/page.h"
#include "gateway/text.h"

namespace shunt::gateway {

namespace {

// What a header is to us. Everything that is not listed travels with the call.
enum class Field : std::uint8_t {
  metadata,
  ignored,
  accept,
  authorization,
  connect_timeout,
  connect_version,
  content_encoding,
  content_type,
  fetch_dest,
  fetch_mode,
  fetch_site,
  origin,
};

struct KnownField {
  std::string_view name;
  Field field;
};

constexpr KnownField known_fields[] = {
    {"accept", Field::accept},
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
    {"host", Field::ignored},
    {"keep-alive", Field::ignored},
    {"last-event-id", Field::ignored},
    {"max-forwards", Field::ignored},
    {"origin", Field::origin},
    {"pragma", Field::ignored},
    {"priority", Field::ignored},
    {"range", Field::ignored},
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

bool streams_requests(call::StreamShape shape) {
  return shape == call::StreamShape::client || shape == call::StreamShape::both;
}
bool streams_answers(call::StreamShape shape) {
  return shape == call::StreamShape::server || shape == call::StreamShape::both;
}

}  // namespace

// While draining, requests that were read already are still answered, the last of them with the close.
bool Exchange::keeps_connection() const {
  if (!keep_alive_ || is_shutting_down_) return false;
  return !connection_.shared().draining || connection_.has_read_ahead();
}

// --- The request ---

void Exchange::begin(const net::RequestHead& head, bool whole) {
  Shared& shared = connection_.shared();
  phase_ = Phase::collecting;
  form_ = Form::unary;
  head_only_ = head.method == "HEAD";
  http10_ = head.minor_version == 0;
  keep_alive_ = head.keep_alive;
  wants_events_ = streams_answer_ = takes_lines_ = held_ = body_ended_ = head_written_ = false;
  has_message_ = has_too_many_ = false;
  owed_ = 0;
  answer_bytes_ = 0;
  lines_scanned_ = 0;
  principal_.user.clear();
  began_ = shared.loop.now();
  if (shared.hooks.access_log) {
    log_method_ = head.method;
    log_target_ = head.target;
  }

  Check refusal = check(head);
  if (!whole && (refusal || facts_.page != Page::none || facts_.is_options)) keep_alive_ = false;
  if (refusal) {
    refuse(*refusal);
  } else if (facts_.is_options) {
    answer_options();
  } else if (facts_.page != Page::none) {
    answer_page();
  } else if (facts_.content == Content::ndjson) {
    takes_lines_ = true;
    start_call(head);
  }
}

void Exchange::body(std::string_view piece, bool last) {
  if (phase_ == Phase::over) return;
  if (takes_lines_) {
    body_.append(piece);
    pump_lines();
  } else if (last && body_.empty()) {
    whole_body_ = Bytes::copy_of(piece);
  } else {
    Shared& shared = connection_.shared();
    if (shared.collected_bytes + piece.size() > shared.limits.collected_bytes_max) {
      answer_error(503, Status(Code::resource_exhausted, "S4003", "too many request bodies are on their way at once")
                            .with_retry(Retry::later));
      return;
    }
    body_.append(piece);
    collected_ += piece.size();
    shared.collected_bytes += piece.size();
  }
}

void Exchange::complete(const net::RequestHead& head) {
  if (phase_ == Phase::over) return;
  if (takes_lines_) {
    body_ended_ = true;
    pump_lines();
    return;
  }
  if (facts_are_stale_) {
    // The body took its time: the head has moved, and so may the routing have.
    if (Check refusal = check(head)) {
      refuse(*refusal);
      return;
    }
  }
  start_call(head);
}

Exchange::Check Exchange::check(const net::RequestHead& head) {
  read_head(head);
  if (Check refusal = check_web(head)) return refusal;
  if (facts_.page != Page::none) return check_page_method();
  if (Check refusal = find_target()) return refusal;
  if (facts_.is_options) return std::nullopt;
  if (Check refusal = check_method()) return refusal;
  if (Check refusal = check_token()) return refusal;
  if (Check refusal = check_content()) return refusal;
  return check_connect();
}

void Exchange::read_head(const net::RequestHead& head) {
  facts_ = {};
  facts_are_stale_ = false;
  facts_.method = head.method;
  facts_.host = head.host;
  facts_.is_post = head.method == "POST";
  facts_.is_get = head.method == "GET" || head.method == "HEAD";
  facts_.is_options = head.method == "OPTIONS";

  std::string_view target = head.target;
  if (!target.starts_with('/')) {
    // The absolute form, which a server must accept: its authority counts, not Host.
    for (const std::string_view scheme : {"http://", "https://"}) {
      if (!target.starts_with(scheme)) continue;
      target.remove_prefix(scheme.size());
      facts_.host = target.substr(0, target.find_first_of("/?"));
      target.remove_prefix(facts_.host.size());
    }
    if (target.empty()) target = "/";
  }
  const std::size_t question = std::min(target.find('?'), target.size());
  facts_.path = target.substr(0, question);
  facts_.query = target.substr(std::min(question + 1, target.size()));
  if (facts_.path == "/") facts_.page = Page::root;
  if (facts_.path == "/livez") facts_.page = Page::livez;
  if (facts_.path == "/readyz" || facts_.path == "/healthz") facts_.page = Page::readyz;
  if (facts_.path == "/metrics") facts_.page = Page::metrics;

  for (const net::Header& header : head.headers) {
    switch (field_of(header.name)) {
      case Field::metadata:
        facts_.has_metadata = true;
        break;
      case Field::ignored:
        break;
      case Field::accept:
        facts_.accept = header.value;
        break;
      case Field::authorization:
        facts_.authorization = header.value;
        break;
      case Field::connect_timeout:
        facts_.connect_timeout = header.value;
        break;
      case Field::connect_version:
        facts_.connect_version = header.value;
        break;
      case Field::content_encoding:
        facts_.content_encoding = header.value;
        break;
      case Field::content_type:
        facts_.content_type = header.value;
        break;
      case Field::fetch_dest:
        facts_.fetch_dest = header.value;
        break;
      case Field::fetch_mode:
        facts_.fetch_mode = header.value;
        break;
      case Field::fetch_site:
        facts_.fetch_site = header.value;
        break;
      case Field::origin:
        facts_.origin = header.value;
        break;
    }
  }
  if (head.body == net::BodyKind::none || !facts_.is_post) return;
  const std::string_view type = without_parameters(facts_.content_type);
  if (is_json_type(type)) {
    facts_.content = Content::json;
  } else if (net::iequals(type, "application/octet-stream")) {
    facts_.content = Content::bytes;
  } else {
    facts_.content = is_lines_type(type) ? Content::ndjson : Content::other;
  }
}

Exchange::Check Exchange::check_web(const net::RequestHead& head) const {
  const ListenerPolicy& policy = connection_.policy();
  if (policy.operator_socket || (!policy.dev && !policy.loopback)) return std::nullopt;
  BrowserFacts facts;
  facts.host = facts_.host;
  facts.origin = facts_.origin;
  facts.fetch_site = facts_.fetch_site;
  facts.fetch_mode = facts_.fetch_mode;
  facts.fetch_dest = facts_.fetch_dest;
  facts.is_loopback = policy.loopback;
  facts.is_page_get = facts_.is_get && facts_.page == Page::root;
  // A header that comes twice must pass each time; browsers send each of them once.
  std::size_t origins = 0;
  std::size_t sites = 0;
  for (const net::Header& header : head.headers) {
    origins += net::iequals(header.name, "origin") ? 1 : 0;
    sites += net::iequals(header.name, "sec-fetch-site") ? 1 : 0;
  }
  if (origins > 1 || sites > 1) {
    return Refusal{403, Status(Code::permission_denied, "S4007", "Origin or Sec-Fetch-Site comes more than once")};
  }
  auto refusal = check_browser(facts, policy.hosts);
  if (!refusal) return std::nullopt;
  return Refusal{refusal->status, Status(Code::permission_denied, refusal->id, std::move(refusal->message))};
}

Exchange::Check Exchange::check_page_method() const {
  if (facts_.is_get || facts_.is_options) return std::nullopt;
  return Refusal{405,
                 Status(Code::unimplemented, "S4009",
                        fmt::format("{} {}: this page can be read with GET", facts_.method, facts_.path)),
                 "GET, HEAD, OPTIONS"};
}

std::string Exchange::reachable_services() const {
  const ListenerPolicy& policy = connection_.policy();
  std::vector<std::string_view> names;
  for (const auto& [name, route] : connection_.shared().router.routing()->routes) {
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

Exchange::Check Exchange::find_target() {
  Shared& shared = connection_.shared();
  const ListenerPolicy& policy = connection_.policy();
  const std::string_view path = facts_.path.starts_with('/') ? facts_.path.substr(1) : std::string_view();
  const std::size_t slash = path.find('/');
  const std::string_view service = path.substr(0, slash);
  const std::string_view command = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  if (facts_.is_options && facts_.path == "*") return std::nullopt;
  if (service.empty() || !is_command_name(command)) {
    return Refusal{404, Status(Code::not_found, "S4011",
                               fmt::format("there is nothing at '{}'; a command is at /SERVICE/COMMAND, and {}; the "
                                           "page at / lists their commands",
                                           facts_.path, reachable_services()))};
  }
  auto target = shared.find_target(service, command, path);
  const bool is_hidden = target && !policy.dev && !policy.operator_socket && !(*target)->route->definition->exposed;
  if (is_hidden || (!target && !policy.dev && !policy.operator_socket)) {
    // The same for one that does not exist: what is not exposed is not told of.
    return Refusal{404, Status(Code::not_found, "S4011",
                               fmt::format("no service '{}' is exposed here; {}", service, reachable_services()))};
  }
  if (!target) return Refusal{http_status(target.error().code()), std::move(target).error()};
  facts_.target = *target;
  return std::nullopt;
}

std::string Exchange::allowed_methods() const {
  const call::CommandDefinition* command = facts_.target == nullptr ? nullptr : facts_.target->command;
  const bool readable =
      command == nullptr || (command->effect == call::Effect::none && !streams_requests(command->stream));
  return readable ? "GET, HEAD, POST, OPTIONS" : "POST, OPTIONS";
}

Exchange::Check Exchange::check_method() const {
  if (facts_.is_post) return std::nullopt;
  const call::CommandDefinition* command = facts_.target->command;
  // Of a command that does not exist the router tells that, whatever the method.
  if (facts_.is_get && command == nullptr) return std::nullopt;
  if (facts_.is_get && command->effect == call::Effect::none && !streams_requests(command->stream)) return std::nullopt;
  std::string text;
  if (facts_.is_get && command->effect != call::Effect::none) {
    text = fmt::format(
        "{} may change something when it is called, so it needs POST; GET is for commands whose effect "
        "is \"none\"",
        facts_.path);
  } else {
    text = fmt::format("{} is not a method of {}", facts_.method, facts_.path);
  }
  return Refusal{405, Status(Code::unimplemented, "S4009", std::move(text)), allowed_methods()};
}

Exchange::Check Exchange::check_token() {
  const ListenerPolicy& policy = connection_.policy();
  const call::ServiceDefinition& service = *facts_.target->route->definition;
  principal_.kind = policy.operator_socket ? call::PrincipalKind::operator_ : call::PrincipalKind::gateway;
  principal_.user.clear();
  if (policy.operator_socket || service.auth != call::Auth::token) return std::nullopt;

  constexpr std::string_view scheme = "bearer ";
  std::string_view given = facts_.authorization;
  const bool is_bearer = given.size() > scheme.size() && net::iequals(given.substr(0, scheme.size()), scheme);
  given = is_bearer ? trim(given.substr(scheme.size())) : std::string_view();
  const TokenTable& table = *connection_.shared().tokens;
  bool found = false;
  const auto try_all = [&](const std::vector<TokenTable::Token>& tokens) {
    for (const TokenTable::Token& token : tokens) {
      if (equal_in_constant_time(token.secret, given) && !given.empty()) {
        found = true;
        principal_.user = token.user;
      }
    }
  };
  if (const auto own = table.by_service.find(service.full_name); own != table.by_service.end()) try_all(own->second);
  try_all(table.everywhere);
  if (found) return std::nullopt;
  Refusal refusal{401, Status(Code::unauthenticated, "S4010",
                              is_bearer ? fmt::format("the token is not one of those that open {}", service.full_name)
                                        : fmt::format("{} needs a token: send \"Authorization: Bearer TOKEN\"",
                                                      service.full_name))};
  refusal.challenge = true;
  return refusal;
}

Exchange::Check Exchange::check_content() const {
  if (facts_.content == Content::none) return std::nullopt;
  const auto unsupported = [](std::string text) {
    return Refusal{415, Status(Code::invalid_argument, "S4008", std::move(text))};
  };
  if (!facts_.content_encoding.empty() && !net::iequals(facts_.content_encoding, "identity")) {
    return unsupported(
        fmt::format("Content-Encoding '{}' is not understood; send the body as it is", facts_.content_encoding));
  }
  if (facts_.content == Content::other) {
    return unsupported(fmt::format(
        "Content-Type {} is not understood; send application/json, application/x-ndjson (a "
        "stream of messages) or application/octet-stream",
        facts_.content_type.empty() ? "is missing, and a body without one" : fmt::format("'{}'", facts_.content_type)));
  }
  const call::CommandDefinition* command = facts_.target->command;
  if (facts_.content == Content::ndjson && command != nullptr && !streams_requests(command->stream)) {
    return unsupported(fmt::format("{} takes one message, not a stream: send it as application/json", facts_.path));
  }
  return std::nullopt;
}

Exchange::Check Exchange::check_connect() const {
  if (!facts_.connect_version.empty() && facts_.connect_version != "1") {
    return Refusal{
        400, Status(Code::invalid_argument, "S4012",
                    fmt::format("Connect-Protocol-Version '{}' is not spoken here; 1 is", facts_.connect_version))};
  }
  if (facts_.connect_timeout.empty()) return std::nullopt;
  const bool is_number = facts_.connect_timeout.size() <= 10 &&
                         std::ranges::all_of(facts_.connect_timeout, [](char c) { return c >= '0' && c <= '9'; });
  if (is_number) return std::nullopt;
  return Refusal{400, Status(Code::invalid_argument, "S4012",
                             fmt::format("Connect-Timeout-Ms '{}' must be a whole number of milliseconds with at most "
                                         "10 digits",
                                         facts_.connect_timeout))};
}

// --- Our own pages ---

void Exchange::answer_options() {
  std::string& out = connection_.out();
  net::ResponseWriter writer(out);
  writer.begin(204, connection_.shared().date());
  writer.header("Allow", facts_.page != Page::none ? "GET, HEAD, OPTIONS" : allowed_methods());
  write_connection(writer);
  writer.until_close();
  finish(204);
}

void Exchange::answer_page() {
  Shared& shared = connection_.shared();
  const ListenerPolicy& policy = connection_.policy();
  constexpr std::string_view text = "text/plain; charset=utf-8";
  constexpr std::string_view fresh = "Cache-Control: no-store\r\n";
  switch (facts_.page) {
    case Page::livez:
      answer(200, text, "ok\n", nullptr, nullptr, {}, fresh);
      return;
    case Page::readyz: {
      std::optional<std::string> unready;
      if (shared.draining) {
        unready = "draining";
      } else if (shared.hooks.unready) {
        unready = shared.hooks.unready();
      }
      answer(unready ? 503 : 200, text, unready ? *unready + "\n" : "ok\n", nullptr, nullptr, {}, fresh);
      return;
    }
    case Page::metrics: {
      if (!policy.metrics && !policy.dev && !policy.loopback && !policy.operator_socket) {
        answer_status(404, Status(Code::not_found, "S4011", "metrics are not shown on this address"), nullptr, nullptr);
        return;
      }
      std::string body;
      if (shared.hooks.metrics) body = shared.hooks.metrics();
      shared.stats.write_prometheus(body);
      answer(200, "text/plain; version=0.0.4; charset=utf-8", body, nullptr, nullptr, {}, fresh);
      return;
    }
    default:
      break;
  }
  const Shows shows = policy.dev || policy.operator_socket ? Shows::everything : Shows::exposed_only;
  const call::Routing& routing = *shared.router.routing();
  if (accepts(facts_.accept, "application/json")) {
    answer(200, "application/json", services_json(routing, shows), nullptr, nullptr, {}, fresh);
    return;
  }
  answer(200, "text/html; charset=utf-8", services_page(routing, shows), nullptr, nullptr, {},
         "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
         "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n");
}

// --- The call ---

void Exchange::start_call(const net::RequestHead& head) {
  Shared& shared = connection_.shared();
  const Target& target = *facts_.target;
  const call::StreamShape shape = target.command == nullptr ? call::StreamShape::unary : target.command->stream;
  streams_answer_ = streams_answers(shape);
  wants_events_ = streams_answer_ && accepts(facts_.accept, "text/event-stream");

  call::Opening opening;
  release_collected();
  if (!takes_lines_) {
    if (!body_.empty()) whole_body_ = Bytes::adopt(std::move(body_));
    body_.clear();
    if (facts_.is_get) {
      std::string text;
      if (Check refusal = make_message(text)) {
        refuse(*refusal);
        return;
      }
      whole_body_ = text == "{}" ? Bytes::forever("{}") : Bytes::adopt(std::move(text));
    } else if (whole_body_.empty() && facts_.content != Content::bytes) {
      whole_body_ = Bytes::forever("{}");
    }
    opening = call::Opening::unary(call::Message(std::move(whole_body_)));
    whole_body_ = {};
  }
  call::Metadata metadata;
  if (facts_.has_metadata) {
    if (Check refusal = make_metadata(head, metadata)) {
      refuse(*refusal);
      return;
    }
  }

  call::CallStart start;
  start.service = target.route->definition->full_name;
  start.command = target.command_name;
  start.metadata = metadata.empty() ? nullptr : &metadata;
  start.deadline = deadline();
  start.principal = &principal_;
  phase_ = Phase::calling;
  starting_ = true;
  call::OutgoingHandle handle = shared.router.start(start, *this, std::move(opening));
  starting_ = false;
  if (phase_ != Phase::calling) return;
  call_ = std::move(handle);
  if (has_too_many_) {
    call_->cancel(call::Cancel::protocol);
    return;
  }
  give_credit();
}

Exchange::Check Exchange::make_message(std::string& text) const {
  Target& target = *facts_.target;
  Result<std::string> message = std::string("{}");
  if (query_value(facts_.query, "connect") == "v1") {
    message = connect_message(facts_.query);
  } else if (!facts_.query.empty() && target.command != nullptr) {
    if (!target.parameters) target.parameters = ParameterTypes::from_schema(target.command->request_schema);
    message = target.parameters->to_json(facts_.query);
  }
  if (!message) {
    const int status = message.error().id() == "S4008" ? 415 : http_status(message.error().code());
    return Refusal{status, std::move(message).error()};
  }
  text = std::move(*message);
  return std::nullopt;
}

Exchange::Check Exchange::make_metadata(const net::RequestHead& head, call::Metadata& metadata) const {
  const auto wrong = [](std::string_view name, std::string_view why) {
    return Refusal{400, Status(Code::invalid_argument, "S4012", fmt::format("header '{}': {}", name, why))};
  };
  for (const net::Header& header : head.headers) {
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
  const std::size_t bytes_max = connection_.shared().limits.metadata_bytes_max;
  if (metadata.cost() <= bytes_max) return std::nullopt;
  return Refusal{431, Status(Code::resource_exhausted, "S4002",
                             fmt::format("the headers that travel with the call are larger than {} bytes", bytes_max))};
}

Deadline Exchange::deadline() const {
  if (facts_.connect_timeout.empty()) return Deadline::never();
  std::int64_t milliseconds = 0;
  for (const char c : facts_.connect_timeout) milliseconds = milliseconds * 10 + (c - '0');
  return Deadline::after(began_, std::chrono::milliseconds(milliseconds));
}

void Exchange::pump_lines() {
  if (pumping_) return;
  pumping_ = true;
  std::size_t used = 0;
  while (phase_ == Phase::calling && !held_) {
    const std::size_t end = body_.find('\n', lines_scanned_);
    if (end == std::string::npos) break;
    lines_scanned_ = end + 1;
    const std::size_t from = std::exchange(used, end + 1);
    send_line(std::string_view(body_).substr(from, end - from), call::Last::no);
  }
  body_.erase(0, used);
  lines_scanned_ = phase_ == Phase::calling && !held_ ? body_.size() : 0;
  pumping_ = false;
  if (phase_ != Phase::calling || held_) return;

  const std::uint64_t line_bytes_max = connection_.shared().limits.body_bytes_max;
  if (body_.size() > line_bytes_max) {
    answer_error(413, Status(Code::resource_exhausted, "S4003",
                             fmt::format("a line of the body is longer than {} bytes", line_bytes_max)));
    connection_.go_on();
    return;
  }
  if (!body_ended_ || !call_) return;
  const std::string rest = std::exchange(body_, {});
  lines_scanned_ = 0;
  if (trim(rest).empty()) {
    call_->half_close();
  } else {
    send_line(rest, call::Last::yes);
  }
}

void Exchange::send_line(std::string_view line, call::Last last) {
  line = trim(line);
  if (line.empty()) return;
  const call::Sent sent = call_->send(call::Message(Bytes::copy_of(line)), last);
  if (phase_ == Phase::calling && last == call::Last::no) held_ = sent == call::Sent::held;
}

void Exchange::on_credit() {
  held_ = false;
  if (starting_ || pumping_ || phase_ != Phase::calling) return;
  pump_lines();
  connection_.go_on();
}

}  // namespace shunt::gateway
