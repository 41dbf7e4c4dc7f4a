#include "os/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "os/error.h"

namespace shunt::os {

namespace {

union AnyAddress {
  sockaddr base;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_storage storage;
};

Result<void> set_option(int fd, int level, int name, int value, std::string_view what) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) return system_failure(what, errno);
  return {};
}

std::unexpected<Status> bad_address(std::string_view text, std::string_view why) {
  return fail(Code::invalid_argument, "S5003",
              fmt::format("\"{}\" is not an address to listen at: {}; write HOST:PORT, such as 127.0.0.1:8080, [::1]:0 "
                          "(0 picks a free port) or, for every network, 0.0.0.0:8080",
                          text, why));
}

std::unexpected<Status> busy(const TcpAddress& address) {
  TcpAddress other = address;
  other.port = 0;
  return fail(Code::already_exists, "S5001",
              fmt::format("{} is in use by another program; stop that, or give another port: --listen {} (0 picks a "
                          "free one)",
                          address.to_string(), other.to_string()));
}

Result<std::pair<AnyAddress, socklen_t>> resolve(const TcpAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(address.host.c_str(), fmt::format("{}", address.port).c_str(), &hints, &found);
  if (error != 0) return bad_address(address.to_string(), ::gai_strerror(error));
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  const addrinfo* chosen = found;
  // Of a name's addresses IPv4 first: what people type into a browser's address bar.
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (each->ai_family == AF_INET) {
      chosen = each;
      break;
    }
  }
  AnyAddress result{};
  std::memcpy(&result, chosen->ai_addr, chosen->ai_addrlen);
  return std::pair{result, chosen->ai_addrlen};
}

Result<Fd> tcp_socket(const AnyAddress& address) {
  Fd fd(::socket(address.base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_failure("make a TCP socket", errno);
  SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "set SO_REUSEADDR"));
  return fd;
}

Result<TcpAddress> to_address(const AnyAddress& from) {
  char text[INET6_ADDRSTRLEN] = "";
  if (from.base.sa_family == AF_INET) {
    ::inet_ntop(AF_INET, &from.v4.sin_addr, text, sizeof text);
    return TcpAddress{text, ntohs(from.v4.sin_port)};
  }
  if (from.base.sa_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &from.v6.sin6_addr, text, sizeof text);
    return TcpAddress{text, ntohs(from.v6.sin6_port)};
  }
  return fail(Code::invalid_argument, "not a TCP socket");
}

/// A unix address by way of the folder's descriptor, so that the folder's path may be of any length.
struct UnixAddress {
  sockaddr_un address{};
  Fd folder;
};

Result<UnixAddress> unix_address(const std::string& path) {
  auto slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  UnixAddress result;
  result.folder = Fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!result.folder) return system_failure(fmt::format("open the folder {}", folder), errno);
  result.address.sun_family = AF_UNIX;
  std::string shown = path.size() < sizeof result.address.sun_path
                          ? path
                          : fmt::format("/proc/self/fd/{}/{}", result.folder.get(), name);
  if (name.empty() || shown.size() >= sizeof result.address.sun_path) {
    return fail(Code::invalid_argument, fmt::format("{}: the name of a unix socket must have 1 to 80 bytes", path));
  }
  std::memcpy(result.address.sun_path, shown.data(), shown.size());
  return result;
}

}  // namespace

Result<std::pair<Fd, Fd>> make_socket_pair(SocketKind kind, Blocking first, Blocking second) {
  int fds[2];
  int type = kind == SocketKind::stream ? SOCK_STREAM : SOCK_SEQPACKET;
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) return system_failure("make a socket pair", errno);
  std::pair<Fd, Fd> pair{Fd(fds[0]), Fd(fds[1])};
  if (first == Blocking::no) SHUNT_CHECK(set_blocking(fds[0], Blocking::no));
  if (second == Blocking::no) SHUNT_CHECK(set_blocking(fds[1], Blocking::no));
  return pair;
}

