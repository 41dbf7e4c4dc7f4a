#include "gateway/connection/http1.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/base64.h"
#include "gateway/connection/connection.h"
#include "gateway/media.h"
#include "gateway/text.h"

namespace shunt::gateway {

namespace {

Status http_error(const net::Http1Error& error) {
  switch (error.status) {
    case 413:
      return {Code::resource_exhausted, "S4003", std::string(error.text)};
    case 414:
    case 431:
      return {Code::resource_exhausted, "S4002", std::string(error.text)};
    case 501:
    case 505:
      return {Code::unimplemented, "S4001", std::string(error.text)};
    default:
      return {Code::invalid_argument, "S4001", std::string(error.text)};
  }
}

// HTTP/1.1 writes names as people are used to read them.
void append_name(std::string& out, std::string_view name) {
  bool begins = true;
  for (char c : name) {
    if (begins && c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
    begins = c == '-';
    out.push_back(c);
  }
}

void append_fields(std::string& out, const Fields& fields) {
  for (const net::Header& field : fields.all()) {
    append_name(out, field.name);
    out.append(": ").append(field.value).append("\r\n");
  }
}

// Whether a comma-separated list holds the token (lower case).
bool list_holds(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (net::iequals(trim(list.substr(0, comma)), token)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

Http1::Http1(Connection& connection) : connection_(connection), parser_(connection.shared().http) {}

Http1::~Http1() = default;

Shared& Http1::shared() { return connection_.shared(); }
const ListenerPolicy& Http1::policy() const { return connection_.policy(); }
std::size_t Http1::unsent() const { return connection_.unsent(); }

// --- What comes in ---

void Http1::receive(std::string_view bytes) {
  if (tunnel_) {
    exchange_->body(bytes, false);
    choose_time_limit();
    return;
  }
  parser_.feed(bytes);
  process();
}

void Http1::resume() {
  if (!tunnel_) {
    process();
    return;
  }
  if (exchange_->is_over()) connection_.close_when_sent();
}

// While a call runs, and while its callee holds the body, only so much is read ahead.
bool Http1::may_read() const {
  if (tunnel_) return !exchange_->is_held();
  return parser_.buffered() < connection_.shared().limits.pipelined_bytes_max;
}

void Http1::process() {
  if (processing_) return;
  processing_ = true;
  while (!connection_.is_closed() && !connection_.is_closing() && !upgraded_) {
    if (in_request_ && tunnel_) {
      feed_tunnel();
      break;
    }
    if (in_request_ && exchange_->is_over()) {
      if (request_complete_) {
        finish_request();
        continue;
      }
      // Answered before its body came: what is here already is passed over, more is not waited for.
      if (!parser_.rest_is_here()) {
        connection_.close_when_sent();
        break;
      }
    } else if (in_request_ && (request_complete_ || exchange_->is_held())) {
      break;
    }
    if (!step()) break;
  }
  processing_ = false;
  if (connection_.is_closed() || upgraded_) return;
  parser_.settle();
  choose_time_limit();
}

bool Http1::step() {
  switch (parser_.next()) {
    case net::RequestParser::Event::need_more:
      if (in_request_ && parser_.head().expect_continue && !told_to_continue_ && !exchange_->is_over()) {
        told_to_continue_ = true;
        connection_.out() += "HTTP/1.1 100 Continue\r\n\r\n";
      }
      return false;
    case net::RequestParser::Event::head:
      begin_request();
      return !upgraded_;
    case net::RequestParser::Event::body:
      told_to_continue_ = true;
      if (!exchange_->is_over()) exchange_->body(parser_.body(), parser_.body_is_complete());
      return true;
    case net::RequestParser::Event::end:
      request_complete_ = true;
      if (!exchange_->is_over() && !tunnel_) exchange_->complete();
      return true;
    case net::RequestParser::Event::error:
      fail_request(parser_.error().status, http_error(parser_.error()));
      return false;
  }
  return false;
}

void Http1::begin_request() {
  const net::RequestHead& head = parser_.head();
  in_request_ = true;
  request_complete_ = false;
  told_to_continue_ = false;
  head_begun_ = false;
  had_request_ = true;
  written_ = 0;
  head_written_ = false;
  head_only_ = head.method == "HEAD";
  http10_ = head.minor_version == 0;
  keep_alive_ = head.keep_alive;
  if (upgrade_to_http2()) return;

  Request request;
  request.method = head.method;
  request.target = head.target;
  request.host = head.host;
  request.headers = head.headers;
  request.version = http10_ ? 10 : 11;
  request.has_body = head.body != net::BodyKind::none;
  request.whole = parser_.rest_is_here();
  cors_ = read_cors(shared(), policy(), request);
  request.is_granted = cors_.is_granted();
  exchange_ = make_exchange(*this, request);
  exchange_->begin(request);
  if (exchange_->takes_stream()) parser_.lift_body_limit();
}

// RFC 7540, section 3.2; newer texts have dropped it, curl and h2load still ask. A request with a body is answered in
// HTTP/1.1, which every such client accepts.
bool Http1::upgrade_to_http2() {
  const net::RequestHead& head = parser_.head();
  if (http10_ || head.body != net::BodyKind::none || connection_.tls() != nullptr) return false;
  const std::string_view upgrade = head.find("upgrade");
  if (upgrade.empty() || !list_holds(upgrade, "h2c") || !list_holds(head.find("connection"), "upgrade")) return false;
  const auto settings = decode_base64(head.find("http2-settings"));
  if (!settings || head.find("http2-settings").empty()) return false;
  upgraded_ = true;
  connection_.out() += "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
  Request request;
  request.method = head.method;
  request.target = head.target;
  request.host = head.host;
  request.headers = head.headers;
  request.version = 20;
  request.whole = true;
  const std::string rest = parser_.take_rest();
  connection_.upgrade_to_http2(*settings, request, rest);
  return true;
}

// What came behind the head belongs to the tunnel.
void Http1::feed_tunnel() {
  const std::string rest = parser_.take_rest();
  if (!rest.empty() && !exchange_->is_over()) exchange_->body(rest, false);
  if (exchange_->is_over()) connection_.close_when_sent();
}

void Http1::finish_request() {
  in_request_ = false;
  exchange_.reset();
  if (!keeps_connection()) {
    connection_.close_when_sent();
    return;
  }
  parser_.next_request();
}

void Http1::fail_request(int http_status, Status status) {
  if (!in_request_) {
    cors_ = {};
    head_only_ = http10_ = head_written_ = false;
    written_ = 0;
  }
  keep_alive_ = false;
  if (!exchange_) exchange_ = make_exchange(*this, Request{});
  exchange_->fail(http_status, std::move(status));
  connection_.close_when_sent();
}

// The client has closed, or closed its half; who waits for an answer keeps its half open.
void Http1::on_end_of_input() {
  if (tunnel_ && !exchange_->is_over()) {
    exchange_->complete();
    if (!exchange_->is_over()) return;
  }
  if (in_request_ && !exchange_->is_over()) {
    connection_.vanish();
  } else if (connection_.unsent() > 0) {
    connection_.close_when_sent();
  } else {
    connection_.close();
  }
}

void Http1::on_sent() {
  if (exchange_ && !exchange_->is_over()) exchange_->drained();
}

// --- What goes out ---

void Http1::go_on() {
  if (!processing_) connection_.go_on();
}

// While draining, requests that were read already are still answered, the last of them with the close.
bool Http1::keeps_connection() const {
  if (!keep_alive_ || is_shutting_down_) return false;
  const bool has_read_ahead = request_complete_ && parser_.buffered() > 0;
  return !connection_.shared().draining || has_read_ahead;
}

void Http1::begin_head(int status, const Fields& fields) {
  std::string& out = connection_.out();
  net::ResponseWriter(out).begin(status, shared().date());
  append_fields(out, fields);
  if (cors_.is_known()) {
    Fields cors;
    cors_.add_to(cors);
    append_fields(out, cors);
  }
  head_written_ = true;
}

void Http1::write_connection() {
  net::ResponseWriter writer(connection_.out());
  if (!keeps_connection()) {
    keep_alive_ = false;  // It is said now: what comes later does not change it.
    writer.close();
  } else if (http10_) {
    writer.keep_alive();
  }
}

void Http1::answer(int status, Fields& fields, std::string_view body) {
  std::string& out = connection_.out();
  const std::size_t before = out.size();
  begin_head(status, fields);
  write_connection();
  net::ResponseWriter writer(out);
  if (status == 204 || status == 304) {
    writer.until_close();  // Neither a body nor a length: the empty line ends it.
  } else {
    writer.length(body.size());
    if (!head_only_) out.append(body);
  }
  written_ += out.size() - before;
}

void Http1::begin(int status, Fields& fields) {
  std::string& out = connection_.out();
  const std::size_t before = out.size();
  if (http10_) keep_alive_ = false;  // Its body ends with the connection.
  begin_head(status, fields);
  write_connection();
  net::ResponseWriter writer(out);
  if (http10_) {
    writer.until_close();
  } else {
    writer.chunked();
  }
  written_ += out.size() - before;
}

void Http1::write(std::string_view first, std::string_view second, std::string_view third) {
  std::string& out = connection_.out();
  const std::size_t before = out.size();
  if (head_only_) return;
  if (http10_ || tunnel_) {
    out.append(first).append(second).append(third);
  } else {
    net::append_chunk(out, first, second, third);
  }
  written_ += out.size() - before;
}

void Http1::end(const Fields* trailers) {
  if (tunnel_) {
    connection_.close_when_sent();
    return;
  }
  if (http10_ || head_only_) return;
  std::string& out = connection_.out();
  if (trailers == nullptr || trailers->all().empty()) {
    net::append_last_chunk(out);
    return;
  }
  out.append("0\r\n");
  append_fields(out, *trailers);
  out.append("\r\n");
}

// The last chunk is missing, or the connection of an HTTP/1.0 client ends early: that is all there is to say.
void Http1::cut() { keep_alive_ = false; }

void Http1::tunnel(Fields& fields) {
  std::string& out = connection_.out();
  begin_head(101, fields);
  out.append("Connection: Upgrade\r\n\r\n");
  tunnel_ = true;
  keep_alive_ = false;
}

// --- Time, and endings ---

void Http1::choose_time_limit() {
  if (connection_.is_closing()) return;
  const Instant now = shared().loop.now();
  const GatewayLimits& limits = shared().limits;
  if (tunnel_) {
    connection_.limit_time({INT64_MAX});  // A tunnel keeps its own.
  } else if (in_request_) {
    const bool waits_for_client = !request_complete_ && !exchange_->is_held();
    connection_.limit_time(waits_for_client ? now + limits.body_timeout : Instant{INT64_MAX});
  } else if (parser_.is_inside()) {
    // From the head's first byte on, however slowly the others follow.
    if (!head_begun_) connection_.limit_time(now + limits.header_timeout);
    head_begun_ = true;
  } else if (had_request_) {
    connection_.limit_time(now + (shared().draining ? limits.drain_idle : limits.idle_timeout));
  }
}

void Http1::on_time_limit() {
  if (!head_begun_ && !in_request_) {
    connection_.close();
    return;
  }
  const bool is_head = !in_request_;
  fail_request(
      408,
      Status(Code::deadline_exceeded, "S4004",
             fmt::format("the request's {} did not come within {}", is_head ? "head" : "body",
                         format_duration(is_head ? shared().limits.header_timeout : shared().limits.body_timeout))));
}

void Http1::refuse_connection() {
  fail_request(
      503, Status(Code::unavailable, "S4005",
                  fmt::format("there are {} connections, and no more are taken now", shared().limits.connections_max))
               .with_retry(Retry::later));
}

void Http1::drain() {
  if (tunnel_) {
    exchange_->drain();
    return;
  }
  if (in_request_ || head_begun_) return;
  connection_.limit_time(std::min(connection_.time_limit(), shared().loop.now() + shared().limits.drain_idle));
}

void Http1::shut_down() {
  if (!in_request_ || !exchange_->is_calling()) {
    connection_.close();
    return;
  }
  is_shutting_down_ = true;
  exchange_->shut_down();
}

void Http1::abandon() {
  if (exchange_) exchange_->abandon();
}

}  // namespace shunt::gateway
