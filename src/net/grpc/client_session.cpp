#include "net/grpc/client_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "net/coding/coding.h"
#include "net/grpc/envelope.h"
#include "net/grpc/status.h"

namespace shunt::net {

namespace {

/// Smaller messages are framed in one piece, with a copy; a larger one is not copied.
constexpr std::size_t copied_bytes_max = 2048;
/// Below it compression does not pay.
constexpr std::size_t compressed_bytes_min = 256;

std::string_view reset_name(Http2Error error) {
  static constexpr std::string_view names[] = {"NO_ERROR",
                                               "PROTOCOL_ERROR",
                                               "INTERNAL_ERROR",
                                               "FLOW_CONTROL_ERROR",
                                               "SETTINGS_TIMEOUT",
                                               "STREAM_CLOSED",
                                               "FRAME_SIZE_ERROR",
                                               "REFUSED_STREAM",
                                               "CANCEL",
                                               "COMPRESSION_ERROR",
                                               "CONNECT_ERROR",
                                               "ENHANCE_YOUR_CALM",
                                               "INADEQUATE_SECURITY",
                                               "HTTP_1_1_REQUIRED"};
  const auto index = static_cast<std::size_t>(error);
  return index < std::size(names) ? names[index] : "an unknown error";
}

class Session final : public GrpcClientSession, private Http2Events {
 public:
  Session(GrpcClientOwner& owner, GrpcClientOptions options) : owner_(owner), options_(std::move(options)) {
    http2_ = make_http2_client(*this, options_.http2);
  }
  ~Session() override { fail("the client has closed the connection"); }

  Result<GrpcCall*> start(const GrpcRequest& request, GrpcCallEvents& events) override;
  Result<void> receive(std::string_view bytes, std::int64_t now_ns) override {
    if (http2_ == nullptr) return {};
    return http2_->receive(bytes, now_ns);
  }
  bool collect(std::string& out, std::size_t bytes_max) override {
    return http2_ != nullptr && http2_->collect(out, bytes_max);
  }
  void ping() override {
    if (http2_ != nullptr) http2_->ping();
  }
  void shut_down() override {
    if (http2_ != nullptr) http2_->shut_down();
  }
  void fail(std::string_view why) override {
    why_ = why;
    http2_.reset();
  }
  std::size_t calls() const override { return http2_ == nullptr ? 0 : http2_->streams(); }
  bool is_done() const override { return http2_ == nullptr || http2_->is_done(); }

 private:
  class Call;

  void on_output() override { owner_.on_output(); }
  void on_goaway(std::uint32_t, Http2Error) override { owner_.on_goaway(); }
  void on_ping_answer() override { owner_.on_ping_answer(); }

  GrpcClientOwner& owner_;
  const GrpcClientOptions options_;
  std::string why_;  // the connection broke
  Codecs codecs_;
  std::string scratch_;
  std::vector<Header> headers_;  // of start()
  Own<Http2Session> http2_;
};

// Owned by itself: freed when its stream has closed.
class Session::Call final : public GrpcCall, private Http2StreamEvents {
 public:
  Call(Session& session, GrpcCallEvents& events, bool compress)
      : session_(session), events_(&events), reader_(session.options_.message_bytes_max), compress_(compress) {}
  Http2StreamEvents& ear() { return *this; }
  void attach(Http2Stream* stream) { stream_ = stream; }
  void discard() { delete this; }

  void send(const Bytes& message, bool last) override;
  void half_close() override {
    if (stream_ == nullptr || std::exchange(ended_our_side_, true)) return;
    stream_->send(std::string_view(), true);
  }
  void consumed(std::size_t bytes) override {
    taken_ = std::min(taken_ + bytes, received_ - reader_.part_bytes());
    give_window();
  }
  void drop() override {
    events_ = nullptr;
    if (stream_ != nullptr) stream_->reset(Http2Error::cancel);
  }
  std::size_t unsent() const override { return stream_ == nullptr ? 0 : stream_->unsent(); }