bool TcpAddress::is_loopback() const {
  if (host == "localhost" || host == "::1") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool TcpAddress::is_any() const {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return v4.s_addr == 0;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

std::string TcpAddress::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<TcpAddress> parse_tcp_address(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad_address(text, "there is no \":\" and port");
  std::string_view host = text.substr(0, colon);
  std::string_view port = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    in6_addr v6{};
    if (::inet_pton(AF_INET6, std::string(host).c_str(), &v6) != 1) {
      return bad_address(text, "what stands in brackets must be an IPv6 address");
    }
  } else if (host.find(':') != std::string_view::npos) {
    return bad_address(text, "an IPv6 address stands in brackets");
  } else if (host.find('[') != std::string_view::npos || host.find(']') != std::string_view::npos) {
    return bad_address(text, "the brackets do not match");
  }
  if (host.empty()) return bad_address(text, "the host is missing");
  if (host.size() > 253) return bad_address(text, "the host is longer than 253 bytes");
  if (host.find('\0') != std::string_view::npos) return bad_address(text, "the host has a zero byte");
  TcpAddress address{std::string(host), 0};
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) {
    return bad_address(text, "the port must be a number from 0 to 65535");
  }
  return address;
}

Result<std::vector<Fd>> listen_tcp(const TcpAddress& address, std::size_t sockets, int backlog) {
  SHUNT_TRY(auto resolved, resolve(address));
  auto& [where, size] = resolved;
  std::vector<Fd> listeners;
  for (std::size_t i = 0; i < sockets || i == 0; ++i) {
    SHUNT_TRY(Fd fd, tcp_socket(where));
    bool sibling = i > 0;
    // The first binds alone: with SO_REUSEPORT it would quietly share the port with a program of the same user.
    if (sibling) SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "set SO_REUSEPORT"));
    if (::bind(fd.get(), &where.base, size) != 0) {
      if (errno == EADDRINUSE) return busy(address);
      return system_failure(fmt::format("listen at {}", address.to_string()), errno);
    }
    if (!sibling) {
      SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "set SO_REUSEPORT"));
      if (::getsockname(fd.get(), &where.base, &size) != 0) return system_failure("ask for the bound port", errno);
    }
    // Two programs may both bind before either listens: then the second hears it here.
    if (::listen(fd.get(), backlog) != 0) {
      if (errno == EADDRINUSE) return busy(address);
      return system_failure(fmt::format("listen at {}", address.to_string()), errno);
    }
    listeners.push_back(std::move(fd));
  }
  return listeners;
}

Result<TcpAddress> local_address(int fd) {
  AnyAddress address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, &address.base, &size) != 0) return system_failure("ask for a socket's address", errno);
  return to_address(address);
}

Result<TcpAddress> peer_address(int fd) {
  AnyAddress address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, &address.base, &size) != 0) return system_failure("ask for a peer's address", errno);
  return to_address(address);
}

Result<std::vector<TcpAddress>> resolve_tcp(const TcpAddress& address) {
  constexpr std::size_t addresses_max = 8;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), fmt::format("{}", address.port).c_str(), &hints, &found);
  if (error != 0) {
    return fail(Code::unavailable, "S5003",
                fmt::format("{} is not found: {}", address.to_string(), ::gai_strerror(error)));
  }
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  std::vector<TcpAddress> all;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* each = found; each != nullptr && all.size() < addresses_max; each = each->ai_next) {
      std::array<char, NI_MAXHOST> host{};
      if (each->ai_family != family ||
          ::getnameinfo(each->ai_addr, each->ai_addrlen, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
        continue;
      }
      all.push_back({host.data(), address.port});
    }
  }
  if (all.empty()) return fail(Code::unavailable, "S5003", fmt::format("{} has no address", address.to_string()));
  return all;
}

bool is_numeric(const TcpAddress& address) {
  in_addr v4{};
  in6_addr v6{};
  const std::string host = address.host.substr(0, address.host.find('%'));
  return ::inet_pton(AF_INET, host.c_str(), &v4) == 1 || ::inet_pton(AF_INET6, host.c_str(), &v6) == 1;
}

