#include "gateway/json/json_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gateway/media.h"
#include "gateway/page.h"
#include "gateway/text.h"

namespace shunt::gateway {

// --- The request ---

void JsonExchange::begin(const Request& request) {
  Shared& shared = carrier_.shared();
  over_ = false;
  head_only_ = request.method == "HEAD";
  began_ = shared.loop.now();
  if (shared.hooks.access_log) {
    log_method_ = request.method;
    log_target_ = request.target;
  }

  Check refusal = check(request);
  const bool is_answered_here = refusal || page_ != Page::none || facts_.is_options;
  if (!request.whole && is_answered_here) carrier_.close_after();
  if (refusal) {
    refuse(*refusal);
  } else if (facts_.is_options) {
    answer_options();
  } else if (page_ != Page::none) {
    answer_page();
  } else {
    prepare_call(request);
    if (!over_ && takes_stream_) start_call();
  }
}

void JsonExchange::body(std::string_view piece, bool last) {
  if (over_) return;
  if (takes_stream_) {
    body_.append(piece);
    pump_lines();
  } else if (last && body_.empty()) {
    whole_body_ = Bytes::copy_of(piece);
  } else {
    Shared& shared = carrier_.shared();
    if (shared.collected_bytes + piece.size() > shared.limits.collected_bytes_max) {
      fail(503, Status(Code::resource_exhausted, "S4003", "too many request bodies are on their way at once")
                    .with_retry(Retry::later));
      return;
    }
    body_.append(piece);
    collected_ += piece.size();
    shared.collected_bytes += piece.size();
  }
}

void JsonExchange::complete() {
  if (over_) return;
  if (!takes_stream_) {
    start_call();
    return;
  }
  body_ended_ = true;
  pump_lines();
}

Check JsonExchange::check(const Request& request) {
  facts_ = read_facts(request);
  if (facts_.path == "/") page_ = Page::root;
  if (facts_.path == "/livez") page_ = Page::livez;
  if (facts_.path == "/readyz" || facts_.path == "/healthz") page_ = Page::readyz;
  if (facts_.path == "/metrics") page_ = Page::metrics;
  if (request.has_body && facts_.is_post) {
    const std::string_view type = without_parameters(facts_.content_type);
    content_ = Content::other;
    if (is_json_type(type)) content_ = Content::json;
    if (is_lines_type(type)) content_ = Content::ndjson;
    if (net::iequals(type, "application/octet-stream")) content_ = Content::bytes;
  }

  const ListenerPolicy& policy = carrier_.policy();
  if (Check refusal = check_web(facts_, request, policy, facts_.is_get && page_ == Page::root)) return refusal;
  if (page_ != Page::none) return check_page_method();
  if (facts_.is_options && facts_.path == "*") return std::nullopt;
  auto target = find_target(carrier_.shared(), policy, facts_.path);
  if (!target) return std::move(target).error();
  target_ = std::move(*target);
  if (facts_.is_options) return std::nullopt;
  if (Check refusal = check_method()) return refusal;
  if (Check refusal = check_token(carrier_.shared(), policy, *target_, facts_.authorization, principal_))
    return refusal;
  if (Check refusal = check_content()) return refusal;
  return check_connect();
}

Check JsonExchange::check_page_method() const {
  if (facts_.is_get || facts_.is_options) return std::nullopt;
  return Refusal{405,
                 Status(Code::unimplemented, "S4009",
                        fmt::format("{} {}: this page can be read with GET", facts_.method, facts_.path)),
                 "GET, HEAD, OPTIONS"};
}

std::string JsonExchange::allowed_methods() const {
  const call::CommandDefinition* command = target_ == nullptr ? nullptr : target_->command;
  const bool readable =
      command == nullptr || (command->effect == call::Effect::none && !streams_requests(command->stream));
  return readable ? "GET, HEAD, POST, OPTIONS" : "POST, OPTIONS";
}

Check JsonExchange::check_method() const {
  if (facts_.is_post) return std::nullopt;
  const call::CommandDefinition* command = target_->command;
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

Check JsonExchange::check_content() const {
  if (content_ == Content::none) return std::nullopt;
  const auto unsupported = [](std::string text) {
    return Refusal{415, Status(Code::invalid_argument, "S4008", std::move(text))};
  };
  if (!facts_.content_encoding.empty() && !net::iequals(facts_.content_encoding, "identity")) {
    return unsupported(
        fmt::format("Content-Encoding '{}' is not understood; send the body as it is", facts_.content_encoding));
  }
  if (content_ == Content::other) {
    return unsupported(fmt::format(
        "Content-Type {} is not understood; send application/json, application/x-ndjson (a "
        "stream of messages) or application/octet-stream",
        facts_.content_type.empty() ? "is missing, and a body without one" : fmt::format("'{}'", facts_.content_type)));
  }
  const call::CommandDefinition* command = target_->command;
  if (content_ == Content::ndjson && command != nullptr && !streams_requests(command->stream)) {
    return unsupported(fmt::format("{} takes one message, not a stream: send it as application/json", facts_.path));
  }
  return std::nullopt;
}

Check JsonExchange::check_connect() {
  if (!facts_.connect_version.empty() && facts_.connect_version != "1") {
    return Refusal{
        400, Status(Code::invalid_argument, "S4012",
                    fmt::format("Connect-Protocol-Version '{}' is not spoken here; 1 is", facts_.connect_version))};
  }
  return read_deadline(facts_, began_, deadline_);
}

// --- Our own pages ---

void JsonExchange::answer_options() {
  Fields fields;
  const std::string allowed = page_ != Page::none ? "GET, HEAD, OPTIONS" : allowed_methods();
  fields.add("allow", allowed);
  carrier_.answer(204, fields, {});
  finish(204);
}

void JsonExchange::answer_page() {
  Shared& shared = carrier_.shared();
  const ListenerPolicy& policy = carrier_.policy();
  constexpr std::string_view text = "text/plain; charset=utf-8";
  Fields fields;
  fields.add("cache-control", "no-store");
  switch (page_) {
    case Page::livez:
      answer(200, text, "ok\n", fields);
      return;
    case Page::readyz: {
      std::optional<std::string> unready;
      if (shared.draining) {
        unready = "draining";
      } else if (shared.hooks.unready) {
        unready = shared.hooks.unready();
      }
      answer(unready ? 503 : 200, text, unready ? *unready + "\n" : "ok\n", fields);
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
      answer(200, "text/plain; version=0.0.4; charset=utf-8", body, fields);
      return;
    }
    default:
      break;
  }
  const Shows shows = policy.dev || policy.operator_socket ? Shows::everything : Shows::exposed_only;
  const call::Routing& routing = *shared.router.routing();
  if (accepts(facts_.accept, "application/json")) {
    answer(200, "application/json", services_json(routing, shows), fields);
    return;
  }
  fields.add("x-content-type-options", "nosniff");
  fields.add("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
  answer(200, "text/html; charset=utf-8", services_page(routing, shows), fields);
}

// --- The call ---

// Everything that the head says is kept now: its views don't outlive this.
void JsonExchange::prepare_call(const Request& request) {
  const call::StreamShape shape = target_->command == nullptr ? call::StreamShape::unary : target_->command->stream;
  streams_answer_ = streams_answers(shape);
  wants_events_ = streams_answer_ && accepts(facts_.accept, "text/event-stream");
  takes_stream_ = content_ == Content::ndjson;
  if (facts_.has_metadata) {
    if (Check refusal = make_metadata(request, carrier_.shared().limits.metadata_bytes_max, request_metadata_)) {
      refuse(*refusal);
      return;
    }
  }
  if (!facts_.is_get) return;
  std::string text;
  if (Check refusal = make_message(text)) {
    refuse(*refusal);
    return;
  }
  if (text != "{}") whole_body_ = Bytes::adopt(std::move(text));
}

void JsonExchange::start_call() {
  Shared& shared = carrier_.shared();
  call::Opening opening;
  release_collected();
  if (!takes_stream_) {
    if (!body_.empty()) whole_body_ = Bytes::adopt(std::move(body_));
    body_.clear();
    if (whole_body_.empty() && content_ != Content::bytes) whole_body_ = Bytes::forever("{}");
    opening = call::Opening::unary(call::Message(std::move(whole_body_)));
    whole_body_ = {};
  }

  call::CallStart start;
  start.service = target_->route->definition->full_name;
  start.command = target_->command_name;
  start.metadata = request_metadata_.empty() ? nullptr : &request_metadata_;
  start.deadline = deadline_;
  start.principal = &principal_;
  calling_ = true;
  starting_ = true;
  call::OutgoingHandle handle = shared.router.start(start, *this, std::move(opening));
  starting_ = false;
  if (!calling_) return;
  call_ = std::move(handle);
  if (has_too_many_) {
    call_->cancel(call::Cancel::protocol);
    return;
  }
  give_credit();
}

Check JsonExchange::make_message(std::string& text) const {
  Target& target = *target_;
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

void JsonExchange::pump_lines() {
  if (pumping_) return;
  pumping_ = true;
  std::size_t used = 0;
  while (calling_ && !held_) {
    const std::size_t end = body_.find('\n', lines_scanned_);
    if (end == std::string::npos) break;
    lines_scanned_ = end + 1;
    const std::size_t from = std::exchange(used, end + 1);
    send_line(std::string_view(body_).substr(from, end - from), call::Last::no);
  }
  body_.erase(0, used);
  lines_scanned_ = calling_ && !held_ ? body_.size() : 0;
  pumping_ = false;
  if (!calling_ || held_) return;

  const std::uint64_t line_bytes_max = carrier_.shared().limits.body_bytes_max;
  if (body_.size() > line_bytes_max) {
    fail(413, Status(Code::resource_exhausted, "S4003",
                     fmt::format("a line of the body is longer than {} bytes", line_bytes_max)));
    carrier_.go_on();
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

void JsonExchange::send_line(std::string_view line, call::Last last) {
  line = trim(line);
  if (line.empty()) return;
  const call::Sent sent = call_->send(call::Message(Bytes::copy_of(line)), last);
  if (calling_ && last == call::Last::no) held_ = sent == call::Sent::held;
}

void JsonExchange::on_credit() {
  held_ = false;
  if (starting_ || pumping_ || !calling_) return;
  pump_lines();
  carrier_.go_on();
}

}  // namespace shunt::gateway
