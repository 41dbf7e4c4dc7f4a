#include "net/http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>

#include "base/check.h"
#include "net/http2/nghttp2_session.h"

namespace shunt::net {

namespace {

constexpr std::uint32_t window_max = 0x7fff'ffff;
constexpr std::uint32_t frame_bytes_least = 16u << 10;  // The least that a peer may be told.
constexpr std::uint32_t frame_bytes_most = (1u << 24) - 1;
// To tell our pings' answers apart: eight bytes each.
constexpr std::string_view drain_ping = "shuntend";
constexpr std::string_view alive_ping = "shuntyou";
constexpr std::string_view linger_ping = "shuntans";
constexpr std::size_t lingering_max = 100;  // Beyond it a stream whose rest is not wanted is reset at once.

const std::uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

struct Options {
  Options() {
    if (nghttp2_option_new(&option) != 0) throw std::bad_alloc();
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    // Ours (Rate) stand in its place: they earn, and they know whose fault a reset was.
    nghttp2_option_set_stream_reset_rate_limit(option, std::numeric_limits<std::uint32_t>::max(),
                                               std::numeric_limits<std::uint32_t>::max());
  }
  ~Options() { nghttp2_option_del(option); }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  nghttp2_option* option = nullptr;
};

BlockPool& pool(void* user) { return *static_cast<BlockPool*>(user); }

nghttp2_mem memory_of(BlockPool& blocks) {
  return {.mem_user_data = &blocks,
          .malloc = [](std::size_t bytes, void* user) { return pool(user).allocate(bytes); },
          .free = [](void* block, void* user) { pool(user).release(block); },
          .calloc = [](std::size_t count, std::size_t bytes,
                       void* user) { return pool(user).allocate_zeroed(count, bytes); },
          .realloc = [](void* block, std::size_t bytes, void* user) { return pool(user).resize(block, bytes); }};
}

Http2Limits sane(Http2Limits limits) {
  limits.stream_window = std::min(limits.stream_window, window_max);
  limits.connection_window = std::min(limits.connection_window, window_max);
  limits.frame_bytes_max = std::clamp(limits.frame_bytes_max, frame_bytes_least, frame_bytes_most);
  return limits;
}

}  // namespace

Nghttp2Session::Nghttp2Session(Side side, Http2Events& events, const Http2Limits& limits)
    : events_(events),
      limits_(sane(limits)),
      side_(side),
      resets_(limits.resets_burst, limits.resets_per_second),
      controls_(limits.control_burst, limits.control_per_second),
      walk_(side == Side::server ? NGHTTP2_CLIENT_MAGIC_LEN : 0) {
  const Options options;
  nghttp2_session_callbacks* callbacks = make_callbacks();
  if (callbacks == nullptr) throw std::bad_alloc();
  nghttp2_mem memory = memory_of(blocks_);
  const int error = side == Side::server
                        ? nghttp2_session_server_new3(&session_, callbacks, this, options.option, &memory)
                        : nghttp2_session_client_new3(&session_, callbacks, this, options.option, &memory);
  nghttp2_session_callbacks_del(callbacks);
  if (error != 0) throw std::bad_alloc();
  submit_settings();
}

Nghttp2Session::~Nghttp2Session() {
  inside_ = closing_ = true;  // What our owner asks from on_close is not done any more.
  close_all(Http2Error::cancel);
  block_.clear();
  nghttp2_session_del(session_);
  while (free_ != nullptr) delete std::exchange(free_, free_->next_);
}

void Nghttp2Session::submit_settings() {
  std::array<nghttp2_settings_entry, 6> settings{};
  std::size_t count = 0;
  const auto set = [&](std::int32_t id, std::size_t value) {
    settings[count++] = {id, static_cast<std::uint32_t>(std::min<std::size_t>(value, 0xffff'ffff))};
  };
  if (side_ == Side::server) {
    set(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams_max);
    set(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1);
  } else {
    set(NGHTTP2_SETTINGS_ENABLE_PUSH, 0);
  }
  set(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window);
  set(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits_.frame_bytes_max);
  set(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits_.header_bytes_max);
  set(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1);
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), count);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(limits_.connection_window));
}

// --- Bytes in and out --------------------------------------------------------------------------------------------------

Result<void> Nghttp2Session::receive(std::string_view bytes, std::int64_t now_ns) {
  SHUNT_ASSERT(!inside_);
  if (closing_) return broken(0);
  now_ns_ = now_ns;
  // nghttp2 ignores DATA of streams that it has forgotten, and doesn't tell.
  const std::size_t good =
      side_ == Side::server
          ? walk_.walk(bytes, [this](const FrameWalk::Head& frame) { return is_of_the_living(frame); })
          : bytes.size();
  inside_ = true;
  const ssize_t read = nghttp2_session_mem_recv(session_, bytes_of(bytes), good);
  inside_ = false;
  if (read < 0) return broken(static_cast<int>(read));
  if (good < bytes.size()) end_with(Http2Error::stream_closed, "DATA for a stream that its sender had ended");
  if (closing_) return broken(0);  // Our owner's terminate(), from an event.
  return {};
}

bool Nghttp2Session::is_of_the_living(const FrameWalk::Head& frame) {
  if (frame.type == NGHTTP2_RST_STREAM) old_streams_.reset_on_wire(frame.stream);
  if (frame.type != NGHTTP2_DATA) return true;
  if (old_streams_.was_reset_on_wire(frame.stream)) return false;
  return old_streams_.is_new(frame.stream) || !old_streams_.has_ended(frame.stream);
}

bool Nghttp2Session::collect(std::string& out, std::size_t bytes_max) {
  if (inside_) return true;  // From an event: what comes of it is collected when the event is over.
  told_ = false;
  inside_ = true;
  out_ = &out;
  out_bytes_max_ = bytes_max;
  int error = 0;
  while (out.size() < bytes_max && !last_goaway_sent_) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size < 0) error = static_cast<int>(size);
    if (size <= 0) break;
    out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  }
  out_ = nullptr;
  inside_ = false;
  if (error != 0) {
    last_goaway_sent_ = true;  // Nothing can be said any more.
    end_with(Http2Error::internal_error, nghttp2_strerror(error));
  }
  if (closing_) close_all(closing_error_);
  return !last_goaway_sent_ && out.size() >= bytes_max && nghttp2_session_want_write(session_) != 0;
}

