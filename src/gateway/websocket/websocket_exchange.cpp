#include "gateway/websocket/websocket_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/names.h"
#include "gateway/browser.h"
#include "gateway/media.h"
#include "gateway/text.h"
#include "net/forms/parameters.h"

namespace shunt::gateway {

namespace {

constexpr Duration close_timeout = std::chrono::seconds(5);  // for the client's goodbye

constexpr std::string_view json_protocol = "shunt";
constexpr std::string_view proto_protocol = "shunt.proto";
constexpr std::string_view token_prefix = "bearer.";

bool list_holds(std::string_view list, std::string_view lower) {
  bool found = false;
  net::for_each_element(list, [&](std::string_view element) { found = found || net::iequals(element, lower); });
  return found;
}

std::string commands_of(const call::ServiceDefinition& service) {
  std::string out;
  for (const auto& [name, command] : service.commands) {
    if (!out.empty()) out += ", ";
    out += name;
  }
  return out;
}

// A plain listener may stand behind a proxy that speaks TLS.
bool is_same_page(const Facts& facts, const ListenerPolicy& policy) {
  return is_same_origin(facts.origin, facts.host, true) ||
         (!policy.tls && is_same_origin(facts.origin, facts.host, false));
}

Refusal bad_handshake(int http_status, std::string text) {
  return {http_status, Status(Code::invalid_argument, "S4014", std::move(text))};
}

}  // namespace

net::CloseCode close_code(const Status& status) {
  if (status.is_ok()) return net::CloseCode::normal;
  return static_cast<net::CloseCode>(4000 + static_cast<int>(status.code()));
}

bool wants_websocket(const Request& request) {
  if (request.version == 20) return request.method == "CONNECT" && request.protocol == "websocket";
  return request.method == "GET" && list_holds(request.find("upgrade"), "websocket") &&
         list_holds(request.find("connection"), "upgrade");
}

// --- The handshake ---

void WebSocketExchange::begin(const Request& request) {
  open(request);
  heard_ = began_;
  if (Check refusal = check(request)) {
    refuse(*refusal);
    return;
  }
  accept(request);
  facts_ = {};
  if (takes_stream_of_messages_) {
    start_call(encoding_, call::Opening::empty());
  } else if (has_query_) {
    has_request_ = true;
    start_call(encoding_, call::Opening::unary(call::Message(Bytes::adopt(std::move(query_message_)))));
  }
}

Check WebSocketExchange::check(const Request& request) {
  facts_ = read_facts(request);
  const ListenerPolicy& policy = carrier_.policy();
  if (Check refusal = check_origin(request)) return refusal;
  auto target = find_target(carrier_.shared(), policy, facts_.path);
  if (!target) return std::move(target).error();
  target_ = std::move(*target);
  if (target_->command == nullptr) {
    return Refusal{404, Status(Code::unimplemented, "S1005",
                               fmt::format("there is no command '{}'; there are: {}", target_->command_name,
                                           commands_of(*target_->route->definition)))};
  }
  if (Check refusal = check_handshake(request)) return refusal;
  if (Check refusal = choose_protocol(request)) return refusal;
  const std::string_view authorization = authorization_.empty() ? facts_.authorization : authorization_;
  if (Check refusal = check_token(carrier_.shared(), policy, *target_, authorization, principal_)) return refusal;
  return prepare_call(request);
}

// No browser asks first whether a page may open a WebSocket, so a foreign page is refused on every listener.
Check WebSocketExchange::check_origin(const Request& request) const {
  if (Check refusal = check_web(facts_, request, carrier_.policy(), false)) return refusal;
  if (facts_.origin.empty() || request.is_granted || is_same_page(facts_, carrier_.policy())) return std::nullopt;
  return Refusal{403, Status(Code::permission_denied, "S4007",
                             fmt::format("a page of '{}' may not open a WebSocket here; let it in with \"cors\" in the "
                                         "service's manifest",
                                         facts_.origin))};
}

Check WebSocketExchange::check_handshake(const Request& request) const {
  if (request.find("sec-websocket-version") != "13") {
    return bad_handshake(426, "Sec-WebSocket-Version must be 13");
  }
  if (request.version != 20 && !net::is_websocket_key(trim(request.find("sec-websocket-key")))) {
    return bad_handshake(400, "Sec-WebSocket-Key must be 16 bytes in base64");
  }
  if (request.version != 20 && request.has_body) return bad_handshake(400, "a WebSocket's handshake has no body");
  return std::nullopt;
}

// A browser can't set Authorization for a WebSocket, but it can name subprotocols: one of them may be the token.
Check WebSocketExchange::choose_protocol(const Request& request) {
  bool has_token = false;
  bool wants_json = false;
  bool wants_proto = false;
  for (const net::Header& header : request.headers) {
    if (!net::iequals(header.name, "sec-websocket-protocol")) continue;
    net::for_each_element(header.value, [&](std::string_view name) {
      if (name.starts_with(token_prefix)) {
        has_token = true;
        authorization_ = fmt::format("Bearer {}", name.substr(token_prefix.size()));
      }
      wants_json = wants_json || name == json_protocol;
      wants_proto = wants_proto || name == proto_protocol;
    });
  }
  if (has_token && !facts_.authorization.empty()) {
    return bad_handshake(400, "a token in Authorization or in Sec-WebSocket-Protocol, not in both");
  }
  const bool is_typed = target_->command->transcoder != nullptr;
  if (wants_proto && is_typed) {
    protocol_ = proto_protocol;
    encoding_ = call::Encoding::proto;
  } else if (wants_json) {
    protocol_ = json_protocol;
  }
  return std::nullopt;
}

Check WebSocketExchange::prepare_call(const Request& request) {
  const call::StreamShape shape = target_->command->stream;
  takes_stream_of_messages_ = streams_requests(shape);
  answers_stream_ = streams_answers(shape);
  answers_bytes_ = encoding_ == call::Encoding::proto;
  if (Check refusal = read_deadline(facts_, began_, deadline_)) return refusal;
  if (facts_.has_metadata) {
    if (Check refusal = make_metadata(request, carrier_.shared().limits.metadata_bytes_max, request_metadata_)) {
      return refusal;
    }
  }
  if (facts_.query.empty() || takes_stream_of_messages_) return std::nullopt;
  if (!target_->parameters) target_->parameters = ParameterTypes::from_schema(target_->command->request_schema);
  auto message = target_->parameters->to_json(facts_.query);
  if (!message) return Refusal{http_status(message.error().code()), std::move(message).error()};
  has_query_ = true;
  query_message_ = std::move(*message);
  return std::nullopt;
}

void WebSocketExchange::accept(const Request& request) {
  Shared& shared = carrier_.shared();
  std::string offers;  // a header that comes more than once is one list
  for (const net::Header& header : request.headers) {
    if (!net::iequals(header.name, "sec-websocket-extensions")) continue;
    if (!offers.empty()) offers += ',';
    offers += header.value;
  }
  const std::optional<net::DeflateTerms> deflate = net::choose_deflate(offers);
  net::WebSocketLimits limits;
  limits.message_bytes_max = shared.limits.body_bytes_max;
  socket_.emplace(net::WebSocket::Role::server, limits, deflate);

  Fields fields;
  if (request.version != 20) {
    fields.add("upgrade", "websocket");
    fields.add_copy("sec-websocket-accept", net::websocket_accept(trim(request.find("sec-websocket-key"))));
  }
  if (!protocol_.empty()) fields.add("sec-websocket-protocol", protocol_);
  if (deflate) fields.add_copy("sec-websocket-extensions", net::deflate_answer(*deflate));
  carrier_.tunnel(fields);
  GatewayStats::add(shared.shard.answers[request.version == 20 ? 200 : 101]);
  state_ = State::open;
  takes_stream_ = true;
  wait_until(shared.loop.now() + shared.limits.socket_interval);
}

void WebSocketExchange::refuse(const Refusal& refusal) {
  carrier_.close_after();
  const std::string error = error_json(refusal.status);
  Fields fields;
  fields.add("content-type", "application/json");
  fields.add("shunt-error", refusal.status.id());
  if (refusal.http_status == 426) {
    fields.add("upgrade", "websocket");
    fields.add("sec-websocket-version", "13");
  }
  if (refusal.challenge) fields.add("www-authenticate", "Bearer realm=\"shunt\"");
  carrier_.answer(refusal.http_status, fields, error);
  GatewayStats::add(carrier_.shared().shard.answers[static_cast<std::size_t>(std::clamp(refusal.http_status, 0, 599))]);
  leave(refusal.http_status);
}

// --- What the client says ---

void WebSocketExchange::body(std::string_view piece, bool last) {
  (void)last;
  if (state_ == State::over || !socket_) return;
  heard_ = carrier_.shared().loop.now();
  ping_waits_ = false;
  socket_->feed(piece);
  pump();
}

void WebSocketExchange::pump() {
  if (pumping_) return;
  pumping_ = true;
  while ((state_ == State::open || state_ == State::closing) && !held_) {
    const net::WebSocket::Event event = socket_->next(out_);
    if (event == net::WebSocket::Event::need_more) break;
    if (event == net::WebSocket::Event::text || event == net::WebSocket::Event::binary) {
      if (state_ == State::open) on_socket_message(event == net::WebSocket::Event::text);
    } else if (event == net::WebSocket::Event::closed || event == net::WebSocket::Event::failed) {
      on_peer_close();
      break;
    }
    hold();  // Pings alone may ask for more than the client reads.
  }
  pumping_ = false;
  flush();
  if (state_ == State::open) count_collected(socket_->held_bytes());
}

void WebSocketExchange::on_socket_message(bool is_text) {
  std::string message = socket_->take_message();
  // A WebSocket can't be closed in one direction: an empty text, which is no JSON, says that no more comes.
  const bool is_end = is_text && message.empty();
  if (!takes_stream_of_messages_) {
    if (has_request_) {
      if (is_end) return;
      end_with(Status(Code::invalid_argument, "S4015",
                      fmt::format("{} takes one message, and another has come", target_->command_name)));
      return;
    }
    has_request_ = true;
    start_call(encoding_, call::Opening::unary(is_end ? call::Message(Bytes::forever("{}"))
                                                      : call::Message(Bytes::adopt(std::move(message)))));
    return;
  }
  if (half_closed_) {
    end_with(
        Status(Code::invalid_argument, "S4015", "a message has come after the empty text that says that none comes"));
  } else if (is_end) {
    half_closed_ = true;
    if (call_) call_->half_close();
  } else {
    send_message(call::Message(Bytes::adopt(std::move(message))), call::Last::no);
  }
}

void WebSocketExchange::send_message(call::Message message, call::Last last) {
  if (!call_) return;
  const call::Sent sent = call_->send(std::move(message), last);
  if (calling_ && sent == call::Sent::held) {
    callee_holds_ = true;
    hold();
  }
}

// The client is not read from while the callee, or the client itself, can't take more.
void WebSocketExchange::hold() {
  const bool is_slow = unsent() > carrier_.shared().limits.unsent_bytes_max;
  held_ = state_ == State::open && (callee_holds_ || is_slow);
}

void WebSocketExchange::on_credit() {
  callee_holds_ = false;
  if (starting_ || pumping_) {
    hold();
    return;
  }
  resume();
}

void WebSocketExchange::resume() {
  give_credit();
  const bool was_held = held_;
  hold();
  if (!was_held || held_ || state_ == State::over) return;
  heard_ = carrier_.shared().loop.now();
  pump();
  carrier_.go_on();
}

// Its goodbye, or what it broke: a call that still runs is cancelled.
void WebSocketExchange::on_peer_close() {
  if (calling_) GatewayStats::add(carrier_.shared().shard.clients_gone);
  finish();
}

void WebSocketExchange::complete() {
  if (state_ == State::over) return;
  if (calling_) GatewayStats::add(carrier_.shared().shard.clients_gone);
  finish();
}

// --- The call ---

void WebSocketExchange::on_metadata(call::Metadata metadata) {
  const auto type = metadata.find("content-type");
  answers_bytes_ =
      answers_bytes_ || (type && !is_json_type(without_parameters(*type)) && !is_lines_type(without_parameters(*type)));
}

void WebSocketExchange::on_message(call::Message message) {
  if (!calling_ || state_ != State::open) return;
  if (!answers_stream_ && std::exchange(has_answer_, true)) {
    end_with(Status(Code::internal, "S1014",
                    fmt::format("{} answered a unary call with more than one message", target_->command_name)));
    return;
  }
  owed_ += message.cost();
  const std::string_view bytes = message.bytes().view();
  // A text that is not UTF-8 would end the connection.
  if (answers_bytes_ || !is_utf8(bytes)) {
    socket_->send_binary(bytes, out_);
  } else {
    socket_->send_text(bytes, out_);
  }
  if (!pumping_) flush();
  give_credit();
}

void WebSocketExchange::on_end(Status status, call::Metadata trailers) {
  (void)trailers;
  if (!calling_) return;
  status = judge(std::move(status), !answers_stream_ && !has_answer_);
  end_with(status);
}

// --- Endings ---

void WebSocketExchange::end_with(const Status& status) {
  if (!starting_) call_.reset();
  calling_ = callee_holds_ = false;
  if (state_ != State::open) return;
  if (!status.is_ok()) socket_->send_text(fmt::format("{{\"$error\":{}}}", error_json(status)), out_);
  if (is_shutting_down_ && !status.is_ok()) {
    say_goodbye(net::CloseCode::going_away, status.id());
  } else {
    say_goodbye(close_code(status), status.is_ok() ? "" : fmt::format("{} {}", status.id(), status.message()));
  }
}

void WebSocketExchange::say_goodbye(net::CloseCode code, std::string_view reason) {
  if (state_ != State::open) return;
  state_ = State::closing;
  socket_->close(code, reason, out_);
  owed_ = 0;
  const bool was_held = std::exchange(held_, false);
  wait_until(carrier_.shared().loop.now() + close_timeout);
  if (pumping_) return;
  flush();
  if (was_held) {
    pump();
    if (state_ != State::over) carrier_.go_on();
  }
}

void WebSocketExchange::fail(int http_status, Status status) {
  if (state_ == State::opening) {
    refuse({http_status, std::move(status)});
  } else {
    end_with(status);
  }
}

void WebSocketExchange::shut_down() {
  is_shutting_down_ = true;
  if (call_) {
    call_->cancel(call::Cancel::shutdown);
  } else if (state_ == State::open) {
    say_goodbye(net::CloseCode::going_away, "");
  }
}

// A conversation may have no end, and whoever leads one knows how to begin it again.
void WebSocketExchange::drain() {
  if (state_ != State::open || (calling_ && !takes_stream_of_messages_)) return;
  if (!starting_) call_.reset();
  calling_ = false;
  say_goodbye(net::CloseCode::restart, "the node stops; connect again");
}

void WebSocketExchange::abandon() {
  state_ = State::over;
  Timer::disarm();
  CallExchange::abandon();
}

// Nothing more is read or said, except what is on its way.
void WebSocketExchange::finish() {
  if (state_ == State::over) return;
  state_ = State::over;
  call_.reset();
  flush();
  carrier_.end();
  leave(101);
}

void WebSocketExchange::leave(int http_status) {
  state_ = State::over;
  Timer::disarm();
  close(http_status, false);
}

// --- Output, credit, time ---

void WebSocketExchange::flush() {
  if (out_.empty() || (state_ == State::over && over_)) return;
  carrier_.write(out_);
  out_.clear();
  if (out_.capacity() > (64u << 10)) out_.shrink_to_fit();
}

void WebSocketExchange::drained() {
  Shared& shared = carrier_.shared();
  if ((owed_ == 0 && !held_) || carrier_.unsent() > shared.limits.unsent_bytes_max / 2) return;
  wait_for_room();
}

void WebSocketExchange::wait_until(Instant at) { carrier_.shared().loop.arm(*this, at); }

void WebSocketExchange::fire() {
  Shared& shared = carrier_.shared();
  const Instant now = shared.loop.now();
  if (state_ == State::closing) {
    finish();
    return;
  }
  if (state_ != State::open) return;
  if (!calling_ && now - began_ > shared.limits.idle_timeout) {
    end_with(Status(Code::deadline_exceeded, "S4004",
                    fmt::format("no message came within {}", format_duration(shared.limits.idle_timeout))));
    return;
  }
  const Duration interval = shared.limits.socket_interval;
  // Whoever is not read from can't be heard.
  const Duration quiet = held_ ? Duration{0} : now - heard_;
  if (ping_waits_ && quiet >= interval * 2) {
    GatewayStats::add(shared.shard.clients_gone);
    call_.reset();
    calling_ = false;
    state_ = State::over;
    carrier_.cut();
    leave(101);
    return;
  }
  if (quiet >= interval && !ping_waits_) {
    ping_waits_ = true;
    socket_->ping("", out_);
    flush();
  }
  wait_until(now + (ping_waits_ ? interval : std::max(interval - quiet, Duration{1})));
}

}  // namespace shunt::gateway
