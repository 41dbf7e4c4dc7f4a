#include "net/tls/tls_session.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "net/tls/openssl.h"

namespace shunt::net {

namespace {

using openssl::Free;
using SessionPointer = std::unique_ptr<SSL_SESSION, Free<SSL_SESSION_free>>;

constexpr std::size_t record_bytes_max = 16u << 10;
constexpr char handshake_record = 0x16;
constexpr char tls_major = 3;

bool is_address(const std::string& host) {
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

std::string join(const std::vector<std::string>& all) { return fmt::format("{}", fmt::join(all, ", ")); }

}  // namespace

// A BIO that reads the bytes which the session was just given, and appends to the string that it was just given.
struct TlsBytes {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, std::size_t size, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    std::string_view& rest = session(bio).from_peer_;
    *done = std::min(size, rest.size());
    if (*done == 0) {
      BIO_set_retry_read(bio);
      return 0;
    }
    std::memcpy(into, rest.data(), *done);
    rest.remove_prefix(*done);
    return 1;
  }

  static int write(BIO* bio, const char* from, std::size_t size, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    // What OpenSSL wants to say outside of a call of ours has nowhere to go; there is no such thing.
    if (std::string* to = session(bio).to_peer_; to != nullptr) to->append(from, size);
    *done = size;
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "shunt bytes");
      SHUNT_ASSERT(method != nullptr);
      BIO_meth_set_read_ex(method, &read);
      BIO_meth_set_write_ex(method, &write);
      BIO_meth_set_ctrl(method, &control);
      return method;
    }();
    return made;
  }

  static void note_refused(TlsSession& session, const X509* certificate) {
    session.refused_ = make_own<TlsPeer>(TlsPeer{openssl::subject_of(certificate), openssl::names_of(certificate), ""});
  }

  /// Gives the session's handle its BIO.
  static bool attach(TlsSession& session) {
    SSL_set_app_data(session.handle_, &session);
    BIO* bio = BIO_new(method());
    if (bio == nullptr) return false;
    BIO_set_data(bio, &session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session.handle_, bio, bio);
    return true;
  }

  /// During its life the session has somewhere to write to.
  struct Output {
    Output(TlsSession& of, std::string& to) : session(of) { session.to_peer_ = &to; }
    ~Output() {
      session.to_peer_ = nullptr;
      session.from_peer_ = {};
    }
    TlsSession& session;
  };
};

int openssl::note_refused(int good, X509_STORE_CTX* verification) {
  const X509* shown = X509_STORE_CTX_get0_cert(verification);
  auto* handle = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (good == 0 && shown != nullptr && handle != nullptr)
    TlsBytes::note_refused(*static_cast<TlsSession*>(SSL_get_app_data(handle)), shown);
  return good;
}

Result<Own<TlsSession>> TlsSession::accept(const TlsContext& context) {
  ERR_clear_error();
  SSL* handle = SSL_new(context.handle_);
  if (handle == nullptr)
    return fail(Code::resource_exhausted, "S4040", fmt::format("no TLS session: {}.", openssl::last_reason()));
  auto session = Own<TlsSession>(new TlsSession(handle, true));
  SSL_set_accept_state(handle);
  if (!TlsBytes::attach(*session)) return fail(Code::resource_exhausted, "S4040", "no TLS session: no memory.");
  return session;
}

Result<Own<TlsSession>> TlsSession::connect(const TlsContext& context, const TlsConnectOptions& options) {
  ERR_clear_error();
  SSL* handle = SSL_new(context.handle_);
  if (handle == nullptr)
    return fail(Code::resource_exhausted, "S4040", fmt::format("no TLS session: {}.", openssl::last_reason()));
  auto session = Own<TlsSession>(new TlsSession(handle, false));
  session->host_ = options.host;
  SSL_set_connect_state(handle);
  if (!TlsBytes::attach(*session)) return fail(Code::resource_exhausted, "S4040", "no TLS session: no memory.");
  bool good = true;
  if (is_address(options.host)) {
    good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(handle), options.host.c_str()) == 1;
  } else if (!options.host.empty()) {
    SSL_set_hostflags(handle, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    good =
        SSL_set_tlsext_host_name(handle, options.host.c_str()) == 1 && SSL_set1_host(handle, options.host.c_str()) == 1;
  }
  if (!good)
    return fail(Code::invalid_argument, "S5033",
                fmt::format("'{}' is not a host's name: {}.", options.host, openssl::last_reason()));
  if (!options.ticket.empty()) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(options.ticket.data());
    // One that can't be read is as none: the handshake is a full one.
    const SessionPointer earlier(d2i_SSL_SESSION(nullptr, &bytes, static_cast<long>(options.ticket.size())));
    if (earlier != nullptr) SSL_set_session(handle, earlier.get());
    ERR_clear_error();
  }
  return session;
}

