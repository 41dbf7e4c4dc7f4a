#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "net/http2/nghttp2_session.h"

namespace shunt::net {

namespace {

// Fields as nghttp2 takes them; it copies the texts. On the stack unless there are many.
class Fields {
 public:
  void add(std::string_view name, std::string_view value) {
    const nghttp2_nv field{bytes_of(name), bytes_of(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
    if (count_ < few_.size()) {
      few_[count_++] = field;
      return;
    }
    if (many_.empty()) many_.assign(few_.begin(), few_.end());
    many_.push_back(field);
    ++count_;
  }
  void add(std::span<const Header> headers) {
    for (const Header& header : headers) add(header.name, header.value);
  }
  [[nodiscard]] const nghttp2_nv* data() const { return many_.empty() ? few_.data() : many_.data(); }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  static std::uint8_t* bytes_of(std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // nghttp2's type; it only reads.
  }

  std::array<nghttp2_nv, 24> few_;
  std::vector<nghttp2_nv> many_;
  std::size_t count_ = 0;
};

struct StatusText {
  explicit StatusText(int status) {
    const int known = std::clamp(status, 100, 999);
    std::to_chars(digits.data(), digits.data() + digits.size(), known);
  }
  [[nodiscard]] std::string_view view() const { return {digits.data(), digits.size()}; }
  std::array<char, 3> digits{};
};

}  // namespace

// nghttp2 asks for the next DATA frame: how long it is. The bytes are given to send_data.
struct Nghttp2Session::Source {
  static ssize_t read(nghttp2_session* /*session*/, std::int32_t /*id*/, std::uint8_t* /*buffer*/, std::size_t length,
                      std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    auto& session = *static_cast<Nghttp2Session*>(user);
    if (session.closing_) return NGHTTP2_ERR_DEFERRED;  // The stream may be gone.
    auto& stream = *static_cast<Nghttp2Stream*>(source->ptr);
    const std::size_t size = std::min(stream.queue_.size(), length);
    const bool last = stream.ended_ && size == stream.queue_.size();
    if (size == 0 && !last) {
      stream.deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (last) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (last && stream.has_trailers_) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      session.submit_trailers(stream);
    }
    return static_cast<ssize_t>(size);
  }

