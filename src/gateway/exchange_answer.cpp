// The answer's half of Exchange: what the call's events become.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/connection.h"
#include "gateway/exchange.h"
#include "gateway/media.h"
#include "gateway/text.h"

namespace shunt::gateway {

namespace {

constexpr std::size_t kept_bytes_max = 64u << 10;

// Metadata of an answer that would break its framing, or that is written by us.
bool is_own_header(std::string_view name) {
  return name == "content-type" || name == "content-length" || name == "transfer-encoding" || name == "connection" ||
         name == "date" || name == "keep-alive" || name == "trailer" || name == "upgrade" || name == "te";
}

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

void Exchange::on_metadata(call::Metadata metadata) { metadata_ = std::move(metadata); }

void Exchange::on_message(call::Message message) {
  if (phase_ != Phase::calling) return;
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

void Exchange::on_end(Status status, call::Metadata trailers) {
  if (phase_ != Phase::calling) return;
  if (has_too_many_) {
    status = Status(Code::internal, "S1014",
                    fmt::format("{} answered a unary call with more than one message",
                                facts_are_stale_ ? "the command" : facts_.path));
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
    answer(200, type && net::is_header_value(*type) ? *type : std::string_view("application/json"),
           message_.bytes().view(), &trailers);
  }
}

void Exchange::stream_message(call::Message& message) {
  if (!head_written_) begin_stream();
  if (head_only_) {
    // The head says all that HEAD asks for; the stream itself may have no end.
    if (!starting_) call_.reset();
    finish(200);
    return;
  }
  owed_ += message.cost();
  const std::string_view text = message.bytes().view();
  if (form_ == Form::events) {
    append_stream(event_text(text));
  } else if (form_ == Form::raw) {
    append_stream(text);
  } else if (text.find_first_of("\r\n") == std::string_view::npos) {
    append_stream(text, "\n");
  } else {
    append_stream(one_line(text), "\n");
  }
  give_credit();
}

void Exchange::begin_stream() {
  head_written_ = true;
  const auto type = metadata_.find("content-type");
  const bool is_raw = type && net::is_header_value(*type) && !is_json_type(without_parameters(*type)) &&
                      !is_lines_type(without_parameters(*type));
  form_ = is_raw ? Form::raw : wants_events_ ? Form::events : Form::ndjson;
  if (http10_) keep_alive_ = false;  // Its body ends with the connection.

  std::string& out = connection_.out();
  const std::size_t before = out.size();
  net::ResponseWriter writer(out);
  writer.begin(200, connection_.shared().date());
  writer.header("Content-Type", is_raw                  ? *type
                                : form_ == Form::events ? std::string_view("text/event-stream")
                                                        : std::string_view("application/x-ndjson"));
  // Proxies that collect an answer before they pass it on would hold a stream back.
  writer.header("Cache-Control", "no-store");
  writer.header("X-Accel-Buffering", "no");
  write_metadata(writer, metadata_, "");
  write_connection(writer);
  if (http10_) {
    writer.until_close();
  } else {
    writer.chunked();
  }
  answer_bytes_ += out.size() - before;
}

void Exchange::append_stream(std::string_view first, std::string_view second, std::string_view third) {
  std::string& out = connection_.out();
  const std::size_t before = out.size();
  if (http10_) {
    out.append(first).append(second).append(third);
  } else {
    net::append_chunk(out, first, second, third);
  }
  answer_bytes_ += out.size() - before;
}

void Exchange::end_stream(const Status& status) {
  bool is_whole = true;
  if (head_only_) {
    is_whole = true;
  } else if (!status.is_ok()) {
    const std::string error = error_json(status);
    if (form_ == Form::events) {
      append_stream("event: error\ndata: ", error, "\n\n");
    } else if (form_ == Form::ndjson) {
      append_stream("{\"$error\":", error, "}\n");
    } else {
      is_whole = false;  // Bytes have no place for an error: the client sees that the end is missing.
    }
  } else if (form_ == Form::events) {
    append_stream("event: end\ndata: {}\n\n");
  }
  if (!is_whole) {
    keep_alive_ = false;
  } else if (!http10_ && !head_only_) {
    net::append_last_chunk(connection_.out());
  }
  finish(200);
}

void Exchange::refuse(const Refusal& refusal) { answer_status(refusal.http_status, refusal.status, nullptr, &refusal); }

void Exchange::answer_error(int http_status, Status status) {
  const bool is_begun = phase_ != Phase::over;
  if (!is_begun) {
    head_only_ = http10_ = head_written_ = false;
    answer_bytes_ = 0;
    began_ = connection_.shared().loop.now();
    metadata_ = {};
    log_method_.clear();
    log_target_.clear();
  }
  call_.reset();
  keep_alive_ = false;
  if (head_written_) {
    end_stream(status);
  } else {
    answer_status(http_status, status, nullptr, nullptr);
  }
}

void Exchange::answer_status(int http_status, const Status& status, const call::Metadata* trailers,
                             const Refusal* refusal) {
  const std::string_view retry =
      status.retry() == Retry::later && (http_status == 503 || http_status == 429) ? "Retry-After: 1\r\n" : "";
  answer(http_status, "application/json", error_json(status), trailers, refusal, status.id(), retry);
}

void Exchange::answer(int http_status, std::string_view content_type, std::string_view body,
                      const call::Metadata* trailers, const Refusal* refusal, std::string_view error_id,
                      std::string_view extra) {
  std::string& out = connection_.out();
  const std::size_t before = out.size();
  net::ResponseWriter writer(out);
  writer.begin(http_status, connection_.shared().date());
  writer.header("Content-Type", content_type);
  if (!error_id.empty()) writer.header("Shunt-Error", error_id);
  if (refusal != nullptr && !refusal->allow.empty()) writer.header("Allow", refusal->allow);
  if (refusal != nullptr && refusal->challenge) writer.header("WWW-Authenticate", "Bearer realm=\"shunt\"");
  out.append(extra);
  if (!metadata_.empty()) write_metadata(writer, metadata_, "");
  if (trailers != nullptr && !trailers->empty()) write_metadata(writer, *trailers, "trailer-");
  write_connection(writer);
  writer.length(body.size());
  if (!head_only_) out.append(body);
  answer_bytes_ += out.size() - before;
  finish(http_status);
}

void Exchange::write_metadata(net::ResponseWriter& writer, const call::Metadata& metadata,
                              std::string_view prefix) const {
  for (const auto& [key, value] : metadata) {
    if ((prefix.empty() && is_own_header(key)) || !net::is_header_name(key)) continue;
    std::string name(prefix);
    name += key;
    if (key.ends_with("-bin")) {
      writer.header(name, encode_base64(value));
    } else if (net::is_header_value(value)) {
      writer.header(name, value);
    }
  }
}

void Exchange::write_connection(net::ResponseWriter& writer) {
  if (!keeps_connection()) {
    keep_alive_ = false;  // It is said now: what comes later does not change it.
    writer.close();
  } else if (http10_) {
    writer.keep_alive();
  }
}

void Exchange::finish(int http_status) {
  Shared& shared = connection_.shared();
  phase_ = Phase::over;
  held_ = false;
  GatewayStats::add(shared.shard.answers[static_cast<std::size_t>(std::clamp(http_status, 0, 599))]);
  if (shared.hooks.access_log) {
    AccessRecord record;
    record.method = log_method_;
    record.target = log_target_;
    record.status = http_status;
    record.bytes = answer_bytes_;
    record.took = shared.loop.now() - began_;
    record.user = principal_.user;
    shared.hooks.access_log(record);
  }
  release_collected();
  message_ = call::Message();
  if (!metadata_.empty()) metadata_ = {};
  whole_body_ = {};
  body_.clear();
  if (body_.capacity() > kept_bytes_max) body_.shrink_to_fit();
  connection_.go_on();
}

// --- Credit, and endings from outside ---

// A callee that answers at once would otherwise call us, and we it, ever deeper.
void Exchange::give_credit() {
  if (starting_ || giving_credit_) return;
  giving_credit_ = true;
  while (call_ && owed_ > 0 && connection_.unsent() <= connection_.shared().limits.unsent_bytes_max) {
    call_->consumed(std::exchange(owed_, 0));
  }
  giving_credit_ = false;
}

void Exchange::drained() {
  if (!call_ || owed_ == 0) return;
  if (connection_.unsent() > connection_.shared().limits.unsent_bytes_max / 2) return;
  // In a turn of its own: an endless stream must not keep the loop from everybody else.
  Shared& shared = connection_.shared();
  shared.loop.arm(*this, shared.loop.now());
}

void Exchange::fire() { give_credit(); }

void Exchange::abandon() {
  if (phase_ == Phase::over && !call_) return;
  phase_ = Phase::over;
  Timer::disarm();
  release_collected();
  call_.reset();
}

void Exchange::release_collected() { connection_.shared().collected_bytes -= std::exchange(collected_, 0); }

void Exchange::shut_down() {
  is_shutting_down_ = true;
  if (call_) call_->cancel(call::Cancel::shutdown);
}

}  // namespace shunt::gateway
