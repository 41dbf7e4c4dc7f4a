// The answer's half of JsonExchange: what the call's events become.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/json/json_exchange.h"
#include "gateway/media.h"
#include "gateway/text.h"

namespace shunt::gateway {

namespace {

// A line of JSON as one line: line ends stand only between its tokens, where a space means the same.
std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return out;
}

// A message as a server-sent event: each of its lines is a data line.
std::string event_text(std::string_view text) {
  std::string event;
  for (bool more = true; more;) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    event += "data: ";
    event += one_line(line);
    event += '\n';
    more = end < text.size();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return event + "\n";
}

}  // namespace

void JsonExchange::on_metadata(call::Metadata metadata) { metadata_ = std::move(metadata); }

void JsonExchange::on_message(call::Message message) {
  if (!calling_) return;
  if (streams_answer_) {
    stream_message(message);
  } else if (!has_message_) {
    has_message_ = true;
    message_ = std::move(message);
  } else if (!has_too_many_) {
    has_too_many_ = true;
    if (!starting_) call_->cancel(call::Cancel::protocol);
  }
}

void JsonExchange::on_end(Status status, call::Metadata trailers) {
  if (!calling_) return;
  if (has_too_many_) {
    status = Status(Code::internal, "S1014",
                    fmt::format("{} answered a unary call with more than one message", target_->command_name));
  } else if (status.is_ok() && !streams_answer_ && !has_message_) {
    status = Status(Code::internal, "S1014", "the command ended a unary call without a message");
  } else if (is_shutting_down_ && !status.is_ok()) {
    status =
        Status(Code::unavailable, "S1015", "the node shut down before the call had ended").with_retry(Retry::later);
  }
  if (!starting_) call_.reset();

  if (streams_answer_ && (head_written_ || status.is_ok())) {
    if (!head_written_) begin_stream();
    end_stream(status);
  } else if (!status.is_ok()) {
    answer_status(http_status(status.code()), status, &trailers, nullptr);
  } else {
    const auto type = metadata_.find("content-type");
    Fields fields;
    answer(200, type && net::is_header_value(*type) ? *type : std::string_view("application/json"),
           message_.bytes().view(), fields, &trailers);
  }
}

void JsonExchange::stream_message(call::Message& message) {
  if (!head_written_) begin_stream();
  if (over_) return;
  if (head_only_) {
    // The head says all that HEAD asks for; the stream itself may have no end.
    if (!starting_) call_.reset();
    finish(200);
    return;
  }
  owed_ += message.cost();
  const std::string_view text = message.bytes().view();
  if (form_ == Form::events) {
    carrier_.write(event_text(text));
  } else if (form_ == Form::raw) {
    carrier_.write(text);
  } else if (text.find_first_of("\r\n") == std::string_view::npos) {
    carrier_.write(text, "\n");
  } else {
    carrier_.write(one_line(text), "\n");
  }
  give_credit();
}

void JsonExchange::begin_stream() {
  head_written_ = true;
  const auto type = metadata_.find("content-type");
  const bool is_raw = type && net::is_header_value(*type) && !is_json_type(without_parameters(*type)) &&
                      !is_lines_type(without_parameters(*type));
  form_ = is_raw ? Form::raw : wants_events_ ? Form::events : Form::ndjson;
  Fields fields;
  fields.add("content-type", is_raw                  ? *type
                             : form_ == Form::events ? std::string_view("text/event-stream")
                                                     : std::string_view("application/x-ndjson"));
  // Proxies that collect an answer before they pass it on would hold a stream back.
  fields.add("cache-control", "no-store");
  fields.add("x-accel-buffering", "no");
  add_metadata(fields, metadata_);
  carrier_.begin(200, fields);
}

