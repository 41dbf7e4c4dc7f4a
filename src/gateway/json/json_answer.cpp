// The answer's half of JsonExchange: what the call's events become.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/json/json_exchange.h"
#include "gateway/media.h"
#include "gateway/text.h"
#include "net/forms/conditions.h"

namespace shunt::gateway {

namespace {

constexpr std::string_view retry_line = "retry: 2000\n\n";

// A line of JSON as one line: line ends stand only between its tokens, where a space means the same.
std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return out;
}

// A message as a server-sent event: each of its lines is a data line.
std::string event_text(std::string_view text, std::uint64_t id) {
  std::string event = fmt::format("id: {}\n", id);
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
  status = judge(std::move(status), !streams_answer_ && !has_message_);
  if (!starting_) call_.reset();

  if (streams_answer_ && (head_written_ || status.is_ok())) {
    if (!head_written_) begin_stream();
    end_stream(status);
  } else if (!status.is_ok()) {
    answer_status(http_status(status.code()), status, &trailers, nullptr);
  } else {
    answer_message(trailers);
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
    write_event(event_text(text, next_event_++));
  } else if (form_ == Form::raw) {
    write_stream(text);
  } else if (text.find_first_of("\r\n") == std::string_view::npos) {
    write_stream(text, "\n");
  } else {
    write_stream(one_line(text), "\n");
  }
  give_credit();
}

// --- A stream ---

void JsonExchange::begin_stream() {
  head_written_ = true;
  const auto said = metadata_.find("content-type");
  const bool is_raw = said && net::is_header_value(*said) && !is_json_type(without_parameters(*said)) &&
                      !is_lines_type(without_parameters(*said));
  std::string_view type = is_raw ? *said : wants_events_ ? "text/event-stream" : "application/x-ndjson";
  form_ = is_raw ? Form::raw : wants_events_ ? Form::events : Form::ndjson;
  if (form_ == Form::ndjson && !takes_type(terms_.get(), type) && !takes_type(terms_.get(), "application/json") &&
      takes_type(terms_.get(), "application/octet-stream")) {
    form_ = Form::raw;
    type = "application/octet-stream";
  }
  Fields fields;
  fields.add("content-type", type);
  // Proxies that collect an answer before they pass it on would hold a stream back.
  fields.add("cache-control", "no-store");
  fields.add("x-accel-buffering", "no");
  const net::Coding coding = choose_answer_coding(terms_.get(), type, SIZE_MAX);
  if (coding != net::Coding::identity && !head_only_) {
    compressor_ = net::make_compressor(coding);
    fields.add("content-encoding", net::coding_name(coding));
  }
  if (is_compressible(type)) fields.add("vary", "Accept-Encoding");
  add_metadata(fields, metadata_);
  carrier_.begin(200, fields);
  if (form_ == Form::events && !head_only_) write_event(retry_line);
}

// What is written can be read at once, compressed or not.
void JsonExchange::write_stream(std::string_view first, std::string_view second, std::string_view third) {
  if (!compressor_) {
    carrier_.write(first, second, third);
    return;
  }
  scratch_.clear();
  for (const std::string_view part : {first, second, third}) {
    if (!part.empty()) compressor_->write(part, net::Flush::none, scratch_);
  }
  compressor_->write({}, net::Flush::sync, scratch_);
  carrier_.write(scratch_);
}

void JsonExchange::write_event(std::string_view text) {
  carrier_.write(text);
  Shared& shared = carrier_.shared();
  shared.loop.arm(events_timer_, shared.loop.now() + shared.limits.events_interval);
}

// Proxies cut what is silent for half a minute.
void JsonExchange::comment() {
  if (!over_ && head_written_) write_event(":\n\n");
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
      write_stream("{\"$error\":", error, "}\n");
    } else {
      is_whole = false;  // Bytes have no place for an error: the client sees that the end is missing.
    }
  } else if (form_ == Form::events) {
    carrier_.write("event: end\ndata: {}\n\n");
  }
  if (is_whole) {
    if (compressor_) {
      scratch_.clear();
      compressor_->write({}, net::Flush::end, scratch_);
      carrier_.write(scratch_);
    }
    carrier_.end();
  } else {
    carrier_.cut();
  }
  finish(200);
}

// --- One message ---

