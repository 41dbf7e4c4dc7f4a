#include "cli/http_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace shunt::cli {
namespace {

constexpr std::size_t read_bytes = 64 * 1024;
constexpr std::size_t line_bytes_max = 64 * 1024;
constexpr std::size_t headers_max = 256;

struct Closer {
  int fd;
  ~Closer() {
    if (fd >= 0) ::close(fd);
  }
};

std::string error_text(int number) { return std::strerror(number); }

std::unexpected<Status> no_node(const Endpoint& endpoint, std::string_view why) {
  if (!endpoint.socket.empty())
    return fail(
        Code::unavailable, "S5015",
        fmt::format("no node answers at {} ({}). Start one with: shunt run PATH. If it keeps its data elsewhere, say "
                    "where with --data DIR, or name its address with --at http://ADDR:PORT.",
                    endpoint.socket, why));
  return fail(Code::unavailable, "S5015",
              fmt::format("no node answers at {} ({}). `shunt run` prints the address that it listens on.",
                          endpoint.to_string(), why));
}

/// A path may be longer than sun_path (108 bytes): then it is reached through a descriptor of its folder.
Result<int> dial_unix(const Endpoint& endpoint) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return no_node(endpoint, error_text(errno));
  const auto slash = endpoint.socket.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : endpoint.socket.substr(0, std::max<std::size_t>(slash, 1));
  const std::string name = slash == std::string::npos ? endpoint.socket : endpoint.socket.substr(slash + 1);
  const Closer folder_fd{::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", folder_fd.fd, name);
  if (folder_fd.fd >= 0 && path.size() < sizeof address.sun_path) {
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  }
  const int error = folder_fd.fd >= 0 && path.size() >= sizeof address.sun_path ? ENAMETOOLONG : errno;
  ::close(fd);
  return no_node(endpoint, error_text(error));
}

Result<int> dial_tcp(const Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found); error != 0)
    return no_node(endpoint, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  int error = 0;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    const int fd = ::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
    if (fd >= 0 && ::connect(fd, each->ai_addr, each->ai_addrlen) == 0) return fd;
    error = errno;
    if (fd >= 0) ::close(fd);
  }
  return no_node(endpoint, error_text(error));
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string Endpoint::to_string() const {
  if (!socket.empty()) return "unix:" + socket;
  return (tls ? "https://" : "http://") + authority();
}

std::string Endpoint::authority() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

std::string_view ResponseHead::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

Result<HttpClient> HttpClient::dial(const Endpoint& endpoint, std::optional<Duration> give_up_after) {
  SHUNT_TRY(const int fd, endpoint.socket.empty() ? dial_tcp(endpoint) : dial_unix(endpoint));
  HttpClient client(fd, endpoint, give_up_after);
  if (endpoint.tls) SHUNT_CHECK(client.begin_tls());
  return client;
}

Result<void> HttpClient::begin_tls() {
  SHUNT_TRY(const Own<net::TlsContext> context, net::TlsContext::create(*endpoint_.tls));
  SHUNT_TRY(tls_, net::TlsSession::connect(*context, {.host = endpoint_.host, .ticket = ""}));
  SHUNT_TRY(bool more, fill_tls(""));
  while (!tls_->is_established()) {
    SHUNT_TRY(more, fill());
    if (!more)
      return fail(Code::unavailable, "S5035",
                  fmt::format("what answers at {} closed the connection in the midst of the TLS handshake. If it is a "
                              "node's clear port, use http://.",
                              endpoint_.to_string()));
  }
  return {};
}