TlsSession::~TlsSession() { SSL_free(handle_); }

Result<void> TlsSession::receive(std::string_view from_peer, std::string& plaintext, std::string& to_peer) {
  if (failed_) return fail(Code::data_loss, "S4043", "the TLS session is over after an error.");
  const TlsBytes::Output output(*this, to_peer);
  const bool is_first = handshake_bytes_ == 0;
  from_peer_ = from_peer;
  if (!established_) {
    if (is_first && !from_peer.empty() && is_server_ && from_peer[0] >= 'A' && from_peer[0] <= 'Z') {
      failed_ = true;
      return fail(Code::invalid_argument, "S4041",
                  "this port speaks TLS, and the request came in clear. Use https:// in place of http://.");
    }
    if (is_first && !is_server_ && from_peer.starts_with("HTTP/")) {
      failed_ = true;
      return fail(
          Code::unavailable, "S5035",
          fmt::format("what answers at {} speaks HTTP in clear, not TLS. Use http:// in place of https://.", host_));
    }
    handshake_bytes_ += from_peer.size();
    SHUNT_CHECK(shake_hands());
    if (!established_) return {};
  }
  return read(plaintext);
}

Result<void> TlsSession::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(handle_);
  if (result == 1) {
    established_ = true;
    return {};
  }
  if (SSL_get_error(handle_, result) != SSL_ERROR_WANT_READ) return failed(result);
  if (handshake_bytes_ > handshake_bytes_max) {
    failed_ = true;
    return fail(Code::resource_exhausted, "S4040",
                fmt::format("the TLS handshake is not over after {} bytes.", handshake_bytes_max));
  }
  return {};
}

Result<void> TlsSession::read(std::string& plaintext) {
  std::array<char, record_bytes_max> record;  // NOLINT(cppcoreguidelines-pro-type-member-init): OpenSSL fills it.
  while (!closed_by_peer_) {
    std::size_t size = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(handle_, record.data(), record.size(), &size);
    if (result == 1) {
      plaintext.append(record.data(), size);
      continue;
    }
    switch (SSL_get_error(handle_, result)) {
      case SSL_ERROR_WANT_READ:
        return {};
      case SSL_ERROR_ZERO_RETURN:
        closed_by_peer_ = true;
        return {};
      default:
        return failed(result);
    }
  }
  return {};
}

Result<void> TlsSession::send(std::string_view plaintext, std::string& to_peer) {
  if (failed_ || !established_ || closed_)
    return fail(Code::data_loss, "S4043", "the TLS session takes nothing to send.");
  const TlsBytes::Output output(*this, to_peer);
  while (!plaintext.empty()) {
    std::size_t done = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(handle_, plaintext.data(), plaintext.size(), &done);
    if (result != 1) return failed(result);
    plaintext.remove_prefix(done);
  }
  return {};
}

void TlsSession::close(std::string& to_peer) {
  if (failed_ || !established_ || closed_) return;
  closed_ = true;
  const TlsBytes::Output output(*this, to_peer);
  ERR_clear_error();
  SSL_shutdown(handle_);
  ERR_clear_error();
}