void JsonExchange::answer_message(const call::Metadata& trailers) {
  const auto said = metadata_.find("content-type");
  std::string_view type = said && net::is_header_value(*said) ? *said : std::string_view("application/json");
  if (!takes_type(terms_.get(), type)) {
    if (takes_type(terms_.get(), "application/octet-stream")) {
      type = "application/octet-stream";
    } else if (is_read_) {
      // What has no effect may be thrown away; the answer of anything else is worth more than its type.
      answer_status(406, not_acceptable(without_parameters(type)), nullptr, nullptr);
      return;
    }
  }
  const std::string_view body = message_.bytes().view();
  Fields fields;
  if (is_read_) {
    answer_read(type, body, fields, trailers);
  } else {
    answer_coded(200, type, body, fields, trailers);
  }
}

// GET of a command without effect: its answer has a tag, and may be asked for again in part, or only when it has changed.
void JsonExchange::answer_read(std::string_view type, std::string_view body, Fields& fields,
                               const call::Metadata& trailers) {
  const auto own_tag = metadata_.find("etag");
  const std::string etag = own_tag ? std::string(*own_tag) : net::make_etag(body);
  const bool has_ranges = !is_json_type(without_parameters(type));
  const ReadPlan plan = plan_read(terms_.get(), etag, body.size(), has_ranges && !head_only_);
  const net::Coding coding = plan.kind == ReadPlan::Kind::part || plan.kind == ReadPlan::Kind::unsatisfiable
                                 ? net::Coding::identity
                                 : choose_answer_coding(terms_.get(), type, body.size());
  if (plan.kind == ReadPlan::Kind::failed) {
    answer_status(412, Status(Code::failed_precondition, "S4018", "If-Match names another version than there is"),
                  nullptr, nullptr);
    return;
  }
  if (!own_tag) fields.add_copy("etag", coded_etag(etag, coding));
  // To be asked for each time, and answered with 304 where nothing has changed.
  if (!metadata_.find("cache-control")) fields.add("cache-control", "no-cache");
  if (has_ranges) fields.add("accept-ranges", "bytes");
  switch (plan.kind) {
    case ReadPlan::Kind::not_modified:
      if (may_be_coded(type, body.size())) fields.add("vary", "Accept-Encoding");
      answer(304, {}, {}, fields, &trailers);
      return;
    case ReadPlan::Kind::unsatisfiable: {
      fields.add_copy("content-range", fmt::format("bytes */{}", body.size()));
      fields.add("shunt-error", "S4019");
      const Status status(Code::out_of_range, "S4019",
                          fmt::format("the answer has {} bytes, and none of this range", body.size()));
      answer(416, "application/json", error_json(status), fields);
      return;
    }
    case ReadPlan::Kind::part:
      fields.add_copy("content-range",
                      fmt::format("bytes {}-{}/{}", plan.first, plan.first + plan.size - 1, body.size()));
      answer(206, type, body.substr(plan.first, plan.size), fields, &trailers);
      return;
    default:
      answer_coded(200, type, body, fields, trailers);
  }
}

void JsonExchange::answer_coded(int http_status, std::string_view type, std::string_view body, Fields& fields,
                                const call::Metadata& trailers) {
  const net::Coding coding = choose_answer_coding(terms_.get(), type, body.size());
  if (may_be_coded(type, body.size())) fields.add("vary", "Accept-Encoding");
  if (coding == net::Coding::identity) {
    answer(http_status, type, body, fields, &trailers);
    return;
  }
  scratch_.clear();
  carrier_.shared().codecs.compress(coding, body, scratch_);
  fields.add("content-encoding", net::coding_name(coding));
  answer(http_status, type, scratch_, fields, &trailers);
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
  if (http_status == 415) fields.add("accept-encoding", "gzip, deflate, zstd");
  if (refusal != nullptr && refusal->challenge) fields.add("www-authenticate", "Bearer realm=\"shunt\"");
  if (status.retry() == Retry::later && (http_status == 503 || http_status == 429)) fields.add("retry-after", "1");
  answer(http_status, "application/json", error_json(status), fields, trailers);
}

void JsonExchange::answer(int http_status, std::string_view content_type, std::string_view body, Fields& fields,
                          const call::Metadata* trailers) {
  if (!content_type.empty()) fields.add("content-type", content_type);
  if (!metadata_.empty()) add_metadata(fields, metadata_);
  if (trailers != nullptr && !trailers->empty()) add_metadata(fields, *trailers, "trailer-");
  carrier_.answer(http_status, fields, body);
  finish(http_status);
}

void JsonExchange::finish(int http_status) {
  events_timer_.disarm();
  close(http_status);
}

void JsonExchange::abandon() {
  events_timer_.disarm();
  CallExchange::abandon();
}

}  // namespace shunt::gateway
