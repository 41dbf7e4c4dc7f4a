#pragma once
// TlsSession: one TLS connection without its socket. Ciphertext goes in and plaintext comes out, and the other way round;
// whoever has the socket carries the bytes. See tls_context.h for what is spoken.
//
//   peer's bytes → receive() → plaintext for the protocol, bytes for the peer (handshake, alerts)
//   plaintext    → send()    → bytes for the peer
//
// It holds no queue: everything that it is given it turns round at once, into strings that the caller may use again for the
// next connection. An idle session keeps no buffers. It has no clock: a handshake that takes too long is the caller's to end.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/own.h"
#include "base/result.h"
#include "net/tls/tls_context.h"

struct ssl_st;  // OpenSSL's SSL.

namespace shunt::net {

/// What the other side's certificate says of it. It was verified, unless the client's context does not.
struct TlsPeer {
  std::string subject;             ///< RFC 2253: "CN=ann,O=Example".
  std::vector<std::string> names;  ///< Subject alternative names: "DNS:a.example", "URI:spiffe://…", "email:…", "IP:…".
  std::string fingerprint;         ///< SHA-256 of the certificate, lower-case hex.
};

struct TlsConnectOptions {
  std::string host;    ///< Whom we mean: told by SNI, and checked against the certificate. A name or an address.
  std::string ticket;  ///< From ticket() of an earlier session with the same context and host; empty: a full handshake.
};

/// Threads: one. Lifetime: as the caller likes; destruction says nothing to the peer, close() does.
class TlsSession {
 public:
  /// What may be received before the handshake is over; beyond it S4040.
  static constexpr std::size_t handshake_bytes_max = 128u << 10;

  /// The server's side.
  static Result<Own<TlsSession>> accept(const TlsContext& context);
  /// The client's side. receive() with nothing begins: it gives the first bytes for the peer.
  static Result<Own<TlsSession>> connect(const TlsContext& context, const TlsConnectOptions& options);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// Takes the peer's bytes, all of them. Appends what they say to `plaintext`, and what is to be sent to `to_peer`; of
  /// an error too: an alert that tells the peer.
  /// Errors: the session is over. The handshake failed: S4040, S4044 (the client's certificate); a client's: S5032 (not
  /// trusted), S5033 (another name), S5035 (not TLS), S4040. S4041 when the first bytes are HTTP in clear. S4043 for a
  /// record that is broken or was changed on the way.
  Result<void> receive(std::string_view from_peer, std::string& plaintext, std::string& to_peer);
  /// Appends the records of `plaintext` to `to_peer`. Only when is_established(); nothing after close().
  /// Errors: S4043, the session is over.
  Result<void> send(std::string_view plaintext, std::string& to_peer);
  /// Appends close_notify: we send no more. Once; nothing when there was no handshake, or after an error.
  void close(std::string& to_peer);

  [[nodiscard]] bool is_established() const { return established_; }
  /// The peer said close_notify: it sends no more. An end of its bytes without it means that something may be missing.
  [[nodiscard]] bool is_closed_by_peer() const { return closed_by_peer_; }
  /// The protocol chosen by ALPN; empty when there was none.
  [[nodiscard]] std::string_view protocol() const;
  /// "TLSv1.3"; and "TLS_AES_128_GCM_SHA256".
  [[nodiscard]] std::string_view version() const;
  [[nodiscard]] std::string_view cipher() const;
  [[nodiscard]] bool is_resumed() const;
  /// Who the peer is; nothing when it showed no certificate.
  [[nodiscard]] std::optional<TlsPeer> peer() const;
  /// Client: what resumes this session later; empty while the server has given none. A secret.
  [[nodiscard]] std::string ticket() const;

 private:
  friend struct TlsBytes;
  TlsSession(ssl_st* handle, bool is_server) : handle_(handle), is_server_(is_server) {}
  Result<void> shake_hands();
  Result<void> read(std::string& plaintext);
  std::unexpected<Status> failed(int result);
  [[nodiscard]] Status explain_server(unsigned long error) const;
  [[nodiscard]] Status explain_client(unsigned long error) const;

  ssl_st* handle_;
  std::string_view from_peer_;      // During receive() only.
  std::string* to_peer_ = nullptr;  // During a call only.
  std::size_t handshake_bytes_ = 0;
  std::string host_;      // A client's.
  Own<TlsPeer> refused_;  // Whose certificate did not pass.
  const bool is_server_;
  bool established_ = false;
  bool closed_by_peer_ = false;
  bool closed_ = false;
  bool failed_ = false;
};

/// True for what begins as a TLS ClientHello does; for a clear port that wants to tell it apart. Not for empty text.
bool looks_like_tls(std::string_view first_bytes);

}  // namespace shunt::net
