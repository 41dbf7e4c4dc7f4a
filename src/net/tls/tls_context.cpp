#include "net/tls/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "net/tls/openssl.h"

namespace shunt::net {

namespace {

using openssl::Free;
using ContextPointer = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using CertificatePointer = std::unique_ptr<X509, Free<X509_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

// TLS 1.2's: forward secrecy and AEAD only (which HTTP/2 asks for too: RFC 9113, section 9.2.2). 1.3's are all good.
constexpr const char* ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* groups = "X25519:P-256:P-384";
constexpr long ticket_seconds = 12 * 3600;
constexpr std::size_t peer_chain_bytes_max = 64u << 10;
constexpr std::size_t protocol_bytes_max = 255;

std::unexpected<Status> unusable(std::string_view what) {
  return fail(Code::internal, "S5030", fmt::format("TLS could not be set up: {}: {}.", what, openssl::last_reason()));
}

// The form on the wire: each with its length before it.
std::string protocol_list(const std::vector<std::string>& protocols) {
  std::string list;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > protocol_bytes_max) continue;
    list += static_cast<char>(protocol.size());
    list += protocol;
  }
  return list;
}

// Lives in the SSL_CTX, which sessions keep alive.
void free_protocols(void*, void* list, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<std::string*>(list); }

int protocols_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_protocols);
  return index;
}

int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                    unsigned int offered_size, void*) {
  const auto* ours = static_cast<const std::string*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), protocols_index()));
  if (ours == nullptr) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* chosen = nullptr;
  const int result = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours->data()),
                                           static_cast<unsigned int>(ours->size()), offered, offered_size);
  // RFC 7301, section 3.2: no_application_protocol. To guess would be a protocol that the client does not expect.
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

ContextPointer make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  ContextPointer context(SSL_CTX_new(method));
  if (context == nullptr) return nullptr;
  SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                         SSL_OP_PRIORITIZE_CHACHA);
  // Ten thousand idle connections: buffers are there only while a record is.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_max_cert_list(context.get(), peer_chain_bytes_max);
  if (SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(context.get(), ciphers) != 1 || SSL_CTX_set1_groups_list(context.get(), groups) != 1)
    return nullptr;
  return context;
}

// Our certificate, with what leads to a root, and its key.
Result<void> show(SSL_CTX* context, const std::string& certificates, std::string_view certificates_name,
                  const std::string& key, std::string_view key_name) {
  SHUNT_TRY(const std::vector<X509*> read, openssl::read_certificates(certificates, certificates_name));
  std::vector<CertificatePointer> chain;
  for (X509* one : read) chain.emplace_back(one);
  SHUNT_TRY(EVP_PKEY* const key_read, openssl::read_key(key, key_name));
  const KeyPointer own_key(key_read);
  if (X509_check_private_key(chain.front().get(), own_key.get()) != 1) {
    ERR_clear_error();
    return fail(Code::failed_precondition, "S5031",
                fmt::format("{} is not the key of {} ({}). The server's own certificate must stand first in its file.",
                            key_name, certificates_name, openssl::subject_of(chain.front().get())));
  }
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1 || SSL_CTX_use_PrivateKey(context, own_key.get()) != 1)
    return fail(Code::failed_precondition, "S5030",
                fmt::format("{} can't be used: {}.", certificates_name, openssl::last_reason()));
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1)
      return fail(
          Code::failed_precondition, "S5030",
          fmt::format("{}: certificate {} of it can't be used: {}.", certificates_name, i + 1, openssl::last_reason()));
  }
  return {};
}

Result<void> trust(SSL_CTX* context, const std::string& authorities, std::string_view name, bool tell_clients) {
  SHUNT_TRY(const std::vector<X509*> read, openssl::read_certificates(authorities, name));
  bool good = true;
  for (X509* one : read) {
    const CertificatePointer owner(one);
    good = good && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), one) == 1;
    if (tell_clients) good = good && SSL_CTX_add_client_CA(context, one) == 1;
  }
  if (!good)
    return fail(Code::failed_precondition, "S5030", fmt::format("{} can't be used: {}.", name, openssl::last_reason()));
  return {};
}

}  // namespace

Result<Own<TlsContext>> TlsContext::create(const TlsServerOptions& options) {
  ContextPointer context = make_context(TLS_server_method());
  if (context == nullptr) return unusable("a server");
  SHUNT_CHECK(show(context.get(), options.certificates, options.certificates_name, options.key, options.key_name));
  if (options.client != ClientCertificate::none) {
    SHUNT_CHECK(trust(context.get(), options.client_authorities, options.client_authorities_name, true));
    const int required = options.client == ClientCertificate::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | required, &openssl::note_refused);
  }
  // Tickets, not a cache: a session that is over costs nothing. They are good for this context alone, so that nobody
  // resumes past a client CA that was changed.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(context.get(), ticket_seconds);
  constexpr std::string_view id = "shunt";
  if (SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>(id.data()), id.size()) !=
          1 ||
      SSL_CTX_set_num_tickets(context.get(), 1) != 1)
    return unusable("tickets");
  if (std::string list = protocol_list(options.protocols); !list.empty()) {
    auto kept = make_own<std::string>(std::move(list));
    if (SSL_CTX_set_ex_data(context.get(), protocols_index(), kept.get()) != 1) return unusable("ALPN");
    [[maybe_unused]] std::string* now_the_contexts = kept.release();
    SSL_CTX_set_alpn_select_cb(context.get(), &choose_protocol, nullptr);
  }
  return Own<TlsContext>(new TlsContext(context.release()));
}

Result<Own<TlsContext>> TlsContext::create(const TlsClientOptions& options) {
  ContextPointer context = make_context(TLS_client_method());
  if (context == nullptr) return unusable("a client");
  if (!options.certificates.empty()) {
    SHUNT_CHECK(show(context.get(), options.certificates, options.certificates_name, options.key, options.key_name));
  }
  if (options.verify) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, &openssl::note_refused);
    if (!options.authorities.empty()) {
      SHUNT_CHECK(trust(context.get(), options.authorities, options.authorities_name, false));
    } else if (SSL_CTX_set_default_verify_paths(context.get()) != 1) {
      return unusable("the system's certificates");
    }
  }
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  const std::string list = protocol_list(options.protocols);
  // This one function of OpenSSL's returns 0 for good.
  if (!list.empty() && SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(list.data()),
                                               static_cast<unsigned int>(list.size())) != 0)
    return unusable("ALPN");
  return Own<TlsContext>(new TlsContext(context.release()));
}

TlsContext::~TlsContext() { SSL_CTX_free(handle_); }

}  // namespace shunt::net
