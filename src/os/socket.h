#pragma once
// Sockets: pairs, TCP and unix listeners, messages that carry descriptors. Knows addresses, not protocols.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace shunt::os {

enum class SocketKind : std::uint8_t { stream, seqpacket };

/// Two connected unix sockets.
Result<std::pair<Fd, Fd>> make_socket_pair(SocketKind kind, Blocking first, Blocking second);

/// Where a TCP listener stands: a host without brackets, and a port.
struct TcpAddress {
  std::string host;
  std::uint16_t port = 0;

  /// True for 127.0.0.0/8, ::1 and localhost.
  [[nodiscard]] bool is_loopback() const;
  /// True for 0.0.0.0 and ::.
  [[nodiscard]] bool is_any() const;
  /// "127.0.0.1:8080", "[::1]:8080".
  [[nodiscard]] std::string to_string() const;
};

/// Reads "127.0.0.1:8080", "[::1]:0", "localhost:80". A host must be given, so that nobody listens to the world by
/// accident. Errors: invalid_argument S5003, saying what to type.
Result<TcpAddress> parse_tcp_address(std::string_view text);

/// Listens with `sockets` sockets on one port, each with its own accept queue; the kernel spreads connections. The first
/// binds alone, so that a port which another program has is an error; then its siblings join. Port 0 picks one for all.
/// Errors: already_exists S5001 when the port is taken, saying what to type; S5003 for a host that does not resolve.
Result<std::vector<Fd>> listen_tcp(const TcpAddress& address, std::size_t sockets, int backlog = 1024);

/// The addresses of a host in numbers, IPv4 first, at most 8. Blocks as long as the system's resolver does, unless the host
/// is one in numbers already. Errors: S5003 for a host that does not resolve.
Result<std::vector<TcpAddress>> resolve_tcp(const TcpAddress& address);
/// True for a host that needs no resolver.
bool is_numeric(const TcpAddress& address);

/// Begins to connect; the result does not block. When it is writable, finish_connect() says how it went. A host that is a
/// name is looked up here, which may take as long as the system's resolver does.
/// Errors: S5003 for a host that does not resolve; unavailable when the system knows at once that nobody is there.
Result<Fd> connect_tcp(const TcpAddress& address);
/// Errors: unavailable, with the system's reason.
Result<void> finish_connect(int fd, const TcpAddress& address);

/// The address that a socket is bound to, in numbers.
Result<TcpAddress> local_address(int fd);
/// The address at the other end.
Result<TcpAddress> peer_address(int fd);

/// Listens at `path`, which may be longer than sun_path. What stands there is replaced: the caller holds the folder's lock.
Result<Fd> listen_unix(const std::string& path, mode_t mode = 0600, int backlog = 128);
/// Connects to a unix socket; the result does not block. Errors: not_found, unavailable when nobody listens there.
Result<Fd> connect_unix(const std::string& path);

/// What this machine calls itself; "localhost" when it does not know.
std::string host_name();

/// The next connection, not blocking, close-on-exec; nothing when none waits. Connections that were given up before they
/// were accepted are passed over.
Result<std::optional<Fd>> accept_connection(int listener);
/// Sends small writes at once.
Result<void> set_no_delay(int fd);

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
/// Who stood at the other end of a unix socket when it connected.
Result<PeerCredentials> peer_credentials(int fd);

inline constexpr std::size_t descriptors_per_message_max = 253;  ///< The kernel's SCM_MAX_FD.

/// Sends one message with descriptors (they stay the caller's). False when it would have to wait.
/// Errors: resource_exhausted for too many descriptors or bytes; unavailable when the peer is gone.
Result<bool> send_message(int fd, std::string_view bytes, std::span<const int> descriptors = {});

struct ReceivedMessage {
  std::string bytes;
  std::vector<Fd> descriptors;
};
/// Receives one message of at most `limit` bytes; nothing when none waits. An empty message without descriptors is the end.
/// Errors: resource_exhausted for a longer message (it is lost).
Result<std::optional<ReceivedMessage>> receive_message(int fd, std::size_t limit);

}  // namespace shunt::os
