#include "gateway/connection/http2_request.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "gateway/connection/connection.h"
#include "gateway/connection/http2.h"

namespace shunt::gateway {

Shared& Http2Request::shared() { return http2_.connection_.shared(); }
const ListenerPolicy& Http2Request::policy() const { return http2_.connection_.policy(); }
std::size_t Http2Request::unsent() const { return stream_ == nullptr ? 0 : stream_->unsent(); }

// --- What comes in ---

void Http2Request::start(const net::Http2Head& head, bool end) {
  Request request;
  request.method = head.method;
  request.target = head.path;
  request.host = head.authority;
  request.protocol = head.protocol;
  request.headers = head.headers;
  request.version = 20;
  request.has_body = !end;
  request.whole = end;
  head_only_ = head.method == "HEAD";
  cors_ = read_cors(shared(), policy(), request);
  request.is_granted = cors_.is_granted();
  exchange_ = make_exchange(*this, request);
  exchange_->begin(request);
  if (end) finish_input();
}

void Http2Request::on_data(std::string_view piece, bool end) {
  waits_since_ = http2_.heard_;
  received_ += piece.size();
  if (exchange_->is_over()) {
    input_ended_ = end;  // Answered already; the stream is about to be closed.
    return;
  }
  if (!exchange_->takes_stream() && received_ > shared().limits.body_bytes_max) {
    exchange_->fail(413, Status(Code::resource_exhausted, "S4003",
                                fmt::format("the body is longer than {} bytes", shared().limits.body_bytes_max)));
    return;
  }
  if (!piece.empty()) exchange_->body(piece, end);
  if (end) {
    finish_input();
  } else {
    owed_ += piece.size();
    resume();
  }
}

void Http2Request::on_trailers(std::span<const net::Header> trailers) {
  (void)trailers;  // No call has a place for them.
  finish_input();
}

void Http2Request::finish_input() {
  if (std::exchange(input_ended_, true)) return;
  if (!exchange_->is_over()) exchange_->complete();
}

void Http2Request::resume() {
  if (stream_ == nullptr || owed_ == 0 || exchange_->is_held() || input_ended_) return;
  stream_->consumed(std::exchange(owed_, 0));
}

void Http2Request::go_on() {
  if (owed_ > 0) http2_.connection_.go_on();
}

void Http2Request::on_close(net::Http2Error error) {
  stream_ = nullptr;
  if (!exchange_->is_over()) {
    if (exchange_->is_calling() && error != net::Http2Error::no_error) GatewayStats::add(shared().shard.clients_gone);
    exchange_->abandon();
  }
  http2_.retire(*this);
}

Instant Http2Request::waits_since() const {
  const bool waits = !tunnel_ && !input_ended_ && !exchange_->is_over() && !exchange_->is_held();
  // A call that runs already takes its messages when they come; its deadline is the limit.
  return waits && !exchange_->is_calling() ? waits_since_ : Instant{INT64_MAX};
}

void Http2Request::time_out() {
  exchange_->fail(408, Status(Code::deadline_exceeded, "S4004",
                              fmt::format("the request's body did not come within {}",
                                          format_duration(shared().limits.body_timeout))));
}

// --- What goes out ---

void Http2Request::answer(int status, Fields& fields, std::string_view body) {
  if (stream_ == nullptr) return;
  char length[20];
  fields.add("date", shared().date());
  cors_.add_to(fields);
  if (status != 204 && status != 304) {
    const auto* end = fmt::format_to_n(length, std::size(length), "{}", body.size()).out;
    fields.add("content-length", {length, static_cast<std::size_t>(end - length)});
  }
  const bool has_body = !head_only_ && !body.empty() && status != 204 && status != 304;
  stream_->send_head(status, fields.all(), !has_body);
  if (has_body && stream_ != nullptr) stream_->send(body, true);
  written_ += body.size();
  output_ended_ = true;
  sent();
}

void Http2Request::begin(int status, Fields& fields) {
  if (stream_ == nullptr) return;
  fields.add("date", shared().date());
  cors_.add_to(fields);
  output_ended_ = head_only_;
  stream_->send_head(status, fields.all(), head_only_);
  if (head_only_) sent();
}

void Http2Request::write(std::string_view first, std::string_view second, std::string_view third) {
  if (stream_ == nullptr || output_ended_) return;
  for (const std::string_view part : {first, second, third}) {
    if (!part.empty()) stream_->send(part, false);
  }
  written_ += first.size() + second.size() + third.size();
  sent();
}

void Http2Request::write(Bytes piece) {
  if (stream_ == nullptr || output_ended_) return;
  written_ += piece.size();
  stream_->send(std::move(piece), false);
  sent();
}

void Http2Request::end(const Fields* trailers) {
  if (stream_ == nullptr || std::exchange(output_ended_, true)) return;
  if (trailers != nullptr && !trailers->all().empty()) {
    stream_->send_trailers(trailers->all());
  } else {
    stream_->send(std::string_view(), true);
  }
  sent();
}

void Http2Request::cut() {
  if (stream_ != nullptr) stream_->reset(net::Http2Error::internal_error);
}

void Http2Request::tunnel(Fields& fields) {
  if (stream_ == nullptr) return;
  tunnel_ = true;
  stream_->send_head(200, fields.all(), false);
  sent();
}

void Http2Request::sent() {
  http2_.connection_.flush();
  if (stream_ == nullptr) return;
  wants_drained_ = wants_drained_ || stream_->unsent() > shared().limits.unsent_bytes_max;
  // Answered before its body had come: the rest is not wanted (RFC 9113, section 8.1).
  if (output_ended_ && !input_ended_) stream_->close_when_sent();
  if (wants_drained_) watch();
}

void Http2Request::watch() {
  if (std::exchange(is_watched_, true)) return;
  http2_.watched_.push_back(this);
}

bool Http2Request::look_after() {
  if (stream_ == nullptr) return false;
  if (wants_drained_ && stream_->unsent() <= shared().limits.unsent_bytes_max / 2) {
    wants_drained_ = false;
    if (!exchange_->is_over()) exchange_->drained();
  }
  is_watched_ = stream_ != nullptr && wants_drained_;
  return is_watched_;
}

// --- Endings from outside ---

void Http2Request::abandon() {
  stream_ = nullptr;
  if (!exchange_->is_over()) exchange_->abandon();
}

void Http2Request::shut_down() {
  if (exchange_->is_calling()) {
    exchange_->shut_down();
  } else if (stream_ != nullptr) {
    stream_->reset(net::Http2Error::refused_stream);
  }
}

void Http2Request::drain() {
  if (tunnel_ || exchange_->is_calling()) exchange_->drain();
}

}  // namespace shunt::gateway