 private:
  // Whoever hears an event may end the call in it; it is freed when the event is over.
  struct Busy {
    explicit Busy(Call& busy) : call(busy) { ++call.busy_; }
    ~Busy() {
      if (--call.busy_ == 0 && call.closed_) delete &call;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    Call& call;
  };
  void on_head(const Http2Head& head, bool end) override;
  void on_data(std::string_view piece, bool end) override;
  void on_trailers(std::span<const Header> trailers) override {
    Busy busy(*this);
    read_trailers(trailers);
  }
  void on_drained() override {
    Busy busy(*this);
    if (events_ != nullptr) events_->on_drained();
  }
  void on_close(Http2Error error) override;

  // What waits for the rest of its message is bounded by the message's limit, not by the window: the window comes back at
  // once, and is made good for when the message is taken.
  void give_window() {
    const std::uint64_t due = taken_ + reader_.part_bytes();
    if (stream_ == nullptr || due <= given_) return;
    const std::uint64_t bytes = due - given_;
    given_ = due;
    stream_->consumed(static_cast<std::size_t>(bytes));
  }
  bool take(Envelope& envelope);
  void read_trailers(std::span<const Header> trailers);
  void fail(Status status) {
    must_reset_ = true;
    end(std::move(status), {});
  }
  void end(Status status, GrpcMetadata trailers) {
    if (events_ != nullptr) std::exchange(events_, nullptr)->on_end(std::move(status), std::move(trailers));
    // A server that has answered takes no more of the request; one that broke the rules is not listened to.
    const bool is_open = !ended_our_side_ || must_reset_;
    if (stream_ != nullptr && is_open) stream_->reset(must_reset_ ? Http2Error::cancel : Http2Error::no_error);
  }