HttpClient::HttpClient(HttpClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      endpoint_(std::move(other.endpoint_)),
      give_up_after_(other.give_up_after_),
      tls_(std::move(other.tls_)),
      buffer_(std::move(other.buffer_)),
      at_(other.at_),
      body_(other.body_),
      left_(other.left_) {}

HttpClient::~HttpClient() {
  if (fd_ >= 0) ::close(fd_);
}

int HttpClient::peer_pid() const {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (endpoint_.socket.empty() || ::getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return 0;
  return credentials.pid;
}

Result<ResponseHead> HttpClient::post(std::string_view target, const Headers& headers, std::string_view body) {
  const std::string host = endpoint_.socket.empty() ? endpoint_.authority() : "localhost";
  std::string head = fmt::format("POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n", target,
                                 host, body.size());
  for (const auto& [name, value] : headers) head += fmt::format("{}: {}\r\n", name, value);
  head += "\r\n";
  SHUNT_CHECK(send_all(head));
  SHUNT_CHECK(send_all(body));
  ResponseHead answer;
  do {
    SHUNT_TRY(answer, read_head());
  } while (answer.status >= 100 && answer.status < 200);
  return answer;
}

Result<ResponseHead> HttpClient::read_head() {
  SHUNT_TRY(const std::string line, read_line(line_bytes_max));
  ResponseHead head;
  const std::string_view view = line;
  const auto code = view.starts_with("HTTP/1.") && view.size() >= 12 ? number(view.substr(9, 3), 10) : std::nullopt;
  if (!code || *code < 100) return broken("its first line is not HTTP/1.1's");
  head.status = static_cast<int>(*code);
  while (true) {
    SHUNT_TRY(const std::string field, read_line(line_bytes_max));
    if (field.empty()) break;
    const auto colon = field.find(':');
    if (colon == std::string::npos) return broken("a header line has no colon");
    if (head.headers.size() == headers_max) return broken("it has too many headers");
    const std::string_view field_view = field;
    head.headers.emplace_back(lower(field_view.substr(0, colon)), trimmed(field_view.substr(colon + 1)));
  }
  body_ = Body::until_close;
  left_ = 0;
  if (lower(head.header("transfer-encoding")).find("chunked") != std::string::npos) {
    body_ = Body::chunked;
  } else if (head.status < 200 || head.status == 204 || head.status == 304) {
    body_ = Body::none;
  } else if (const auto length = head.header("content-length"); !length.empty()) {
    const auto size = number(length, 10);
    if (!size) return broken("its content-length is not a number");
    body_ = Body::sized;
    left_ = *size;
  }
  return head;
}

Result<std::string> HttpClient::read_piece() {
  switch (body_) {
    case Body::none:
      return std::string();
    case Body::chunked:
      return read_chunk();
    case Body::sized: {
      if (left_ == 0) return std::string();
      while (at_ == buffer_.size()) {
        SHUNT_TRY(const bool more, fill());
        if (!more) return lost();
      }
      std::string piece = take(static_cast<std::size_t>(std::min<std::uint64_t>(left_, read_bytes)));
      left_ -= piece.size();
      return piece;
    }
    case Body::until_close: {
      while (at_ == buffer_.size()) {
        SHUNT_TRY(const bool more, fill());
        if (!more) return std::string();
      }
      return take(read_bytes);
    }
  }
  return std::string();
}

Result<std::string> HttpClient::read_chunk() {
  if (left_ == 0) {
    SHUNT_TRY(const std::string line, read_line(1024));
    const auto size = number(trimmed(std::string_view(line).substr(0, line.find(';'))), 16);
    if (!size) return broken("a chunk's size is not a number");
    if (*size == 0) {
      while (true) {  // Trailers, which nobody reads.
        SHUNT_TRY(const std::string trailer, read_line(line_bytes_max));
        if (trailer.empty()) break;
      }
      body_ = Body::none;
      return std::string();
    }
    left_ = *size;
  }
  while (at_ == buffer_.size()) {
    SHUNT_TRY(const bool more, fill());
    if (!more) return lost();
  }
  std::string piece = take(static_cast<std::size_t>(std::min<std::uint64_t>(left_, read_bytes)));
  left_ -= piece.size();
  if (left_ == 0) {
    SHUNT_TRY(const std::string end, read_line(2));
    if (!end.empty()) return broken("a chunk does not end where it said");
  }
  return piece;
}

Result<std::string> HttpClient::read_all(std::size_t bytes_max) {
  std::string all;
  while (true) {
    SHUNT_TRY(const std::string piece, read_piece());
    if (piece.empty()) return all;
    if (all.size() + piece.size() > bytes_max) return broken(fmt::format("it is longer than {} bytes", bytes_max));
    all += piece;
  }
}

std::string HttpClient::take(std::size_t most) {
  const std::size_t size = std::min(most, buffer_.size() - at_);
  std::string piece = buffer_.substr(at_, size);
  at_ += size;
  return piece;
}

Result<std::string> HttpClient::read_line(std::size_t bytes_max) {
  while (true) {
    if (const auto end = buffer_.find('\n', at_); end != std::string::npos) {
      std::string line = buffer_.substr(at_, end - at_);
      at_ = end + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    if (buffer_.size() - at_ > bytes_max) return broken("a line of it does not end");
    SHUNT_TRY(const bool more, fill());
    if (!more) return lost();
  }
}

Result<bool> HttpClient::wait_for(short events) {
  pollfd entry{fd_, events, 0};
  const int wait_ms =
      give_up_after_ ? static_cast<int>(std::clamp<std::int64_t>(give_up_after_->count() / 1'000'000, 1, 1 << 30)) : -1;
  int ready = 0;
  do {
    ready = ::poll(&entry, 1, wait_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0)
    return fail(Code::deadline_exceeded, "S1004",
                fmt::format("the node at {} said nothing within the time.", endpoint_.to_string()));
  return true;
}

Result<bool> HttpClient::fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  const std::size_t before = buffer_.size();
  buffer_.resize(before + read_bytes);
  ssize_t got = 0;
  do {
    if (auto ready = wait_for(POLLIN); !ready) {
      buffer_.resize(before);
      return ready;
    }
    got = ::recv(fd_, buffer_.data() + before, read_bytes, 0);
  } while (got < 0 && (errno == EINTR || errno == EAGAIN));
  buffer_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return lost();
  // Without the other side's word that this is the end, somebody in between may have cut it off.
  if (got == 0 && tls_ != nullptr && tls_->is_established() && !tls_->is_closed_by_peer()) return lost();
  if (tls_ == nullptr || got == 0) return got > 0;
  const std::string ciphertext = buffer_.substr(before);
  buffer_.resize(before);
  return fill_tls(ciphertext);
}

/// False at the end that the other side announced. It may add nothing, and not be the end.
Result<bool> HttpClient::fill_tls(std::string_view ciphertext) {
  std::string to_peer;
  auto received = tls_->receive(ciphertext, buffer_, to_peer);
  SHUNT_CHECK(send_raw(to_peer));
  SHUNT_CHECK(std::move(received));
  return !tls_->is_closed_by_peer() || at_ < buffer_.size();
}

Result<void> HttpClient::send_all(std::string_view data) {
  if (tls_ == nullptr) return send_raw(data);
  constexpr std::size_t at_once = 1u << 20;
  std::string ciphertext;
  while (!data.empty()) {
    ciphertext.clear();
    SHUNT_CHECK(tls_->send(data.substr(0, at_once), ciphertext));
    SHUNT_CHECK(send_raw(ciphertext));
    data.remove_prefix(std::min(data.size(), at_once));
  }
  return {};
}

Result<void> HttpClient::send_raw(std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // A node may refuse a large body by answering before it has read it: what it said is still to be read.
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return {};
    if (sent < 0) return lost();
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

std::unexpected<Status> HttpClient::broken(std::string_view what) const {
  return fail(Code::internal, "S5008",
              fmt::format("what answers at {} does not speak as a node does: {}.", endpoint_.to_string(), what));
}

std::unexpected<Status> HttpClient::lost() const {
  return fail(Code::unavailable, "S1008",
              fmt::format("the node at {} closed the connection before its answer was whole.", endpoint_.to_string()));
}

}  // namespace shunt::cli