void JsonExchange::end_stream(const Status& status) {
  bool is_whole = true;
  if (head_only_) {
    is_whole = true;
  } else if (!status.is_ok()) {
    const std::string error = error_json(status);
    if (form_ == Form::events) {
      carrier_.write("event: error\ndata: ", error, "\n\n");
    } else if (form_ == Form::ndjson) {
      carrier_.write("{\"$error\":", error, "}\n");
    } else {
      is_whole = false;  // Bytes have no place for an error: the client sees that the end is missing.
    }
  } else if (form_ == Form::events) {
    carrier_.write("event: end\ndata: {}\n\n");
  }
  if (is_whole) {
    carrier_.end();
  } else {
    carrier_.cut();
  }
  finish(200);
}

void JsonExchange::refuse(const Refusal& refusal) {
  answer_status(refusal.http_status, refusal.status, nullptr, &refusal);
}

void JsonExchange::fail(int http_status, Status status) {
  if (over_) {
    // It had not begun: there is no request to speak of.
    over_ = false;
    began_ = carrier_.shared().loop.now();
  }
  call_.reset();
  carrier_.close_after();
  if (head_written_) {
    end_stream(status);
  } else {
    answer_status(http_status, status, nullptr, nullptr);
  }
}

void JsonExchange::answer_status(int http_status, const Status& status, const call::Metadata* trailers,
                                 const Refusal* refusal) {
  Fields fields;
  if (!status.id().empty()) fields.add("shunt-error", status.id());
  if (refusal != nullptr && !refusal->allow.empty()) fields.add("allow", refusal->allow);
  if (refusal != nullptr && refusal->challenge) fields.add("www-authenticate", "Bearer realm=\"shunt\"");
  if (status.retry() == Retry::later && (http_status == 503 || http_status == 429)) fields.add("retry-after", "1");
  answer(http_status, "application/json", error_json(status), fields, trailers);
}

void JsonExchange::answer(int http_status, std::string_view content_type, std::string_view body, Fields& fields,
                          const call::Metadata* trailers) {
  fields.add("content-type", content_type);
  if (!metadata_.empty()) add_metadata(fields, metadata_);
  if (trailers != nullptr && !trailers->empty()) add_metadata(fields, *trailers, "trailer-");
  carrier_.answer(http_status, fields, body);
  finish(http_status);
}

void JsonExchange::finish(int http_status) {
  Shared& shared = carrier_.shared();
  over_ = true;
  calling_ = held_ = false;
  GatewayStats::add(shared.shard.answers[static_cast<std::size_t>(std::clamp(http_status, 0, 599))]);
  if (shared.hooks.access_log) {
    AccessRecord record;
    record.method = log_method_;
    record.target = log_target_;
    record.status = http_status;
    record.bytes = carrier_.written();
    record.took = shared.loop.now() - began_;
    record.user = principal_.user;
    shared.hooks.access_log(record);
  }
  release_collected();
  carrier_.go_on();
}

// --- Credit, and endings from outside ---

// A callee that answers at once would otherwise call us, and we it, ever deeper.
void JsonExchange::give_credit() {
  if (starting_ || giving_credit_) return;
  giving_credit_ = true;
  while (call_ && owed_ > 0 && carrier_.unsent() <= carrier_.shared().limits.unsent_bytes_max) {
    call_->consumed(std::exchange(owed_, 0));
  }
  giving_credit_ = false;
}

void JsonExchange::drained() {
  if (!call_ || owed_ == 0) return;
  if (carrier_.unsent() > carrier_.shared().limits.unsent_bytes_max / 2) return;
  // In a turn of its own: an endless stream must not keep the loop from everybody else.
  Shared& shared = carrier_.shared();
  shared.loop.arm(*this, shared.loop.now());
}

void JsonExchange::fire() { give_credit(); }

void JsonExchange::abandon() {
  over_ = true;
  calling_ = false;
  Timer::disarm();
  release_collected();
  call_.reset();
}

void JsonExchange::release_collected() { carrier_.shared().collected_bytes -= std::exchange(collected_, 0); }

void JsonExchange::shut_down() {
  is_shutting_down_ = true;
  carrier_.close_after();
  if (call_) call_->cancel(call::Cancel::shutdown);
}

}  // namespace shunt::gateway
