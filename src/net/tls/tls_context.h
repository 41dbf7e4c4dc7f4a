#pragma once
// TlsContext: what all TLS sessions of one side share: certificate, trust, versions, ciphers, ticket keys. On OpenSSL,
// which does not show: no header of ours includes its.
//
// It takes texts, not paths, so that whoever watches files can try new ones and keep what it has. It knows no socket; of
// the system it uses the certificate stores (clients) and the wall clock, inside OpenSSL. TLS 1.2 and 1.3, with AEAD ciphers
// and forward secrecy only; no compression, no renegotiation, no early data.

#include <cstdint>
#include <string>
#include <vector>

#include "base/own.h"
#include "base/result.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX.

namespace shunt::net {

enum class ClientCertificate : std::uint8_t {
  none,      ///< Is not asked for.
  optional,  ///< Is asked for; one that is given must be good.
  required,  ///< Without a good one the handshake fails, S4044.
};

struct TlsServerOptions {
  std::string certificates;                            ///< PEM: the server's own first, then what leads to a root.
  std::string key;                                     ///< PEM, not encrypted.
  std::string certificates_name = "the certificate";   ///< For errors: the file that the text is from.
  std::string key_name = "the key";                    ///< The same.
  ClientCertificate client = ClientCertificate::none;  ///< Whether clients have to say who they are.
  std::string client_authorities;                      ///< PEM: who may have signed clients' certificates.
  std::string client_authorities_name = "the client CA file";  ///< For errors.
  std::vector<std::string> protocols = {"h2",
                                        "http/1.1"};  ///< ALPN, the dearest first. A client that offers others only
                                                      ///< is refused; one that offers none gets none.
};

struct TlsClientOptions {
  bool verify = true;                            ///< False trusts anybody: for trials.
  std::string authorities;                       ///< PEM: whom to trust; empty: the system's.
  std::string authorities_name = "the CA file";  ///< For errors.
  std::string certificates;                      ///< PEM: our own, for servers that ask; empty: none.
  std::string key;                               ///< Its key.
  std::string certificates_name = "the client certificate";
  std::string key_name = "the client key";
  std::vector<std::string> protocols = {"http/1.1"};  ///< ALPN, the dearest first; empty: not told.
};

/// Ownership: a session keeps what it needs of its context; the context may go first.
/// Threads:   sessions may be made of it on any thread.
class TlsContext {
 public:
  /// Errors: S5030 for a text that is no certificate or key that can be used; S5031 for a key of another certificate.
  static Result<Own<TlsContext>> create(const TlsServerOptions& options);
  static Result<Own<TlsContext>> create(const TlsClientOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class TlsSession;
  explicit TlsContext(ssl_ctx_st* handle) : handle_(handle) {}
  ssl_ctx_st* handle_;
};

}  // namespace shunt::net