  Session& session_;
  GrpcCallEvents* events_;  // nullptr: nobody listens any more
  Http2Stream* stream_ = nullptr;
  EnvelopeReader reader_;
  std::uint64_t received_ = 0;
  std::uint64_t taken_ = 0;  // of whole messages: consumed by who heard them
  std::uint64_t given_ = 0;  // back to the window
  Coding coding_ = Coding::identity;
  bool compress_;
  bool ended_our_side_ = false;
  bool has_head_ = false;
  bool must_reset_ = false;
  bool closed_ = false;
  int busy_ = 0;
};

Result<GrpcCall*> Session::start(const GrpcRequest& request, GrpcCallEvents& events) {
  if (http2_ == nullptr) {
    return shunt::fail(Status(Code::unavailable, "S1008", why_).with_retry(Retry::elsewhere));
  }
  std::string timeout;
  std::vector<std::string> values;  // of "-bin" keys
  headers_.clear();
  headers_.push_back({"te", "trailers"});
  headers_.push_back({"content-type", grpc_content_type(GrpcFlavour::grpc, request.codec)});
  headers_.push_back({"user-agent", options_.user_agent});
  headers_.push_back({"grpc-accept-encoding", "identity,gzip"});
  if (request.compress) headers_.push_back({"grpc-encoding", "gzip"});
  if (request.timeout) {
    timeout = format_grpc_timeout(*request.timeout);
    headers_.push_back({"grpc-timeout", timeout});
  }
  if (request.metadata != nullptr) {
    values.reserve(request.metadata->size());
    for (const auto& [key, value] : *request.metadata) {
      if (!is_grpc_metadata(key, value)) continue;
      if (key.ends_with("-bin")) {
        headers_.push_back({key, values.emplace_back(grpc_header_value(key, value))});
      } else {
        headers_.push_back({key, value});
      }
    }
  }
  Http2Head head;
  head.method = "POST";
  head.scheme = options_.scheme;
  head.authority = options_.authority;
  head.path = request.path;
  head.headers = headers_;
  auto* call = new Call(*this, events, request.compress);
  Result<Http2Stream*> stream = http2_->request(head, false, call->ear());
  if (!stream) {
    call->discard();
    return std::unexpected(std::move(stream).error().with_retry(Retry::elsewhere));
  }
  call->attach(*stream);
  return call;
}

void Session::Call::send(const Bytes& message, bool last) {
  if (stream_ == nullptr || ended_our_side_) return;
  ended_our_side_ = last;
  std::string_view text = message.view();
  std::uint8_t flags = 0;
  if (compress_ && text.size() >= compressed_bytes_min) {
    session_.scratch_.clear();
    session_.codecs_.compress(Coding::gzip, text, session_.scratch_);
    if (session_.scratch_.size() < text.size()) {
      text = session_.scratch_;
      flags = envelope_flag::compressed;
    }
  }
  const auto prefix = envelope_prefix(flags, text.size());
  if (text.size() <= copied_bytes_max) {
    std::array<char, envelope_prefix_bytes + copied_bytes_max> frame;  // Only what is sent of it is written.
    std::memcpy(frame.data(), prefix.data(), prefix.size());
    if (!text.empty()) std::memcpy(frame.data() + prefix.size(), text.data(), text.size());
    stream_->send(std::string_view(frame.data(), prefix.size() + text.size()), last);
    return;
  }
  stream_->send(std::string_view(prefix.data(), prefix.size()), false);
  if (stream_ == nullptr) return;
  if (flags != 0) {
    stream_->send(Bytes::adopt(std::exchange(session_.scratch_, {})), last);
  } else {
    stream_->send(message, last);
  }
}

void Session::Call::on_head(const Http2Head& head, bool end) {
  Busy busy(*this);
  if (events_ == nullptr) return;
  if (has_head_) return;  // Only informational ones may come twice.
  if (head.status >= 100 && head.status < 200) return;
  has_head_ = true;
  std::string_view content_type;
  bool has_status = false;
  GrpcMetadata metadata;
  for (const Header& header : head.headers) {
    if (header.name == "content-type") content_type = header.value;
    if (header.name == "grpc-status") has_status = true;
    if (header.name == "grpc-encoding") {
      const auto coding = coding_from_name(header.value);
      if (!coding || (*coding != Coding::identity && *coding != Coding::gzip)) {
        fail(Status(Code::internal, "S1022",
                    fmt::format("the server compresses with '{}', which it was not offered", header.value)));
        return;
      }
      coding_ = *coding;
    }
    if (end || is_grpc_reserved(header.name)) continue;
    if (auto added = add_grpc_metadata(metadata, header.name, header.value); !added) {
      fail(Status(Code::internal, "S1022", std::string(added.error().message())));
      return;
    }
  }
  if (end && has_status) {
    read_trailers(head.headers);
    return;
  }
  const auto type = parse_grpc_content_type(content_type);
  if (head.status != 200 || !type || type->flavour != GrpcFlavour::grpc) {
    const Code code = head.status == 200 ? Code::unknown : grpc_code_of_http(head.status);
    fail(Status(code, fmt::format("the server answered HTTP {} of content type '{}': that is no gRPC", head.status,
                                  content_type)));
    return;
  }
  if (end) {
    fail(Status(Code::unknown, "the server ended the call without a grpc-status"));
    return;
  }
  events_->on_metadata(std::move(metadata));
}

void Session::Call::on_data(std::string_view piece, bool end) {
  Busy busy(*this);
  if (events_ == nullptr || !has_head_) {
    if (stream_ != nullptr) stream_->consumed(piece.size());
    return;
  }
  received_ += piece.size();
  reader_.feed(piece);
  Envelope envelope;
  for (;;) {
    const EnvelopeReader::Event event = reader_.next(envelope);
    if (event == EnvelopeReader::Event::need_more) break;
    if (event == EnvelopeReader::Event::too_large) {
      fail(Status(Code::resource_exhausted, "S1007",
                  fmt::format("the server's message has {} bytes; {} are taken", reader_.size(),
                              session_.options_.message_bytes_max)));
      return;
    }
    if (!take(envelope)) return;
  }
  give_window();
  if (!end) return;
  fail(reader_.is_inside() ? Status(Code::internal, "S1022", "the server's last message was cut off")
                           : Status(Code::internal, "S1022", "the server ended the call without trailers"));
}

// False when the call has ended.
bool Session::Call::take(Envelope& envelope) {
  if ((envelope.flags & envelope_flag::compressed) != 0 && coding_ != Coding::identity) {
    std::string plain;
    auto done =
        session_.codecs_.decompress(coding_, envelope.message.view(), session_.options_.message_bytes_max, plain);
    if (!done) {
      const bool is_large = done.error().code() == Code::resource_exhausted;
      fail(Status(is_large ? Code::resource_exhausted : Code::internal, is_large ? "S1007" : "S1022",
                  fmt::format("the server's compressed message: {}", done.error().message())));
      return false;
    }
    envelope.message = Bytes::adopt(std::move(plain));
  } else if (envelope.flags != 0) {
    fail(Status(Code::internal, "S1022",
                fmt::format("the server's message has the flags {:#04x}, which mean nothing here", envelope.flags)));
    return false;
  }
  events_->on_message(std::move(envelope.message));
  return events_ != nullptr;
}

void Session::Call::read_trailers(std::span<const Header> trailers) {
  if (events_ == nullptr) return;
  if (reader_.is_inside()) {
    fail(Status(Code::internal, "S1022", "the server's last message was cut off"));
    return;
  }
  std::optional<Code> code;
  std::string message;
  std::string details;
  GrpcMetadata metadata;
  for (const Header& header : trailers) {
    if (header.name == "grpc-status") {
      code = parse_grpc_status(header.value).value_or(Code::unknown);
    } else if (header.name == "grpc-message") {
      message = decode_grpc_message(header.value);
    } else if (header.name == "grpc-status-details-bin") {
      GrpcMetadata decoded;
      if (add_grpc_metadata(decoded, header.name, header.value)) details = std::move(decoded.front().second);
    } else if (!is_grpc_reserved(header.name)) {
      (void)add_grpc_metadata(metadata, header.name, header.value);  // A bad one is not worth a call.
    }
  }
  if (!code) {
    fail(Status(Code::unknown, "the server ended the call without a grpc-status"));
    return;
  }
  if (*code == Code::ok) {
    end(Status(), std::move(metadata));
    return;
  }
  end(details.empty() ? Status(*code, std::move(message)) : decode_rpc_status(*code, std::move(message), details),
      std::move(metadata));
}

void Session::Call::on_close(Http2Error error) {
  Busy busy(*this);
  stream_ = nullptr;
  closed_ = true;
  if (events_ != nullptr) {
    Status status = !session_.why_.empty()
                        ? Status(Code::unavailable, "S1008", session_.why_).with_retry(Retry::reconnect)
                        : grpc_status_of_reset(error);
    std::exchange(events_, nullptr)->on_end(std::move(status), {});
  }
}

}  // namespace

Status grpc_status_of_reset(Http2Error error) {
  const std::string text = fmt::format("the server reset the stream with {}", reset_name(error));
  switch (error) {
    case Http2Error::refused_stream:
      return Status(Code::unavailable, "S1015", text).with_retry(Retry::elsewhere);
    case Http2Error::cancel:
      return {Code::cancelled, "S1012", text};
    case Http2Error::enhance_your_calm:
      return Status(Code::resource_exhausted, "S1011", text).with_retry(Retry::later);
    case Http2Error::inadequate_security:
      return {Code::permission_denied, "S1010", text};
    default:
      return {Code::internal, "S1022", text};
  }
}

Own<GrpcClientSession> GrpcClientSession::create(GrpcClientOwner& owner, GrpcClientOptions options) {
  return make_own<Session>(owner, std::move(options));
}

}  // namespace shunt::net