bool Nghttp2Session::is_done() const {
  if (last_goaway_sent_) return true;
  const bool writes = nghttp2_session_want_write(session_) != 0;
  return !writes && (closing_ || nghttp2_session_want_read(session_) == 0);
}

// Our owner hears it once, and never while it is in receive() or collect(): these end in collect(), or are it.
void Nghttp2Session::notify() {
  if (inside_ || told_) return;
  told_ = true;
  events_.on_output();
}

// --- Ends --------------------------------------------------------------------------------------------------------------

void Nghttp2Session::shut_down() {
  if (shutting_down_ || closing_) return;
  shutting_down_ = true;
  if (side_ == Side::server) {
    nghttp2_submit_shutdown_notice(session_);
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, bytes_of(drain_ping));
  } else {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  }
  notify();
}

void Nghttp2Session::ping() {
  if (closing_) return;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, bytes_of(alive_ping));
  notify();
}

void Nghttp2Session::on_ping_answer(std::string_view opaque) {
  if (opaque == alive_ping) events_.on_ping_answer();
  if (opaque == linger_ping) end_lingering();
  if (opaque != drain_ping || !shutting_down_ || closing_) return;
  // A round trip after the notice: whatever the peer sent before it knew is here.
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
}

void Nghttp2Session::terminate(Http2Error error, std::string_view why) {
  end_with(error, why);
  if (inside_) return;  // Inside, the streams hear it when receive() or collect() is over.
  close_all(closing_error_);
  notify();
}

// Says GOAWAY; nothing is read or framed after it.
void Nghttp2Session::end_with(Http2Error error, std::string_view why) {
  if (closing_) return;
  closing_ = true;
  closing_error_ = error;
  closing_why_ = why;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        static_cast<std::uint32_t>(error), bytes_of(closing_why_), closing_why_.size());
}

std::unexpected<Status> Nghttp2Session::broken(int error) {
  switch (error) {
    case 0:
    case NGHTTP2_ERR_CALLBACK_FAILURE:
      break;  // It is known already.
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
      end_with(Http2Error::protocol_error, "not the preface of HTTP/2");
      break;
    case NGHTTP2_ERR_FLOODED:
      end_with(Http2Error::enhance_your_calm, "more pings or settings than are answered");
      break;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
      end_with(Http2Error::enhance_your_calm, "too many CONTINUATION frames");
      break;
    default:
      end_with(Http2Error::internal_error, nghttp2_strerror(error));
      break;
  }
  close_all(closing_error_);
  const Code code = closing_error_ == Http2Error::enhance_your_calm ? Code::resource_exhausted : Code::data_loss;
  return fail(code, "HTTP/2: " + closing_why_);
}

bool Nghttp2Session::charge_control() {
  if (controls_.take(now_ns_)) return true;
  end_with(Http2Error::enhance_your_calm, "too many frames that make no progress");
  return false;
}

bool Nghttp2Session::charge_reset() {
  if (side_ == Side::client || resets_.take(now_ns_)) return true;  // A server resets what we opened.
  end_with(Http2Error::enhance_your_calm, "too many streams reset");
  return false;
}

// --- Streams -----------------------------------------------------------------------------------------------------------

Nghttp2Stream& Nghttp2Session::open(std::int32_t id, Http2StreamEvents* events) {
  Nghttp2Stream* stream = free_;
  if (stream != nullptr) {
    free_ = stream->next_;
    --free_count_;
  } else {
    stream = new Nghttp2Stream;
  }
  stream->begin(*this, id, events);
  stream->previous_ = nullptr;
  stream->next_ = open_;
  if (open_ != nullptr) open_->previous_ = stream;
  open_ = stream;
  ++streams_;
  return *stream;
}