  static nghttp2_data_provider of(Nghttp2Stream& stream) { return {.source = {.ptr = &stream}, .read_callback = read}; }
};

void Nghttp2Session::submit_trailers(Nghttp2Stream& stream) {
  Fields fields;
  std::string_view text = stream.trailer_text_;
  for (const Nghttp2Stream::Stored& stored : stream.trailers_) {
    fields.add(text.substr(0, stored.name), text.substr(stored.name, stored.value));
    text.remove_prefix(std::size_t{stored.name} + stored.value);
  }
  nghttp2_submit_trailer(session_, stream.id_, fields.data(), fields.size());
}

// --- What a stream's owner asks ----------------------------------------------------------------------------------------

void Nghttp2Stream::send_head(int status, std::span<const Header> headers, bool end) {
  if (reset_ || head_sent_ || session_->closing_ || session_->side_ != Nghttp2Session::Side::server) return;
  const StatusText text(status);
  Fields fields;
  fields.add(":status", text.view());
  fields.add(headers);
  if (status < 200 && !end) {
    nghttp2_submit_headers(session_->session_, NGHTTP2_FLAG_NONE, id_, nullptr, fields.data(), fields.size(), nullptr);
  } else {
    head_sent_ = true;
    ended_ = end;
    const nghttp2_data_provider source = Nghttp2Session::Source::of(*this);
    nghttp2_submit_response(session_->session_, id_, fields.data(), fields.size(), end ? nullptr : &source);
  }
  session_->notify();
}

void Nghttp2Stream::send(std::string_view piece, bool end) {
  if (reset_ || ended_ || session_->closing_) return;
  queue_.push_copy(piece);
  queued(end);
}

void Nghttp2Stream::send(Bytes piece, bool end) {
  if (reset_ || ended_ || session_->closing_) return;
  queue_.push(std::move(piece));
  queued(end);
}

void Nghttp2Stream::send_trailers(std::span<const Header> trailers) {
  if (reset_ || ended_ || session_->closing_) return;
  for (const Header& trailer : trailers) {
    trailer_text_.append(trailer.name).append(trailer.value);
    trailers_.push_back(
        {static_cast<std::uint32_t>(trailer.name.size()), static_cast<std::uint32_t>(trailer.value.size())});
  }
  has_trailers_ = !trailers.empty();
  queued(true);
}

void Nghttp2Stream::queued(bool end) {
  ended_ = end;
  if (queue_.size() > high_mark) above_mark_ = true;
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->session_, id_);
  }
  session_->notify();
}

void Nghttp2Stream::reset(Http2Error error) {
  if (reset_ || session_->closing_) return;
  reset_ = true;
  reset_error_ = error;
  queue_.clear();
  nghttp2_submit_rst_stream(session_->session_, NGHTTP2_FLAG_NONE, id_, static_cast<std::uint32_t>(error));
  session_->notify();
}

void Nghttp2Stream::close_when_sent() {
  if (std::exchange(close_when_sent_, true) || reset_ || session_->closing_ || !end_sent_ || end_heard_) return;
  session_->linger(*this);
  session_->notify();
}

void Nghttp2Stream::widen(std::uint32_t window) {
  if (reset_ || session_->closing_ || window > 0x7fff'ffff) return;
  const auto size = static_cast<std::int32_t>(window);
  for (const std::int32_t which : {std::int32_t{0}, id_}) {
    if (nghttp2_session_get_stream_effective_local_window_size(session_->session_, id_) > size && which != 0) continue;
    if (which == 0 && nghttp2_session_get_effective_local_window_size(session_->session_) > size) continue;
    nghttp2_session_set_local_window_size(session_->session_, NGHTTP2_FLAG_NONE, which, size);
  }
  session_->notify();
}

void Nghttp2Stream::consumed(std::size_t bytes) {
  const std::size_t known = std::min(bytes, unconsumed_);
  if (known == 0 || session_->closing_) return;
  unconsumed_ -= known;
  nghttp2_session_consume(session_->session_, id_, known);
  if (nghttp2_session_want_write(session_->session_) != 0) session_->notify();
}

void Nghttp2Stream::begin(Nghttp2Session& session, std::int32_t id, Http2StreamEvents* events) {
  session_ = &session;
  id_ = id;
  events_ = events;
}

void Nghttp2Stream::clear() {
  events_ = nullptr;
  head_sent_ = head_heard_ = ended_ = end_sent_ = end_heard_ = reset_ = deferred_ = above_mark_ = false;
  has_length_ = has_trailers_ = close_when_sent_ = counted_ = false;
  lingers_ = Lingers::no;
  reset_error_ = Http2Error::no_error;
  unconsumed_ = 0;
  queue_.clear();
  trailer_text_.clear();
  trailers_.clear();
  if (trailer_text_.capacity() > 1024) trailer_text_ = {};
  if (trailers_.capacity() > 64) trailers_ = {};
}

// --- Requests of a client ----------------------------------------------------------------------------------------------

Result<void> Nghttp2Session::can_request(const Http2Head& head) const {
  if (side_ != Side::client) return fail(Code::failed_precondition, "HTTP/2: a server's session sends no requests");
  if (closing_ || shutting_down_ || goaway_heard_ || nghttp2_session_check_request_allowed(session_) == 0) {
    return std::unexpected(
        Status(Code::unavailable, "HTTP/2: the connection takes no new streams").with_retry(Retry::reconnect));
  }
  if (streams_ >= nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)) {
    return std::unexpected(
        Status(Code::unavailable, "HTTP/2: as many streams are open as the peer allows").with_retry(Retry::later));
  }
  if (!head.protocol.empty() &&
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 0) {
    return fail(Code::unimplemented, "HTTP/2: the peer takes no extended CONNECT (RFC 8441)");
  }
  return {};
}

Result<Http2Stream*> Nghttp2Session::request(const Http2Head& head, bool end, Http2StreamEvents& events) {
  SHUNT_CHECK(can_request(head));
  Fields fields;
  fields.add(":method", head.method);
  if (head.method != "CONNECT" || !head.protocol.empty()) {
    fields.add(":scheme", head.scheme);
    fields.add(":path", head.path);
  }
  if (!head.authority.empty()) fields.add(":authority", head.authority);
  if (!head.protocol.empty()) fields.add(":protocol", head.protocol);
  fields.add(head.headers);
  Nghttp2Stream& stream = open(0, &events);
  stream.head_sent_ = true;
  stream.ended_ = end;
  const nghttp2_data_provider source = Source::of(stream);
  stream.id_ =
      nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), end ? nullptr : &source, &stream);
  if (stream.id_ < 0) {
    stream.events_ = nullptr;
    finish(stream, Http2Error::refused_stream);
    return std::unexpected(
        Status(Code::unavailable, "HTTP/2: the connection has used up its streams").with_retry(Retry::reconnect));
  }
  notify();
  return &stream;
}

}  // namespace shunt::net
