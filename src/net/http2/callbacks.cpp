#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "net/http2/nghttp2_session.h"

namespace shunt::net {

namespace {

std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

// Each is a static function that nghttp2 calls with the session as `user`. An error they return ends receive() or collect().
struct Nghttp2Session::Callbacks {
  static Nghttp2Session& self(void* user) { return *static_cast<Nghttp2Session*>(user); }

  static bool is_progress(const nghttp2_frame_hd& frame) {
    switch (frame.type) {
      case NGHTTP2_DATA:
        return frame.length > 0 || (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0;
      case NGHTTP2_HEADERS:
      case NGHTTP2_CONTINUATION:
        return true;
      case NGHTTP2_SETTINGS:
        return (frame.flags & NGHTTP2_FLAG_ACK) != 0;  // One that we didn't ask for is an error.
      default:
        return false;
    }
  }

  // What nghttp2 is too kind to: it ignores HEADERS of streams that it has forgotten, and PRIORITY altogether.
  static bool may_come(Nghttp2Session& session, const nghttp2_frame_hd& frame) {
    const auto id = static_cast<std::uint32_t>(frame.stream_id);
    if (frame.type == NGHTTP2_PRIORITY && id == 0) {
      session.end_with(Http2Error::protocol_error, "PRIORITY of stream 0");
      return false;
    }
    if (frame.type != NGHTTP2_HEADERS) return true;
    if (session.old_streams_.is_new(id)) {
      if (id % 2 == 1) session.old_streams_.opened(id);  // Else nghttp2 minds.
      return true;
    }
    if (session.old_streams_.has_ended(id)) {
      session.end_with(Http2Error::stream_closed, "HEADERS for a stream that its sender had ended");
      return false;
    }
    if (session.old_streams_.was_skipped(id)) {
      session.end_with(Http2Error::protocol_error, "HEADERS for a stream that was passed over");
      return false;
    }
    return true;
  }

  static int on_begin_frame(nghttp2_session* /*session*/, const nghttp2_frame_hd* frame, void* user) {
    Nghttp2Session& session = self(user);
    if (frame->type == NGHTTP2_DATA) session.frame_left_ = frame->length;
    if (session.side_ == Side::server && !may_come(session, *frame)) return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->type == NGHTTP2_RST_STREAM) return 0;  // Has a rate of its own.
    if (is_progress(*frame)) {
      session.controls_.earn(2);
      return 0;
    }
    return session.charge_control() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    self(user).block_.clear();
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, &self(user).open(frame->hd.stream_id, nullptr));
    return 0;
  }

  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/, nghttp2_rcbuf* name,
                       nghttp2_rcbuf* value, std::uint8_t /*flags*/, void* user) {
    return self(user).on_header(name, value);
  }

  // A field that HTTP doesn't allow: nghttp2 would leave it out. We want the stream reset.
  static int on_invalid_header(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/, nghttp2_rcbuf* /*name*/,
                               nghttp2_rcbuf* /*value*/, std::uint8_t /*flags*/, void* /*user*/) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_piece(nghttp2_session* session, std::uint8_t flags, std::int32_t id, const std::uint8_t* data,
                      std::size_t size, void* user) {
    Nghttp2Session& owner = self(user);
    owner.frame_left_ -= std::min(owner.frame_left_, size);
    Nghttp2Stream* stream = owner.find(id);
    if (stream == nullptr) {
      nghttp2_session_consume(session, id, size);
      return 0;
    }
    const bool end = (flags & NGHTTP2_FLAG_END_STREAM) != 0 && owner.frame_left_ == 0 && !stream->has_length_;
    owner.on_piece(*stream, text_of(data, size), end);
    return 0;
  }

  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user) {
    Nghttp2Session& owner = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        Nghttp2Stream* stream = owner.find(frame->hd.stream_id);
        if (stream == nullptr) break;
        const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        if (frame->hd.type == NGHTTP2_HEADERS) {
          owner.on_head(*stream, end);
        } else if (end && !stream->end_heard_) {
          owner.on_piece(*stream, {}, true);
        }
        break;
      }
      case NGHTTP2_RST_STREAM:
        if (Nghttp2Stream* stream = owner.find(frame->hd.stream_id); stream != nullptr) {
          stream->counted_ = stream->end_heard_ = true;
        } else {
          owner.old_streams_.ended(static_cast<std::uint32_t>(frame->hd.stream_id));  // Both of us have reset it.
        }
        return owner.charge_reset() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) owner.on_ping_answer(text_of(frame->ping.opaque_data, 8));
        break;
      case NGHTTP2_GOAWAY:
        owner.goaway_heard_ = true;
        owner.events_.on_goaway(static_cast<std::uint32_t>(frame->goaway.last_stream_id),
                                static_cast<Http2Error>(frame->goaway.error_code));
        break;
      default:
        break;
    }
    return 0;
  }

  static int on_frame_sent(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user) {
    Nghttp2Session& owner = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        owner.controls_.earn(4);  // Answered by window updates and pings, mostly.
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) break;
        Nghttp2Stream* stream = owner.find(frame->hd.stream_id);
        if (stream == nullptr) break;
        stream->end_sent_ = true;
        if (stream->close_when_sent_ && !stream->end_heard_) owner.linger(*stream);
        break;
      }
      case NGHTTP2_RST_STREAM: {
        // What the peer makes us reset is as good to it as what it resets.
        Nghttp2Stream* stream = owner.find(frame->hd.stream_id);
        if (stream == nullptr || !(stream->reset_ || stream->counted_)) owner.charge_reset();
        break;
      }
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !owner.closing_) {
          owner.closing_ = true;
          owner.closing_error_ = static_cast<Http2Error>(frame->goaway.error_code);
          owner.closing_why_ = text_of(frame->goaway.opaque_data, frame->goaway.opaque_data_len);
        }
        owner.last_goaway_sent_ = owner.closing_;
        break;
      default:
        break;
    }
    return 0;
  }

  // A head or trailers that can't be sent: too long for a peer, or so we say. The stream can't go on.
  static int on_frame_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error, void* /*user*/) {
    if (frame->hd.type != NGHTTP2_HEADERS || error != NGHTTP2_ERR_FRAME_SIZE_ERROR) return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) return 0;  // nghttp2 closes it.
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
    return 0;
  }

  static int on_stream_close(nghttp2_session* /*session*/, std::int32_t id, std::uint32_t error, void* user) {
    Nghttp2Session& owner = self(user);
    if (Nghttp2Stream* stream = owner.find(id); stream != nullptr) owner.on_stream_end(*stream, error);
    return 0;
  }

  static int send_data(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/, const std::uint8_t* head,
                       std::size_t size, nghttp2_data_source* source, void* user) {
    Nghttp2Session& owner = self(user);
    auto& stream = *static_cast<Nghttp2Stream*>(source->ptr);
    owner.out_->append(text_of(head, 9));
    stream.queue_.pop_into(*owner.out_, size);
    if (stream.above_mark_ && stream.queue_.size() <= Http2Stream::high_mark / 2) {
      stream.above_mark_ = false;
      if (!stream.is_mute() && !stream.ended_) stream.events_->on_drained();
    }
    return owner.out_->size() < owner.out_bytes_max_ ? 0 : NGHTTP2_ERR_PAUSE;
  }
};

nghttp2_session_callbacks* Nghttp2Session::make_callbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) return nullptr;
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, Callbacks::on_begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback2(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, Callbacks::on_invalid_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_piece);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::on_frame_sent);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, Callbacks::on_frame_not_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_stream_close);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Callbacks::send_data);
  return callbacks;
}

}  // namespace shunt::net
