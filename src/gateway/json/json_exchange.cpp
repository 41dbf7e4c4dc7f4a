#include "gateway/json/json_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gateway/media.h"
#include "gateway/page.h"
#include "gateway/text.h"

namespace shunt::gateway {

Status not_acceptable(std::string_view types) {
  return {Code::invalid_argument, "S4016",
          fmt::format("the answer is not of a type that Accept names; there is: {}", types)};
}

// --- The request ---

void JsonExchange::begin(const Request& request) {
  open(request);
  head_only_ = request.method == "HEAD";
  Check refusal = check(request);
  const bool is_a_call = page_ == Page::none && !facts_.is_options;
  if (!refusal && is_a_call) refusal = prepare_call(request);
  if (!request.whole && (refusal || !is_a_call)) carrier_.close_after();
  if (refusal) {
    refuse(*refusal);
  } else if (facts_.is_options) {
    answer_options(request);
  } else if (page_ != Page::none) {
    answer_page();
  } else if (takes_stream_) {
    begin_call();
  }
}

void JsonExchange::body(std::string_view piece, bool last) {
  if (over_) return;
  if (takes_stream_) {
    (void)body_.feed(piece, last);
    pump();
  } else {
    collect(piece, last);
  }
}

void JsonExchange::collect(std::string_view piece, bool last) {
  if (auto done = body_.feed(piece, last); !done) {
    const bool is_large = done.error().code() == Code::resource_exhausted;
    fail(is_large ? 413 : 400, std::move(done).error());
    return;
  }
  count_collected(body_.held_bytes());
}

void JsonExchange::complete() {
  if (over_) return;
  if (!takes_stream_) {
    begin_call();
    return;
  }
  body_.feed_end();
  pump();
}

Check JsonExchange::check(const Request& request) {
  facts_ = read_facts(request);
  if (facts_.path == "/") page_ = Page::root;
  if (facts_.path == "/livez") page_ = Page::livez;
  if (facts_.path == "/readyz" || facts_.path == "/healthz") page_ = Page::readyz;
  if (facts_.path == "/metrics") page_ = Page::metrics;
  if (request.has_body && facts_.is_post) content_ = body_kind(facts_.content_type);
  is_read_ = facts_.is_get;

  const ListenerPolicy& policy = carrier_.policy();
  if (Check refusal = check_web(facts_, request, policy, facts_.is_get && page_ == Page::root)) return refusal;
  if (page_ != Page::none) return check_page_method();
  if (facts_.is_options && facts_.path == "*") return std::nullopt;
  auto target = find_target(carrier_.shared(), policy, facts_.path);
  if (!target) return std::move(target).error();
  target_ = std::move(*target);
  if (facts_.is_options) return check_preflight();
  if (Check refusal = check_method()) return refusal;
  if (Check refusal = check_token(carrier_.shared(), policy, *target_, facts_.authorization, principal_))
    return refusal;
  if (Check refusal = check_content()) return refusal;
  if (Check refusal = check_connect()) return refusal;
  terms_ = AnswerTerms::read(request);
  return check_accept();
}

// On a public listener anybody may ask; who is not listed hears that, and not only that nothing was said.
Check JsonExchange::check_preflight() const {
  if (facts_.origin.empty() || !carrier_.cors().is_known() || carrier_.cors().is_granted()) return std::nullopt;
  return Refusal{403, Status(Code::permission_denied, "S4007",
                             fmt::format("'{}' is not one of the origins in the \"cors\" of this service's manifest",
                                         facts_.origin))};
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

Check JsonExchange::check_content() {
  if (content_ == BodyKind::none) return std::nullopt;
  const auto unsupported = [](std::string text) {
    return Refusal{415, Status(Code::invalid_argument, "S4008", std::move(text))};
  };
  const auto coding = net::coding_from_name(trim(facts_.content_encoding));
  if (!coding) {
    return unsupported(
        fmt::format("Content-Encoding '{}' is not understood; gzip, deflate and zstd are", facts_.content_encoding));
  }
  coding_ = *coding;
  if (content_ == BodyKind::other) {
    return unsupported(fmt::format(
        "Content-Type {} is not understood; send application/json, application/x-ndjson (a stream of messages), "
        "application/octet-stream, application/x-www-form-urlencoded or multipart/form-data",
        facts_.content_type.empty() ? "is missing, and a body without one" : fmt::format("'{}'", facts_.content_type)));
  }
  const call::CommandDefinition* command = target_->command;
  if (content_ == BodyKind::lines && command != nullptr && !streams_requests(command->stream)) {
    return unsupported(fmt::format("{} takes one message, not a stream: send it as application/json", facts_.path));
  }
  return std::nullopt;
}

// Where it is known what the command answers. Of the others it is seen when they have.
Check JsonExchange::check_accept() {
  const call::CommandDefinition* command = target_->command;
  if (command == nullptr || terms_ == nullptr || terms_->accept.empty()) return std::nullopt;
  if (streams_answers(command->stream)) {
    const auto chosen = choose_type(terms_.get(), {"application/x-ndjson", "text/event-stream", "application/json",
                                                   "application/ndjson", "application/jsonl"});
    wants_events_ = chosen == "text/event-stream";
    if (chosen || command->response_schema.empty() || takes_type(terms_.get(), "application/octet-stream")) {
      return std::nullopt;
    }
  } else if (command->response_schema.empty() || takes_type(terms_.get(), "application/json") ||
             takes_type(terms_.get(), "application/octet-stream")) {
    return std::nullopt;
  }
  return Refusal{406,
                 not_acceptable(streams_answers(command->stream) ? "application/x-ndjson, text/event-stream and "
                                                                   "application/octet-stream"
                                                                 : "application/json and application/octet-stream")};
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

void JsonExchange::answer_options(const Request& request) {
  Fields fields;
  const std::string allowed = page_ != Page::none ? "GET, HEAD, OPTIONS" : allowed_methods();
  if (is_preflight(request, facts_.origin)) carrier_.cors().add_preflight(fields, request, allowed);
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
Check JsonExchange::prepare_call(const Request& request) {
  const call::StreamShape shape = target_->command == nullptr ? call::StreamShape::unary : target_->command->stream;
  const std::uint64_t bytes_max = carrier_.shared().limits.body_bytes_max;
  streams_answer_ = streams_answers(shape);
  takes_stream_ = content_ == BodyKind::lines ||
                  (streams_requests(shape) && (content_ == BodyKind::bytes || content_ == BodyKind::multipart));
  if (auto begun = body_.begin(content_, takes_stream_, coding_, facts_.content_type, bytes_max); !begun) {
    return Refusal{400, std::move(begun).error()};
  }
  if (facts_.has_metadata) {
    if (Check refusal = make_metadata(request, carrier_.shared().limits.metadata_bytes_max, request_metadata_)) {
      return refusal;
    }
  }
  if (wants_events_ && !facts_.last_event_id.empty()) {
    // The events of a stream are numbered from where the client was.
    const std::string_view id = facts_.last_event_id;
    const bool is_number = id.size() < 19 && std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
    if (is_number) next_event_ = std::stoull(std::string(id)) + 1;
    if (auto added = request_metadata_.add("last-event-id", id); !added) {
      return Refusal{400, Status(Code::invalid_argument, "S4012",
                                 fmt::format("header 'Last-Event-ID': {}", added.error().message()))};
    }
  }
  if (!facts_.is_get) return std::nullopt;
  std::string text;
  if (Check refusal = make_message(text)) return refusal;
  if (text != "{}") whole_body_ = Bytes::adopt(std::move(text));
  return std::nullopt;
}

const ParameterTypes& JsonExchange::parameters() const {
  Target& target = *target_;
  if (!target.parameters) {
    target.parameters = ParameterTypes::from_schema(target.command == nullptr ? "" : target.command->request_schema);
  }
  return *target.parameters;
}

void JsonExchange::begin_call() {
  call::Opening opening;
  release_collected();
  if (!takes_stream_) {
    if (content_ != BodyKind::none) {
      const bool is_form = content_ == BodyKind::form || content_ == BodyKind::multipart;
      auto whole = body_.take_whole(is_form ? &parameters() : nullptr);
      if (!whole) {
        const bool is_untyped = whole.error().id() == "S4008";
        const bool is_large = whole.error().code() == Code::resource_exhausted;
        fail(is_untyped ? 415 : is_large ? 413 : 400, std::move(whole).error());
        carrier_.go_on();
        return;
      }
      whole_body_ = std::move(*whole);
    }
    if (whole_body_.empty() && content_ != BodyKind::bytes) whole_body_ = Bytes::forever("{}");
    opening = call::Opening::unary(call::Message(std::move(whole_body_)));
    whole_body_ = {};
  }
  start_call(call::Encoding::json, std::move(opening));
}

Check JsonExchange::make_message(std::string& text) const {
  Target& target = *target_;
  Result<std::string> message = std::string("{}");
  if (query_value(facts_.query, "connect") == "v1") {
    message = connect_message(facts_.query);
  } else if (!facts_.query.empty() && target.command != nullptr) {
    message = parameters().to_json(facts_.query);
  }
  if (!message) {
    const int status = message.error().id() == "S4008" ? 415 : http_status(message.error().code());
    return Refusal{status, std::move(message).error()};
  }
  text = std::move(*message);
  return std::nullopt;
}

// Gives the callee what has come of a stream, as far as it has room.
void JsonExchange::pump() {
  if (pumping_ || !call_) return;
  pumping_ = true;
  while (calling_ && !held_) {
    const RequestBody::Next next = body_.next();
    if (next == RequestBody::Next::need_more) break;
    if (next == RequestBody::Next::message) {
      const call::Sent sent = call_->send(call::Message(body_.take_message()), call::Last::no);
      if (calling_) held_ = sent == call::Sent::held;
      continue;
    }
    if (next == RequestBody::Next::end) {
      if (!std::exchange(half_closed_, true)) call_->half_close();
    } else {
      const bool is_large = body_.error().code() == Code::resource_exhausted;
      fail(is_large ? 413 : http_status(body_.error().code()), body_.error());
      carrier_.go_on();
    }
    break;
  }
  pumping_ = false;
}

void JsonExchange::on_credit() {
  held_ = false;
  if (starting_ || pumping_ || !calling_) return;
  pump();
  carrier_.go_on();
}

}  // namespace shunt::gateway
