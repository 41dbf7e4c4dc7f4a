#include "gateway/connection/http2.h"

#include <algorithm>
#include <utility>

#include "gateway/connection/connection.h"
#include "gateway/connection/http2_request.h"

namespace shunt::gateway {

namespace {

constexpr std::size_t unsent_max = 256u << 10;  // Framed and not sent; what is more waits in its stream.
// What may stand behind a 101 before the client has said that it has read it: curl has 32 KiB of room, and a frame more than
// this may come.
constexpr std::size_t unheard_max = 8u << 10;

}  // namespace

Http2::Http2(Connection& connection)
    : connection_(connection), session_(net::make_http2_server(*this, connection.shared().http2)) {
  heard_ = connection_.shared().loop.now();
  connection_.flush();  // Our settings.
  choose_time_limit();
}

// The session tells its streams that it ends, while they are still there.
Http2::~Http2() { session_.reset(); }

void Http2::begin_upgraded(std::string_view settings, const Request& request) {
  net::Http2Head head;
  head.method = request.method;
  head.scheme = "http";
  head.authority = request.host;
  head.path = request.target;
  head.headers = request.headers;
  unheard_ = Unheard::may_send;
  if (auto done = session_->upgrade(settings, head, {}); !done) break_off(done.error());
  choose_time_limit();
}

void Http2::receive(std::string_view bytes) {
  heard_ = connection_.shared().loop.now();
  unheard_ = Unheard::no;
  const std::size_t before = requests_.size();
  if (auto done = session_->receive(bytes, heard_.ns); !done) {
    break_off(done.error());
    return;
  }
  connection_.flush();
  if (session_->is_done()) {
    connection_.close_when_sent();
    return;
  }
  if (before != requests_.size() || before > 0) choose_time_limit();
}

// The session has said why in a GOAWAY, which is still to be sent.
void Http2::break_off(const Status& why) {
  (void)why;
  connection_.flush();
  connection_.close_when_sent();
}

void Http2::resume() {
  for (const auto& request : requests_) request->resume();
  connection_.flush();
}

// What waits for a slow reader's window is bounded by each stream's; what waits for its socket must not grow.
bool Http2::may_read() const { return connection_.unsent() < 4 * unsent_max; }

void Http2::on_end_of_input() {
  if (requests_.empty() && connection_.unsent() > 0) {
    connection_.close_when_sent();
  } else if (requests_.empty()) {
    connection_.close();
  } else {
    connection_.vanish();
  }
}

void Http2::on_output() { connection_.flush(); }

void Http2::collect(std::string& out) {
  if (unheard_ == Unheard::no) {
    if (connection_.unsent() < unsent_max) session_->collect(out, unsent_max);
  } else if (std::exchange(unheard_, Unheard::has_sent) == Unheard::may_send) {
    session_->collect(out, unheard_max);
  }
  // Looking after one may close it, and may add others.
  if (!watched_.empty()) {
    std::vector<Http2Request*> looked_after = std::exchange(watched_, {});
    for (Http2Request* request : looked_after) {
      if (request->look_after()) watched_.push_back(request);
    }
  }
  if (!retired_.empty()) {
    retired_.clear();
    choose_time_limit();
  }
  if (session_->is_done()) connection_.close_when_sent();
}

void Http2::on_sent() {
  if (connection_.unsent() < unsent_max) connection_.flush();
}

net::Http2StreamEvents* Http2::on_request(net::Http2Stream& stream, const net::Http2Head& head, bool end) {
  auto made = make_own<Http2Request>(*this, stream, heard_);
  Http2Request& request = *made;
  request.index = requests_.size();
  requests_.push_back(std::move(made));
  stream.listen(request);  // It may be answered, and reset, in start().
  request.start(head, end);
  return &request;
}

void Http2::retire(Http2Request& request) {
  const std::size_t index = request.index;
  retired_.push_back(std::move(requests_[index]));
  if (index + 1 != requests_.size()) {
    requests_[index] = std::move(requests_.back());
    requests_[index]->index = index;
  }
  requests_.pop_back();
  std::erase(watched_, &request);
  connection_.flush();
}

std::size_t Http2::calls() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(requests_, [](const auto& request) { return request->is_calling(); }));
}

// --- Time, and endings ---

void Http2::choose_time_limit() {
  if (connection_.is_closed() || connection_.is_closing()) return;
  const GatewayLimits& limits = connection_.shared().limits;
  const Instant now = connection_.shared().loop.now();
  if (requests_.empty()) {
    connection_.limit_time(now + (draining_ ? limits.drain_idle : limits.idle_timeout));
  } else {
    connection_.limit_time(now + std::min(limits.body_timeout, limits.ping_interval));
  }
}

void Http2::on_time_limit() {
  const GatewayLimits& limits = connection_.shared().limits;
  const Instant now = connection_.shared().loop.now();
  if (requests_.empty()) {
    session_->terminate(net::Http2Error::no_error, "no request came");
    connection_.flush();
    connection_.close_when_sent();
    return;
  }
  if (waits_for_ping_ && now - ping_sent_ >= limits.ping_timeout) {
    connection_.vanish();
    return;
  }
  if (!waits_for_ping_ && now - heard_ >= limits.ping_interval) {
    waits_for_ping_ = true;
    ping_sent_ = now;
    session_->ping();
    connection_.flush();
  }
  std::vector<Http2Request*> late;
  for (const auto& request : requests_) {
    if (request->waits_since().ns != INT64_MAX && now - request->waits_since() >= limits.body_timeout) {
      late.push_back(request.get());
    }
  }
  for (Http2Request* request : late) request->time_out();
  Duration next = std::min(limits.body_timeout, limits.ping_interval);
  if (waits_for_ping_) next = std::min(next, limits.ping_timeout);
  connection_.limit_time(now + next);
}

void Http2::refuse_connection() {
  session_->terminate(net::Http2Error::enhance_your_calm, "too many connections");
  connection_.flush();
  connection_.close_when_sent();
}

void Http2::drain() {
  if (std::exchange(draining_, true)) return;
  session_->shut_down();
  for (std::size_t i = requests_.size(); i > 0; --i) {
    if (i <= requests_.size()) requests_[i - 1]->drain();
  }
  connection_.flush();
  if (requests_.empty()) choose_time_limit();
}

void Http2::shut_down() {
  drain();
  if (requests_.empty()) {
    connection_.close();
    return;
  }
  for (std::size_t i = requests_.size(); i > 0; --i) {
    if (i <= requests_.size()) requests_[i - 1]->shut_down();
  }
}

void Http2::abandon() {
  for (std::size_t i = requests_.size(); i > 0; --i) {
    if (i <= requests_.size()) requests_[i - 1]->abandon();
  }
}

}  // namespace shunt::gateway