// Null: the stream is closed, or was never told.
Nghttp2Stream* Nghttp2Session::find(std::int32_t id) {
  if (found_ == nullptr || found_->id_ != id) {
    found_ = static_cast<Nghttp2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
  }
  return found_;
}

// Out of the list before its owner hears of the end, so that nobody meets it there again.
void Nghttp2Session::finish(Nghttp2Stream& stream, Http2Error error) {
  (stream.previous_ != nullptr ? stream.previous_->next_ : open_) = stream.next_;
  if (stream.next_ != nullptr) stream.next_->previous_ = stream.previous_;
  --streams_;
  stream.reset_ = true;  // From here on its owner's wishes go nowhere.
  stream.unconsumed_ = 0;
  if (found_ == &stream) found_ = nullptr;
  if (stream.lingers_ != Nghttp2Stream::Lingers::no) --lingering_;
  if (stream.events_ != nullptr) stream.events_->on_close(error);
  stream.clear();
  if (free_count_ >= free_max) {
    delete &stream;
    return;
  }
  stream.next_ = free_;
  free_ = &stream;
  ++free_count_;
}

void Nghttp2Session::on_stream_end(Nghttp2Stream& stream, std::uint32_t error) {
  if (stream.unconsumed_ > 0) nghttp2_session_consume_connection(session_, stream.unconsumed_);
  if (error == NGHTTP2_NO_ERROR && !stream.counted_) resets_.earn(1);
  // The peer may have ended it before our reset was framed: it was a reset all the same.
  if (stream.end_heard_) old_streams_.ended(stream.id());
  finish(stream, error == NGHTTP2_NO_ERROR ? stream.reset_error_ : static_cast<Http2Error>(error));
}

void Nghttp2Session::close_all(Http2Error error) {
  while (open_ != nullptr) {
    // The analyzer does not see that finish() takes the stream off the list.
    nghttp2_session_set_stream_user_data(session_, open_->id_, nullptr);  // NOLINT(clang-analyzer-cplusplus.NewDelete)
    finish(*open_, error);
  }
}

// --- Answers before the request's end ----------------------------------------------------------------------------------

// Some clients throw the answer away when a reset comes with it. So what is on its way may come, and end; what has not ended
// when a ping sent behind the answer is answered is reset.
void Nghttp2Session::linger(Nghttp2Stream& stream) {
  if (lingering_ >= lingering_max) return stop(stream);
  ++lingering_;
  stream.lingers_ = linger_ping_sent_ ? Nghttp2Stream::Lingers::next_ping : Nghttp2Stream::Lingers::this_ping;
  if (linger_ping_sent_) return;
  linger_ping_sent_ = true;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, bytes_of(linger_ping));
}

void Nghttp2Session::end_lingering() {
  bool more = false;
  for (Nghttp2Stream* stream = open_; stream != nullptr; stream = stream->next_) {
    if (stream->lingers_ == Nghttp2Stream::Lingers::this_ping) stop(*stream);
    if (stream->lingers_ != Nghttp2Stream::Lingers::next_ping) continue;
    stream->lingers_ = Nghttp2Stream::Lingers::this_ping;
    more = true;
  }
  linger_ping_sent_ = more;
  if (more) nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, bytes_of(linger_ping));
}

void Nghttp2Session::stop(Nghttp2Stream& stream) {
  stream.counted_ = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_NO_ERROR);
}

// --- The h2c Upgrade ---------------------------------------------------------------------------------------------------

Result<void> Nghttp2Session::upgrade(std::string_view settings, const Http2Head& head, std::string_view body) {
  SHUNT_ASSERT(!inside_ && side_ == Side::server);
  if (nghttp2_session_upgrade2(session_, bytes_of(settings), settings.size(), head.method == "HEAD" ? 1 : 0, nullptr) !=
      0) {
    return fail(Code::invalid_argument, "HTTP/2: the HTTP2-Settings of an Upgrade are not those of HTTP/2");
  }
  old_streams_.opened(1);
  Nghttp2Stream& stream = open(1, nullptr);
  nghttp2_session_set_stream_user_data(session_, 1, &stream);
  stream.head_heard_ = true;
  stream.end_heard_ = true;
  inside_ = true;
  Http2StreamEvents* events = events_.on_request(stream, head, body.empty());
  stream.events_ = events;
  if (events == nullptr) stream.reset(Http2Error::refused_stream);
  if (!stream.is_mute() && !body.empty()) events->on_data(body, true);
  inside_ = false;
  if (closing_) close_all(closing_error_);
  notify();
  return {};
}

Own<Http2Session> make_http2_server(Http2Events& events, const Http2Limits& limits) {
  return make_own<Nghttp2Session>(Nghttp2Session::Side::server, events, limits);
}

Own<Http2Session> make_http2_client(Http2Events& events, const Http2Limits& limits) {
  return make_own<Nghttp2Session>(Nghttp2Session::Side::client, events, limits);
}

}  // namespace shunt::net