std::string_view TlsSession::protocol() const {
  const unsigned char* data = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(handle_, &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

std::string_view TlsSession::version() const { return SSL_get_version(handle_); }

std::string_view TlsSession::cipher() const {
  const char* name = SSL_get_cipher_name(handle_);
  return name != nullptr ? name : "";
}

bool TlsSession::is_resumed() const { return SSL_session_reused(handle_) == 1; }

std::optional<TlsPeer> TlsSession::peer() const {
  const X509* certificate = SSL_get0_peer_certificate(handle_);
  if (certificate == nullptr) return std::nullopt;
  return TlsPeer{openssl::subject_of(certificate), openssl::names_of(certificate),
                 openssl::fingerprint_of(certificate)};
}

std::string TlsSession::ticket() const {
  const SessionPointer session(SSL_get1_session(handle_));
  if (session == nullptr || SSL_SESSION_is_resumable(session.get()) != 1) return {};
  const int size = i2d_SSL_SESSION(session.get(), nullptr);
  std::string text(static_cast<std::size_t>(std::max(size, 0)), '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(text.data());
  i2d_SSL_SESSION(session.get(), &bytes);
  return text;
}

std::unexpected<Status> TlsSession::failed(int result) {
  failed_ = true;
  const int kind = SSL_get_error(handle_, result);
  const unsigned long error = ERR_peek_last_error();
  Status status = is_server_ ? explain_server(error) : explain_client(error);
  if (kind != SSL_ERROR_SSL)
    status = Status(Code::internal, "S4043", fmt::format("TLS stopped: error {}, {}.", kind, openssl::reason(error)));
  ERR_clear_error();
  return std::unexpected(std::move(status));
}

Status TlsSession::explain_server(unsigned long error) const {
  const std::string why = openssl::reason(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL)
    return {Code::failed_precondition, established_ ? "S4043" : "S4040", fmt::format("TLS failed: {}.", why)};
  switch (ERR_GET_REASON(error)) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return {Code::unauthenticated, "S4044",
              "the client shows no certificate, and this port asks for one (--tls-client required)."};
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return {Code::unauthenticated, "S4044",
              fmt::format("the client's certificate{} is not accepted: {}. It must be signed by an authority of "
                          "--tls-client-ca.",
                          refused_ != nullptr ? " of " + refused_->subject : "",
                          X509_verify_cert_error_string(SSL_get_verify_result(handle_)))};
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
      return {Code::failed_precondition, "S4040", fmt::format("the client does not speak TLS 1.2 or later ({}).", why)};
    case SSL_R_NO_SHARED_CIPHER:
      return {Code::failed_precondition, "S4040",
              "the client offers no cipher that is still good: AES-GCM or ChaCha20-Poly1305 with an ephemeral key "
              "exchange."};
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return {Code::failed_precondition, "S4040", "the client wants a protocol (ALPN) that is not spoken here."};
    default:
      break;
  }
  if (established_) return {Code::data_loss, "S4043", fmt::format("what came over TLS is broken: {}.", why)};
  if (ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET)
    return {Code::failed_precondition, "S4040",
            fmt::format("the client broke the TLS handshake off: {}. If it does not trust our certificate, give it the "
                        "CA's.",
                        why)};
  return {Code::failed_precondition, "S4040", fmt::format("the TLS handshake failed: {}.", why)};
}

Status TlsSession::explain_client(unsigned long error) const {
  const std::string why = openssl::reason(error);
  const int code = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  if (code == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    const long result = SSL_get_verify_result(handle_);
    if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH)
      return {
          Code::unavailable, "S5033",
          fmt::format("the certificate at {} is for another name: {}. Use one of these names, or give the node a "
                      "certificate for {}.",
                      host_, refused_ != nullptr && !refused_->names.empty() ? join(refused_->names) : "none", host_)};
    return {
        Code::unavailable, "S5032",
        fmt::format("the certificate at {}{} is not trusted: {}. Name who signed it with --cacert FILE.", host_,
                    refused_ != nullptr ? " (" + refused_->subject + ")" : "", X509_verify_cert_error_string(result))};
  }
  switch (code) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_HTTP_REQUEST:
      if (!established_)
        return {
            Code::unavailable, "S5035",
            fmt::format("what answers at {} does not speak TLS. If it is a node's clear port, use http://.", host_)};
      break;
    case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_REQUIRED:
    case SSL_AD_REASON_OFFSET + SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA:
    case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE:
      return {Code::unauthenticated, "S4044",
              fmt::format("{} refused us: {}. If it asks who we are: --cert FILE --key FILE.", host_, why)};
    default:
      break;
  }
  if (established_) return {Code::data_loss, "S4043", fmt::format("what came over TLS is broken: {}.", why)};
  return {Code::unavailable, "S4040", fmt::format("the TLS handshake with {} failed: {}.", host_, why)};
}

bool looks_like_tls(std::string_view first_bytes) {
  return !first_bytes.empty() && first_bytes[0] == handshake_record &&
         (first_bytes.size() < 2 || first_bytes[1] == tls_major);
}

}  // namespace shunt::net
