#include "link/grpc/grpc_carrier.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/names.h"
#include "link/grpc/link_message.h"
#include "net/grpc/status.h"
#include "net/grpc/text.h"
#include "net/http2/session.h"
#include "net/tls/tls_session.h"
#include "os/fd.h"

namespace shunt::link {

namespace {

constexpr std::size_t read_bytes = 64u << 10;
/// What one link may read before the others of its loop have their turn.
constexpr std::size_t turn_bytes_max = 512u << 10;
/// What is taken from the link and not taken by the socket yet.
constexpr std::size_t unsent_bytes_max = 512u << 10;
/// What is framed ahead of the socket.
constexpr std::size_t framed_bytes_max = 256u << 10;

class Dialled final : public GrpcCarrier,
                      private loop::Watch,
                      private loop::Timer,
                      private loop::Runnable,
                      private net::Http2Events,
                      private net::Http2StreamEvents {
 public:
  Dialled(loop::EpollLoop& loop, GrpcDialOptions options, GrpcDialEvents& events)
      : loop_(loop), options_(std::move(options)), dial_events_(&events) {
    net::Http2Limits limits;
    limits.streams_max = 1;
    limits.stream_window = options_.window;
    limits.connection_window = options_.window;
    session_ = net::make_http2_client(*this, limits);
  }
  ~Dialled() override {
    if (gone_ != nullptr) *gone_ = true;
    closed_ = true;
    session_ = nullptr;
  }

  void begin() {
    heard_ = loop_.now();
    loop_.arm(*this, heard_ + options_.connect_timeout);
    if (auto begun = connect(); !begun) {
      why_ = std::move(begun).error();
      loop_.arm(*this, heard_);
    }
  }

  // --- Carrier ---

  void start(Events& events) override {
    events_ = &events;
    if (!inbox_.empty() || !why_.is_ok()) loop_.ready(deliver_);
  }
  std::size_t write(const iovec* vectors, int count) override;
  void close() override;

 private:
  enum class Stage : std::uint8_t { connecting, securing, asking, proving, ready };

  /// Tells what has come, outside the stack of whoever called start().
  struct Deliver final : loop::Runnable {
    explicit Deliver(Dialled& to) : carrier(to) {}
    void run() override { carrier.deliver(); }
    Dialled& carrier;
  };

  Result<void> connect();
  Result<void> request();
  Result<void> check_answer(const net::Http2Head& head);
  Result<void> check_proof();

  // loop
  void on_ready(bool readable, bool writable) override;
  void fire() override;  // time limits, pings, and reading on
  void run() override {  // the end of the turn
    bool gone = false;
    Guard guard(*this, gone);
    send();
    if (!gone) settle();
  }
  // Http2Events
  void on_output() override { loop_.flush(*this); }
  void on_goaway(std::uint32_t, net::Http2Error) override { goaway_heard_ = true; }
  void on_ping_answer() override { waits_for_ping_ = false; }
  // Http2StreamEvents
  void on_head(const net::Http2Head& head, bool end) override;
  void on_data(std::string_view piece, bool end) override;
  void on_trailers(std::span<const net::Header> trailers) override;
  void on_drained() override { drained_ = true; }
  void on_close(net::Http2Error error) override;

  void read();
  Result<void> take(std::string_view bytes);
  void send();
  /// Tells what was found out, once nothing of the session is on the stack. It may be destroyed inside.
  void settle();
  void deliver();
  /// The first reason counts; told by settle().
  void lose(Status why) {
    if (why_.is_ok()) why_ = std::move(why);
  }
  void stop();
  [[nodiscard]] Status status_of(std::span<const net::Header> headers, int http_status) const;
  [[nodiscard]] std::string peer() const { return options_.address.to_string(); }
  [[nodiscard]] Status lost(std::string_view what) const {
    return Status(Code::unavailable, "S1008", fmt::format("{} {}", peer(), what)).with_retry(Retry::reconnect);
  }

  /// While it stands, destruction sets `gone`.
  class Guard {
   public:
    Guard(Dialled& carrier, bool& gone) : carrier_(carrier), outer_(carrier.gone_), mine_(gone) {
      if (outer_ == nullptr) carrier.gone_ = &gone;
    }
    ~Guard() {
      if (outer_ != nullptr) return;
      if (!mine_) carrier_.gone_ = nullptr;
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Dialled& carrier_;
    bool* outer_;
    bool& mine_;
  };

  loop::EpollLoop& loop_;
  const GrpcDialOptions options_;
  GrpcDialEvents* dial_events_;
  Events* events_ = nullptr;
  bool* gone_ = nullptr;
  Stage stage_ = Stage::connecting;
  os::Fd socket_;
  Own<net::TlsSession> tls_;
  std::string plain_;   // TLS: what comes and goes, used again
  std::string buffer_;  // what recv() fills
  std::string out_;
  std::size_t sent_ = 0;  // of out_
  std::string inbox_;     // frames that have come and are not told
  std::string lent_;      // those that are being told
  LinkMessageReader reader_;
  Introduction theirs_;
  std::size_t owed_ = 0;  // window
  Instant heard_{0};
  Instant ping_sent_{0};
  Status why_;  // it is to be told that it has ended
  bool heard_anything_ = false;
  bool waits_for_ping_ = false;
  bool wants_to_write_ = false;
  bool drained_ = false;
  bool goaway_heard_ = false;
  bool proven_ = false;
  bool closed_ = false;
  net::Http2Stream* stream_ = nullptr;
  Deliver deliver_{*this};
  Own<net::Http2Session> session_;
};

// --- Getting there ---

Result<void> Dialled::connect() {
  if (options_.tls != nullptr) {
    const std::string& host = options_.tls_host.empty() ? options_.address.host : options_.tls_host;
    SHUNT_TRY(tls_, net::TlsSession::connect(*options_.tls, {.host = host, .ticket = ""}));
  }
  SHUNT_TRY(socket_, os::connect_tcp(options_.address));
  return loop_.watch(*this, socket_.get());
}

Result<void> Dialled::request() {
  std::vector<std::pair<std::string, std::string>> fields = introduction_fields(options_.self);
  std::vector<net::Header> headers = {{"content-type", "application/grpc"}, {"te", "trailers"}};
  for (const auto& [name, value] : fields) headers.push_back({name, value});
  const std::string authority = options_.authority.empty() ? peer() : options_.authority;
  net::Http2Head head;
  head.method = "POST";
  head.scheme = tls_ != nullptr ? "https" : "http";
  head.authority = authority;
  head.path = interconnect_path;
  head.headers = headers;
  SHUNT_TRY(stream_, session_->request(head, false, *this));
  stage_ = Stage::asking;
  return {};
}

void Dialled::on_head(const net::Http2Head& head, bool end) {
  auto checked = check_answer(head);
  if (!checked) {
    lose(std::move(checked).error());
    return;
  }
  if (end) {
    lose(lost("ended the stream"));
    return;
  }
  if (!options_.key.empty()) {
    stream_->send(proof_message(make_proof(options_.key, HandshakeSide::dialler, options_.self, theirs_)), false);
    stage_ = Stage::proving;
  } else {
    stage_ = Stage::ready;
  }
}

Result<void> Dialled::check_answer(const net::Http2Head& head) {
  const auto find = [&](std::string_view name) {
    for (const net::Header& header : head.headers) {
      if (header.name == name) return header.value;
    }
    return std::string_view();
  };
  if (head.status != 200 || !find("grpc-status").empty()) return std::unexpected(status_of(head.headers, head.status));
  SHUNT_TRY(theirs_, read_introduction(find));
  if (theirs_.keyed == options_.self.keyed) return {};
  return fail(Code::unauthenticated, "S5060",
              theirs_.keyed
                  ? fmt::format("the node at {} lets in who knows its key; give it with --peer-key FILE", peer())
                  : fmt::format("the node at {} has no key, and this one has. Give both the same file with --peer-key",
                                peer()));
}

Result<void> Dialled::check_proof() {
  if (equal_in_constant_time(reader_.proof(),
                             make_proof(options_.key, HandshakeSide::acceptor, options_.self, theirs_))) {
    stage_ = Stage::ready;
    return {};
  }
  return fail(
      Code::unauthenticated, "S5060",
      fmt::format("the node at {} has another key than this one; give both the same file with --peer-key", peer()));
}

Status Dialled::status_of(std::span<const net::Header> headers, int http_status) const {
  std::optional<Code> code;
  std::string message;
  std::string details;
  for (const net::Header& header : headers) {
    if (header.name == "grpc-status") code = net::parse_grpc_status(header.value);
    if (header.name == "grpc-message") message = net::decode_grpc_message(header.value);
    if (header.name == "grpc-status-details-bin") {
      net::GrpcMetadata one;
      if (net::add_grpc_metadata(one, header.name, header.value) && !one.empty()) details = one.front().second;
    }
  }
  if (code && *code != Code::ok) {
    Status said = net::decode_rpc_status(*code, std::move(message), details);
    return {said.code(), said.id(), fmt::format("{}: {}", peer(), said.message())};
  }
  if (code) return lost("ended the stream");
  return {
      net::grpc_code_of_http(http_status), "S5062",
      fmt::format("{} answered with HTTP {}; it is no Shunt node, or one of an older version", peer(), http_status)};
}

// --- Reading ---

void Dialled::on_ready(bool readable, bool writable) {
  bool gone = false;
  Guard guard(*this, gone);
  if (stage_ == Stage::connecting) {
    if (!writable) return;
    auto connected = os::finish_connect(socket_.get(), options_.address);
    if (connected) {
      stage_ = Stage::securing;
      if (tls_ != nullptr) {
        connected = tls_->receive({}, plain_, out_);  // begins the handshake
      } else {
        connected = request();
      }
    }
    if (!connected) {
      lose(std::move(connected).error());
      settle();
      return;
    }
    loop_.flush(*this);
  }
  if (readable) read();
  if (gone) return;
  if (writable && sent_ < out_.size()) loop_.flush(*this);
  settle();
}

void Dialled::read() {
  if (buffer_.size() != read_bytes) buffer_.resize(read_bytes);
  for (std::size_t taken = 0; taken < turn_bytes_max && why_.is_ok() && !closed_;) {
    const ssize_t count = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count <= 0) {
      lose(lost(count == 0 ? "closed the connection" : std::strerror(errno)));
      return;
    }
    const auto size = static_cast<std::size_t>(count);
    taken += size;
    if (auto good = take({buffer_.data(), size}); !good) {
      send();  // What explains it to the peer.
      lose(std::move(good).error());
      return;
    }
    // Told piece by piece, so that what a piece asks for is on its way while the next is read.
    bool gone = false;
    Guard guard(*this, gone);
    bool* const outer = gone_;
    settle();
    if (*outer) return;
    if (size < buffer_.size() && !Watch::is_hung_up()) return;
  }
  // Edge-triggered: nobody will tell again of what is still there.
  if (!closed_) loop_.arm(*this, loop_.now());
}

Result<void> Dialled::take(std::string_view bytes) {
  heard_ = loop_.now();
  loop_.flush(*this);
  if (tls_ != nullptr) {
    plain_.clear();
    SHUNT_CHECK(tls_->receive(bytes, plain_, out_));
    if (!tls_->is_established()) return {};
    if (stage_ == Stage::securing) {
      if (tls_->protocol() != "h2") {
        return fail(Code::unavailable, "S5062",
                    fmt::format("{} does not speak HTTP/2: it chose '{}' by ALPN", peer(), tls_->protocol()));
      }
      SHUNT_CHECK(request());
    }
    bytes = plain_;
    if (bytes.empty()) return {};
  }
  // What begins with another frame than SETTINGS speaks something else: HTTP/1.1 most likely.
  constexpr char settings = 4;
  if (!std::exchange(heard_anything_, true) && bytes.size() > 3 && bytes[3] != settings) {
    return fail(Code::unavailable, "S5062", fmt::format("{} answers, but not in HTTP/2", peer()));
  }
  auto received = session_->receive(bytes, loop_.now().ns);
  if (owed_ > 0 && stream_ != nullptr) stream_->consumed(std::exchange(owed_, 0));
  return received;
}

void Dialled::on_data(std::string_view piece, bool end) {
  owed_ += piece.size();
  if (inbox_.empty()) inbox_.reserve(std::max<std::size_t>(piece.size(), 256));
  if (auto good = reader_.read(piece, inbox_); !good) {
    lose(std::move(good).error());
    return;
  }
  if (stage_ == Stage::proving && !reader_.proof().empty()) {
    if (auto proven = check_proof(); !proven) lose(std::move(proven).error());
  } else if (stage_ == Stage::proving && !inbox_.empty()) {
    lose({Code::unauthenticated, "S5060", fmt::format("the node at {} did not prove that it knows the key", peer())});
  }
  if (end) lose(lost("ended the stream"));
}

void Dialled::on_trailers(std::span<const net::Header> trailers) { lose(status_of(trailers, 200)); }

void Dialled::on_close(net::Http2Error error) {
  stream_ = nullptr;
  lose(lost(error == net::Http2Error::no_error ? "ended the stream" : "reset the stream"));
}

// --- Telling ---

void Dialled::settle() {
  bool own = false;
  Guard guard(*this, own);
  bool* const gone = gone_;
  if (closed_) return;
  if (!proven_ && stage_ == Stage::ready && why_.is_ok()) {
    proven_ = true;
    loop_.arm(*this, heard_ + options_.ping_interval);
    dial_events_->on_ready(theirs_.node);
    if (*gone || closed_) return;
  }
  if (std::exchange(goaway_heard_, false) && proven_) {
    dial_events_->on_goaway();
    if (*gone || closed_) return;
  }
  if (!proven_ && !why_.is_ok()) {
    stop();
    dial_events_->on_failed(why_);
    return;
  }
  if (events_ == nullptr) return;
  deliver();
}

void Dialled::deliver() {
  bool own = false;
  Guard guard(*this, own);
  bool* const gone = gone_;
  if (closed_ || events_ == nullptr) return;
  if (std::exchange(drained_, false) && std::exchange(wants_to_write_, false)) {
    events_->on_writable();
    if (*gone || closed_) return;
  }
  if (!inbox_.empty()) {
    lent_.clear();
    std::swap(lent_, inbox_);
    events_->on_bytes(lent_);
    if (*gone || closed_) return;
  }
  if (why_.is_ok()) return;
  stop();
  std::exchange(events_, nullptr)->on_closed(why_);
}

void Dialled::stop() {
  closed_ = true;
  Watch::unwatch();
  Timer::disarm();
  Runnable::unlink();
  deliver_.unlink();
  socket_.close();
}

// --- Writing ---

std::size_t Dialled::write(const iovec* vectors, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += vectors[i].iov_len;
  // The end is about to be told; what is not taken was never sent.
  if (closed_ || stream_ == nullptr || !why_.is_ok()) return 0;
  if (stream_->unsent() + (out_.size() - sent_) >= unsent_bytes_max) {
    wants_to_write_ = true;
    return 0;
  }
  const auto part = [&](int i) {
    return std::string_view(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
  };
  if (size <= link_message_bytes_max) {
    stream_->send(LinkMessageHead(size).view(), false);
    for (int i = 0; i < count; ++i) stream_->send(part(i), false);
  } else {
    for (int i = 0; i < count; ++i) {
      for (std::string_view left = part(i); !left.empty();) {
        const std::string_view piece = left.substr(0, link_message_bytes_max);
        stream_->send(LinkMessageHead(piece.size()).view(), false);
        stream_->send(piece, false);
        left.remove_prefix(piece.size());
      }
    }
  }
  loop_.flush(*this);
  return size;
}

void Dialled::send() {
  if (closed_ || stage_ == Stage::connecting) return;
  for (;;) {
    if (out_.size() - sent_ < framed_bytes_max) {
      if (tls_ == nullptr) {
        session_->collect(out_, sent_ + framed_bytes_max);
      } else if (tls_->is_established()) {
        plain_.clear();
        session_->collect(plain_, framed_bytes_max);
        if (!plain_.empty()) {
          if (auto sealed = tls_->send(plain_, out_); !sealed) {
            lose(std::move(sealed).error());
            return;
          }
        }
      }
    }
    if (sent_ == out_.size()) break;
    const ssize_t count = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) lose(lost(std::strerror(errno)));
      break;
    }
    sent_ += static_cast<std::size_t>(count);
    if (sent_ == out_.size() || sent_ >= framed_bytes_max) {
      out_.erase(0, sent_);
      sent_ = 0;
    }
  }
  if (wants_to_write_ && (stream_ == nullptr || stream_->unsent() + (out_.size() - sent_) < unsent_bytes_max / 2)) {
    drained_ = true;
  }
}

// What the link said last (a GOAWAY that tells the peer why) leaves if the socket takes it now.
void Dialled::close() {
  if (closed_) return;
  events_ = nullptr;
  if (stream_ != nullptr && why_.is_ok()) {
    stream_->send(std::string_view(), true);
    send();
  }
  stop();
}

void Dialled::fire() {
  bool gone = false;
  Guard guard(*this, gone);
  if (closed_) return;
  const Instant now = loop_.now();
  if (!proven_) {
    if (why_.is_ok() && now >= heard_ + options_.connect_timeout) {
      lose(lost(fmt::format("did not answer within {}", format_duration(options_.connect_timeout))));
    }
    if (why_.is_ok() && stage_ != Stage::connecting) read();
    if (gone || closed_) return;
    if (!Timer::is_armed()) loop_.arm(*this, heard_ + options_.connect_timeout);
    settle();
    return;
  }
  read();
  if (gone || closed_) return;
  if (waits_for_ping_ && now >= ping_sent_ + options_.ping_timeout) {
    lose(lost(fmt::format("did not answer a ping within {}", format_duration(options_.ping_timeout))));
    settle();
    return;
  }
  if (!waits_for_ping_ && now >= heard_ + options_.ping_interval) {
    waits_for_ping_ = true;
    ping_sent_ = now;
    session_->ping();
    loop_.flush(*this);
  }
  if (Timer::is_armed()) return;
  loop_.arm(*this, waits_for_ping_ ? ping_sent_ + options_.ping_timeout : heard_ + options_.ping_interval);
}

}  // namespace

Own<GrpcCarrier> GrpcCarrier::dial(loop::EpollLoop& loop, GrpcDialOptions options, GrpcDialEvents& events) {
  auto made = make_own<Dialled>(loop, std::move(options), events);
  made->begin();
  return made;
}

}  // namespace shunt::link