Result<Fd> connect_tcp(const TcpAddress& address) {
  auto target = resolve(address);
  if (!target) {
    return fail(Code::unavailable, "S5003",
                fmt::format("{} is not found: {}", address.to_string(), target.error().message()));
  }
  Fd fd(::socket(target->first.base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_failure("make a TCP socket", errno);
  SHUNT_CHECK(set_no_delay(fd.get()));
  if (::connect(fd.get(), &target->first.base, target->second) != 0 && errno != EINPROGRESS) {
    return fail(Code::unavailable, fmt::format("connect to {}: {}", address.to_string(), std::strerror(errno)));
  }
  return fd;
}

Result<void> finish_connect(int fd, const TcpAddress& address) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) return {};
  return fail(Code::unavailable, fmt::format("connect to {}: {}", address.to_string(), std::strerror(error)));
}

Result<Fd> listen_unix(const std::string& path, mode_t mode, int backlog) {
  SHUNT_TRY(UnixAddress where, unix_address(path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_failure("make a unix socket", errno);
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return fail(Code::already_exists, fmt::format("{}: something that is not a socket stands there", path));
    }
    ::unlink(path.c_str());
  }
  // Before bind(): the name then appears with this mode, never with a wider one.
  if (::fchmod(fd.get(), mode) != 0) return system_failure(fmt::format("set the mode of {}", path), errno);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where.address), sizeof where.address) != 0) {
    return system_failure(fmt::format("listen at {}", path), errno);
  }
  if (::chmod(path.c_str(), mode) != 0) return system_failure(fmt::format("set the mode of {}", path), errno);
  if (::listen(fd.get(), backlog) != 0) return system_failure(fmt::format("listen at {}", path), errno);
  return fd;
}

Result<Fd> connect_unix(const std::string& path) {
  SHUNT_TRY(UnixAddress where, unix_address(path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_failure("make a unix socket", errno);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&where.address), sizeof where.address) != 0) {
    // EAGAIN: the listener's queue is full; a unix socket never connects later.
    int error = errno == EAGAIN ? ECONNREFUSED : errno;
    return system_failure(fmt::format("connect to {}", path), error);
  }
  return fd;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "localhost";
}

Result<std::optional<Fd>> accept_connection(int listener) {
  while (true) {
    int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) return Fd(fd);
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    return system_failure("accept a connection", errno);
  }
}

Result<void> set_no_delay(int fd) { return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "set TCP_NODELAY"); }

Result<PeerCredentials> peer_credentials(int fd) {
  ucred found{};
  socklen_t size = sizeof found;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &size) != 0) {
    return system_failure("ask who is at the other end of a socket", errno);
  }
  return PeerCredentials{found.pid, found.uid, found.gid};
}

Result<bool> send_message(int fd, std::string_view bytes, std::span<const int> descriptors) {
  if (descriptors.size() > descriptors_per_message_max) {
    return fail(Code::resource_exhausted, fmt::format("a message carries {} descriptors, at most {} are possible",
                                                      descriptors.size(), descriptors_per_message_max));
  }
  iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(descriptors_per_message_max * sizeof(int))];
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    std::memset(control, 0, message.msg_controllen);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  while (true) {
    ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent >= 0) return true;
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    return system_failure("send a message", errno);
  }
}

Result<std::optional<ReceivedMessage>> receive_message(int fd, std::size_t limit) {
  ReceivedMessage result;
  result.bytes.resize(limit);
  iovec vector{result.bytes.data(), limit};
  alignas(cmsghdr) char control[CMSG_SPACE(descriptors_per_message_max * sizeof(int))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  while ((got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno == ECONNRESET) return ReceivedMessage{};
    return system_failure("receive a message", errno);
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
      result.descriptors.emplace_back(descriptor);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return fail(Code::resource_exhausted,
                fmt::format("a message is longer than {} bytes or has too many descriptors", limit));
  }
  result.bytes.resize(static_cast<std::size_t>(got));
  return result;
}

}  // namespace shunt::os
